package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"unicode/utf8"
)

// jsonFault holds a value against a JSON Schema that uses only the words that ours do, and says what does not fit.
func jsonFault(schema map[string]any, v any, at string) string {
	if forms, ok := schema["anyOf"].([]any); ok {
		fault := ""
		for _, form := range forms {
			if fault = jsonFault(form.(map[string]any), v, at); fault == "" {
				return ""
			}
		}
		return at + ": none of its forms; the last: " + fault
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Sprintf("%s: %v is none of %v", at, v, enum)
	}
	if want, ok := schema["const"]; ok && want != v {
		return fmt.Sprintf("%s: %v is not %v", at, v, want)
	}
	if !hasJSONType(schema["type"], v) {
		return fmt.Sprintf("%s: %v is no %v", at, v, schema["type"])
	}
	switch v := v.(type) {
	case string:
		if p, ok := schema["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return fmt.Sprintf("%s: %q does not match %s", at, v, p)
		}
	case float64:
		if least, ok := schema["minimum"].(float64); ok && v < least {
			return fmt.Sprintf("%s: %v is below %v", at, v, least)
		}
		if most, ok := schema["maximum"].(float64); ok && v > most {
			return fmt.Sprintf("%s: %v is above %v", at, v, most)
		}
	case []any:
		return jsonListFault(schema, v, at)
	case map[string]any:
		return jsonBlockFault(schema, v, at)
	}
	return ""
}

func hasJSONType(want, v any) bool {
	if several, ok := want.([]any); ok {
		return slices.ContainsFunc(several, func(one any) bool { return hasJSONType(one, v) })
	}
	got := ""
	switch v := v.(type) {
	case string:
		got = "string"
	case bool:
		got = "boolean"
	case float64:
		got = "number"
		if v == float64(int64(v)) && want == "integer" {
			got = "integer"
		}
	case []any:
		got = "array"
	case map[string]any:
		got = "object"
	}
	return want == nil || want == got
}

func jsonListFault(schema map[string]any, v []any, at string) string {
	if n, ok := schema["minItems"].(float64); ok && float64(len(v)) < n {
		return fmt.Sprintf("%s: only %d items", at, len(v))
	}
	if n, ok := schema["maxItems"].(float64); ok && float64(len(v)) > n {
		return fmt.Sprintf("%s: %d items", at, len(v))
	}
	if schema["uniqueItems"] == true {
		for i, item := range v {
			if slices.Contains(v[:i], item) {
				return fmt.Sprintf("%s[%d]: twice", at, i)
			}
		}
	}
	for i, item := range v {
		if fault := jsonFault(schema["items"].(map[string]any), item, fmt.Sprintf("%s[%d]", at, i)); fault != "" {
			return fault
		}
	}
	return ""
}

func jsonBlockFault(schema map[string]any, v map[string]any, at string) string {
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Sprintf("%s: %s is missing", at, name)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, value := range v {
		below, known := properties[name].(map[string]any)
		if !known {
			more, free := schema["additionalProperties"].(map[string]any)
			if !free {
				return at + ": unknown key " + name
			}
			if names, ok := schema["propertyNames"].(map[string]any); ok {
				if fault := jsonFault(names, name, at); fault != "" {
					return fault
				}
			}
			below = more
		}
		if value == nil {
			continue // a key without a value, which an editor marks and Load takes for an empty block
		}
		if fault := jsonFault(below, value, join(at, name)); fault != "" {
			return fault
		}
	}
	return ""
}

func readSchema(t *testing.T, kind FileKind) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(JSONSchema(kind), &out); err != nil {
		t.Fatalf("the JSON Schema of the %s file: %v", kind, err)
	}
	return out
}

// plainFile reads a YAML file as an editor does.
func plainFile(t *testing.T, path string) (any, bool) {
	t.Helper()
	s, text, ok := readSource(path, &report{})
	if !ok {
		return nil, false
	}
	tree := s.parseTree(text)
	if tree == nil {
		return nil, false
	}
	return tree.plain(), true
}

