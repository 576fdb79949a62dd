package edge

import (
	"context"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

func TestStaleIfError(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60&etag=v1"
		first := r.get(target)
		r.origin.Script("/size/100", testorigin.Answer{Status: 503})
		later(2 * time.Minute)
		stale := r.get(target)
		stale.expect(t, 200, "STALE", "fwd=stale; fwd-status=503; ttl=-60; detail=stale-if-error")
		if stale.body != first.body {
			t.Error("the stale body differs")
		}
		later(2 * time.Hour)
		if a := r.get(target); a.StatusCode != 503 {
			t.Errorf("status %d after the window, want the origin's 503", a.StatusCode)
		}
	})
}

// A response need not be one that can be validated to stand in for an origin that
// fails.
func TestStaleIfErrorWithoutValidator(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60, stale-if-error=600"}, Text: "hi"})
		r.get("/x")
		r.origin.Script("/x", testorigin.Answer{Status: 503})
		later(61 * time.Second)
		a := r.get("/x")
		a.expect(t, 200, "STALE", "fwd=stale; fwd-status=503; ttl=-1; detail=stale-if-error")
		if a.body != "hi" {
			t.Errorf("body %q, want that of before", a.body)
		}
	})
}

// An origin that gives no answer at all is an error too.
func TestStaleIfOriginIsGone(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60&etag=v1"
		r.get(target)
		later(2 * time.Minute)
		r.reconfigure(func(s *Site) {
			s.Origin = fetcherFunc(func(context.Context, *origin.Request) (*origin.Response, error) {
				return nil, &origin.Error{Kind: origin.ErrConnect, Upstream: "http://origin.test"}
			})
		})
		r.get(target).expect(t, 200, "STALE", "fwd=stale; ttl=-60; detail=stale-if-error")
		if record := r.last(); record.UpstreamError != "connection_refused" || record.Upstream != "http://origin.test" || record.Reason != "stale-if-error" {
			t.Errorf("record %+v, want the upstream's trouble in it", record)
		}
	})
}

// Many find the same stale response and the same dead origin: one attempt is made
// for all of them, and all get what there is.
func TestStaleIfErrorForAHerd(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60&etag=v1"
		r.get(target)
		r.origin.Script("/size/100", testorigin.Answer{Status: 503, Delay: time.Second})
		later(2 * time.Minute)
		for _, a := range r.herd(20, target) {
			if a.err != nil || a.StatusCode != 200 || a.Header.Get("X-Cache") != "STALE" {
				t.Errorf("%d, X-Cache %q, %v; want 200, STALE", a.StatusCode, a.Header.Get("X-Cache"), a.err)
			}
		}
		r.hits("/size/100", 2)
	})
}

// Stale while revalidate: everybody is answered at once, and one refresh runs.
func TestStaleWhileRevalidate(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60,stale-while-revalidate%3D60&etag=v1&delay=1s"
		r.get(target)
		later(70 * time.Second)
		began := time.Now()
		for _, a := range r.herd(50, target) {
			if a.err != nil || a.Header.Get("X-Cache") != "STALE" {
				t.Errorf("X-Cache %q, %v", a.Header.Get("X-Cache"), a.err)
			}
		}
		if waited := time.Since(began); waited > 500*time.Millisecond {
			t.Errorf("stale answers waited %v for the refresh", waited)
		}
		later(5 * time.Second)
		r.hits("/size/100", 2)
		if a := r.get(target); a.Header.Get("X-Cache") != "HIT" {
			t.Errorf("X-Cache %q after the refresh", a.Header.Get("X-Cache"))
		}
	})
}

// However often a stale response is asked for, its refresh takes one of the places
// for refreshes: one popular page on a slow origin must not keep all others stale.
func TestRefreshTakesOnePlace(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, path := range []string{"/a", "/b"} {
			r.origin.Script(path, testorigin.Answer{Fields: []string{"cache-control: max-age=60, stale-while-revalidate=600"}, Text: "hi"})
			r.get(path)
		}
		later(61 * time.Second)
		release := r.origin.Hold("/a")
		for range maxRefreshes {
			r.get("/a")
		}
		if n := len(r.handler.refreshes); n > 2 { // two of the requests may both have found none running
			t.Errorf("%d places are taken by the refreshes of one key", n)
		}
		r.get("/b")
		later(time.Second)
		r.hits("/b", 2)
		release()
	})
}

// When there is no place the stale response is served without a refresh: the bound
// is one on work, not on answers.
func TestRefreshesAreBounded(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60,stale-while-revalidate%3D600"
		r.get(target)
		later(61 * time.Second)
		for range maxRefreshes {
			r.handler.refreshes <- struct{}{}
		}
		r.get(target).expect(t, 200, "STALE", "hit; ttl=-1; detail=stale-while-revalidate")
		later(time.Second)
		r.hits("/size/100", 1)
		for range maxRefreshes {
			<-r.handler.refreshes
		}
		r.get(target)
		later(time.Second)
		r.hits("/size/100", 2)
	})
}
