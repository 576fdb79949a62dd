package config

import "strings"

// key describes one key of a file: what may stand there, what stands for it when it is absent, and what is said about it.
// The trees that nodeSchema and siteSchema return are the only description of the two files: validation, the JSON Schemas
// and docs/configuration.md are all made from them.
//
// A key takes every form that is described: a scalar (kind, words), a list (item), a block of known keys (keys), a block of
// free names (named). Where only a list is described, one item may stand alone.
type key struct {
	name string

	kind    kind     // of a scalar value; kindNone = words only
	words   []word   // what may be said in place of the scalar
	schemes []string // of a kindURL
	least   string   // the lowest value allowed, as YAML; "" = the kind's own
	because string   // why it is least, for who asks for less; "" = it speaks for itself
	most    string   // the highest

	item      *key   // a list of these
	exact     int    // how many items there must be; 0 = any number
	mostItems int    // how many there may be, or names in a block of free names; 0 = any number
	fewer     string // what is suggested beyond mostItems; "" = patterns
	filled    bool   // the list, or the block of free names, cannot be empty
	unique    bool   // no item stands twice

	keys []*key // a block with these keys

	named    *key // a block with free names, each holding this
	nameKind kind // what the names are

	deflt      string // as YAML; "" = none, or, for a block, the defaults of its keys
	isRequired bool
	later      bool // not available in this version: only the default is accepted. Flip it to make the key available.
	itemsNow   int  // how many items are available in this version; 0 = any number

	doc     string // one sentence or two
	example string // a value other than the default, as YAML
}

// word is one fixed value.
type word struct {
	text  string
	later bool // not available in this version
}

func words(texts ...string) []word {
	out := make([]word, len(texts))
	for i, t := range texts {
		out[i].text = t
	}
	return out
}

// notYet marks words that are understood but not available in this version.
func notYet(texts ...string) []word {
	out := words(texts...)
	for i := range out {
		out[i].later = true
	}
	return out
}

func (k *key) isScalar() bool { return k.kind != kindNone || len(k.words) > 0 }
func (k *key) isBlock() bool  { return k.keys != nil || k.named != nil }

// child is the key of that name in a block of known keys, nil if there is none.
func (k *key) child(name string) *key {
	for _, c := range k.keys {
		if c.name == name {
			return c
		}
	}
	return nil
}

// names lists the keys that a block knows.
func (k *key) names() []string {
	out := make([]string, len(k.keys))
	for i, c := range k.keys {
		out[i] = c.name
	}
	return out
}

// wordTexts lists the words, those of later versions included.
func (k *key) wordTexts() []string {
	out := make([]string, len(k.words))
	for i, w := range k.words {
		out[i] = w.text
	}
	return out
}

// find looks for a key of that name anywhere below k and returns the path of the block that holds it.
func (k *key) find(name, at string) (string, bool) {
	for _, c := range k.keys {
		if c.name == name && at != "" {
			return at, true
		}
		if place, ok := c.find(name, join(at, c.name)); ok {
			return place, true
		}
		if c.item == nil {
			continue
		}
		if place, ok := c.item.find(name, join(at, c.name+"[]")); ok {
			return place, true
		}
	}
	return "", false
}

// accepts says in words what may stand at k, for messages.
func (k *key) accepts() string {
	var forms []string
	if k.isBlock() {
		forms = append(forms, "a block of keys")
	}
	if k.item != nil {
		forms = append(forms, "a list")
	}
	if k.item != nil && k.item.isScalar() {
		forms = append(forms, k.item.scalarWords())
	}
	if k.isScalar() {
		forms = append(forms, k.scalarWords())
	}
	return enumerate(forms, "or")
}

// scalarWords says in words which scalars k takes: "a duration", "json or combined", "off or an address".
func (k *key) scalarWords() string {
	all := k.wordTexts()
	if k.kind != kindNone {
		all = append(all, k.kind.info().article)
	}
	return enumerate(all, "or")
}

// enumerate joins words as prose does: "a, b or c".
func enumerate(all []string, last string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " " + last + " " + all[len(all)-1]
}

// join appends a key to a path.
func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
