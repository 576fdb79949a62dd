package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/edge"
	"perigee/httpcache"
	"perigee/origin"
	"perigee/purge"
)

// site is the one site of the benchmarks.
const site = "www.example.com"

// newHandler wires an edge as cmd/perigee does, with a store of 256 MiB, in front of
// the upstream at url.
func newHandler(tb testing.TB, url string) *edge.Handler {
	tb.Helper()
	budget := cachestore.NewBudget(256 << 20)
	tier, err := ram.New(budget)
	if err != nil {
		tb.Fatal(err)
	}
	pool, err := origin.NewPool(origin.Options{Upstream: url})
	if err != nil {
		tb.Fatal(err)
	}
	store := cachestore.New(cachestore.Options{Budget: budget, Home: tier})
	h := edge.New(edge.Options{Store: store, Ledger: purge.New(purge.Options{}), Log: slog.New(slog.DiscardHandler)})
	h.Swap(edge.NewSites([]*edge.Site{{Name: site, Rules: &httpcache.Rules{}, Origin: pool}}), edge.Limits{
		Fields: 128, TargetBytes: 16 << 10,
	})
	tb.Cleanup(func() {
		if err := h.Close(tb.Context()); err != nil && tb.Context().Err() == nil {
			tb.Error(err)
		}
		pool.Close()
		if err := store.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return h
}

var sizes = []struct {
	name  string
	bytes int
}{{"1KiB", 1 << 10}, {"64KiB", 64 << 10}}

// BenchmarkHitRAM is a hit over loopback, HTTP/1.1 with keep-alive.
func BenchmarkHitRAM(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			upstream := startUpstream(b, fresh(size.bytes))
			c := dial(b, startEdge(b, newHandler(b, upstream.url)))
			request := get("/hit", "")
			c.await(b, request, "X-Cache: HIT")
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			for b.Loop() {
				c.ask(b, request)
			}
			b.StopTimer()
			c.expect(b, 200, "X-Cache: HIT", size.bytes)
			upstream.asked(b, 1)
		})
	}
}

// BenchmarkNotModified is a hit whose client has the body already: 304 from memory.
func BenchmarkNotModified(b *testing.B) {
	upstream := startUpstream(b, fresh(1<<10))
	c := dial(b, startEdge(b, newHandler(b, upstream.url)))
	c.await(b, get("/hit", ""), "X-Cache: HIT")
	request := get("/hit", "If-None-Match: \"v1\"\r\n")
	b.ReportAllocs()
	for b.Loop() {
		c.ask(b, request)
	}
	b.StopTimer()
	c.expect(b, 304, "X-Cache: HIT", 0)
	upstream.asked(b, 1)
}

// BenchmarkMiss is a new key each time: fetched from an upstream over loopback,
// stored, and others made to leave for it once the store is full.
func BenchmarkMiss(b *testing.B) {
	upstream := startUpstream(b, fresh(1<<10))
	c := dial(b, startEdge(b, newHandler(b, upstream.url)))
	n := 0
	var request []byte
	b.ReportAllocs()
	for b.Loop() {
		n++
		request = appendGet(request[:0], n)
		c.ask(b, request)
	}
	b.StopTimer()
	c.expect(b, 200, "X-Cache: MISS", 1<<10)
	upstream.asked(b, n)
}

// BenchmarkValidate is a stored response that has to be validated each time: 304
// from the upstream, the body from memory.
func BenchmarkValidate(b *testing.B) {
	upstream := startUpstream(b, response("no-cache", 1<<10))
	c := dial(b, startEdge(b, newHandler(b, upstream.url)))
	request := get("/validate", "")
	c.await(b, request, "X-Cache: REVALIDATED")
	before := upstream.requests.Load()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		c.ask(b, request)
	}
	b.StopTimer()
	c.expect(b, 200, "X-Cache: REVALIDATED", 1<<10)
	upstream.asked(b, int(before)+n)
}

// BenchmarkHitHandler is a hit without net/http's server: what edge, the law and the
// store cost by themselves.
func BenchmarkHitHandler(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			h := newHandler(b, startUpstream(b, fresh(size.bytes)).url)
			r := httptest.NewRequest(http.MethodGet, "http://"+site+"/hit", nil)
			r.RequestURI, r.RemoteAddr = "/hit", netip.MustParseAddrPort("127.0.0.1:1234").String()
			w := &reusable{header: make(http.Header)}
			for deadline := time.Now().Add(10 * time.Second); w.header.Get("X-Cache") != "HIT"; {
				if time.Now().After(deadline) {
					b.Fatalf("no hit: %v", w.header)
				}
				w.reset()
				h.ServeHTTP(w, r)
			}
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			for b.Loop() {
				w.reset()
				h.ServeHTTP(w, r)
			}
			if got, want := fmt.Sprint(w.status, w.bytes, w.header.Get("X-Cache")), fmt.Sprint(200, size.bytes, "HIT"); got != want {
				b.Fatalf("got %s, want %s", got, want)
			}
		})
	}
}

// reusable is a response writer that keeps nothing.
type reusable struct {
	header        http.Header
	status, bytes int
}

func (w *reusable) reset() {
	clear(w.header)
	w.status, w.bytes = 0, 0
}

func (w *reusable) Header() http.Header    { return w.header }
func (w *reusable) WriteHeader(status int) { w.status = status }

func (w *reusable) Write(p []byte) (int, error) {
	w.bytes += len(p)
	return len(p), nil
}
