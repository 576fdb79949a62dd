package httpcache

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The tables in testdata/rfc9111 hold the law as data; README.txt there
// explains their syntax. Each file has a runner here, named in runners.

// origo is the instant at which the stored response of a row arrives.
var origo = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

type row struct {
	file, id, section string
	given, want       []string
}

var (
	rowID      = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	rowSection = regexp.MustCompile(`^(RFC (3986|4647|5861|8586|9110|9111|9112|9209|9211|9213|9530|9651|9875)|draft-ietf-httpbis-no-vary-search) §\d+(\.\d+)*$`)
	rowDate    = regexp.MustCompile(`\{(850:|asc:)?([+-]\d+[a-z]+)\}`)
)

func readTables(t *testing.T) []row {
	t.Helper()
	files, err := filepath.Glob("../testdata/rfc9111/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	var rows []row
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if name == "README" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			columns := strings.Split(line, " | ")
			if len(columns) != 4 {
				t.Fatalf("%s:%d: %d columns, want id | section | given | want", file, i+1, len(columns))
			}
			rows = append(rows, row{
				file: name, id: strings.TrimSpace(columns[0]), section: strings.TrimSpace(columns[1]),
				given: items(columns[2]), want: items(columns[3]),
			})
		}
	}
	return rows
}

func items(column string) []string {
	var out []string
	for _, item := range strings.Split(column, " ; ") {
		item = rowDate.ReplaceAllStringFunc(item, func(m string) string {
			parts := rowDate.FindStringSubmatch(m)
			offset, err := time.ParseDuration(parts[2])
			if err != nil {
				panic(err)
			}
			layout := http.TimeFormat
			switch parts[1] {
			case "850:":
				layout = "Monday, 02-Jan-06 15:04:05 GMT"
			case "asc:":
				layout = time.ANSIC
			}
			return origo.Add(offset).Format(layout)
		})
		out = append(out, strings.TrimSpace(item))
	}
	return out
}

func TestTables(t *testing.T) {
	t.Parallel()
	runners := map[string]func(*testing.T, row){
		"store": runLaw, "freshness": runLaw, "age": runLaw, "reuse": runLaw, "request": runLaw,
		"vary": runLaw, "validate": runLaw, "conditional": runLaw, "fields": runLaw,
		"range": runRange, "host": runHost, "path": runPath, "cachestatus": runCacheStatus,
		"invalidate": runInvalidate, "encoding": runEncoding,
		"glob": runGlob, "query": runQuery, "nosearch": runNoSearch, "digest": runDigest, "cdnloop": runCDNLoop,
		"targeted": runLaw, "surrogate": runLaw, "rules": runLaw, "deception": runLaw, "partial": runLaw, "head": runLaw,
		"groups": runLaw, "language": runLaw, "reckoning": runLaw, "post": runLaw, "status": runLaw,
		"proxystatus": runProxyStatus, "parts": runParts, "multipart": runMultipart, "refresh": runRefresh,
		"accept": runAccept,
	}
	rows := readTables(t)
	if len(rows) < 900 {
		t.Errorf("%d rows, want at least 900", len(rows))
	}
	seen := make(map[string]string)
	for _, r := range rows {
		if other, twice := seen[r.id]; twice {
			t.Errorf("%s: id %q is also in %s", r.file, r.id, other)
		}
		seen[r.id] = r.file
		if !rowID.MatchString(r.id) {
			t.Errorf("%s: id %q is not in kebab-case", r.file, r.id)
		}
		if !rowSection.MatchString(r.section) {
			t.Errorf("%s: %s cites %q, want a section of an RFC or a draft", r.file, r.id, r.section)
		}
		run := runners[r.file]
		if run == nil {
			t.Fatalf("table %s has no runner", r.file)
		}
		t.Run(r.file+"/"+r.id, func(t *testing.T) {
			t.Parallel()
			run(t, r)
		})
	}
}