// TestJSONSchemaAccepts: what Load takes, an editor does not mark.
func TestJSONSchemaAccepts(t *testing.T) {
	t.Parallel()
	node, site := readSchema(t, NodeFile), readSchema(t, SiteFile)
	count := 0
	for _, pattern := range []string{"good/*/*.yaml", "good/*/*/*.yaml", "design/*.yaml", "design/*/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(fixtures, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			v, ok := plainFile(t, file)
			if !ok { // what an editor left behind
				continue
			}
			schema := site
			if filepath.Base(file) == "node.yaml" {
				schema = node
			}
			if fault := jsonFault(schema, v, ""); fault != "" {
				t.Errorf("%s: %s", file, fault)
			}
			count++
		}
	}
	if count < 14 {
		t.Errorf("only %d files were looked at", count)
	}
}

// TestJSONSchemaRefuses: an editor marks the mistakes of shape that Load refuses.
func TestJSONSchemaRefuses(t *testing.T) {
	t.Parallel()
	node, site := readSchema(t, NodeFile), readSchema(t, SiteFile)
	for _, name := range []string{"unknown-key", "wrong-type", "bad-enum", "bad-duration", "bad-size"} {
		for file, schema := range map[string]map[string]any{"node.yaml": node, "sites/www.yaml": site} {
			v, ok := plainFile(t, filepath.Join(fixtures, "broken", name, file))
			if !ok || jsonFault(schema, v, "") == "" {
				t.Errorf("%s/%s: the JSON Schema finds nothing", name, file)
			}
		}
	}
	for _, name := range []string{
		"missing-key", "bad-status", "bad-url", "bad-field", "match-empty", "too-many-rules", "compress-lists", "override-words", "bad-glob",
	} {
		if v, ok := plainFile(t, filepath.Join(fixtures, "broken", name, "sites/www.yaml")); !ok || jsonFault(site, v, "") == "" {
			t.Errorf("%s: the JSON Schema finds nothing", name)
		}
	}
	if JSONSchema("other") != nil {
		t.Error("there are two kinds of files")
	}
}

// TestJSONSchemaIsWhole: every key is in the JSON Schema, with its description, its default and its words, and every default
// and example fits what is said of its key.
func TestJSONSchemaIsWhole(t *testing.T) {
	t.Parallel()
	for kind, root := range map[FileKind]*key{NodeFile: nodeSchema(), SiteFile: siteSchema()} {
		checkJSONKeys(t, root, readSchema(t, kind), string(kind))
	}
}

func checkJSONKeys(t *testing.T, k *key, schema map[string]any, at string) {
	t.Helper()
	properties := jsonPart(schema, "properties")
	for _, c := range k.keys {
		path := join(at, c.name)
		below, ok := properties[c.name].(map[string]any)
		if !ok {
			t.Errorf("%s is not in the JSON Schema", path)
			continue
		}
		if text, _ := below["description"].(string); text == "" || !utf8.ValidString(text) {
			t.Errorf("%s has no description", path)
		}
		for word, present := range map[string]bool{"default": c.deflt != "", "examples": c.example != ""} {
			if _, ok := below[word]; ok != present {
				t.Errorf("%s: %s there: %v, want %v", path, word, ok, present)
			}
		}
		for _, text := range []string{c.deflt, c.example} {
			if fault := jsonFault(below, plainYAML(text), path); text != "" && fault != "" {
				t.Errorf("%s: its own value %s: %s", path, text, fault)
			}
		}
		checkJSONKeys(t, c, below, path)
		if c.item != nil && c.item.keys != nil {
			checkJSONKeys(t, c.item, jsonPart(below, "items"), path+"[]")
		}
		if c.named != nil && c.named.keys != nil {
			checkJSONKeys(t, c.named, jsonPart(below, "additionalProperties"), path+".NAME")
		}
	}
}

// jsonPart finds a part of a schema, in it or in one of its forms.
func jsonPart(schema map[string]any, name string) map[string]any {
	if part, ok := schema[name].(map[string]any); ok {
		return part
	}
	forms, _ := schema["anyOf"].([]any)
	for _, form := range forms {
		if part, ok := form.(map[string]any)[name].(map[string]any); ok {
			return part
		}
	}
	return nil
}
