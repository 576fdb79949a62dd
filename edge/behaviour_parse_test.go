package edge

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"perigee/httpcache"
)

// behaviourDir holds the cases; its README.txt is their grammar.
const behaviourDir = "../testdata/behaviour/"

// A behaviour is one case: requests in a row, what the origin would answer to each,
// and what has to come of it.
type behaviour struct {
	id, public string
	kind       string // required, optimal, check
	answer     string // of a check: yes or no
	differs    bool   // from what the public check expects
	rules      httpcache.Rules
	steps      []*behaviourStep
	file       string
}

// behaviourStep is one request.
type behaviourStep struct {
	wait    time.Duration // before it
	method  string
	path    string
	fields  []string // of the request, "Name: value"
	content string

	answer  scripted
	interim []scripted

	want []string // expectations as written

	closed bool // no further ">" line belongs to it
}

// scripted is a response of the origin.
type scripted struct {
	status   int
	reason   string
	fields   []string
	content  string
	own      bool // content was given
	hangUp   bool // the connection is closed in place of an answer
	unframed bool // the content ends with the connection
	delay    time.Duration
}

// loadBehaviours reads every file of cases.
func loadBehaviours(t *testing.T) []*behaviour {
	t.Helper()
	files, err := filepath.Glob(behaviourDir + "*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []*behaviour
	for _, file := range files {
		name := filepath.Base(file)
		if name == "README.txt" || name == "pending.txt" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := parseBehaviours(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, c := range cases {
			c.file = name
		}
		all = append(all, cases...)
	}
	return all
}

// parseBehaviours reads the blocks of a file. Tables multiply them.
func parseBehaviours(text string) ([]*behaviour, error) {
	var all []*behaviour
	line := 1
	for _, block := range strings.Split(text, "\n\n") {
		lines := strings.Split(block, "\n")
		start := line
		line += len(lines) + 1
		body, rows := unfold(lines)
		if len(body) == 0 {
			continue
		}
		for _, row := range rows {
			c, err := parseBehaviour(body, row)
			if err != nil {
				return nil, fmt.Errorf("block at line %d: %w", start, err)
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// unfold takes the table out of a block: its rows as replacements of {name}. A block
// without one has one row, which replaces nothing.
func unfold(lines []string) (body []string, rows []*strings.Replacer) {
	var names []string
	for _, line := range lines {
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "for "):
			names = columns(line[len("for "):])
		case line[0] == ' ' && names != nil:
			pairs := make([]string, 0, 2*len(names))
			for i, value := range columns(line) {
				pairs = append(pairs, "{"+names[i]+"}", value)
			}
			rows = append(rows, strings.NewReplacer(pairs...))
		default:
			body = append(body, line)
		}
	}
	if rows == nil {
		rows = []*strings.Replacer{strings.NewReplacer()}
	}
	return body, rows
}

func columns(line string) []string {
	all := strings.Split(line, "|")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

func parseBehaviour(lines []string, row *strings.Replacer) (*behaviour, error) {
	c := new(behaviour)
	for _, line := range lines {
		line = row.Replace(line)
		if err := c.line(line); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	switch {
	case c.id == "" || c.public == "" || len(c.steps) == 0:
		return nil, fmt.Errorf("case %q lacks an id, its public id, or steps", c.id)
	case c.kind != "required" && c.kind != "optimal" && c.kind != "check":
		return nil, fmt.Errorf("case %q has the kind %q", c.id, c.kind)
	case (c.kind == "check") != (c.answer == "yes" || c.answer == "no"):
		return nil, fmt.Errorf("case %q has the kind %q and the answer %q", c.id, c.kind, c.answer)
	}
	for _, step := range c.steps {
		if len(step.want) == 0 && step != c.steps[0] {
			return nil, fmt.Errorf("case %q: a later request has nothing to expect", c.id)
		}
	}
	return c, nil
}

// line takes one line of a block.
func (c *behaviour) line(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "case":
		c.id = rest
	case "public":
		c.public = rest
	case "kind":
		c.kind, c.answer, _ = strings.Cut(rest, " ")
	case "rule":
		return c.rule(rest)
	case "differs":
		c.differs = true
	case "says", "rfc": // for the reader
	case "wait":
		d, err := time.ParseDuration(rest)
		c.steps = append(c.steps, &behaviourStep{wait: d})
		return err
	case ">":
		return c.request().ask(rest)
	case "<", "=":
		if len(c.steps) == 0 || c.last().method == "" {
			return fmt.Errorf("stands before any request")
		}
		c.last().closed = true
		if word == "=" {
			c.last().want = append(c.last().want, rest)
			return nil
		}
		return c.last().reply(rest)
	default:
		return fmt.Errorf("unknown line")
	}
	return nil
}

func (c *behaviour) last() *behaviourStep { return c.steps[len(c.steps)-1] }

// request is the step that a ">" line belongs to.
func (c *behaviour) request() *behaviourStep {
	if len(c.steps) == 0 || c.last().closed {
		c.steps = append(c.steps, new(behaviourStep))
	}
	return c.last()
}

// ask takes what follows ">".
func (s *behaviourStep) ask(text string) error {
	if s.method == "" {
		s.method, s.path = http.MethodGet, "/a"
		if !isFieldLine(text) && !strings.HasPrefix(text, "| ") {
			method, path, _ := strings.Cut(text, " ")
			s.method = orElse(method, s.method)
			s.path = orElse(path, s.path)
			return nil
		}
	}
	if content, ok := strings.CutPrefix(text, "| "); ok {
		s.content = content
		return nil
	}
	if !isFieldLine(text) {
		return fmt.Errorf("is no field")
	}
	s.fields = append(s.fields, text)
	return nil
}

func orElse(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// isFieldLine tells a field line from a request line or a status line.
func isFieldLine(text string) bool {
	name, _, found := strings.Cut(text, ":")
	return found && !strings.ContainsAny(name, " /")
}

// reply takes what follows "<".
func (s *behaviourStep) reply(text string) error {
	a := &s.answer
	switch {
	case strings.HasPrefix(text, "| "):
		a.content, a.own = text[len("| "):], true
	case text == "hangs up":
		a.hangUp = true
	case text == "ends with the connection":
		a.unframed = true
	case strings.HasPrefix(text, "after "):
		d, err := time.ParseDuration(text[len("after "):])
		a.delay = d
		return err
	case isFieldLine(text):
		if n := len(s.interim); n > 0 && a.status == 0 {
			s.interim[n-1].fields = append(s.interim[n-1].fields, text)
			return nil
		}
		a.fields = append(a.fields, text)
	default:
		code, reason, _ := strings.Cut(text, " ")
		status, err := strconv.Atoi(code)
		if err != nil {
			return err
		}
		if status < 200 {
			s.interim = append(s.interim, scripted{status: status, reason: reason})
			return nil
		}
		a.status, a.reason = status, reason
	}
	return nil
}

// rule sets one item of the site's rules.
func (c *behaviour) rule(text string) error {
	name, value, _ := strings.Cut(text, "=")
	var err error
	switch name {
	case "honour":
		c.rules.HonourRequest = true
	case "set-cookie":
		choice, ok := map[string]httpcache.SetCookie{
			"pass": httpcache.SetCookiePass, "strip": httpcache.SetCookieStrip, "store": httpcache.SetCookieStore,
		}[value]
		if !ok {
			return fmt.Errorf("unknown choice")
		}
		c.rules.SetCookie = choice
	case "default":
		c.rules.DefaultTTL, err = time.ParseDuration(value)
	case "swr":
		c.rules.StaleWhileRevalidate, err = time.ParseDuration(value)
	case "sie":
		c.rules.StaleIfError, err = time.ParseDuration(value)
	default:
		return fmt.Errorf("unknown rule")
	}
	return err
}

// dated replaces the dates in text; now is the instant that they count from.
func dated(text string, now time.Time) (string, error) {
	for {
		before, rest, found := strings.Cut(text, "{")
		if !found {
			return text, nil
		}
		item, after, found := strings.Cut(rest, "}")
		if !found {
			return "", fmt.Errorf("%q: a brace is not closed", text)
		}
		layout := http.TimeFormat
		if old, ok := strings.CutPrefix(item, "850:"); ok {
			layout, item = "Monday, 02-Jan-06 15:04:05 GMT", old
		} else if old, ok := strings.CutPrefix(item, "asc:"); ok {
			layout, item = time.ANSIC, old
		}
		d, err := time.ParseDuration(item)
		if err != nil {
			return "", err
		}
		text = before + now.Add(d).UTC().Format(layout) + after
	}
}
