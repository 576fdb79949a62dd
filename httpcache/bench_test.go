package httpcache

import (
	"net/http"
	"testing"
	"time"
)

func browserGet() *http.Request {
	return get(
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Encoding: gzip, deflate, br, zstd",
		"Accept-Language: en-US,en;q=0.5", "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Referer: https://www.example.com/", "Cookie: a=1; b=2",
	)
}

func typicalAnswer() Response {
	return answer(
		"Cache-Control: public, max-age=3600", "Content-Type: text/html; charset=utf-8", "Content-Length: 12345",
		"Date: "+origo.Format(http.TimeFormat), "Etag: \"5f3c-1a2b\"", "Last-Modified: Sat, 28 Feb 2026 12:00:00 GMT",
		"Server: nginx", "Vary: Accept-Encoding", "Accept-Ranges: bytes", "X-Content-Type-Options: nosniff",
		"Connection: keep-alive",
	)
}

func BenchmarkKey(b *testing.B) {
	b.ReportAllocs()
	target := Target{Scheme: "https", Host: "www.example.com", Path: "/static/js/app.4f3c2b1a.js", Query: "v=1"}
	for b.Loop() {
		_ = target.Key()
	}
}

func BenchmarkCanonicalHost(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		CanonicalHost("www.example.com:443")
	}
}

func BenchmarkNormalPath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NormalPath("/static/js/app.4f3c2b1a.js")
	}
}

func BenchmarkReset(b *testing.B) {
	b.ReportAllocs()
	r, q := browserGet(), new(Request)
	for b.Loop() {
		q.Reset(r)
	}
}

func BenchmarkDecide(b *testing.B) {
	b.ReportAllocs()
	resp := typicalAnswer()
	resp.Header.Del("Vary")
	rules, req, now := &Rules{}, NewRequest(browserGet()), origo.Add(time.Minute)
	s := mustStore(b, rules, browserGet(), resp)
	for b.Loop() {
		if Decide(rules, req, s, now).Action != Serve {
			b.Fatal("not served")
		}
	}
}

func BenchmarkDecideStale(b *testing.B) {
	b.ReportAllocs()
	rules, req, now := &Rules{}, NewRequest(browserGet()), origo.Add(2*time.Hour)
	s := mustStore(b, rules, browserGet(), typicalAnswer())
	for b.Loop() {
		if Decide(rules, req, s, now).Action != Validate {
			b.Fatal("not validated")
		}
	}
}

func BenchmarkNewStored(b *testing.B) {
	b.ReportAllocs()
	rules, req, resp := &Rules{}, NewRequest(browserGet()), typicalAnswer()
	for b.Loop() {
		if _, why := NewStored(rules, req, resp); why != Storable {
			b.Fatal(why)
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	rules := &Rules{}
	plain := typicalAnswer()
	plain.Header.Del("Vary")
	identity := browserGet()
	identity.Header.Del("Accept-Encoding")
	for _, bench := range []struct {
		name     string
		variants []variant
	}{
		{"plain", []variant{{mustStore(b, rules, browserGet(), plain)}}},
		{"vary", []variant{
			{mustStore(b, rules, identity, typicalAnswer())},
			{mustStore(b, rules, browserGet(), typicalAnswer())},
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			req := NewRequest(browserGet())
			for b.Loop() {
				if _, ok := Select(req, bench.variants); !ok {
					b.Fatal("none selected")
				}
			}
		})
	}
}

func BenchmarkFreshen(b *testing.B) {
	b.ReportAllocs()
	rules := &Rules{}
	s := mustStore(b, rules, browserGet(), typicalAnswer())
	update := typicalAnswer()
	update.Status = 304
	for b.Loop() {
		if _, ok := Freshen(rules, s, nil, update); !ok {
			b.Fatal("not freshened")
		}
	}
}

// What the hit path calls must not allocate; a benchmark alone would let that
// slip.
func TestAllocations(t *testing.T) {
	rules, r, now := &Rules{}, browserGet(), origo.Add(time.Minute)
	q := NewRequest(r)
	s := mustStore(t, rules, r, typicalAnswer())
	variants, resp := []variant{{s}}, typicalAnswer()
	target := Target{Scheme: "https", Host: "www.example.com", Path: "/static/js/app.4f3c2b1a.js", Query: "v=1"}
	for _, test := range []struct {
		name string
		most float64
		call func()
	}{
		{"Key", 0, func() { target.Key() }},
		{"CanonicalHost", 0, func() { CanonicalHost("www.example.com:443") }},
		{"NormalPath", 0, func() { NormalPath("/static/js/app.js") }},
		{"Reset", 0, func() { q.Reset(r) }},
		{"Select", 0, func() { Select(q, variants) }},
		{"Decide", 0, func() { Decide(rules, q, s, now) }},
		{"Decide stale", 0, func() { Decide(rules, q, s, now.Add(time.Hour)) }},
		{"Evaluate", 0, func() { Evaluate(q, s) }},
		{"NewStored", 12, func() { NewStored(rules, q, resp) }},
	} {
		if got := testing.AllocsPerRun(100, test.call); got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}
