package edge

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// Fifty at once on what is stale: all are answered at once from what is stored, with
// one refresh; after the window the origin is asked first (RFC 5861 §3).
func TestStaleWhileRevalidateEndsWithItsWindow(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60,stale-while-revalidate%3D60&etag=v1"
		r.get(target)
		later(70 * time.Second)
		release := r.origin.Hold("/size/100")
		began := time.Now()
		for _, a := range r.herd(50, target) {
			if a.err != nil || !strings.HasPrefix(a.Header.Get(httpcache.CacheStatusField), "perigee; hit;") {
				t.Errorf("%s, %v; want a hit", a.Header.Get(httpcache.CacheStatusField), a.err)
			}
		}
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("they waited %v", took)
		}
		release()
		synctest.Wait()
		r.hits("/size/100", 2)
		later(2*time.Minute + time.Second)
		r.get(target).expect(t, 200, "REVALIDATED", "fwd=stale; fwd-status=304; ttl=60")
		r.hits("/size/100", 3)
	})
}

// What was stored at once is refreshed before it is stale, each target at a moment of
// its own, and nobody waits for that nor sees it.
func TestRefreshesAreSpread(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const pages = 30
		target := func(i int) string {
			return fmt.Sprintf("/text/%d?cc=max-age%%3D1000,stale-while-revalidate%%3D60&etag=v1", i)
		}
		for i := range pages {
			r.get(target(i))
		}
		later(899 * time.Second)
		for i := range pages {
			r.get(target(i))
		}
		synctest.Wait()
		if n := r.origin.Total(); n != pages {
			t.Fatalf("%d questions before the last tenth of the lifetime, want %d", n, pages)
		}
		moments := make(map[int]bool)
		for second := 900; second < 1000; second += 5 {
			before := r.origin.Total()
			for i := range pages {
				a := r.get(target(i))
				a.isHit(t, fmt.Sprintf("page %d after %d s", i, second), true)
			}
			synctest.Wait()
			if r.origin.Total() > before {
				moments[second] = true
			}
			later(5 * time.Second)
		}
		if n := r.origin.Total(); n != 2*pages {
			t.Errorf("%d questions, want each page to have been refreshed once", n)
		}
		if len(moments) < 8 {
			t.Errorf("all refreshes fell into %d of 20 moments", len(moments))
		}
	})
}

// Without stale-while-revalidate nothing is refreshed early: the origin has not said
// that it wants that, and the lifetime is what it was.
func TestNoEarlyRefreshWithoutWindow(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D1000&etag=v1"
		r.get(target)
		later(999 * time.Second)
		r.get(target).expect(t, 200, "HIT", "hit; ttl=1")
		synctest.Wait()
		r.hits("/text/a", 1)
		later(2 * time.Second)
		r.get(target).expect(t, 200, "REVALIDATED", "fwd=stale; fwd-status=304; ttl=1000")
	})
}

// A refresh ahead of time that fails costs nobody anything.
func TestEarlyRefreshFails(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D1000,stale-while-revalidate%3D60&etag=v1"
		r.get(target)
		r.origin.Script("/text/a", testorigin.Answer{Status: 503})
		later(999 * time.Second)
		r.get(target).expect(t, 200, "HIT", "hit; ttl=1")
		synctest.Wait()
		r.hits("/text/a", 2)
		r.get(target).expect(t, 200, "HIT", "hit; ttl=1")
		later(10 * time.Second)
		r.get(target).expect(t, 200, "STALE", "hit; ttl=-9; detail=stale-while-revalidate")
	})
}

// A refresh that fails is not tried again by each request for the stale page.
func TestFailedRefreshRests(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D60,stale-while-revalidate%3D600&etag=v1"
		r.get(target)
		r.origin.Script("/text/a", testorigin.Answer{Status: 503})
		later(70 * time.Second)
		for range 100 {
			if a := r.get(target); a.Header.Get("X-Cache") != "STALE" {
				t.Errorf("X-Cache %s, want STALE", a.Header.Get("X-Cache"))
			}
			later(30 * time.Millisecond)
		}
		if n := r.origin.Hits("/text/a"); n < 3 || n > 1+4 {
			t.Errorf("3 s of requests cost %d refreshes, want about one a second", n-1)
		}
		r.origin.Unscript("/text/a")
		later(2 * time.Second)
		r.get(target)
		synctest.Wait()
		r.get(target).isHit(t, "after a refresh that worked", true)
	})
}

