package httpcache

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

func get(fields ...string) *http.Request {
	r := &http.Request{
		Method: "GET", URL: &url.URL{Path: "/x"}, Host: "a.example",
		Header: make(http.Header, len(fields)),
	}
	for _, line := range fields {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func answer(fields ...string) Response {
	return Response{
		Status: 200, Header: get(fields...).Header, ContentLength: -1,
		RequestTime: origo, ResponseTime: origo,
	}
}

func mustStore(t testing.TB, rules *Rules, r *http.Request, resp Response) *Stored {
	t.Helper()
	s, why := NewStored(rules, NewRequest(r), resp)
	if why != Storable {
		t.Fatalf("NewStored(%v) refused: %s", resp.Header, why)
	}
	return s
}

// variant is what cachestore hands to Select.
type variant struct{ s *Stored }

func (v variant) Stored() *Stored { return v.s }

func TestSelect(t *testing.T) {
	t.Parallel()
	store := func(later time.Duration, value string, fields ...string) variant {
		resp := answer(append(fields, "Cache-Control: max-age=60")...)
		resp.ResponseTime = origo.Add(later)
		return variant{mustStore(t, &Rules{}, get("Foo: "+value), resp)}
	}
	date := func(after time.Duration) string { return "Date: " + origo.Add(after).Format(http.TimeFormat) }
	one, two := store(0, "1", "Vary: Foo", date(0)), store(0, "2", "Vary: Foo", date(0))
	any := store(0, "9", date(0))
	younger := store(time.Second, "1", "Vary: Foo", date(0))
	newest := store(0, "1", "Vary: Foo", date(5*time.Second))
	for _, test := range []struct {
		name     string
		request  *http.Request
		variants []variant
		want     *Stored
	}{
		{"none", get(), nil, nil},
		{"only one, no Vary", get("Foo: 3"), []variant{any}, any.s},
		{"first", get("Foo: 1"), []variant{one, two}, one.s},
		{"second", get("Foo: 2"), []variant{one, two}, two.s},
		{"no match", get("Foo: 3"), []variant{one, two}, nil},
		{"without Vary answers all", get("Foo: 3"), []variant{one, any}, any.s},
		{"latest arrival", get("Foo: 1"), []variant{one, younger}, younger.s},
		{"latest arrival first", get("Foo: 1"), []variant{younger, one}, younger.s},
		{"latest Date before arrival", get("Foo: 1"), []variant{younger, newest, one}, newest.s},
		{"nil is passed over", get("Foo: 1"), []variant{{}, one}, one.s},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			req := NewRequest(test.request)
			best, ok := Select(req, test.variants)
			if best.s != test.want || ok != (test.want != nil) {
				t.Errorf("Select = %p, %t, want %p", best.s, ok, test.want)
			}
			if req.selected != test.want {
				t.Errorf("remembered %p, want %p", req.selected, test.want)
			}
		})
	}
}

// A request that is reused must not remember what was selected before.
func TestResetForgets(t *testing.T) {
	t.Parallel()
	s := mustStore(t, &Rules{}, get("Foo: 1"), answer("Cache-Control: max-age=60", "Vary: Foo"))
	q := NewRequest(get("Foo: 1", "Range: bytes=0-1", "If-None-Match: *", "Authorization: x", "Cache-Control: no-store"))
	if _, ok := Select(q, []variant{{s}}); !ok {
		t.Fatal("not selected")
	}
	if !q.Ranged() || q.Range() != "bytes=0-1" || !q.Conditional() || !q.Authorized() || !q.Directed() ||
		!q.NoStore(&Rules{HonourRequest: true}) || q.NoStore(&Rules{}) {
		t.Errorf("request was read wrongly: %+v", q)
	}
	q.Reset(get("Foo: 2"))
	if d := Decide(&Rules{}, q, s, origo); d.Reason != VaryMiss {
		t.Errorf("after Reset: %s, want vary-miss", d.Reason)
	}
	if q.Ranged() || q.Conditional() || q.Authorized() || q.Directed() {
		t.Errorf("Reset left something: %+v", q)
	}
	q.Reset(nil)
	if diff := cmp.Diff(Request{}, *q, cmp.AllowUnexported(Request{}, requestDirectives{}, normalFields{}, normalField{})); diff != "" {
		t.Errorf("Reset(nil) (-want +got):\n%s", diff)
	}
}

