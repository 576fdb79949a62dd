package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// NotAvailable is the message for what this version understands but cannot do.
const NotAvailable = "not available in this version"

// checker holds one file's tree against the schema and reports everything that does not fit.
type checker struct {
	*source
	env   func(string) (string, bool)
	root  *key
	later int // > 0 inside a key that is not available: its shape is checked, but neither files nor variables are looked at
}

// check returns the value of a node, nil when it does not have a form that the key takes.
func (c *checker) check(k *key, n *node, path string) *value {
	v := &value{key: k, at: n.at, path: path, form: n.form}
	switch {
	case n.form == formBlock && k.keys != nil:
		c.block(v, n)
	case n.form == formBlock && k.named != nil:
		c.named(v, n)
	case n.form == formList && k.item != nil:
		c.list(v, n)
	case n.form == formScalar && k.isScalar():
		return c.scalar(v, n)
	case k.item != nil && (n.form == formScalar && k.item.isScalar() || n.form == formBlock && k.item.isBlock()):
		v.form = formList
		if item := c.check(k.item, n, path); item != nil {
			v.items = []*value{item}
		} else {
			v.flawed = true
		}
	case n.form == formNull && !k.isScalar() && (!(k.isRequired || k.filled) || k.item == nil):
		return c.empty(v)
	default:
		c.wrongForm(k, n, path)
		return nil
	}
	return v
}

// empty is a block or list whose content is missing, as when all of it is commented out.
func (c *checker) empty(v *value) *value {
	v.form = formList
	if v.key.isBlock() && v.key.item == nil {
		v.form = formBlock
		c.missing(v)
	}
	return v
}

func (c *checker) wrongForm(k *key, n *node, path string) {
	hint := ""
	if e := k.exampleText(); e != "" {
		hint = "for example: " + e
	}
	got := n.form.String()
	if n.form == formScalar {
		got = quote(n.text)
	}
	c.fault(n.at, path, "wants "+k.accepts()+", got "+got, hint)
}

// exampleText is the key with a value, as one would write it.
func (k *key) exampleText() string {
	e := k.example
	if e == "" && k.kind != kindNone {
		e = k.kind.info().example
	}
	if e == "" && k.item != nil {
		e = k.item.exampleText()
	}
	if e == "" && k.keys != nil {
		e = "{" + strings.TrimPrefix(k.keys[0].exampleText(), "- ") + "}"
	}
	if e == "" || k.name == "" {
		return e
	}
	return k.name + ": " + e
}

func (c *checker) block(v *value, n *node) {
	c.strike(v.key, n)
	first := make(map[string]pos, len(n.entries))
	for _, e := range n.entries {
		at, path := e.at, join(v.path, e.name)
		k := v.key.child(e.name)
		if k == nil {
			v.flawed = true
			c.fault(at, path, "unknown key", c.suggestKey(v, e.name))
			continue
		}
		if before, twice := first[e.name]; twice {
			c.fault(at, path, fmt.Sprintf("duplicate key; it stands in line %d already", before.line), "keep one of them")
			continue
		}
		first[e.name] = at
		child := c.field(k, e, path)
		if child == nil {
			v.flawed = true
			continue
		}
		v.fields = append(v.fields, field{e.name, at, child})
	}
	c.missingBut(v, first)
}

// field checks one known key, and refuses it when it is not available and says something else than its default.
func (c *checker) field(k *key, e entry, path string) *value {
	if !k.later || c.later > 0 {
		return c.check(k, e.value, path)
	}
	before := c.report.count()
	c.later++
	v := c.check(k, e.value, path)
	c.later--
	if v == nil || c.report.count() > before || v.normal() != k.defaultValue().normal() {
		c.fault(e.at, path, NotAvailable, k.leaveOut())
	}
	return v
}

// leaveOut says what may stand at a key that is not available.
func (k *key) leaveOut() string {
	if k.deflt == "" || k.deflt == `""` || k.deflt == "[]" || k.deflt == "{}" {
		return "leave it out"
	}
	return "leave it out or keep its default: " + k.name + ": " + k.deflt
}