// law is a row about a stored response: two requests, a response, perhaps a
// 304, the rules and the times.
type law struct {
	rules       Rules
	first, then *http.Request
	resp        Response
	notModified *Response
	part, head  *Response // what arrives later: a 206, an answer to HEAD
	size        int64     // of the content in store; -1 unknown
	at          time.Time
	nothing     bool
}

func newLaw(t *testing.T, given []string) *law {
	t.Helper()
	l := &law{
		first: &http.Request{Method: "GET", URL: &url.URL{Path: "/x"}, Host: "a.example", Header: http.Header{}},
		resp: Response{
			Status: 200, Header: http.Header{}, ContentLength: -1,
			RequestTime: origo, ResponseTime: origo,
		},
		at: origo, size: -1,
	}
	for _, item := range given {
		if !l.set(t, item) {
			t.Fatalf("given %q is not understood", item)
		}
	}
	if l.then == nil {
		l.then = l.first
	}
	for _, later := range []*Response{l.notModified, l.part, l.head} {
		if later != nil {
			later.RequestTime, later.ResponseTime = l.at, l.at
		}
	}
	return l
}

func (l *law) set(t *testing.T, item string) bool {
	t.Helper()
	word, rest, _ := strings.Cut(item, " ")
	switch word {
	case "<":
		addField(t, l.resp.Header, rest)
	case ">":
		addField(t, l.first.Header, rest)
	case ">>":
		l.second()
		if rest != "" {
			addField(t, l.then.Header, rest)
		}
	case "304":
		if l.notModified == nil {
			l.notModified = &Response{Status: 304, Header: http.Header{}, ContentLength: -1}
		}
		if rest != "" {
			addField(t, l.notModified.Header, rest)
		}
	case "method":
		l.first.Method = rest
	case "then":
		l.second()
		l.then.Method = rest
	case "status":
		l.resp.Status = int(number(t, rest))
	case "status-of-update":
		l.notModified.Status = int(number(t, rest))
	case "length":
		l.resp.ContentLength = number(t, rest)
	case "at":
		l.at = origo.Add(duration(t, rest))
	case "delay":
		l.resp.RequestTime = origo.Add(-duration(t, rest))
	case "arrives":
		l.resp.ResponseTime = origo.Add(duration(t, rest))
		l.resp.RequestTime = l.resp.ResponseTime
	case "nothing":
		l.nothing = true
	case "rule":
		return l.rule(t, rest)
	default:
		return l.setLater(t, word, rest)
	}
	return true
}

func (l *law) second() {
	if l.then == nil {
		l.then = &http.Request{Method: "GET", URL: l.first.URL, Host: l.first.Host, Header: http.Header{}}
	}
}

func (l *law) rule(t *testing.T, text string) bool {
	t.Helper()
	name, value, _ := strings.Cut(text, "=")
	switch name {
	case "honour":
		l.rules.HonourRequest = true
	case "default":
		l.rules.DefaultTTL = duration(t, value)
	case "swr":
		l.rules.StaleWhileRevalidate = duration(t, value)
	case "sie":
		l.rules.StaleIfError = duration(t, value)
	case "max-bytes":
		l.rules.MaxBytes = number(t, value)
	case "set-cookie":
		l.rules.SetCookie = map[string]SetCookie{
			"pass": SetCookiePass, "strip": SetCookieStrip, "store": SetCookieStore,
		}[value]
	default:
		if !strings.HasPrefix(name, "status-") {
			return l.siteRule(t, name, value)
		}
		if l.rules.TTLByStatus == nil {
			l.rules.TTLByStatus = make(map[int]time.Duration)
		}
		l.rules.TTLByStatus[int(number(t, name[len("status-"):]))] = duration(t, value)
	}
	return true
}

