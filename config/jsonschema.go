package config

import (
	"encoding/json"
	"strings"
)

// JSONSchema returns the JSON Schema (draft 2020-12) of one of the two files, nil for any other kind. It is made for editors:
// descriptions, defaults, examples, the words of enumerations, and nothing that is not known.
func JSONSchema(kind FileKind) []byte {
	var root *key
	title := ""
	switch kind {
	case NodeFile:
		root, title = nodeSchema(), "perigee node file"
	case SiteFile:
		root, title = siteSchema(), "perigee site file"
	default:
		return nil
	}
	doc := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   title,
	}
	for name, value := range root.jsonForms()[0] {
		doc[name] = value
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic("config: the schema is no JSON: " + err.Error())
	}
	return append(out, '\n')
}

// jsonSchema describes one key.
func (k *key) jsonSchema() map[string]any {
	out := make(map[string]any)
	if forms := k.jsonForms(); len(forms) == 1 {
		out = forms[0]
	} else {
		out["anyOf"] = forms
	}
	if doc := k.plainDoc(); doc != "" {
		out["description"] = doc
	}
	if k.deflt != "" {
		out["default"] = plainYAML(k.deflt)
	}
	if k.example != "" {
		out["examples"] = []any{plainYAML(k.example)}
	}
	return out
}

// plainDoc is the description without the marks of the documentation, with what an editor cannot know otherwise.
func (k *key) plainDoc() string {
	doc := strings.ReplaceAll(k.doc, "`", "")
	if k.kind != kindNone && k.kind != kindText {
		doc += " (" + strings.ReplaceAll(k.kind.info().form, "`", "") + ")"
	}
	if k.later {
		doc += " (" + NotAvailable + ")"
	}
	return strings.TrimSpace(doc)
}

// jsonForms lists the forms that a key takes. A list of one may be written without the list.
func (k *key) jsonForms() []map[string]any {
	var forms []map[string]any
	if len(k.words) > 0 {
		forms = append(forms, k.jsonWords())
	}
	if k.kind != kindNone {
		forms = append(forms, k.jsonScalars()...)
	}
	if k.item != nil {
		list := map[string]any{"type": "array", "items": k.item.jsonSchema()}
		if k.exact > 0 {
			list["minItems"], list["maxItems"] = k.exact, k.exact
		}
		if k.filled || k.isRequired {
			list["minItems"] = max(k.exact, 1)
		}
		if k.mostItems > 0 {
			list["maxItems"] = k.mostItems
		}
		if k.unique {
			list["uniqueItems"] = true
		}
		forms = append(forms, list)
		if k.exact == 0 {
			forms = append(forms, k.item.jsonForms()...)
		}
	}
	if k.keys != nil {
		forms = append(forms, k.jsonBlock())
	}
	if k.named != nil {
		names := map[string]any{}
		if pattern := k.nameKind.info().pattern; pattern != "" {
			names["pattern"] = pattern
		}
		forms = append(forms, map[string]any{"type": "object", "propertyNames": names, "additionalProperties": k.named.jsonSchema()})
	}
	return forms
}

// jsonWords lists fixed words; what YAML reads as true and false is a boolean to an editor.
func (k *key) jsonWords() map[string]any {
	all := make([]any, 0, len(k.words))
	for _, w := range k.words {
		all = append(all, (&node{form: formScalar, text: w.text}).plain())
	}
	return map[string]any{"enum": all}
}

// jsonScalars describes the scalars of the key's kind. A variable may stand for any of them.
func (k *key) jsonScalars() []map[string]any {
	info := k.kind.info()
	variable := map[string]any{"type": "string", "pattern": `\$\{[A-Za-z_][A-Za-z0-9_]*\}`}
	switch {
	case info.json != "":
		form := map[string]any{"type": info.json}
		if info.json != "boolean" {
			k.jsonBounds(form)
		}
		return []map[string]any{form, variable}
	case k.kind == kindFieldValue || k.kind == kindText:
		return []map[string]any{{"type": []any{"string", "number", "boolean"}}}
	case k.kind == kindStatusRange:
		return []map[string]any{{"type": "integer"}, {"type": "string", "pattern": info.pattern}, variable}
	case info.pattern == "":
		return []map[string]any{{"type": "string"}}
	}
	pattern := info.pattern
	if k.kind == kindURL {
		pattern = "^(" + strings.Join(k.schemes, "|") + `)://[^ ?#@]+$`
	}
	if k.deflt == `""` {
		pattern = `^$|` + pattern
	}
	forms := []map[string]any{{"type": "string", "pattern": pattern}, variable}
	if k.kind == kindDuration || k.kind == kindSize {
		forms = append(forms, map[string]any{"const": 0})
	}
	return forms
}

func (k *key) jsonBounds(form map[string]any) {
	if k.least != "" {
		form["minimum"] = amount(k.bound(k.least))
	}
	if k.most != "" {
		form["maximum"] = amount(k.bound(k.most))
	}
}

func (k *key) jsonBlock() map[string]any {
	properties := make(map[string]any, len(k.keys))
	var required []string
	for _, c := range k.keys {
		properties[c.name] = c.jsonSchema()
		if c.isRequired {
			required = append(required, c.name)
		}
	}
	out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		out["required"] = required
	}
	return out
}

// plainYAML is a YAML value of the schema as JSON has it.
func plainYAML(text string) any {
	tree := (&source{}).parseTree("v: " + text)
	return tree.entries[0].value.plain()
}

// plain is a tree in the types of encoding/json, read as YAML reads it.
func (n *node) plain() any {
	switch n.form {
	case formScalar:
		return n.plainScalar()
	case formList:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = item.plain()
		}
		return out
	case formBlock:
		out := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			out[e.name] = e.value.plain()
		}
		return out
	}
	return nil
}

func (n *node) plainScalar() any {
	if n.quoted {
		return n.text
	}
	if b, bad := parseBool(n.text); bad == nil {
		return b
	}
	if f, bad := parseFloat(n.text); bad == nil {
		return f
	}
	return n.text
}
