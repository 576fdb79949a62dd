package purge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	maxBodyBytes = 1 << 20
	// maxDepth is the deepest nesting: an object, its list of files, one of them, its
	// fields.
	maxDepth = 4
	// maxValues is how many values a body may hold in all.
	maxValues = 20_000
)

// value is a JSON value that knows where it stands.
type value struct {
	at     string // as problems name it: "urls[3]"
	text   string // of a string
	truth  bool   // of a boolean
	kind   string // "object", "list", "string", "boolean", "number", "null"
	list   []value
	names  []string // of an object's members, in order
	fields map[string]value
}

// readBody reads the JSON object that is the body of a request. It is strict: UTF-8,
// no name twice, nothing after it, nothing deep or large.
func readBody(w http.ResponseWriter, r *http.Request) (value, *Refusal) {
	text, refusal := readText(w, r)
	if refusal != nil {
		return value{}, refusal
	}
	return parseBody(text)
}

// readText reads the body of a request.
func readText(w http.ResponseWriter, r *http.Request) ([]byte, *Refusal) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, refuse(http.StatusUnsupportedMediaType, "the body must not be compressed (Content-Encoding: %s)", clip(coding))
	}
	if r.Body == nil {
		return nil, nil
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body is longer than %d bytes; send several orders", maxBodyBytes)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the body did not come whole")
	}
	return text, nil
}

// parseBody reads a JSON object.
func parseBody(text []byte) (value, *Refusal) {
	if len(bytes.TrimSpace(text)) == 0 {
		return value{}, refuse(http.StatusBadRequest, "the body is empty; a JSON object is expected")
	}
	if !utf8.Valid(text) {
		return value{}, refuse(http.StatusBadRequest, "the body is not UTF-8")
	}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(text, new(json.RawMessage)); errors.As(err, &syntax) {
		return value{}, refuse(http.StatusBadRequest, "%s: not JSON: %s", position(text, syntax.Offset), syntax)
	} else if err != nil {
		return value{}, refuse(http.StatusBadRequest, "not JSON: %s", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	p := bodyParser{decoder: decoder, text: text}
	root, err := p.value("", 1)
	if err != nil {
		return value{}, refuse(http.StatusBadRequest, "%s: %s", position(text, decoder.InputOffset()), err)
	}
	if root.kind != "object" {
		return value{}, refuse(http.StatusBadRequest, "a JSON object is expected, not a %s", root.kind)
	}
	return root, nil
}

// position is where in a text an offset stands, for people.
func position(text []byte, offset int64) string {
	before := text[:min(max(offset-1, 0), int64(len(text)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return fmt.Sprintf("line %d, column %d", line, column)
}

// bodyParser builds values of a text that is known to be JSON.
type bodyParser struct {
	decoder *json.Decoder
	text    []byte
	values  int
}

func (p *bodyParser) value(at string, depth int) (value, error) {
	if p.values++; p.values > maxValues {
		return value{}, fmt.Errorf("more than %d values", maxValues)
	}
	token, err := p.decoder.Token()
	if err != nil {
		return value{}, err
	}
	v := value{at: at}
	switch t := token.(type) {
	case json.Delim:
		if depth > maxDepth {
			return value{}, fmt.Errorf("nested deeper than %d", maxDepth)
		}
		if t == '{' {
			v.kind = "object"
			return v, p.object(&v, depth)
		}
		v.kind = "list"
		return v, p.list(&v, depth)
	case string:
		// What is no Unicode text, half of a surrogate pair, was turned into this.
		if strings.ContainsRune(t, utf8.RuneError) {
			return value{}, errors.New("a string that is not Unicode text")
		}
		v.kind, v.text = "string", t
	case bool:
		v.kind, v.truth = "boolean", t
	case json.Number:
		v.kind = "number"
	case nil:
		v.kind = "null"
	}
	return v, nil
}

func (p *bodyParser) object(v *value, depth int) error {
	v.fields = make(map[string]value)
	for p.decoder.More() {
		token, err := p.decoder.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		if _, twice := v.fields[name]; twice {
			return fmt.Errorf("%s stands twice", clip(name))
		}
		at := plainName(name)
		if v.at != "" {
			at = v.at + "." + at
		}
		field, err := p.value(at, depth+1)
		if err != nil {
			return err
		}
		v.names, v.fields[name] = append(v.names, name), field
	}
	_, err := p.decoder.Token()
	return err
}

// plainName is a member's name as problems show it: quoted only where it is odd.
func plainName(name string) string {
	odd := func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }
	if name == "" || len(name) > 40 || strings.ContainsFunc(name, odd) {
		return clip(name)
	}
	return name
}

func (p *bodyParser) list(v *value, depth int) error {
	for p.decoder.More() {
		if len(v.list) == MaxItems {
			return fmt.Errorf("%s has more than %d items; send several orders", v.at, MaxItems)
		}
		item, err := p.value(fmt.Sprintf("%s[%d]", v.at, len(v.list)), depth+1)
		if err != nil {
			return err
		}
		v.list = append(v.list, item)
	}
	_, err := p.decoder.Token()
	return err
}

// reader takes the members of an object, and notes what is wrong with them.
type reader struct {
	object   value
	taken    map[string]bool
	problems []string
}

func newReader(object value) *reader { return &reader{object: object, taken: make(map[string]bool)} }

func (r *reader) problem(format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, fmt.Sprintf(format, args...))
	}
}

// take returns a member; ok is false if it is absent or null.
func (r *reader) take(name, kind, wanted string) (value, bool) {
	r.taken[name] = true
	v, ok := r.object.fields[name]
	if !ok || v.kind == "null" {
		return value{}, false
	}
	if v.kind != kind {
		r.problem("%s: must be %s, not a %s", v.at, wanted, v.kind)
		return value{}, false
	}
	return v, true
}

func (r *reader) truth(name string) bool {
	v, _ := r.take(name, "boolean", "true or false")
	return v.truth
}

func (r *reader) text(name, wanted string) string {
	v, _ := r.take(name, "string", wanted)
	return v.text
}

func (r *reader) strings(name string) []string {
	v, _ := r.take(name, "list", "a list of strings")
	var all []string
	for _, item := range v.list {
		if item.kind != "string" {
			r.problem("%s: must be a string, not a %s", item.at, item.kind)
			continue
		}
		all = append(all, item.text)
	}
	return all
}

// done notes the members that nobody took.
func (r *reader) done() []string {
	for _, name := range r.object.names {
		if !r.taken[name] {
			r.problem("%s: there is no such field", r.object.fields[name].at)
		}
	}
	return r.problems
}
