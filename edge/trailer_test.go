package edge

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/origin"
	"perigee/purge"
)

// gRPC's status comes in a trailer, over HTTP/2 on both sides. What is not gRPC
// loses its trailers here.
func TestTrailers(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		w.Header().Set("X-Te", r.Header.Get("Te"))
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(body)
		w.Header().Set("Grpc-Status", "0")
	}))
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	defer upstream.Close()
	pool, err := origin.NewPool(origin.Options{Upstream: upstream.URL, RootCAs: upstream.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	front := newFront(t, pool)
	for _, test := range []struct{ mime, te, status string }{
		{"application/grpc", "trailers", "0"},
		{"application/grpc+proto", "trailers", "0"},
		{"text/plain", "", ""},
	} {
		r, _ := http.NewRequest("POST", front.URL+"/?type="+strings.ReplaceAll(test.mime, "+", "%2B"), strings.NewReader("message"))
		r.Header.Set("Content-Type", test.mime)
		r.Header.Set("Te", "trailers")
		a, err := front.Client().Do(r)
		if err != nil {
			t.Fatalf("%s: %v", test.mime, err)
		}
		body, err := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if a.ProtoMajor != 2 || string(body) != "message" || err != nil {
			t.Errorf("%s: %s, body %q, %v", test.mime, a.Proto, body, err)
		}
		if got := a.Trailer.Get("Grpc-Status"); got != test.status {
			t.Errorf("%s: trailer Grpc-Status %q, want %q", test.mime, got, test.status)
		}
		if got := a.Header.Get("X-Te"); got != test.te {
			t.Errorf("%s: the upstream got TE %q, want %q", test.mime, got, test.te)
		}
	}
}

// newFront is an edge over HTTP/2 in front of pool, for every host.
func newFront(t *testing.T, pool *origin.Pool) *httptest.Server {
	t.Helper()
	budget := cachestore.NewBudget(rigBudget)
	tier, err := ram.New(budget)
	if err != nil {
		t.Fatal(err)
	}
	store := cachestore.New(cachestore.Options{Budget: budget, Home: tier})
	h := New(Options{Store: store, Ledger: purge.New(purge.Options{}), Log: slog.New(slog.DiscardHandler)})
	h.Swap(NewSites([]*Site{{Name: CatchAll, Rules: &httpcache.Rules{}, Origin: pool}}), Limits{MinRate: 1 << 10})
	front := httptest.NewUnstartedServer(h)
	front.EnableHTTP2 = true
	front.TLS = &tls.Config{NextProtos: []string{"h2"}}
	front.StartTLS()
	t.Cleanup(func() {
		front.Close()
		_ = h.Close(context.Background())
		_ = store.Close(context.Background())
	})
	return front
}