// missing reports the required keys of a block that holds nothing.
func (c *checker) missing(v *value) { c.missingBut(v, nil) }

func (c *checker) missingBut(v *value, present map[string]pos) {
	for _, k := range v.key.keys {
		if _, ok := present[k.name]; k.isRequired && !ok {
			c.fault(v.at, join(v.path, k.name), "missing required key", "add it, for example: "+k.exampleText())
		}
	}
}

// suggestKey guesses what an unknown key was meant to be: a slip, a key of another block, or simply one of those there are.
func (c *checker) suggestKey(v *value, name string) string {
	if c.report.full() {
		return ""
	}
	names := v.key.names()
	if near := nearest(name, names); near != "" {
		return didYouMean(near)
	}
	if block, ok := v.key.find(name, v.path); ok && v.path != "" {
		return name + " belongs in " + block
	}
	if block, ok := c.root.findIn(name); ok && block != v.path {
		if block == "" {
			return name + " stands at the top of the file, not in a block"
		}
		return name + " belongs in " + block
	}
	return "known keys: " + strings.Join(names, ", ")
}

// findIn says which block of the file has a key of that name, the file itself ("") first.
func (k *key) findIn(name string) (string, bool) {
	if k == nil {
		return "", false
	}
	if k.child(name) != nil {
		return "", true
	}
	return k.find(name, "")
}

func (c *checker) named(v *value, n *node) {
	first := make(map[string]pos, len(n.entries))
	for _, e := range n.entries {
		path := join(v.path, e.name)
		name, bad := c.parse(&key{kind: v.key.nameKind}, e.name)
		if bad != nil {
			v.flawed = true
			c.fault(e.at, path, bad.message, bad.hint)
			continue
		}
		canonical := fmt.Sprint(name)
		if before, twice := first[canonical]; twice {
			c.fault(e.at, path, fmt.Sprintf("duplicate key; it stands in line %d already", before.line), "keep one of them")
			continue
		}
		first[canonical] = e.at
		child := c.check(v.key.named, e.value, path)
		if child == nil {
			v.flawed = true
			continue
		}
		v.fields = append(v.fields, field{canonical, e.at, child})
	}
	c.amount(v, len(n.entries))
}

// amount holds the number of items of a list, or of names in a block, against what the key takes.
func (c *checker) amount(v *value, n int) {
	k := v.key
	if n == 0 && (k.isRequired || k.filled) {
		c.fault(v.at, v.path, "the list is empty", "for example: "+k.exampleText())
	}
	if k.mostItems > 0 && n > k.mostItems {
		v.flawed = true
		c.fault(v.at, v.path, fmt.Sprintf("%d items, more than %d", n, k.mostItems), cmp.Or(k.fewer, "one pattern may stand for many"))
	}
}

func (c *checker) list(v *value, n *node) {
	k := v.key
	if k.exact > 0 && len(n.items) != k.exact {
		c.fault(n.at, v.path, fmt.Sprintf("wants %d items, got %d", k.exact, len(n.items)), "for example: "+k.exampleText())
	}
	c.amount(v, len(n.items))
	first := make(map[any]pos)
	for i, item := range n.items {
		path := fmt.Sprintf("%s[%d]", v.path, i)
		if k.itemsNow > 0 && i >= k.itemsNow && c.later == 0 {
			c.fault(item.at, path, NotAvailable, fmt.Sprintf("keep %s to %d", k.name, k.itemsNow))
		}
		if item.form == formNull {
			c.fault(item.at, path, "an empty item", "take it out or give it a value")
			continue
		}
		child := c.check(k.item, item, path)
		if child == nil {
			v.flawed = true
			continue
		}
		if before, twice := first[child.scalar]; twice && k.unique {
			c.fault(item.at, path, fmt.Sprintf("duplicate item; it stands in %d:%d already", before.line, before.col), "keep one of them")
			continue
		}
		first[child.scalar] = item.at
		v.items = append(v.items, child)
	}
}

