package httpcache

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Runners of the tables that are not about one stored response.

func unquoted(t *testing.T, text string) string {
	t.Helper()
	s, err := strconv.Unquote(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

func runGlob(t *testing.T, r row) {
	pattern, text := unquoted(t, r.given[0]), unquoted(t, r.given[1])
	glob, want := NewGlob(pattern), r.want[0] == "match"
	if got := glob.Match(text); got != want {
		t.Errorf("NewGlob(%q).Match(%q) = %t, want %t", pattern, text, got, want)
	}
	if got := glob.matchBytes([]byte(text)); got != want {
		t.Errorf("NewGlob(%q).matchBytes(%q) = %t, want %t", pattern, text, got, want)
	}
	if got := glob.String(); got != pattern {
		t.Errorf("NewGlob(%q).String() = %q", pattern, got)
	}
}

// queryRule returns the rule of a row, nil where it has none, and the query.
func queryRule(t *testing.T, r row) (rule *QueryRule, query string) {
	t.Helper()
	for _, item := range r.given {
		word, rest, _ := strings.Cut(item, " ")
		if word == "query" {
			query = unquoted(t, rest)
			continue
		}
		if rule == nil {
			rule = new(QueryRule)
		}
		switch word {
		case "rule":
		case "sort":
			rule.Sort = true
		case "ignore":
			rule.Ignore = true
		case "include":
			rule.Include = append(rule.Include, NewGlob(unquoted(t, rest)))
		case "exclude":
			rule.Exclude = append(rule.Exclude, NewGlob(unquoted(t, rest)))
		default:
			t.Fatalf("given %q is not understood", item)
		}
	}
	return rule, query
}

func runQuery(t *testing.T, r row) {
	rule, query := queryRule(t, r)
	got, want := rule.Reduce(query), unquoted(t, r.want[0])
	if got != want {
		t.Errorf("given %q: got %q, want %q", r.given, got, want)
	}
	if again := rule.Reduce(got); again != got {
		t.Errorf("given %q: %q is reduced again to %q", r.given, got, again)
	}
}

func runNoSearch(t *testing.T, r row) {
	var lines, queries []string
	for _, item := range r.given {
		switch {
		case strings.HasPrefix(item, "<"):
			lines = append(lines, strings.TrimSpace(item[1:]))
		case item != "none":
			queries = append(queries, unquoted(t, item))
		}
	}
	rule, ok := ParseNoVarySearch(lines)
	if ok != (rule != nil) {
		t.Fatalf("ParseNoVarySearch(%q) = %v, %t", lines, rule, ok)
	}
	got, want := rule.String(), r.want[0]
	switch len(queries) {
	case 0:
		if !ok {
			got = "default"
		} else if again, ok := ParseNoVarySearch([]string{got}); !ok || again.String() != got {
			t.Errorf("%q is not read back: %v, %t", got, again, ok)
		}
	case 1:
		got, want = rule.Reduce(queries[0]), unquoted(t, want)
	case 2:
		got = map[bool]string{true: "same", false: "other"}[rule.Reduce(queries[0]) == rule.Reduce(queries[1])]
	}
	if got != want {
		t.Errorf("given %q: got %q, want %q", r.given, got, want)
	}
}

var digestOf = regexp.MustCompile(`\{(sha-256|sha-512):(\w*)\}`)

// digestValue is the byte sequence that stands for {ALGORITHM:TEXT}.
func digestValue(placeholder string) string {
	m := digestOf.FindStringSubmatch(placeholder)
	short := sha256.Sum256([]byte(m[2]))
	sum := short[:]
	if m[1] == "sha-512" {
		long := sha512.Sum512([]byte(m[2]))
		sum = long[:]
	}
	return ":" + base64.StdEncoding.EncodeToString(sum) + ":"
}

func runDigest(t *testing.T, r row) {
	resp := Response{Status: 200, Header: http.Header{}}
	for _, item := range r.given {
		word, rest, _ := strings.Cut(item, " ")
		switch word {
		case "<":
			addField(t, resp.Header, digestOf.ReplaceAllStringFunc(rest, digestValue))
		case "status":
			resp.Status = int(number(t, rest))
		default:
			t.Fatalf("given %q is not understood", item)
		}
	}
	d, got := NewDigest(resp), "nothing"
	if d != nil {
		got = "differs"
	}
	for _, piece := range []string{"he", "", "llo"} {
		if n, err := d.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Errorf("Write(%q) = %d, %v", piece, n, err)
		}
	}
	if d.Agrees() && d != nil {
		got = "agrees"
	}
	if got != r.want[0] {
		t.Errorf("given %q: got %s, want %s", r.given, got, r.want[0])
	}
}

func runCDNLoop(t *testing.T, r row) {
	const id, node = "perigee", "fra-1"
	var lines []string
	for _, line := range r.given {
		if line != "none" {
			lines = append(lines, strings.ReplaceAll(line, `\t`, "\t"))
		}
	}
	if strings.HasPrefix(r.given[0], "append") {
		as := node
		if name, ok := strings.CutPrefix(r.given[0], "append-as "); ok {
			as = name
		}
		before, _ := CDNLoop(lines[1:], id, as)
		got := AppendCDNLoop(lines[1:], id, as)
		if !slices.Equal(got, r.want) {
			t.Errorf("AppendCDNLoop(%q) = %q, want %q", lines[1:], got, r.want)
		}
		if after, _ := CDNLoop(got, id, as); after != before+1 {
			t.Errorf("CDNLoop(%q) counts %d of ours, want %d", got, after, before+1)
		}
		return
	}
	own, layers := CDNLoop(lines, id, node)
	if got := fmt.Sprintf("own %d layers %d", own, layers); got != r.want[0] {
		t.Errorf("CDNLoop(%q): got %s, want %s", lines, got, r.want[0])
	}
}

func runProxyStatus(t *testing.T, r row) {
	var p ProxyStatus
	name := "perigee"
	for _, item := range r.given {
		word, rest, _ := strings.Cut(item, " ")
		switch word {
		case "name":
			name = rest
		case "error":
			p.Error = rest
		case "next-hop":
			p.NextHop = rest
		case "received":
			p.ReceivedStatus = int(number(t, rest))
		case "details":
			p.Details = rest
		default:
			t.Fatalf("given %q is not understood", item)
		}
	}
	if got := string(p.Append([]byte("x, "), name)); got != "x, "+r.want[0] {
		t.Errorf("given %q: got %s, want %s", r.given, got, "x, "+r.want[0])
	}
}

// byteRange reads "first-last".
func byteRange(t *testing.T, text string) ByteRange {
	t.Helper()
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		t.Fatalf("%q is no range", text)
	}
	return ByteRange{number(t, first), number(t, last)}
}

