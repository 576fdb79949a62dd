package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// A thousand clients want the same object before the origin has answered: it is
// asked once, and each gets every byte.
func TestCollapse(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/30000?cc=max-age%3D60&delay=2s&gap=100ms&chunk=5000"
		for _, a := range r.herd(1000, target) {
			if a.err != nil || len(a.body) != 30000 || a.StatusCode != 200 {
				t.Fatalf("an answer of %d bytes, %v", len(a.body), a.err)
			}
		}
		r.hits("/size/30000", 1)
		collapsed := 0
		for _, record := range r.ended() {
			if record.Collapsed {
				collapsed++
			}
		}
		if collapsed != 999 {
			t.Errorf("%d requests were collapsed, want 999", collapsed)
		}
	})
}

// The first client leaves while the origin thinks; those who wait do not notice.
func TestLeaderLeaves(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/300000?cc=max-age%3D60&delay=2s&gap=100ms&chunk=20000"
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.do(ctx, http.MethodGet, target); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader got %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			for _, a := range r.herd(10, target) {
				if a.err != nil || len(a.body) != 300000 {
					t.Errorf("a follower got %d bytes, %v", len(a.body), a.err)
				}
			}
		})
		synctest.Wait()
		time.Sleep(time.Second)
		leave()
		wg.Wait()
		r.hits("/size/300000", 1)
	})
}

// The only client leaves in the middle of the body: the fill goes on.
func TestFillOutlivesItsClient(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/300000?cc=max-age%3D60&gap=100ms&chunk=20000"
		ctx, leave := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer leave()
		if a, err := r.do(ctx, http.MethodGet, target); err == nil && a.err == nil {
			t.Error("the client that left got everything")
		}
		time.Sleep(5 * time.Second)
		r.get(target).expect(t, 200, "HIT", "hit; ttl=55")
		r.hits("/size/300000", 1)
	})
}

// So does one that a client began alone, because the response before it could not
// be shared.
func TestFillBegunAloneOutlivesItsClient(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: private"}, Text: "for one"})
		r.get("/x")
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60"}, Size: 300000, Gap: 100 * time.Millisecond, Chunk: 20000})
		ctx, leave := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer leave()
		if a, err := r.do(ctx, http.MethodGet, "/x"); err == nil && a.err == nil {
			t.Error("the client that left got everything")
		}
		time.Sleep(5 * time.Second)
		r.get("/x").expect(t, 200, "HIT", "hit; ttl=55")
		r.hits("/x", 2)
	})
}

// When everybody has left before the head arrived, nobody needs the answer.
func TestAllLeave(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		release := r.origin.Hold("/size/10")
		defer release()
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := r.do(ctx, http.MethodGet, "/size/10?cc=max-age%3D60"); err == nil {
			t.Error("an answer came although the origin was held")
		}
		synctest.Wait()
		if n := r.handler.flights.Running(); n != 0 {
			t.Errorf("%d flights go on for nobody", n)
		}
		if record := r.last(); record.Reason != "client-left" || !record.Aborted || record.Status != statusClientLeft {
			t.Errorf("record %+v", record)
		}
	})
}

// What may not be shared is remembered: a herd behind it is not served one by one.
func TestHerdOnPrivate(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/10?cc=private&delay=1s"
		r.get(target).expect(t, 200, "MISS", "fwd=miss; fwd-status=200; detail=private")
		began := time.Now()
		for _, a := range r.herd(100, target) {
			if a.err != nil || a.StatusCode != 200 {
				t.Fatalf("%v, %v", a.Response, a.err)
			}
		}
		if waited := time.Since(began); waited > 1500*time.Millisecond {
			t.Errorf("100 private responses of a second each took %v: they queued", waited)
		}
		r.hits("/size/10", 101)
	})
}

// Also a first herd waits once only.
func TestColdHerdOnPrivate(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		began := time.Now()
		r.herd(50, "/size/10?cc=no-store&delay=1s")
		if waited := time.Since(began); waited > 2500*time.Millisecond {
			t.Errorf("took %v, want two rounds of a second", waited)
		}
		r.hits("/size/10", 50)
	})
}

// Two variants wanted by many at once: each is fetched once, although that there
// are two is learned only from the first response.
func TestHerdOnTwoVariants(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/1000?cc=max-age%3D60&vary=Accept-Language&delay=1s"
		var wg sync.WaitGroup
		for _, language := range []string{"en", "fr"} {
			wg.Go(func() {
				for _, a := range r.herd(50, target, "Accept-Language: "+language) {
					if a.err != nil || a.StatusCode != 200 {
						t.Errorf("%v", a.err)
					}
				}
			})
		}
		wg.Wait()
		r.hits("/size/1000", 2)
		if a := r.get(target, "Accept-Language: fr"); a.Header.Get("X-Cache") != "HIT" {
			t.Errorf("X-Cache %q for a variant that was just fetched", a.Header.Get("X-Cache"))
		}
		r.get(target, "Accept-Language: de").expect(t, 200, "MISS", "fwd=vary-miss; fwd-status=200; ttl=59; stored")
	})
}