// scalar reads one value: a word, or a text of the key's kind with its variables replaced.
func (c *checker) scalar(v *value, n *node) *value {
	if v.key.kind == kindVariable && !isReference(n.text) {
		c.literalSecret(n, v.path)
		return nil
	}
	text, ok := c.expand(n, v.path)
	if !ok {
		return nil
	}
	if v.text = n.text; n.quoted {
		v.text = strconv.Quote(n.text)
	}
	for _, w := range v.key.words {
		if w.text != text {
			continue
		}
		if w.later && c.later == 0 {
			c.fault(n.at, v.path, NotAvailable, quote(text)+" is for a later version; use "+enumerate(v.key.availableWords(), "or"))
		}
		v.scalar, v.word = text, true
		return v
	}
	if text == "" && v.key.deflt == `""` {
		v.scalar = ""
		return v
	}
	parsed, bad := c.parse(v.key, text)
	if bad != nil {
		if strings.Contains(n.text, "${") {
			bad.message = strings.ReplaceAll(bad.message, quote(text), "what "+quote(n.text)+" stands for")
		}
		c.fault(n.at, v.path, bad.message, bad.hint)
		return nil
	}
	v.scalar = c.resolve(v.key.kind, parsed)
	return v
}

// resolve puts a relative path where it belongs: beside the file that names it.
func (c *checker) resolve(k kind, parsed any) any {
	path, ok := parsed.(string)
	if ok && (k == kindPath || k == kindSecret) {
		return beside(c.dir, path)
	}
	return parsed
}

func (k *key) availableWords() []string {
	var out []string
	for _, w := range k.words {
		if !w.later {
			out = append(out, w.text)
		}
	}
	return out
}

// parse reads a text as the key's kind and holds it against the key's bounds.
func (c *checker) parse(k *key, text string) (any, *fault) {
	if bad := k.notWord(text); bad != nil {
		return nil, bad
	}
	if c.later > 0 && strings.Contains(text, "${") {
		return text, nil // what the variable holds is not asked for
	}
	if k.kind == kindURL {
		return parseURL(text, k.schemes)
	}
	parsed, bad := k.kind.info().parse(text)
	if bad != nil {
		return nil, bad
	}
	return parsed, k.outOfBounds(text, parsed)
}

// notWord refuses what is none of the key's words and cannot be of its kind, or looks like a slip in one of the words.
func (k *key) notWord(text string) *fault {
	if len(k.words) == 0 {
		return nil
	}
	near := nearest(text, k.availableWords())
	if k.kind == kindNone {
		what := enumerate(k.wordTexts(), "or")
		if k.isBlock() {
			what = k.accepts()
		}
		return faultf(k.guessWord(text, near), "%s is not %s", quote(text), what)
	}
	if near != "" && near != "*" && !strings.ContainsAny(text, "./:") {
		return faultf(didYouMean(near), "%s is not %s", quote(text), k.scalarWords())
	}
	return nil
}

// guessWord suggests what was meant by a text that is none of the key's words.
func (k *key) guessWord(text, near string) string {
	_, bad := parseBool(text)
	isFalse := text == "false" || bad != nil && strings.Contains(bad.hint, "false")
	isTrue := text == "true" || bad != nil && strings.Contains(bad.hint, "true")
	switch {
	case near != "":
		return didYouMean(near)
	case contains(k.wordTexts(), "true"):
		return bad.hint
	case isFalse && contains(k.wordTexts(), "off"):
		return didYouMean("off")
	case isTrue && k.isBlock():
		return "leave it out, or say how: " + k.exampleText()
	case k.isBlock():
		return "for example: " + k.exampleText()
	}
	return ""
}

// outOfBounds holds a number against the lowest and highest value of its key.
func (k *key) outOfBounds(text string, parsed any) *fault {
	if k.least != "" && amount(parsed) < amount(k.bound(k.least)) {
		hint := "it must be at least " + k.least
		if k.because != "" {
			hint += ": " + k.because
		}
		return faultf(hint, "%s is too low", quote(text))
	}
	if k.most != "" && amount(parsed) > amount(k.bound(k.most)) {
		return faultf("it may be at most "+k.most, "%s is too high", quote(text))
	}
	return nil
}

func (k *key) bound(text string) any {
	b, _ := k.kind.info().parse(text)
	return b
}
