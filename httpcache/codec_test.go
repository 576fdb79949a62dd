package httpcache

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var wholeStored = cmp.AllowUnexported(Stored{})

// asNew returns s as it comes back from its binary form, and fails where that is not
// equal in every field.
func asNew(t testing.TB, s *Stored) *Stored {
	t.Helper()
	const before = "before"
	form := AppendStored([]byte(before), s)
	form, ok := bytes.CutPrefix(form, []byte(before))
	if !ok {
		t.Fatalf("AppendStored has overwritten what it appends to: %q", form)
	}
	got, err := DecodeStored(form)
	if err != nil {
		t.Fatalf("DecodeStored(%q): %v", form, err)
	}
	clear(form) // the caller may use it again
	if diff := cmp.Diff(s, got, wholeStored); diff != "" {
		t.Fatalf("decoded (-want +got):\n%s", diff)
	}
	for _, fields := range []http.Header{got.header, got.unseen, {"Tags": got.tags, "Vary": got.vary, "Values": got.selecting}} {
		for name, lines := range fields {
			if len(lines) != cap(lines) {
				t.Errorf("who appends to %s writes into what is behind it", name)
			}
		}
	}
	for _, instant := range []time.Time{got.date, got.responseTime, got.arrived, got.contentDate, got.modified, got.plainUntil} {
		if instant != instant.Round(0).UTC() {
			t.Errorf("decoded instant %s is not in UTC", instant)
		}
	}
	return got
}

// fullest are responses that between them have every field of a Stored.
func fullest(t testing.TB) []*Stored {
	r := get("Accept-Language: de, en;q=0.5", "Authorization: x", "Foo: 1, 2")
	resp := answer(
		"Date: "+origo.Add(-3*time.Second).Format(http.TimeFormat), "Age: 4", "Etag: \"a\"", "X-Two: 1", "X-Two: 2", "X-Empty: ",
		"Last-Modified: "+origo.Add(-time.Hour).Format(http.TimeFormat), "Vary: Foo, Accept-Language", "Content-Language: de",
		"Cache-Tag: one,two", `Cache-Groups: "g", "h"`,
	)
	resp.Header[perigeeCacheControlField] = []string{
		"s-maxage=60, must-revalidate, no-transform", "stale-while-revalidate=5, stale-if-error=6",
	}
	resp.Early = []string{"</a>; rel=preload", "</b>; rel=preload"}
	resp.RequestTime, resp.ResponseTime = origo.Add(-1500*time.Millisecond), origo.Add(123456789)
	first := mustStore(t, &Rules{}, r, resp)
	later := Response{Status: 304, Header: http.Header{"X-Two": {"3"}}, RequestTime: origo.Add(time.Minute), ResponseTime: origo.Add(time.Minute + 7)}
	fresh, why := freshen(&Rules{}, first, nil, later)
	if why != Storable {
		t.Fatalf("not freshened: %s", why)
	}
	return []*Stored{first, fresh, mustStore(t, &Rules{}, get(), answer("Cache-Control: no-cache", "Etag: W/\"b\""))}
}

// What is no validator is none again.
func TestStoredFormOfMalformed(t *testing.T) {
	t.Parallel()
	for _, fields := range [][]string{
		{"Etag: \"a\"", "Etag: \"b\""},
		{"Etag: a"},
		{"Etag: "},
		{"Last-Modified: yesterday"},
		{"Last-Modified: "},
		{"Last-Modified: " + origo.Format(http.TimeFormat), "Last-Modified: " + origo.Format(http.TimeFormat)},
		{"Content-Language: de", "Vary: accept-language", "Vary: ,"},
	} {
		asNew(t, mustStore(t, &Rules{}, get("Accept-Language: fr, de"), answer(append(fields, "Cache-Control: max-age=60")...)))
	}
}

