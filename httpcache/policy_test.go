package httpcache

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSourceWords(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for source := range sources {
		word := source.String()
		if !rowID.MatchString(word) || word == "unknown" || seen[word] {
			t.Errorf("source %d is called %q, want a word of its own in kebab-case", source, word)
		}
		seen[word] = true
	}
	if got := sources.String(); got != "unknown" {
		t.Errorf("source %d is called %q, want unknown", sources, got)
	}
}

func TestStaleOnTrouble(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		on, trouble Trouble
		want        bool
	}{
		{0, TroubleError, true},
		{0, TroubleTimeout, true},
		{0, TroubleStatus5xx, true},
		{TroubleError, TroubleError, true},
		{TroubleError, TroubleTimeout, false},
		{TroubleError | TroubleTimeout, TroubleTimeout, true},
		{TroubleError | TroubleTimeout, TroubleStatus5xx, false},
		{TroubleStatus5xx, TroubleStatus5xx, true},
	} {
		rules := Rules{StaleOn: test.on}
		if got := rules.StaleOnTrouble(test.trouble); got != test.want {
			t.Errorf("stale on %03b: trouble %03b gives %t, want %t", test.on, test.trouble, got, test.want)
		}
	}
}

// RFC 9875 §3.
func TestGroupInvalidations(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method string
		status int
		lines  []string
		want   []string
	}{
		{"POST", 200, []string{`"a", "b";x=1, "a"`}, []string{"a", "b"}},
		{"DELETE", 204, []string{`"a"`, `"b"`}, []string{"a", "b"}},
		{"FROB", 303, []string{`"a"`}, []string{"a"}},
		{"POST", 200, []string{`a, "b"`}, []string{"b"}},
		{"POST", 200, []string{`"a", "`}, nil},
		{"POST", 200, nil, nil},
		{"POST", 404, []string{`"a"`}, nil},
		{"POST", 500, []string{`"a"`}, nil},
		{"POST", 103, []string{`"a"`}, nil},
		{"GET", 200, []string{`"a"`}, nil},
		{"HEAD", 200, []string{`"a"`}, nil},
		{"OPTIONS", 200, []string{`"a"`}, nil},
		{"", 200, []string{`"a"`}, nil},
	} {
		r := get()
		r.Method = test.method
		resp := Response{Status: test.status, Header: http.Header{"Cache-Group-Invalidation": test.lines}}
		if diff := cmp.Diff(test.want, GroupInvalidations(NewRequest(r), resp)); diff != "" {
			t.Errorf("%s %d %q (-want +got):\n%s", test.method, test.status, test.lines, diff)
		}
	}
}

func TestGroupsAreBounded(t *testing.T) {
	t.Parallel()
	var many, quoted []string
	for i := range 2 * maxGroups {
		many = append(many, fmt.Sprint(i))
		quoted = append(quoted, fmt.Sprintf("%q", fmt.Sprint(i)))
	}
	if diff := cmp.Diff(many[:maxGroups], parseGroups(quoted)); diff != "" {
		t.Errorf("of %d groups (-want +got):\n%s", len(many), diff)
	}
	long := strings.Repeat("g", maxGroupBytes)
	if diff := cmp.Diff([]string{long, "x"}, parseGroups([]string{`"` + long + `", "` + long + `g", "x"`})); diff != "" {
		t.Errorf("of long groups (-want +got):\n%s", diff)
	}
}

func TestEarlyLinesAreBounded(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 2 * maxEarlyLines {
		many = append(many, fmt.Sprintf("</%d>", i))
	}
	if diff := cmp.Diff(many[:maxEarlyLines], earlyLines(many)); diff != "" {
		t.Errorf("of %d lines (-want +got):\n%s", len(many), diff)
	}
	long := strings.Repeat("x", maxEarlyBytes)
	got := earlyLines([]string{"</a>", long, "</b>\r\nX: y", "", "</c>\x00", "</d>\t"})
	if diff := cmp.Diff([]string{"</a>", "</d>\t"}, got); diff != "" {
		t.Errorf("of long and bad lines (-want +got):\n%s", diff)
	}
	without := mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=60"))
	resp := answer("Cache-Control: max-age=60")
	resp.Early = []string{strings.Repeat("x", 5000)}
	if with := mustStore(t, &Rules{}, get(), resp); with.SizeBytes() < without.SizeBytes()+5000 {
		t.Errorf("sizes %d and %d with 5,000 bytes of early hints", without.SizeBytes(), with.SizeBytes())
	}
}

