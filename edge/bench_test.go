package edge

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/origin"
	"perigee/purge"
)

// nullWriter is a ResponseWriter that costs nothing.
type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) WriteHeader(int)             {}
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }

// benchHandler is a handler in front of an upstream that answers at once.
func benchHandler(b *testing.B) *Handler {
	budget := cachestore.NewBudget(64 << 20)
	tier, err := ram.New(budget)
	if err != nil {
		b.Fatal(err)
	}
	store := cachestore.New(cachestore.Options{Budget: budget, Home: tier})
	h := New(Options{Store: store, Ledger: purge.New(purge.Options{}), Log: slog.New(slog.DiscardHandler)})
	body := strings.Repeat("x", 1024)
	h.Swap(NewSites([]*Site{{
		Name: "www.test", Rules: &httpcache.Rules{},
		Origin: fetcherFunc(func(context.Context, *origin.Request) (*origin.Response, error) {
			now := time.Now()
			return &origin.Response{
				Status: 200, ContentLength: 1024, Body: io.NopCloser(strings.NewReader(body)), RequestTime: now, ResponseTime: now,
				Header: http.Header{
					httpcache.CacheControlField: {"max-age=3600"}, "Content-Type": {"text/html"}, "Etag": {`"abc"`},
					"Date": {now.UTC().Format(http.TimeFormat)}, "Last-Modified": {now.UTC().Format(http.TimeFormat)}, "Content-Length": {"1024"},
				},
			}, nil
		}),
	}}), Limits{Fields: 128, TargetBytes: 16 << 10})
	b.Cleanup(func() {
		_ = h.Close(context.Background())
		_ = store.Close(context.Background())
	})
	return h
}

// BenchmarkHit is the edge's share of a hit: everything but net/http.
func BenchmarkHit(b *testing.B) {
	h := benchHandler(b)
	r, _ := http.NewRequest("GET", "http://www.test/page", nil)
	r.RemoteAddr, r.RequestURI = "192.0.2.1:1234", "/page"
	r.Header.Set("User-Agent", "bench")
	r.Header.Set("Accept-Encoding", "gzip, br")
	w := &nullWriter{header: make(http.Header)}
	h.ServeHTTP(w, r)
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
	if got := w.header.Get("X-Cache"); got != "HIT" {
		b.Fatalf("X-Cache %q", got)
	}
}
