package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/purge"
)

// TestFutureIsValidated: what is on disk may have been stored when the clock was ahead.
// Its age is unknown then, and would else be 0 until the clock has caught up.
func TestFutureIsValidated(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.get("/size/100?etag=v1&cc=max-age%3D600").expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=600; stored")
		synctest.Wait()
		get := httpcache.NewRequest(httptest.NewRequest(http.MethodGet, "/size/100", nil))
		for back, want := range map[time.Duration]httpcache.Action{0: httpcache.Serve, time.Second: httpcache.Serve, time.Hour: httpcache.Validate} {
			for o := range r.store.All() {
				if d := r.handler.decide(r.site.Rules, get, o, time.Now().Round(0).Add(-back)); d.Action != want {
					t.Errorf("the clock goes back by %v: %+v, want %v", back, d, want)
				}
			}
		}
	})
}

// TestDoubtfulIsValidated: of what more invalidations may have struck than the ledger
// tells apart nothing is sent unchecked (RFC 9111 §4.4), whatever else it allows, but
// nothing is thrown away either.
func TestDoubtfulIsValidated(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?etag=v1&cc=max-age%3D600%2C+stale-while-revalidate%3D600%2C+stale-if-error%3D600"
		next := cachestore.Mark(0)
		flood := func() {
			for range 600_000 { // more than the ledger tells apart
				next++
				r.handler.ledger.(*purge.Ledger).Invalidate(next * 0x9e3779b97f4a7c15)
			}
		}
		r.get(target).expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=600; stored")
		flood()
		r.get(target).expect(t, 200, "REVALIDATED", "fwd=stale; fwd-status=304; ttl=600")
		r.get(target).expect(t, 200, "HIT", "hit; ttl=600")
		flood()
		r.origin.Script("/size/100", testorigin.Answer{Status: 503})
		r.get(target).expect(t, 503, "MISS", "fwd=stale; fwd-status=503; detail=status-not-cacheable")
	})
}