// Fields that clients do not get are kept, and are counted.
func TestUnseenFieldsAreCounted(t *testing.T) {
	t.Parallel()
	without := mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=60"))
	with := mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=60", "Surrogate-Control: x="+strings.Repeat("x", 5000)))
	if with.SizeBytes() < without.SizeBytes()+5000 {
		t.Errorf("sizes %d and %d with 5,000 bytes of Surrogate-Control", without.SizeBytes(), with.SizeBytes())
	}
}

func TestSameRepresentation(t *testing.T) {
	t.Parallel()
	const cc = "Cache-Control: max-age=60"
	date := "Date: " + origo.Format(http.TimeFormat)
	old := "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"
	for _, test := range []struct {
		name string
		a, b []string
		want bool
	}{
		{"strong", []string{`Etag: "a"`}, []string{`Etag: "a"`}, true},
		{"strong and dates", []string{`Etag: "a"`, old, date}, []string{`Etag: "a"`, date}, true},
		{"other", []string{`Etag: "a"`}, []string{`Etag: "b"`}, false},
		{"weak", []string{`Etag: W/"a"`}, []string{`Etag: W/"a"`}, false},
		{"weak beside dates", []string{`Etag: W/"a"`, old, date}, []string{`Etag: W/"a"`, old, date}, false},
		{"one has none", []string{`Etag: "a"`, old, date}, []string{old, date}, false},
		{"dates", []string{old, date}, []string{old, date}, true},
		{"dates in two forms", []string{old, date}, []string{"Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT", date}, true},
		{"other dates", []string{old, date}, []string{"Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT", date}, false},
		{"no Date of the origin", []string{old}, []string{old, date}, false},
		{"nothing", nil, nil, false},
	} {
		a := mustStore(t, &Rules{}, get(), answer(append(test.a, cc)...))
		b := mustStore(t, &Rules{}, get(), answer(append(test.b, cc)...))
		if got, back := a.SameRepresentation(b), b.SameRepresentation(a); got != test.want || back != test.want {
			t.Errorf("%s: %t, the other way %t, want %t", test.name, got, back, test.want)
		}
	}
}

// A later response in either direction leaves what it updates as it was.
func TestUpdatesChangeNothing(t *testing.T) {
	t.Parallel()
	s := mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=60", `Etag: "a"`, "X-A: 1", "Surrogate-Control: max-age=9"))
	header, unseen := s.Header().Clone(), s.unseen.Clone()
	part := answer(`Etag: "a"`, "X-A: 2", "Content-Range: bytes 0-4/10", "Surrogate-Control: max-age=7")
	part.Status = http.StatusPartialContent
	original := part.Header.Clone()
	fresh, why := Combine(&Rules{}, s, nil, part)
	if why != Storable || fresh.Header().Get("X-A") != "2" || fresh.Lifetime().Seconds() != 7 {
		t.Fatalf("Combine = %+v, %s", fresh, why)
	}
	if _, ok := UpdateByHead(&Rules{}, s, nil, -1, answer("X-A: 3", `Etag: "a"`)); !ok {
		t.Fatal("not updated by HEAD")
	}
	for name, pair := range map[string][2]http.Header{
		"stored header": {header, s.Header()}, "unseen fields": {unseen, s.unseen}, "part": {original, part.Header},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s changed (-want +got):\n%s", name, diff)
		}
	}
}

// What a site may add to storing a response has its price in allocations, and a
// limit.
func TestAllocationsOfPolicy(t *testing.T) {
	r := browserGet()
	r.URL = &url.URL{Path: "/static/js/app.4f3c2b1a.js"}
	q, resp := NewRequest(r), typicalAnswer()
	resp.Header.Set("Content-Type", "text/javascript")
	rules := &Rules{DeceptionArmor: true, HasTTL: true, TTL: 1e9}
	if got := testing.AllocsPerRun(100, func() { NewStored(rules, q, resp) }); got > 12 {
		t.Errorf("NewStored with rules: %v allocations, want at most 12", got)
	}
	s := mustStore(t, rules, r, resp)
	if got := testing.AllocsPerRun(100, func() { Decide(rules, q, s, origo) }); got > 0 {
		t.Errorf("Decide with rules: %v allocations, want none", got)
	}
}