// Who adds a field to Stored must say here what becomes of it.
func TestStoredFormHasEveryField(t *testing.T) {
	t.Parallel()
	known := strings.Fields(`status header unseen etag lastModified modified date contentDate arrived responseTime initialAge
		lifetime plainUntil ageValue responseDelay staleWhileRevalidate staleIfError vary varyKeys selecting language variant
		tags groups early sizeBytes noCache revalidate strict authorized noTransform source bySMaxage`)
	some := make(map[string]bool)
	for _, s := range fullest(t) {
		v := reflect.ValueOf(*asNew(t, s))
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				some[v.Type().Field(i).Name] = true
			}
		}
	}
	var fields []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Stored]()) {
		fields = append(fields, field.Name)
		if !some[field.Name] {
			t.Errorf("no decoded response has %s: AppendStored, DecodeStored and fullest must know it", field.Name)
		}
	}
	if diff := cmp.Diff(known, fields); diff != "" {
		t.Errorf("fields of Stored have changed; if the binary form does, so must its number (-known +got):\n%s", diff)
	}
}

func TestStoredFormOfEachFlag(t *testing.T) {
	t.Parallel()
	plain := mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=60"))
	for i, flag := range []func(*Stored) *bool{
		func(s *Stored) *bool { return &s.noCache },
		func(s *Stored) *bool { return &s.revalidate },
		func(s *Stored) *bool { return &s.strict },
		func(s *Stored) *bool { return &s.authorized },
		func(s *Stored) *bool { return &s.noTransform },
		func(s *Stored) *bool { return &s.bySMaxage },
	} {
		s := *plain
		if *flag(&s) = true; s.noCache {
			s.plainUntil = time.Time{}
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) { asNew(t, &s) })
	}
}

func TestStoredFormOfInstants(t *testing.T) {
	t.Parallel()
	for name, instant := range map[string]time.Time{
		"zero":          {},
		"epoch":         time.Unix(0, 0),
		"before epoch":  time.Unix(-1, 1),
		"nanosecond":    origo.Add(1),
		"other zone":    origo.Add(-1).In(time.FixedZone("", 3*3600)),
		"first year":    time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		"far":           time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		"very far":      time.Date(30000, 1, 1, 0, 0, 0, 0, time.UTC),
		"clock astray":  time.Date(-9000, 1, 1, 0, 0, 0, 0, time.UTC),
		"monotonic too": time.Now(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, fields := range [][]string{
				{"Cache-Control: max-age=60"},
				{"Cache-Control: max-age=60", "Date: Thu, 01 Jan 0000 00:00:00 GMT", "Last-Modified: Thursday, 01-Jan-76 00:00:00 GMT"},
				{"Expires: Fri, 31 Dec 9999 23:59:60 GMT", "Date: Mon, 01 Jan 0001 00:00:00 GMT", "Etag: \"a\""},
				{"Cache-Control: max-age=99999999999", "Date: Fri, 31 Dec 9999 23:59:60 GMT", "Age: 99999999999", "Etag: \"a\""},
			} {
				resp := answer(fields...)
				resp.RequestTime, resp.ResponseTime = instant, instant
				asNew(t, mustStore(t, &Rules{}, get(), resp))
			}
		})
	}
}

// view is all that functions say of a stored response at an instant, but for what
// they make of it.
func view(rules *Rules, r *http.Request, s, other *Stored, now time.Time) []any {
	req := NewRequest(r)
	whileRevalidate, ifError := s.StaleWindows(rules)
	validators := http.Header{}
	SetValidators(validators, s)
	d := Decide(rules, req, s, now)
	parts, whole := Wanted(req, s, 100)
	selected, ok := Select(req, []variant{{other}, {s}})
	return []any{
		d, Evaluate(req, s), s.matches(req), whileRevalidate, ifError, validators, parts, whole, ok, selected.s == s,
		EarlyRefresh(rules, s, d, 7), RefreshAt(s, 7), NotModifiedHeader(s), s.Age(now), s.Reckoning(), s.Selecting(),
		s.FreshnessFields(), s.Strict(), s.Transformable(), s.Variant(), VariantOf(s.Vary(), req), s.StrongValidator(),
		s.HasValidator(), s.SameRepresentation(s), s.SameRepresentation(other), other.SameRepresentation(s),
	}
}