func rangeTexts(ranges []ByteRange) []string {
	if len(ranges) == 0 {
		return []string{"none"}
	}
	var texts []string
	for _, r := range ranges {
		texts = append(texts, fmt.Sprintf("%d-%d", r.First, r.Last))
	}
	return texts
}

func runParts(t *testing.T, r row) {
	word, rest, _ := strings.Cut(r.given[len(r.given)-1], " ")
	var have []ByteRange
	if list, ok := strings.CutPrefix(r.given[0], "have"); ok {
		for _, text := range strings.Fields(list) {
			have = append(have, byteRange(t, text))
		}
	}
	given := slices.Clone(have)
	var got []string
	switch word {
	case "lacking":
		got = rangeTexts(Lacking(have, byteRange(t, rest)))
	case "merge":
		got = rangeTexts(Merge(have, byteRange(t, rest)))
	case "covers":
		got = []string{map[bool]string{true: "yes", false: "no"}[Covers(have, byteRange(t, rest))]}
	case "wanted":
		got = wanted(t, r.given[:len(r.given)-1], number(t, rest))
	case "request":
		got = []string{requested(rest)}
	default:
		t.Fatalf("given %q is not understood", r.given)
	}
	if !slices.Equal(got, r.want) {
		t.Errorf("given %q: got %q, want %q", r.given, got, r.want)
	}
	if !slices.Equal(have, given) {
		t.Errorf("given %q: what is stored was changed to %v", r.given, have)
	}
}

func wanted(t *testing.T, given []string, size int64) []string {
	t.Helper()
	l := newLaw(t, given)
	parts, whole := Wanted(NewRequest(l.then), mustStore(t, &l.rules, l.first, l.resp), size)
	if whole {
		return append([]string{"whole"}, rangeTexts(parts)[:len(parts)]...)
	}
	return rangeTexts(parts)
}

func requested(field string) string {
	switch r, suffix, ok := RequestRange(field); {
	case !ok:
		return "refused"
	case suffix:
		return fmt.Sprintf("suffix %d", r.Last)
	default:
		return RangeValue(r)
	}
}

func runMultipart(t *testing.T, r row) {
	var boundary, contentType string
	var size int64
	var parts []ByteRange
	for _, item := range r.given {
		word, rest, _ := strings.Cut(item, " ")
		switch word {
		case "boundary":
			boundary = rest
		case "type":
			contentType = rest
		case "size":
			size = number(t, rest)
		case "part":
			parts = append(parts, byteRange(t, rest))
		default:
			t.Fatalf("given %q is not understood", item)
		}
	}
	m := NewMultipart(boundary, contentType, parts, size)
	said := []string{
		"content-type " + m.ContentType(), fmt.Sprintf("length %d", m.Length()),
		"tail " + strconv.Quote(string(m.Tail())),
	}
	for i := range parts {
		said = append(said, fmt.Sprintf("head %d %s", i, strconv.Quote(string(m.Head(i)))))
	}
	for _, want := range r.want {
		if !slices.Contains(said, want) {
			t.Errorf("given %q: got %q, want %s", r.given, said, want)
		}
	}
}

func runRefresh(t *testing.T, r row) {
	const objects = 256
	l := newLaw(t, r.given)
	s := mustStore(t, &l.rules, l.first, l.resp)
	d := Decide(&l.rules, NewRequest(l.then), s, l.at)
	early := 0
	for seed := range uint64(objects) {
		if EarlyRefresh(&l.rules, s, d, seed) {
			early++
		}
	}
	got := "some"
	switch early {
	case 0:
		got = "nobody"
	case objects:
		got = "everybody"
	}
	if got != r.want[0] {
		t.Errorf("given %q: %+v, %d of %d are refreshed, want %s", r.given, d, early, objects, r.want[0])
	}
}