func runLaw(t *testing.T, r row) {
	l := newLaw(t, r.given)
	var s *Stored
	why := Storable
	if !l.nothing {
		s, why = NewStored(&l.rules, NewRequest(l.first), l.resp)
	}
	wantRefusal := strings.HasPrefix(r.want[0], "refused ")
	if !wantRefusal && why != Storable {
		t.Fatalf("given %q: refused %s, want %q", r.given, why, r.want)
	}
	for _, want := range r.want {
		if got, ok := l.check(t, s, why, want); !ok {
			t.Errorf("given %q: got %s, want %s", r.given, got, want)
		}
	}
}

// check compares one item of the last column; got is the whole of what there is.
func (l *law) check(t *testing.T, s *Stored, why Refusal, want string) (got string, ok bool) {
	t.Helper()
	word, rest, _ := strings.Cut(want, " ")
	switch word {
	case "refused":
		return "refused " + why.String(), why != Storable && why.String() == rest
	case "stored":
		got = fmt.Sprintf("stored status=%d lifetime=%s source=%s age=%s etag=%s strong=%s vary=%s tags=%s", s.Status(), s.Lifetime(),
			s.Reckoning().Source, s.Age(origo), s.ETag(), s.StrongValidator(), strings.Join(s.Vary(), ","), strings.Join(s.Tags(), ","))
		return got, hasWords(got, rest)
	case "freshened", "not-freshened":
		fresh, ok := Freshen(&l.rules, s, NewRequest(l.then), *l.notModified)
		if !ok {
			_, why := freshen(&l.rules, s, NewRequest(l.then), *l.notModified)
			return "not-freshened " + why.String(), word == "not-freshened" && why.String() == rest
		}
		got = fmt.Sprintf("freshened lifetime=%s age=%s etag=%s tags=%s", fresh.Lifetime(), fresh.Age(l.at),
			fresh.ETag(), strings.Join(fresh.Tags(), ","))
		if word != "freshened" || !hasWords(got, rest) {
			return got, false
		}
		*s = *fresh // later items look at the result
		return got, true
	case "outcome":
		got = "outcome " + Evaluate(NewRequest(l.then), s).String()
		return got, got == want
	case "variant":
		same := VariantOf(s.Vary(), NewRequest(l.then)) == s.Variant()
		got = "variant " + map[bool]string{true: "same", false: "other"}[same]
		return got, got == want
	}
	if h, item, ok := l.headerOf(s, want); ok {
		return checkField(h, item)
	}
	if got, matches, mine := l.checkLater(s, want); mine {
		return got, matches
	}
	d := Decide(&l.rules, NewRequest(l.then), s, l.at)
	if long := decide(&l.rules, NewRequest(l.then), s, l.at); long != d {
		t.Errorf("short way says %+v, long way %+v", d, long)
	}
	got = fmt.Sprintf("%s %s age=%s ttl=%s", d.Action, d.Reason, d.Age, d.TTL)
	if d.Reason == Fresh && !d.StaleIfError {
		t.Errorf("%s, and no use for it when the origin fails", got)
	}
	if d.StaleIfError && d.Reason != Fresh {
		got += " stale-if-error"
	}
	return got, strings.HasPrefix(got, strings.Join(strings.Fields(want)[:2], " ")+" ") &&
		hasWords(got, want) && strings.Contains(want, "stale-if-error") == strings.Contains(got, "stale-if-error") ||
		got == want
}

// headerOf finds the fields that an item is about: "Name: value" or "no Name",
// after "forwards", "passes", "validates" or "sends-304" of something else than
// what is stored.
func (l *law) headerOf(s *Stored, item string) (http.Header, string, bool) {
	word, rest, _ := strings.Cut(item, " ")
	switch word {
	case "forwards":
		h := ForwardHeader(l.first.Header)
		return h, rest, true
	case "unconditional":
		h := ForwardHeader(l.first.Header)
		ClearConditionals(h)
		return h, rest, true
	case "passes":
		return ResponseHeader(l.resp.Header), rest, true
	case "validates":
		h := http.Header{}
		SetValidators(h, s)
		return h, rest, true
	case "sends-304":
		return NotModifiedHeader(s), rest, true
	case "withholds":
		return Withheld(&l.rules, l.resp), rest, true
	}
	if word == "no" || strings.HasSuffix(word, ":") {
		return s.Header(), item, true
	}
	return nil, "", false
}