// A refusal of one client's request says nothing of the resource: one oversized
// cookie must not take collapsing from everybody else.
func TestOneClientsRefusalLeavesTheHerdTogether(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/hot", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			if len(q.Header.Get("Cookie")) > 100 {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			time.Sleep(time.Second)
			w.Header().Set(httpcache.CacheControlField, "max-age=60")
			_, _ = io.WriteString(w, "hi")
		}})
		if a := r.get("/hot", "Cookie: "+strings.Repeat("x", 200)); a.StatusCode != 400 {
			t.Fatalf("status %d, want the origin's 400", a.StatusCode)
		}
		r.herd(50, "/hot")
		r.hits("/hot", 2)
	})
}

// A body that breaks off is cut at the client, not stored, and asked for anew.
func TestTruncatedBody(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, target := range []string{"/size/100000?cc=max-age%3D60&abort=50000", "/size/100001?cc=max-age%3D60&abort=50000&chunked=1", "/size/100002?cc=max-age%3D60&abort=0"} {
			if a, err := r.do(t.Context(), http.MethodGet, target); err == nil && a.err == nil {
				t.Errorf("%s: %d bytes came as if they were all", target, len(a.body))
			}
			if record := r.last(); !record.Aborted || record.UpstreamError != "body-incomplete" {
				t.Errorf("%s: record %+v", target, record)
			}
		}
		if st := r.store.Stats(); st.Objects != 0 || st.Failed != 3 {
			t.Errorf("Stats %+v", st)
		}
	})
}

// stingy is a tier without room for what turns out to be longer than it seemed.
type stingy struct {
	cachestore.Tier
	refused atomic.Int64
}

func (s *stingy) Reserve(o *cachestore.Object, n int64) bool {
	if n > 4<<10 {
		s.refused.Add(1)
		return false
	}
	return s.Tier.Reserve(o, n)
}

// A body of unknown length that outgrows the store is passed on. The one for whom
// it was fetched must be reading before it is decided that nobody does.
func TestNobodyMissesWhatOutgrowsTheStore(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		budget := cachestore.NewBudget(rigBudget)
		tier, err := ram.New(budget)
		if err != nil {
			t.Fatal(err)
		}
		without := &stingy{Tier: tier}
		if err := r.store.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		r.store = cachestore.New(cachestore.Options{Budget: budget, Home: without})
		r.handler.store = r.store
		const target = "/size/100000?cc=max-age%3D60&chunked=1"
		for round := range 60 {
			a, err := r.do(t.Context(), http.MethodGet, target)
			if err != nil || a.err != nil || a.StatusCode != 200 || len(a.body) != 100000 {
				t.Fatalf("round %d: %d bytes, %v, %v", round, len(a.body), err, a.err)
			}
		}
		r.hits("/size/100000", 60)
		for _, a := range r.herd(20, target+"&delay=1s&herd") {
			if a.err != nil || len(a.body) != 100000 {
				t.Errorf("one of many got %d bytes, %v", len(a.body), a.err)
			}
		}
		if without.refused.Load() == 0 {
			t.Error("the tier was never asked for the room that it does not have")
		}
	})
}

// Close waits for a fill that nobody reads, and ends it when it takes too long.
func TestCloseEndsFills(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, httpcache.Rules{})
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		_, _ = r.do(ctx, http.MethodGet, "/size/1000000?cc=max-age%3D60&gap=50s&chunk=1000")
		bounded, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		err := r.handler.Close(bounded)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 11*time.Second {
			t.Errorf("Close: %v after %v, want the deadline after 10s", err, took)
		}
		if err := r.store.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if used := r.store.Stats().UsedBytes; used != 0 {
			t.Errorf("%d bytes are still reserved", used)
		}
	})
}

// A fetch that everybody has left may still be winding down, and its head may come
// at that moment. After Close nothing touches the store any more.
func TestCloseWaitsForFetches(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		began := make(chan struct{})
		r.reconfigure(func(s *Site) {
			s.Origin = fetcherFunc(func(ctx context.Context, _ *origin.Request) (*origin.Response, error) {
				close(began)
				<-ctx.Done()
				time.Sleep(5 * time.Second)
				return response(io.NopCloser(strings.NewReader("hello")), 5), nil
			})
		})
		ctx, leave := context.WithCancel(t.Context())
		go func() { <-began; leave() }()
		_, _ = r.do(ctx, http.MethodGet, "/x")
		bounded, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := r.handler.Close(bounded); err != nil {
			t.Errorf("Close: %v", err)
		}
		if n := r.handler.flights.Running(); n != 0 {
			t.Errorf("after Close %d flights still run", n)
		}
	})
}

// response is an upstream's answer that may be stored.
func response(body io.ReadCloser, length int64) *origin.Response {
	now := time.Now()
	return &origin.Response{
		Status: 200, Header: http.Header{httpcache.CacheControlField: {"max-age=60"}},
		Body: body, ContentLength: length, RequestTime: now, ResponseTime: now,
	}
}
