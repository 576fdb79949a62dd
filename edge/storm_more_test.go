package edge

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/purge"
)

// slowTier takes its time for the first removal.
type slowTier struct {
	cachestore.Tier
	once atomic.Bool
	wait chan struct{}
	in   chan struct{}
}

func (s *slowTier) Remove(key httpcache.Key) int {
	if !s.once.Swap(true) {
		close(s.in)
		<-s.wait
	}
	return s.Tier.Remove(key)
}

// A DELETE that comes between the two looks at the moment counts for what a POST stores.
func TestStormPostStoredThoughOvertaken(t *testing.T) {
	r := newRig(t, httpcache.Rules{})
	budget := cachestore.NewBudget(rigBudget)
	tier, err := ram.New(budget)
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowTier{Tier: tier, wait: make(chan struct{}), in: make(chan struct{})}
	r.store = cachestore.New(cachestore.Options{Budget: budget, Home: slow})
	log := r.handler.log
	r.handler = New(Options{Store: r.store, Ledger: purge.New(purge.Options{}), Recorder: r, Log: log})
	r.handler.Swap(NewSites([]*Site{r.site}), Limits{})
	var deleted atomic.Bool
	r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		switch {
		case q.Method == http.MethodDelete:
			deleted.Store(true)
		case q.Method == http.MethodPost:
			w.Header().Set("Content-Location", "/x")
			_, _ = io.WriteString(w, "posted")
		case deleted.Load():
			_, _ = io.WriteString(w, "deleted")
		}
	}})
	var wg sync.WaitGroup
	wg.Go(func() { r.direct("POST", "http://www.test/x") })
	<-slow.in // the origin has answered the POST, its target is being invalidated
	r.direct("DELETE", "http://www.test/x")
	close(slow.wait)
	wg.Wait()
	later(50 * time.Millisecond)
	if a := r.direct("GET", "http://www.test/x"); a.body != "deleted" {
		t.Errorf("GET after DELETE: %q, %s", a.body, a.Header.Get("Cache-Status"))
	}
}

// One request of a client is one of the origin, also where a partial response stands in.
func TestStormPartialStandsInForAnError(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v"`)
		r.get("/x", "Range: bytes=0-99")
		r.origin.Script("/x", testorigin.Answer{Status: 503, Text: "down"})
		later(2 * time.Minute)
		before := r.origin.Hits("/x")
		a := r.get("/x", "Range: bytes=200-299")
		t.Logf("%d %q %s: origin asked %d times", a.StatusCode, a.body, a.Header.Get("Cache-Status"), r.origin.Hits("/x")-before)
		if n := r.origin.Hits("/x") - before; n != 1 {
			t.Errorf("one request cost %d", n)
		}
	})
}

// Whoever asks for a range that the origin refuses waits for nobody else's answer.
func TestStormRefusedRangeHerd(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Status: 403, Text: "no", Delay: time.Second})
		began := time.Now()
		r.herd(50, "/x", "Range: bytes=0-9")
		t.Logf("50 equal ranges: %d requests, %v", r.origin.Hits("/x"), time.Since(began))
		began = time.Now()
		r.herd(50, "/y?status=500&delay=1s")
		t.Logf("50 equal GETs of a 500: %d requests, %v", r.origin.Hits("/y"), time.Since(began))
		began = time.Now()
		r.herd(50, "/z?status=503&cc=max-age%3D5&delay=1s", "Range: bytes=0-9")
		t.Logf("50 equal ranges of a storable 503: %d requests, %v", r.origin.Hits("/z"), time.Since(began))
	})
}

func TestStormHeadHerd(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { _, _ = r.do(t.Context(), http.MethodHead, "/size/100?cc=max-age%3D60&delay=1s") })
		}
		wg.Wait()
		t.Logf("50 equal HEADs: %d requests", r.origin.Hits("/size/100"))
	})
}

// A Range that covers only what is there, on a huge total.
func TestStormHugeTotal(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Etag", `"v"`)
			w.Header().Set("Content-Range", "bytes 0-9/9223372036854775806")
			w.WriteHeader(206)
			_, _ = io.WriteString(w, "0123456789")
		}})
		for _, field := range []string{"bytes=0-9", "bytes=0-9", "bytes=-1", "bytes=-9223372036854775806", "bytes=0-1,3-4", "bytes=5-9223372036854775807", "bytes=9223372036854775805-", ""} {
			fields := []string{"Range: " + field}
			if field == "" {
				fields = nil
			}
			before := r.origin.Hits("/x")
			a, err := r.do(t.Context(), "GET", "/x", fields...)
			if err != nil {
				t.Errorf("%s: %v", field, err)
				continue
			}
			t.Logf("%s: %d %q CR %q CL %d, origin %d, %v", field, a.StatusCode, a.body, a.Header.Get("Content-Range"), a.ContentLength, r.origin.Hits("/x")-before, a.err)
		}
		if r.handler.Panics() != 0 {
			t.Error("panic")
		}
	})
}
