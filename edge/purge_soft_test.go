package edge

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/purge"
)

// A client that wants no fetch gets none, also where a soft purge would have one made.
func TestPurgeSoftOnlyIfCached(t *testing.T) {
	for _, control := range []string{"max-age=600", "max-age=600, must-revalidate"} {
		inner := control
		t.Run(inner, func(t *testing.T) {
			inBubble(t, httpcache.Rules{HonourRequest: true}, func(t *testing.T, r *rig) {
				p, d := &press{fields: []string{"Cache-Control: " + inner}}, r.desk()
				r.publishes("/a/x", p)
				r.get("/a/x")
				d.order(purge.Order{Tags: []string{"news"}, Soft: true})
				a := r.get("/a/x", httpcache.CacheControlField+": only-if-cached")
				want := 200
				if inner != "max-age=600" {
					want = 504
				}
				if a.StatusCode != want {
					t.Errorf("%d %s", a.StatusCode, a.Header.Get(httpcache.CacheStatusField))
				}
			})
		})
	}
}

// A soft purge while the body comes: everybody is served, and the origin is not asked
// again and again.
func TestPurgeSoftWhileTheBodyComes(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p, d := &press{slow: true}, r.desk()
		r.serve("/a/x", func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("If-None-Match") == "" {
				p.head(w.Header())
				_, _ = io.WriteString(w, "first")
				w.(http.Flusher).Flush()
				later(time.Minute)
				return
			}
			p.head(w.Header())
			w.WriteHeader(304)
		})
		var all sync.WaitGroup
		all.Go(func() { r.get("/a/x") })
		later(time.Second)
		d.order(purge.Order{Tags: []string{"news"}, Soft: true})
		for range 50 {
			all.Go(func() { r.get("/a/x") })
			later(100 * time.Millisecond)
		}
		all.Wait()
		if n := r.origin.Hits("/a/x"); n > 7 { // one a second
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

// However often a page is purged softly while a herd waits for it, the origin is asked
// once: what comes would be served too if it lay in the store.
func TestPurgeSoftAgainAndAgainUnderAHerd(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p, d := &press{slow: true}, r.desk()
		r.publishes("/a/x", p)
		var all sync.WaitGroup
		all.Go(func() { r.herd(100, "/a/x") })
		for range 10 {
			later(whileAsked)
			d.order(purge.Order{Tags: []string{"news"}, Soft: true})
		}
		all.Wait()
		r.hits("/a/x", 1)
	})
}