func checkField(h http.Header, item string) (got string, ok bool) {
	if name, found := strings.CutPrefix(item, "no "); found {
		lines, present := h[http.CanonicalHeaderKey(name)]
		return fmt.Sprintf("%s %q", name, lines), !present
	}
	name, value, _ := strings.Cut(item, ":")
	lines := h[http.CanonicalHeaderKey(name)]
	got = strings.Join(lines, " + ")
	return name + ": " + got, got == strings.TrimSpace(value)
}

// hasWords reports whether each word of want is one of got.
func hasWords(got, want string) bool {
	words := strings.Fields(got)
	for _, word := range strings.Fields(want) {
		if !slices.Contains(words, word) {
			return false
		}
	}
	return true
}

func addField(t *testing.T, h http.Header, line string) {
	t.Helper()
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		t.Fatalf("%q is no field line", line)
	}
	value = strings.ReplaceAll(strings.TrimSpace(value), `\t`, "\t")
	h.Add(name, value)
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func runRange(t *testing.T, r row) {
	size := number(t, strings.TrimPrefix(r.given[1], "of "))
	ranges, err := ParseRange(r.given[0], size)
	var parts []string
	switch err {
	case nil:
		for _, part := range ranges {
			parts = append(parts, ContentRange(part, size))
		}
	case ErrUnsatisfiable:
		parts = []string{"unsatisfiable", UnsatisfiedRange(size)}
	case ErrMalformed:
		parts = []string{"malformed"}
	}
	if !slices.Equal(parts, r.want) {
		t.Errorf("ParseRange(%q, %d) = %q, want %q", r.given[0], size, parts, r.want)
	}
}

func runHost(t *testing.T, r row) { runNormal(t, r, "CanonicalHost", CanonicalHost) }

func runPath(t *testing.T, r row) { runNormal(t, r, "NormalPath", NormalPath) }

func runNormal(t *testing.T, r row, name string, normal func(string) (string, bool)) {
	t.Helper()
	input, err := strconv.Unquote(r.given[0])
	if err != nil {
		t.Fatalf("given %s: %v", r.given[0], err)
	}
	got, ok := normal(input)
	if want, refused := r.want[0], r.want[0] == "refused"; ok == refused || ok && got != want {
		t.Errorf("%s(%q) = %q, %t, want %s", name, input, got, ok, want)
	}
}

func runEncoding(t *testing.T, r row) {
	var lines []string
	for _, line := range r.given {
		if line != "absent" {
			lines = append(lines, strings.Trim(line, "`"))
		}
	}
	if got, want := NormalAcceptEncoding(lines), strings.Trim(r.want[0], "`"); got != want {
		t.Errorf("NormalAcceptEncoding(%q) = %q, want %q", lines, got, want)
	}
}

func runInvalidate(t *testing.T, r row) {
	resp := Response{Status: 200, Header: http.Header{}}
	method, target, _ := strings.Cut(r.given[0], " ")
	uri, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	req := &http.Request{Method: method, URL: uri, Host: "a.example", Header: http.Header{}}
	for _, item := range r.given[1:] {
		word, rest, _ := strings.Cut(item, " ")
		switch word {
		case "<":
			addField(t, resp.Header, rest)
		case "status":
			resp.Status = int(number(t, rest))
		case "host":
			req.Host = rest
		default:
			t.Fatalf("given %q is not understood", item)
		}
	}
	got := []string{}
	for _, uri := range Invalidates(NewRequest(req), resp) {
		got = append(got, uri.String())
	}
	if len(got) == 0 {
		got = []string{"nothing"}
	}
	if !slices.Equal(got, r.want) {
		t.Errorf("given %q: got %q, want %q", r.given, got, r.want)
	}
}
