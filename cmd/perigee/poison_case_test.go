package main

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const poisonCases = "../../testdata/poison/"

// poisonCase is one attempt to have others get what one client made:
// testdata/poison/README.txt says what its lines mean.
type poisonCase struct {
	id, breaks, from string
	attack           string            // bytes over HTTP/1.1, or fields over HTTP/2
	h2               []string          // the attack's fields over HTTP/2, nil for HTTP/1.1
	method           string            // of the attack's first request
	alone            bool              // nothing can follow on the attack's connection
	node             string            // which configuration
	origin           map[string]string // how the origin answers
	victim           string            // request target
	victimFields     []string
	status           string // the victim's
	holds, lacks     []string
	never            bool // the victim's responses are not stored
	reaches          string
	first            bool // of the values of its block
}

// poisonOutcomes are what may become of an attack.
var poisonOutcomes = map[string]bool{
	"refused": true, // by us, with an error
	"clean":   true, // the origin was asked without the marker
	"apart":   true, // the origin got the marker; what it answered is for the attacker alone
}

// host is that of the case's requests: by it nothing is shared with other cases.
func (c *poisonCase) host() string { return c.id + ".test" }

// marker is what no answer to others may hold.
func (c *poisonCase) marker() string { return "evil" + strings.ReplaceAll(c.id, "-", "") + "live" }

func (c *poisonCase) fill(text string) string {
	return strings.NewReplacer("{host}", c.host(), "{m}", c.marker()).Replace(text)
}

var poisonRepeat = regexp.MustCompile(`\{((?:[^{}*]|\\.)+)\*(\d+)\}`)

// unquote turns the escapes of a line into bytes and repeats what is to be repeated.
func (c *poisonCase) unquote(t *testing.T, text string) string {
	t.Helper()
	text = poisonRepeat.ReplaceAllStringFunc(text, func(s string) string {
		m := poisonRepeat.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(c.fill(text), `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%s: %q: %v", c.id, text, err)
	}
	return out
}

// line reads one line of a case.
func (c *poisonCase) line(t *testing.T, word, rest string) {
	t.Helper()
	switch word {
	case "breaks":
		c.breaks = rest
	case "from":
		c.from = rest
	case ">":
		c.attack += c.unquote(t, rest) + "\r\n"
	case ">>":
		c.attack += c.unquote(t, rest)
	case "h2":
		c.h2 = append(c.h2, c.unquote(t, rest))
	case "alone":
		c.alone = true
	case "node":
		c.node = rest
	case "origin":
		for _, each := range strings.Fields(rest) {
			name, value, _ := strings.Cut(each, "=")
			value, err := url.QueryUnescape(value)
			if err != nil {
				t.Fatalf("%s: %v", c.id, err)
			}
			c.origin[name] = value
		}
	case "victim":
		c.victim = c.fill(rest)
	case "<":
		c.victimFields = append(c.victimFields, c.fill(rest))
	case "status":
		c.status = rest
	case "holds":
		c.holds = append(c.holds, c.fill(rest))
	case "lacks":
		c.lacks = append(c.lacks, c.fill(rest))
	case "never":
		c.never = true
	case "reaches":
		c.reaches = rest
	default:
		t.Fatalf("%s: %q is no word of a case", c.id, word)
	}
}

func (c *poisonCase) check(t *testing.T) {
	t.Helper()
	switch {
	case c.breaks == "" || c.from == "":
		t.Fatalf("%s: it does not say what breaks, or from where that is known", c.id)
	case (c.attack == "") == (c.h2 == nil) || c.victim == "":
		t.Fatalf("%s: want one attack and one victim", c.id)
	case !poisonOutcomes[c.reaches]:
		t.Fatalf("%s: reaches %q", c.id, c.reaches)
	case !strings.Contains(c.attack+strings.Join(c.h2, ""), c.marker()) && len(c.holds)+len(c.lacks) == 0:
		t.Fatalf("%s: neither a marker nor a text to look for: it could not fail", c.id)
	}
	c.method, _, _ = strings.Cut(c.attack, " ")
}

// loadPoison reads the cases of a folder. A block whose "each" lists values is as
// many cases: {each} stands for one of them.
func loadPoison(t *testing.T, dir string) []*poisonCase {
	t.Helper()
	files, err := filepath.Glob(poisonCases + dir + "*.poison")
	if err != nil {
		t.Fatal(err)
	}
	var cases []*poisonCase
	seen := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for block := range strings.SplitSeq(string(text), "\n\n") {
			for _, c := range blockCases(t, block) {
				if c.check(t); seen[c.id] {
					t.Fatalf("%s: two cases are called %s", name, c.id)
				}
				seen[c.id] = true
				cases = append(cases, c)
			}
		}
	}
	return cases
}

func blockCases(t *testing.T, block string) (cases []*poisonCase) {
	t.Helper()
	var lines []string
	each := []string{""}
	for line := range strings.SplitSeq(strings.TrimSpace(block), "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "each "):
			each = strings.Fields(line)[1:]
		default:
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	for i, value := range each {
		id, ok := strings.CutPrefix(lines[0], "case ")
		if !ok {
			t.Fatalf("%q: a case begins with its name", lines[0])
		}
		suffix := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(value, "_", "-u-"), ":", ""))
		c := &poisonCase{id: strings.ReplaceAll(id, "{each}", suffix), origin: map[string]string{}, status: "200", first: i == 0}
		for _, line := range lines[1:] {
			word, rest, _ := strings.Cut(strings.ReplaceAll(line, "{each}", value), " ")
			c.line(t, word, rest)
		}
		cases = append(cases, c)
	}
	return cases
}