// A refresh whose answer may not be stored says that what is stored is not the page any
// more: it is not served stale until its window ends. An error says no such thing.
func TestRefreshThatMayNotBeStored(t *testing.T) {
	tests := map[string]struct {
		answer testorigin.Answer
		gone   bool
	}{
		"private":            {testorigin.Answer{Fields: []string{"cache-control: private"}, Text: "new"}, true},
		"gone":               {testorigin.Answer{Status: 404, Fields: []string{"cache-control: no-store"}, Text: "new"}, true},
		"elsewhere":          {testorigin.Answer{Status: 302, Fields: []string{"location: /login"}, Text: "new"}, true},
		"failing":            {testorigin.Answer{Status: 503, Text: "new"}, false},
		"too many questions": {testorigin.Answer{Status: 429, Text: "new"}, false},
		"forbidden":          {testorigin.Answer{Status: 403, Fields: []string{"cache-control: no-store"}, Text: "new"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				const target = "/text/a?cc=max-age%3D60,stale-while-revalidate%3D600&etag=v1"
				r.get(target)
				r.origin.Script("/text/a", test.answer)
				later(70 * time.Second)
				if a := r.get(target); a.body != "/text/a" {
					t.Errorf("the first client after the lifetime got %q, want what is stale", a.body)
				}
				synctest.Wait()
				want := "/text/a"
				if test.gone {
					want = "new"
				}
				if a := r.get(target); a.body != want {
					t.Errorf("the next client got %q, want %q (%s)", a.body, want, a.Header.Get(httpcache.CacheStatusField))
				}
			})
		})
	}
}

// What was stored of parts, and what was asked for by HEAD, is refreshed whole or not at
// all, never by a part.
func TestRefreshOfParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		script := func(etag string) {
			r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60, stale-while-revalidate=60", "etag: " + etag}, Size: partSize})
		}
		script(`"v1"`)
		r.get("/x", "Range: bytes=0-99")
		later(70 * time.Second)
		r.get("/x", "Range: bytes=10-19").gives(t, "/x", `"v1"`, 10, 19) // stale, and refreshed
		synctest.Wait()
		if got := r.seen("/x"); got.Header.Get("If-None-Match") != `"v1"` || got.Header.Get("Range") != "" {
			t.Errorf("the refresh asked with %v, want a condition and no range", got.Header)
		}
		r.get("/x", "Range: bytes=20-29").isPart(t, "HIT")
		later(70 * time.Second)
		script(`"v2"`)
		if _, err := r.do(t.Context(), http.MethodHead, "/x"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.get("/x", "Range: bytes=5000-5099").gives(t, "/x", `"v2"`, 5000, 5099)
		r.hits("/x", 3)
	})
}

// isPart checks that an answer is a 206 that came about so.
func (a answered) isPart(t *testing.T, xCache string) {
	t.Helper()
	if a.StatusCode != http.StatusPartialContent || a.Header.Get("X-Cache") != xCache {
		t.Errorf("%d, X-Cache %s; want 206, %s", a.StatusCode, a.Header.Get("X-Cache"), xCache)
	}
}

// In which trouble of the origin a stale response stands in is the site's choice.
func TestServeStaleOn(t *testing.T) {
	troubles := map[string]httpcache.Trouble{
		"error": httpcache.TroubleError, "timeout": httpcache.TroubleTimeout, "5xx": httpcache.TroubleStatus5xx,
	}
	failing := map[string]func() (*origin.Response, error){
		"error":   func() (*origin.Response, error) { return nil, &origin.Error{Kind: origin.ErrConnect} },
		"timeout": func() (*origin.Response, error) { return nil, &origin.Error{Kind: origin.ErrTimeout} },
		"5xx": func() (*origin.Response, error) {
			bad := response(http.NoBody, 0)
			bad.Status, bad.Header = 503, http.Header{}
			return bad, nil
		},
	}
	sets := map[string]httpcache.Trouble{
		"all": 0, "none": httpcache.TroubleNone, "errors and timeouts": httpcache.TroubleError | httpcache.TroubleTimeout,
		"error": httpcache.TroubleError, "timeout": httpcache.TroubleTimeout, "5xx": httpcache.TroubleStatus5xx,
	}
	for name, set := range sets {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{StaleIfError: time.Hour, StaleOn: set}, func(t *testing.T, r *rig) {
				const target = "/text/a?cc=max-age%3D60&etag=v1"
				r.get(target)
				later(2 * time.Minute)
				for kind, fail := range failing {
					r.reconfigure(func(s *Site) {
						s.Origin = fetcherFunc(func(context.Context, *origin.Request) (*origin.Response, error) { return fail() })
					})
					a := r.get(target)
					want := set == 0 || set&troubles[kind] != 0
					if stale := a.StatusCode == 200 && a.Header.Get("X-Cache") == "STALE"; stale != want {
						t.Errorf("%s: %d, X-Cache %s; want what is stale: %v", kind, a.StatusCode, a.Header.Get("X-Cache"), want)
					}
				}
			})
		})
	}
}
