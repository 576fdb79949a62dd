package config

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// value is what stands at a key after it was held against the schema. Parts that were refused are missing; a Load that has
// reported nothing has all of them.
type value struct {
	source *source // of a whole file's value only
	key    *key
	at     pos
	path   string
	form   form
	scalar any    // of the kind's Go type; a string for a word; nil when it was refused
	text   string // of a scalar, as it stands in the file
	word   bool   // scalar is one of the key's words
	flawed bool   // something in it was refused, so what it lacks may only be misspelt
	items  []*value
	fields []field
}

// field is one key of a block with its value.
type field struct {
	name  string // canonical, for free names
	at    pos
	value *value
}

// get is the value of a key in a block, nil when it is absent or v is no block.
func (v *value) get(name string) *value {
	if v == nil {
		return nil
	}
	for _, f := range v.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// isFlawed reports whether something in v, or in anything below it, was refused.
func (v *value) isFlawed() bool {
	return v != nil && (v.flawed || slices.ContainsFunc(v.items, (*value).isFlawed) ||
		slices.ContainsFunc(v.fields, func(f field) bool { return f.value.isFlawed() }))
}

// place is where a key stands that the block may hold, or else the block itself.
func (v *value) place(name string) pos {
	for _, f := range v.fields {
		if f.name == name {
			return f.at
		}
	}
	return v.at
}

// set copies the value of a key into dst when the file says one. T is the Go type of the key's kind.
func set[T any](dst *T, block *value, name string) {
	if f := block.get(name); f != nil && f.scalar != nil {
		*dst = f.scalar.(T)
	}
}

// setWord does the same for a key of words, which are those of the enumeration's String in the same order.
func setWord[T ~uint8](dst *T, block *value, name string, words ...string) {
	if f := block.get(name); f != nil && f.word {
		*dst = pick[T](f.scalar.(string), words...)
	}
}

// setTexts copies a list of strings.
func setTexts(dst *[]string, block *value, name string) {
	if f := block.get(name); f != nil {
		*dst = f.texts()
	}
}

// texts are the strings of a list.
func (v *value) texts() []string {
	var out []string
	for _, item := range v.items {
		if s, ok := item.scalar.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// normal is a text that two values share when they mean the same: absent keys count with their defaults, and the order of a
// block's keys does not count.
func (v *value) normal() string {
	switch v.form {
	case formScalar:
		return fmt.Sprintf("%T %v", v.scalar, v.scalar)
	case formList:
		parts := make([]string, len(v.items))
		for i, item := range v.items {
			parts[i] = item.normal()
		}
		return "[" + strings.Join(parts, ",") + "]"
	case formBlock:
		return v.normalBlock()
	}
	return "none"
}

func (v *value) normalBlock() string {
	var parts []string
	for _, f := range v.fields {
		parts = append(parts, fmt.Sprintf("%q:%s", f.name, f.value.normal()))
	}
	for _, k := range v.key.keys {
		if v.get(k.name) == nil {
			parts = append(parts, fmt.Sprintf("%q:%s", k.name, k.defaultValue().normal()))
		}
	}
	sort.Strings(parts)
	return "{" + strings.Join(parts, ",") + "}"
}

// words is the value in one line of YAML, as the file says it.
func (v *value) words() string {
	var parts []string
	for _, item := range v.items {
		parts = append(parts, item.words())
	}
	for _, f := range v.fields {
		parts = append(parts, f.name+": "+f.value.words())
	}
	all := strings.Join(parts, ", ")
	switch {
	case v.form == formScalar:
		return v.text
	case v.form == formBlock:
		return "{" + all + "}"
	case len(v.items) == 1:
		return all
	}
	return "[" + all + "]"
}

// defaultValue is what stands for the key when it is absent.
func (k *key) defaultValue() *value {
	if k.deflt == "" && k.keys == nil {
		return &value{key: k}
	}
	if k.deflt == "" || k.deflt == "{}" {
		return &value{key: k, form: formBlock}
	}
	s := &source{}
	tree := s.parseTree("v: " + k.deflt)
	return (&checker{source: s}).check(k, tree.entries[0].value, "")
}