func TestStoredFormOfTables(t *testing.T) {
	t.Parallel()
	lawful := strings.Fields(`store freshness age reuse request vary validate conditional fields targeted surrogate rules deception
		partial head groups language reckoning post status refresh`)
	other := fullest(t)[1]
	stored := 0
	for _, r := range readTables(t) {
		if !slices.Contains(lawful, r.file) {
			continue
		}
		l := newLaw(t, r.given)
		s, why := NewStored(&l.rules, NewRequest(l.first), l.resp)
		if why != Storable || l.nothing {
			continue
		}
		stored++
		t.Run(r.file+"/"+r.id, func(t *testing.T) {
			t.Parallel()
			compareViews(t, l, s, other)
			if r.file != "refresh" {
				replay(t, l, s, r.want)
			}
		})
	}
	if stored < 400 {
		t.Errorf("%d stored responses in the tables, want at least 400", stored)
	}
}

func compareViews(t *testing.T, l *law, s, other *Stored) {
	t.Helper()
	decoded := asNew(t, s)
	honouring := l.rules
	honouring.HonourRequest, honouring.StaleIfError, honouring.StaleWhileRevalidate = true, time.Minute, time.Second
	stale := s.responseTime.Add(s.lifetime - s.initialAge)
	for _, now := range []time.Time{{}, origo.Add(-time.Second), origo, l.at, stale.Add(-1), stale, stale.Add(1), stale.Add(time.Minute), origo.AddDate(100, 0, 0)} {
		for _, r := range []*http.Request{l.first, l.then} {
			for _, rules := range []*Rules{{}, &l.rules, &honouring} {
				want, got := view(rules, r, s, other, now), view(rules, r, decoded, other, now)
				if !reflect.DeepEqual(want, got) { // cmp takes too long for all that are equal
					t.Errorf("at %s under %+v (-original +decoded):\n%s", now, rules, cmp.Diff(want, got))
				}
			}
		}
	}
}

// replay lets each item of a row judge the original and what was decoded, updates
// included, and decodes what they have become.
func replay(t *testing.T, l *law, s *Stored, want []string) {
	t.Helper()
	original, decoded := *s, *asNew(t, s)
	for _, item := range want {
		before, _ := l.check(t, &original, Storable, item)
		after, ok := l.check(t, &decoded, Storable, item)
		if !ok || before != after {
			t.Errorf("%s: %q of the original, %q of what was decoded", item, before, after)
		}
		if diff := cmp.Diff(original, decoded, wholeStored); diff != "" {
			t.Fatalf("after %s (-original +decoded):\n%s", item, diff)
		}
		decoded = *asNew(t, &decoded)
	}
}

func BenchmarkAppendStored(b *testing.B) {
	b.ReportAllocs()
	s := mustStore(b, &Rules{}, browserGet(), twelveFields())
	buf := AppendStored(nil, s)
	b.ReportMetric(float64(len(buf)), "bytes")
	for b.Loop() {
		buf = AppendStored(buf[:0], s)
	}
}

func BenchmarkDecodeStored(b *testing.B) {
	b.ReportAllocs()
	form := AppendStored(nil, mustStore(b, &Rules{}, browserGet(), twelveFields()))
	for b.Loop() {
		if _, err := DecodeStored(form); err != nil {
			b.Fatal(err)
		}
	}
}

func twelveFields() Response {
	resp := typicalAnswer()
	resp.Header.Set("Content-Encoding", "gzip")
	resp.Header.Set("Strict-Transport-Security", "max-age=31536000")
	return resp
}

func TestCodecAllocations(t *testing.T) {
	s := mustStore(t, &Rules{}, browserGet(), twelveFields())
	if n := len(s.Header()); n != 12 {
		t.Fatalf("%d fields, want 12", n)
	}
	form := AppendStored(nil, s)
	for _, test := range []struct {
		name string
		most float64
		call func()
	}{
		{"AppendStored", 0, func() { AppendStored(form[:0], s) }},
		{"AppendStored to nil", 2, func() { AppendStored(nil, s) }}, // 1 without the race detector
		{"DecodeStored", 8, func() { DecodeStored(form) }},
	} {
		if got := testing.AllocsPerRun(100, test.call); got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}
