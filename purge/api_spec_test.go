package purge

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
)

// spec is as much of an OpenAPI file as this package's needs.
type spec struct {
	Paths      map[string]map[string]operation
	Components struct {
		Schemas   map[string]any
		Responses map[string]response
	}
}

type operation struct {
	OperationID string
	Parameters  []struct {
		Name, In string
		Example  string
	}
	RequestBody struct{ Content map[string]content }
	Responses   map[string]response
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]content
}

type content struct {
	Schema   any
	Example  any
	Examples map[string]struct{ Value any }
}

func readSpec(t *testing.T) (s spec) {
	t.Helper()
	text, err := os.ReadFile("../docs/purge-api.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSpecHasTheRoutes: what the file lists and what is answered are the same.
func TestSpecHasTheRoutes(t *testing.T) {
	t.Parallel()
	var listed, answered []string
	for path, methods := range readSpec(t).Paths {
		for method := range methods {
			listed = append(listed, strings.ToUpper(method)+" "+path)
		}
	}
	for _, route := range publicRoutes() {
		for _, method := range route.methods {
			answered = append(answered, method+" "+strings.ReplaceAll(route.pattern, "...}", "}"))
		}
	}
	slices.Sort(listed)
	slices.Sort(answered)
	if diff := cmp.Diff(answered, listed); diff != "" {
		t.Errorf("docs/purge-api.json (-answered +listed)\n%s", diff)
	}
}

// TestSpecExamples sends each example of the file, and an empty or a bad body in its
// place; the answers are of the listed statuses and of their schemas.
func TestSpecExamples(t *testing.T) {
	t.Parallel()
	s := readSpec(t)
	for path, methods := range s.Paths {
		for method, op := range methods {
			t.Run(op.OperationID, func(t *testing.T) {
				t.Parallel()
				bodies := map[string]string{"none": "", "bad": `{"no such field": 1}`}
				for name, example := range op.RequestBody.Content["application/json"].Examples {
					text, err := json.Marshal(example.Value)
					if err != nil {
						t.Fatal(err)
					}
					checkSchema(t, s, "example "+name, op.RequestBody.Content["application/json"].Schema, example.Value)
					bodies[name] = string(text)
				}
				for _, name := range slices.Sorted(maps.Keys(bodies)) {
					for _, token := range []string{secretAll, secretOther, secretTags, ""} {
						tryExample(t, s, op, strings.ToUpper(method), path, bodies[name], token)
					}
				}
			})
		}
	}
}

func tryExample(t *testing.T, s spec, op operation, method, path, body, token string) {
	t.Helper()
	r := newRig(t)
	r.count = func(string, []cachestore.Mark, time.Time) (int, bool) { return 3, false }
	for _, p := range op.Parameters {
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", p.Example)
		}
	}
	receipt, err := r.Purge(t.Context(), Order{Site: siteWWW, Tags: []string{"t"}})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(path, "/v1/purges/") {
		path = "/v1/purges/" + receipt.ID
	}
	q := request{method: method, target: path, token: token, body: body}.http()
	w := httptest.NewRecorder()
	r.Public().ServeHTTP(w, q)
	listed, ok := op.Responses[strconv.Itoa(w.Code)]
	switch {
	case !ok:
		t.Errorf("%s %s %s: status %d is not listed: %s", method, path, body, w.Code, w.Body)
		return
	case w.Code == http.StatusMethodNotAllowed, w.Code == http.StatusNotFound && token == secretAll:
		t.Errorf("%s %s: status %d", method, path, w.Code)
	case token == secretAll && body != "" && !strings.Contains(body, "no such") && w.Code != http.StatusOK:
		t.Errorf("%s %s %s: status %d: %s", method, path, body, w.Code, w.Body)
	case token == secretOther && w.Code == http.StatusOK && path != "/v1/purges":
		t.Errorf("%s %s: status 200 for a token of another site", method, path)
	}
	if method == http.MethodHead {
		return
	}
	var answer any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if name := strings.TrimPrefix(listed.Ref, "#/components/responses/"); name != "" {
		listed = s.Components.Responses[name]
	}
	c := listed.Content["application/json"]
	checkSchema(t, s, fmt.Sprintf("%s %s, status %d", method, path, w.Code), c.Schema, answer)
	if c.Example != nil {
		checkSchema(t, s, path+", example of the answer", c.Schema, c.Example)
	}
}

func checkSchema(t *testing.T, s spec, what string, schema, v any) {
	t.Helper()
	if problem := s.fits(schema, v); problem != "" {
		t.Errorf("%s: %v: %s", what, v, problem)
	}
}

// fits tells how a JSON value is not of a schema; "" = it is. It knows the words that
// the file uses.
func (s spec) fits(schema, v any) string {
	o, _ := schema.(map[string]any)
	if o == nil {
		return "there is no schema"
	}
	if ref, ok := o["$ref"].(string); ok {
		return s.fits(s.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")], v)
	}
	if any, ok := o["oneOf"].([]any); ok {
		n := 0
		for _, each := range any {
			if s.fits(each, v) == "" {
				n++
			}
		}
		if n != 1 {
			return fmt.Sprintf("fits %d of the alternatives", n)
		}
		return ""
	}
	if words, ok := o["enum"].([]any); ok && !slices.Contains(words, v) {
		return fmt.Sprintf("is none of %v", words)
	}
	if kinds := kindsOf(o["type"]); kinds != nil && !slices.Contains(kinds, kindOf(v)) {
		return fmt.Sprintf("is a %s, not of %v", kindOf(v), kinds)
	}
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			if problem := s.fits(o["items"], item); problem != "" {
				return fmt.Sprintf("[%d] %s", i, problem)
			}
		}
	case map[string]any:
		return s.objectFits(o, v)
	}
	return ""
}

func (s spec) objectFits(o, v map[string]any) string {
	required, _ := o["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Sprintf("lacks %v", name)
		}
	}
	properties, _ := o["properties"].(map[string]any)
	for name, member := range v {
		schema, ok := properties[name]
		if !ok {
			if schema = o["additionalProperties"]; schema == false || schema == nil {
				return "has " + name
			}
		}
		if problem := s.fits(schema, member); problem != "" {
			return name + " " + problem
		}
	}
	return ""
}

func kindsOf(v any) (kinds []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, each := range v {
			kinds = append(kinds, each.(string))
		}
	}
	return kinds
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}