func TestRequestScheme(t *testing.T) {
	t.Parallel()
	secure := get()
	secure.TLS = &tls.ConnectionState{}
	secure.Method = ""
	q := NewRequest(secure)
	if q.scheme != "https" || q.Method() != "GET" {
		t.Errorf("scheme %q method %q, want https GET", q.scheme, q.Method())
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	// The value is part of the contract between nodes and with what is on disk.
	target := Target{Scheme: "https", Host: "www.example.com", Path: "/a", Query: "b=1"}
	if got, want := target.Key().String(), "497fba002d2f0fc013fa0c84e84f2480"; got != want {
		t.Errorf("%+v has key %s, want %s", target, got, want)
	}
	seen := make(map[Key]Target)
	for _, target := range []Target{
		target,
		{"http", "www.example.com", "/a", "b=1", ""},
		{"https", "www.example.co", "m/a", "b=1", ""},
		{"https", "www.example.com", "/a?b=1", "", ""},
		{"https", "www.example.com", "/a", "", ""},
		{"https", "www.example.com", "/ab", "=1", ""},
		{"https", "www.example.com", "/a", strings.Repeat("b", 2*keyBuffer), ""},
		{"https", "www.example.com", "/a", strings.Repeat("b", 2*keyBuffer+1), ""},
		{"https", "www.example.com", "/a", "b=1", "country=de"},
		{"https", "www.example.com", "/a", "", "b=1"},
		{"https", "www.example.com", "/a", "b=1", "\x00"},
		{},
	} {
		key := target.Key()
		if other, taken := seen[key]; taken {
			t.Errorf("%+v and %+v have one key", target, other)
		}
		seen[key] = target
	}
	for _, group := range []string{"", "b=1", "/a"} {
		key := GroupKey("https", "www.example.com", group)
		if other, taken := seen[key]; taken {
			t.Errorf("group %q has the key of %+v", group, other)
		}
		seen[key] = Target{Scheme: "group", Query: group}
	}
	if GroupKey("https", "a.example", "g") == GroupKey("http", "a.example", "g") ||
		GroupKey("https", "a.example", "g") == GroupKey("https", "b.example", "g") {
		t.Error("groups of two origins have one key")
	}
}

// The words are what logs, metrics and tests agree on: each value has one of
// its own, and what is no value is called unknown.
func TestWords(t *testing.T) {
	t.Parallel()
	word := func(name string, n int, text func(int) string) {
		seen := make(map[string]bool)
		for i := range n {
			got := text(i)
			if !rowID.MatchString(got) || got == "unknown" || seen[got] {
				t.Errorf("%s %d is called %q, want a word of its own in kebab-case", name, i, got)
			}
			seen[got] = true
		}
		if got := text(n); got != "unknown" {
			t.Errorf("%s %d is called %q, want unknown", name, n, got)
		}
	}
	word("Action", int(actions), func(i int) string { return Action(i).String() })
	word("Reason", int(reasons), func(i int) string { return Reason(i).String() })
	word("Refusal", int(refusals), func(i int) string { return Refusal(i).String() })
	word("Outcome", int(outcomes), func(i int) string { return Outcome(i).String() })
	word("Forward", int(forwards), func(i int) string { return Forward(i).String() })
	word("SetCookie", 3, func(i int) string { return SetCookie(i).String() })
}

func TestRefusalOfRequest(t *testing.T) {
	t.Parallel()
	for r := range refusals {
		want := r == RefusedMethod || r == RefusedRequestNoStore || r == RefusedAuthorization
		if got := r.OfRequest(); got != want {
			t.Errorf("%s.OfRequest() = %t, want %t", r, got, want)
		}
	}
}

// A year of two digits is the nearest one, and never more than 50 years ahead
// (RFC 9110 §5.6.7).
func TestTwoDigitYears(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ received, year, want int }{
		{2026, 26, 2026},
		{2026, 76, 2076},
		{2026, 77, 1977},
		{2026, 94, 1994},
		{2080, 94, 2094},
		{2080, 29, 2129},
		{2080, 31, 2031},
		{1999, 1, 2001},
	} {
		field := fmt.Sprintf("Sunday, 01-Jan-%02d 00:00:00 GMT", test.year)
		got, ok := parseDate(field, time.Date(test.received, 6, 1, 0, 0, 0, 0, time.UTC))
		if !ok || got.Year() != test.want {
			t.Errorf("%q received in %d: %d, %t, want %d", field, test.received, got.Year(), ok, test.want)
		}
	}
}

