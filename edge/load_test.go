package edge

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
)

// full takes as many places for requests as there are, and gives back how to free
// them.
func (r *rig) full(requests int) (free func()) {
	limits := *r.handler.limits.Load()
	limits.Requests = requests
	r.handler.Swap(r.handler.Sites(), limits)
	release := r.origin.Hold("/held")
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() { r.get("/held?cc=private") })
	}
	synctest.Wait()
	return func() {
		release()
		wg.Wait()
		synctest.Wait()
	}
}

// Who has too many requests in hand serves what it has and asks for nothing more:
// the hits of all sites must not wait for one slow origin.
func TestOverloadServesWhatIsStored(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const fresh, stale, gone = "/text/fresh?cc=max-age%3D600", "/text/stale?cc=max-age%3D60,stale-if-error%3D600", "/text/gone?cc=max-age%3D60"
		for _, target := range []string{fresh, stale, gone} {
			r.get(target)
		}
		time.Sleep(2 * time.Minute)
		free := r.full(3)
		before := r.origin.Total()
		r.get(fresh).expect(t, 200, "HIT", "hit; ttl=480")
		r.get(stale).expect(t, 200, "STALE", "hit; ttl=-60; detail=overloaded")
		for target, status := range map[string]string{
			gone: "fwd=stale; detail=overloaded", "/text/never": "fwd=miss; detail=overloaded",
		} {
			a := r.get(target)
			a.expect(t, 503, "ERROR", status)
			if got := a.Header.Get("Retry-After"); got != "1" {
				t.Errorf("%s: Retry-After %q, want 1", target, got)
			}
		}
		r.post("/text/never", 503).expect(t, 503, "ERROR", "fwd=method; detail=overloaded")
		if n := r.origin.Total() - before; n != 0 {
			t.Errorf("%d requests reached the origin", n)
		}
		free()
		r.get(gone).expect(t, 200, "MISS", "fwd=stale; fwd-status=200; ttl=60; stored")
	})
}

// A refresh that nobody waits for can wait too.
func TestOverloadRefreshesNothing(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D60,stale-while-revalidate%3D600"
		r.get(target)
		time.Sleep(2 * time.Minute)
		free := r.full(3)
		a, err := r.do(t.Context(), http.MethodGet, target)
		if err != nil || a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("X-Cache"), "STALE") {
			t.Errorf("%v, %v; want a stale answer", a.Response, err)
		}
		free()
	})
}

// Far beyond the bound not even what is stored is served: the requests in hand have
// a bound in all.
func TestOverloadCeiling(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.handler.Swap(NewSites([]*Site{r.site}), Limits{Requests: 2})
		r.get("/size/10?cc=max-age%3D60")
		r.handler.inFlight.Add(overloadCeiling * 2)
		a := r.get("/size/10?cc=max-age%3D60")
		a.expect(t, 503, "ERROR", "detail=overloaded")
		if a.Header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
		}
		r.handler.inFlight.Add(-overloadCeiling * 2)
		r.get("/size/10?cc=max-age%3D60").expect(t, 200, "HIT", "hit; ttl=60")
	})
}
