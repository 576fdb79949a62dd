package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/purge"
)

// An edge whose origin leads back to it: 508 after one round, and no storm (RFC 8586).
func TestOriginIsItself(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		pool := r.pool(originAt("http://www.test"))
		r.reconfigure(func(s *Site) { s.Origin = pool })
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
			before := len(r.ended())
			a, err := r.do(t.Context(), method, "/a")
			if err != nil || a.StatusCode != http.StatusLoopDetected {
				t.Fatalf("%s: %v, %v; want 508", method, a.Response, err)
			}
			if n := len(r.ended()) - before; n != 2 {
				t.Errorf("%s: %d requests reached the edge, want the client's and one of our own", method, n)
			}
			if status := a.Header.Values(httpcache.ProxyStatusField); len(status) != 1 || status[0] != "perigee; error=proxy_loop_detected" {
				t.Errorf("%s: Proxy-Status %q, want one that names the loop", method, status)
			}
		}
		before := len(r.ended())
		for _, a := range r.herd(50, "/b") {
			if a.err != nil || a.StatusCode != http.StatusLoopDetected {
				t.Errorf("%d, %v; want 508", a.StatusCode, a.err)
			}
		}
		if n := len(r.ended()) - before; n > 100 {
			t.Errorf("50 clients made %d requests, want at most one of our own for each", n)
		}
		if n := r.store.Stats().Objects; n != 0 {
			t.Errorf("%d objects are stored, want nothing", n)
		}
	})
}

// A loop of two: the first edge knows its own request when it comes back.
func TestLoopOfTwoEdges(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		second := r.second("second.test")
		second.Origin = r.pool(originAt("http://www.test"))
		pool := r.pool(originAt("http://second.test"))
		r.reconfigure(func(s *Site) { s.Origin = pool })
		if a := r.get("/a"); a.StatusCode != http.StatusLoopDetected {
			t.Errorf("status %d, want 508", a.StatusCode)
		}
		if n := len(r.ended()); n != 2 {
			t.Errorf("%d requests reached the first edge, want 2", n)
		}
	})
}

// One edge behind another is no loop, and the upstream learns the way.
func TestEdgeBehindEdge(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		second := r.second("second.test")
		second.Origin = r.site.Origin
		pool := r.pool(originAt("http://second.test"))
		r.reconfigure(func(s *Site) { s.Origin = pool })
		a := r.get("/text/a?cc=max-age%3D60", "CDN-Loop: other; x=1")
		if a.StatusCode != 200 || a.body != "/text/a" {
			t.Fatalf("%d, %q", a.StatusCode, a.body)
		}
		if got, want := a.Header.Values(httpcache.CacheStatusField), []string{"second; fwd=miss; fwd-status=200; ttl=60; stored", "perigee; fwd=miss; fwd-status=200; ttl=60; stored"}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Cache-Status %q, want %q: the cache nearest to the origin first", got, want)
		}
		lines := r.seen("/text/a").Header.Values(httpcache.CDNLoopField)
		all := strings.Join(lines, ", ")
		if own, layers := httpcache.CDNLoop(lines, loopID, r.handler.node); own != 1 || layers != 2 || !strings.HasPrefix(all, "other; x=1, perigee;") {
			t.Errorf("CDN-Loop %q: we are in it %d times, perigees %d; want what was there, and once each of two", all, own, layers)
		}
	})
}

// second is another edge on the rig's network. Set the origin of its site before it is
// asked.
func (r *rig) second(host string) *Site {
	r.t.Helper()
	budget := cachestore.NewBudget(rigBudget)
	tier, err := ram.New(budget)
	if err != nil {
		r.t.Fatal(err)
	}
	store := cachestore.New(cachestore.Options{Budget: budget, Home: tier})
	h := New(Options{Name: "second", Store: store, Ledger: purge.New(purge.Options{}), Log: slog.New(slog.DiscardHandler)})
	site := &Site{Name: CatchAll, Rules: &httpcache.Rules{}}
	h.Swap(NewSites([]*Site{site}), Limits{})
	server := &http.Server{Handler: h}
	listener := r.net.Listen(host + ":80")
	go func() { _ = server.Serve(listener) }()
	r.t.Cleanup(func() {
		_ = server.Close()
		_ = h.Close(context.Background())
		_ = store.Close(context.Background())
	})
	return site
}

// Whoever claims to have been through many of our kind is refused; other CDNs' members
// do not count, and neither do our names where they are none.
func TestLayersAreBounded(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		layers := func(n int) string { return strings.TrimSuffix(strings.Repeat("perigee; node=x, ", n), ", ") }
		for _, test := range []struct {
			fields []string
			want   int
		}{
			{nil, 200},
			{[]string{"CDN-Loop: " + layers(maxLayers-1)}, 200},
			{[]string{"CDN-Loop: " + layers(maxLayers)}, 508},
			{[]string{"CDN-Loop: " + layers(4), "CDN-Loop: PERIGEE, " + layers(3)}, 508},
			{[]string{"CDN-Loop: " + strings.Repeat("other, ", 50) + "perigees"}, 200},
			{[]string{`CDN-Loop: other; x="perigee, perigee, perigee, perigee, perigee, perigee, perigee, perigee, perigee"`}, 200},
			{[]string{"CDN-Loop: perigee; node=" + r.handler.node}, 508},
			{[]string{"CDN-Loop: "}, 200},
		} {
			if a := r.get("/text/a", test.fields...); a.StatusCode != test.want {
				t.Errorf("%q: %d, want %d", test.fields, a.StatusCode, test.want)
			}
		}
	})
}

// What one client says of its way is nobody else's affair: a refusal that it brings
// about behind us is not stored.
func TestRefusedLoopIsNotStored(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set(httpcache.CacheControlField, "max-age=60")
			if _, layers := httpcache.CDNLoop(req.Header.Values(httpcache.CDNLoopField), loopID, ""); layers >= maxLayers {
				w.Header().Set(httpcache.CacheControlField, "no-store")
				w.WriteHeader(http.StatusLoopDetected)
			}
		}})
		if a := r.get("/x", "CDN-Loop: "+strings.Repeat("perigee, ", maxLayers-2)+"perigee"); a.StatusCode != 508 {
			t.Errorf("%d, want the upstream's 508", a.StatusCode)
		}
		if a := r.get("/x"); a.StatusCode != 200 {
			t.Errorf("%d for another client, want 200", a.StatusCode)
		}
	})
}