func TestReasonForward(t *testing.T) {
	t.Parallel()
	want := map[Reason]Forward{
		Miss: FwdMiss, VaryMiss: FwdVaryMiss, MethodNotStored: FwdMethod,
		Stale: FwdStale, NoCache: FwdStale, MustRevalidate: FwdStale, SoftPurged: FwdStale, PartMiss: FwdPartial,
		RequestNoCache: FwdRequest, RequestMaxAge: FwdRequest, RequestMinFresh: FwdRequest,
	}
	for r := range reasons {
		if got := r.Forward(); got != want[r] {
			t.Errorf("%s.Forward() = %s, want %s", r, got, want[r])
		}
	}
}

func TestTagsAreBounded(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range maxTags {
		many = append(many, fmt.Sprint(i))
	}
	s := mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=60", "Cache-Tag: "+strings.Join(many, ",")))
	if diff := cmp.Diff(many, s.Tags()); diff != "" {
		t.Errorf("of %d tags (-want +got):\n%s", len(many), diff)
	}
	half := strings.Repeat("a", maxTagBytes/2)
	for _, field := range []string{"Cache-Tag: " + strings.Join(many, ",") + ",one more", "Xkey: " + half + " b" + half + " c"} {
		if _, why := NewStored(&Rules{}, NewRequest(get()), answer("Cache-Control: max-age=60", field)); why != RefusedTags {
			t.Errorf("%.20s…: %s, want %s: a purge by a tag that is not kept would miss it", field, why, RefusedTags)
		}
	}
	s = mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=60", "Cache-Tag: two words, x"))
	if diff := cmp.Diff([]string{"two words", "x"}, s.Tags()); diff != "" {
		t.Errorf("comma-separated (-want +got):\n%s", diff)
	}
}

func TestQualifiedNamesAreBounded(t *testing.T) {
	t.Parallel()
	names := make([]string, maxQualified+1)
	for i := range names {
		names[i] = fmt.Sprintf("x-%d", i)
	}
	resp := answer(`Cache-Control: max-age=60, private="` + strings.Join(names, ",") + `"`)
	if _, why := NewStored(&Rules{}, NewRequest(get()), resp); why != RefusedPrivate {
		t.Errorf("private with %d names: %s, want private", len(names), why)
	}
	resp = answer(`Cache-Control: max-age=60, private="` + strings.Join(names[:maxQualified], ",") + `"`)
	mustStore(t, &Rules{}, get(), resp)
}

// What is stored and what is sent must not change with the maps they came from,
// nor with each other.
func TestHeadersAreIndependent(t *testing.T) {
	t.Parallel()
	resp := answer("Cache-Control: max-age=60", "Etag: \"a\"", "X-A: 1", "X-B: 2")
	original := resp.Header.Clone()
	s := mustStore(t, &Rules{}, get(), resp)
	stored := s.Header().Clone()
	for _, h := range []http.Header{
		ResponseHeader(resp.Header), ForwardHeader(resp.Header), NotModifiedHeader(s),
	} {
		for name := range h {
			h.Add(name, "more")
		}
		h.Set("X-A", "changed")
	}
	resp.Header.Set("X-B", "changed")
	if diff := cmp.Diff(stored, s.Header()); diff != "" {
		t.Errorf("stored header changed (-want +got):\n%s", diff)
	}
	original.Set("X-B", "changed")
	if diff := cmp.Diff(original, resp.Header); diff != "" {
		t.Errorf("response header changed (-want +got):\n%s", diff)
	}
	fresh, ok := Freshen(&Rules{}, s, nil, Response{Status: 304, Header: http.Header{"X-A": {"9"}}, RequestTime: origo, ResponseTime: origo})
	if !ok || fresh.Header().Get("X-A") != "9" {
		t.Fatalf("Freshen = %v, %t", fresh, ok)
	}
	if diff := cmp.Diff(stored, s.Header()); diff != "" {
		t.Errorf("Freshen changed the stored header (-want +got):\n%s", diff)
	}
}

func TestStoredAccessors(t *testing.T) {
	t.Parallel()
	modified := origo.Add(-time.Hour).Format(http.TimeFormat)
	resp := answer("Cache-Control: max-age=60", "Last-Modified: "+modified, "Cache-Tag: a", "Vary: Foo")
	resp.Status = 404
	s := mustStore(t, &Rules{}, get("Foo: 1"), resp)
	if s.Status() != 404 || s.LastModified() != modified || !s.Date().Equal(origo) || !s.ResponseTime().Equal(origo) {
		t.Errorf("status %d, last modified %q, date %s, response time %s", s.Status(), s.LastModified(), s.Date(), s.ResponseTime())
	}
	if size := int(unsafe.Sizeof(Stored{})); size > storedBytes {
		t.Errorf("a Stored takes %d bytes, estimated as %d", size, storedBytes)
	}
	long := answer("Cache-Control: max-age=60", "X-Long: "+strings.Repeat("x", 10_000))
	if small, large := s.SizeBytes(), mustStore(t, &Rules{}, get(), long).SizeBytes(); small < storedBytes || large < small+9_000 {
		t.Errorf("sizes %d and %d with 10,000 bytes more", small, large)
	}
}

// The monotonic clock stands still while a machine is suspended; ages must not.
func TestAgeIsOfTheWallClock(t *testing.T) {
	t.Parallel()
	resp := answer("Cache-Control: max-age=60")
	resp.RequestTime, resp.ResponseTime = time.Now(), time.Now()
	s := mustStore(t, &Rules{}, get(), resp)
	if s.ResponseTime() != s.ResponseTime().Round(0) || s.plainUntil != s.plainUntil.Round(0) {
		t.Errorf("instants carry a monotonic reading: %s, %s", s.ResponseTime(), s.plainUntil)
	}
}

func TestConnectionOptionsAreBounded(t *testing.T) {
	t.Parallel()
	options := strings.Repeat("x,", 10*maxConnectionOptions)
	if got := connectionOptions([]string{options}); len(got) != maxConnectionOptions {
		t.Errorf("%d options, want %d", len(got), maxConnectionOptions)
	}
	if got := connectionOptions([]string{"close, Keep-Alive", "Upgrade,TE,"}); got != nil {
		t.Errorf("usual options: %q, want none", got)
	}
}

func TestParseRangeBoundsSpecs(t *testing.T) {
	t.Parallel()
	field := "bytes=" + strings.Repeat("0-0,", maxRangeSpecs)
	if got, err := ParseRange(field, 10); err != nil || len(got) != 1 || got[0].Length() != 1 {
		t.Errorf("%d specs: %v, %v", maxRangeSpecs, got, err)
	}
	if _, err := ParseRange(field+"0-0", 10); err != ErrMalformed {
		t.Errorf("%d specs: %v, want %v", maxRangeSpecs+1, err, ErrMalformed)
	}
}
