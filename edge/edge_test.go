package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

func TestHitAndAge(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/5000?cc=max-age%3D7200&etag=v1"
		first := r.get(target)
		first.expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=7200; stored")
		time.Sleep(time.Hour)
		second := r.get(target)
		second.expect(t, 200, "HIT", "hit; ttl=3600")
		if age := second.Header.Get("Age"); age != "3600" {
			t.Errorf("Age %q after an hour, want 3600", age)
		}
		if second.Header.Get("Date") != first.Header.Get("Date") {
			t.Error("the Date of a stored response changed")
		}
		if first.body != second.body || len(second.body) != 5000 {
			t.Errorf("bodies of %d and %d bytes", len(first.body), len(second.body))
		}
		record := r.last()
		if record.Cache != ResultHit || record.Reason != "fresh" || record.Tier != tierRAM || record.BodyBytes != 5000 || record.Site != "www.test" {
			t.Errorf("record %+v", record)
		}
		r.hits("/size/5000", 1)
	})
}

func TestRevalidated(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60&etag=v1&h=X-Version:1"
		first := r.get(target)
		time.Sleep(61 * time.Second)
		again := r.get(target)
		again.expect(t, 200, "REVALIDATED", "fwd=stale; fwd-status=304; ttl=60")
		if again.body != first.body {
			t.Error("the validated body differs")
		}
		if n := r.origin.NotModified("/size/100"); n != 1 {
			t.Errorf("the origin answered %d times 304, want 1", n)
		}
		r.get(target).expect(t, 200, "HIT", "hit; ttl=60")
	})
}

// A thousand clients want the same object before the origin has answered: it is
// asked once, and each gets every byte.
func TestCollapse(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/300000?cc=max-age%3D60&delay=2s&gap=100ms&chunk=20000"
		for _, a := range r.herd(1000, target) {
			if a.err != nil || len(a.body) != 300000 || a.StatusCode != 200 {
				t.Fatalf("an answer of %d bytes, %v", len(a.body), a.err)
			}
		}
		r.hits("/size/300000", 1)
		collapsed := 0
		for _, record := range r.records {
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
		r.get(target).expect(t, 200, "HIT", "hit; ttl=54")
		r.hits("/size/300000", 1)
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

func TestStaleIfError(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60&etag=v1"
		first := r.get(target)
		r.origin.Script("/size/100", testorigin.Answer{Status: 503})
		time.Sleep(2 * time.Minute)
		stale := r.get(target)
		stale.expect(t, 200, "STALE", "fwd=stale; fwd-status=503; ttl=-60; detail=stale-if-error")
		if stale.body != first.body {
			t.Error("the stale body differs")
		}
		time.Sleep(2 * time.Hour)
		if a := r.get(target); a.StatusCode != 503 {
			t.Errorf("status %d after the window, want the origin's 503", a.StatusCode)
		}
	})
}

// Stale while revalidate: everybody is answered at once, and one refresh runs.
func TestStaleWhileRevalidate(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60,stale-while-revalidate%3D60&etag=v1&delay=1s"
		r.get(target)
		time.Sleep(70 * time.Second)
		began := time.Now()
		for _, a := range r.herd(50, target) {
			if a.err != nil || a.Header.Get("X-Cache") != "STALE" {
				t.Errorf("X-Cache %q, %v", a.Header.Get("X-Cache"), a.err)
			}
		}
		if waited := time.Since(began); waited > 500*time.Millisecond {
			t.Errorf("stale answers waited %v for the refresh", waited)
		}
		time.Sleep(5 * time.Second)
		r.hits("/size/100", 2)
		if a := r.get(target); a.Header.Get("X-Cache") != "HIT" {
			t.Errorf("X-Cache %q after the refresh", a.Header.Get("X-Cache"))
		}
	})
}

// A body too large for the store is passed on to all who want it at the same time,
// for one request to the origin.
func TestOversizedForMany(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/12000000?cc=max-age%3D60&etag=v1&delay=1s"
		for _, a := range r.herd(5, target) {
			if a.err != nil || len(a.body) != 12000000 {
				t.Errorf("an answer of %d bytes, %v", len(a.body), a.err)
			}
		}
		r.hits("/size/12000000", 1)
		if a := r.get(target); a.Header.Get("X-Cache") != "MISS" {
			t.Errorf("X-Cache %q for what cannot be stored", a.Header.Get("X-Cache"))
		}
	})
}

// slowClient reads nothing for a while, then everything.
func (r *rig) slowClient(target string, pause time.Duration) (body []byte, err error) {
	request, _ := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://www.test"+target, nil)
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	time.Sleep(pause)
	return io.ReadAll(response.Body)
}

// One client stalls on a body that is not stored. The other goes on after a while;
// the one that stalled gets the rest by a range of its own.
func TestDetachedGoesOnByRange(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/12000000?cc=max-age%3D60&etag=v1&delay=1s"
		want := string(testorigin.Body(testorigin.Seed("/size/12000000", `"v1"`), 12000000))
		var wg sync.WaitGroup
		wg.Go(func() {
			body, err := r.slowClient(target, time.Minute)
			if err != nil || string(body) != want {
				t.Errorf("the slow client got %d bytes, %v, equal %v", len(body), err, string(body) == want)
			}
		})
		wg.Go(func() {
			began := time.Now()
			if a := r.get(target); a.err != nil || a.body != want {
				t.Errorf("the fast client got %d bytes, %v", len(a.body), a.err)
			}
			if waited := time.Since(began); waited > 20*time.Second {
				t.Errorf("the fast client waited %v for the slow one", waited)
			}
		})
		wg.Wait()
		r.hits("/size/12000000", 2)
		if st := r.store.Stats(); st.Detached != 1 {
			t.Errorf("%d readers were detached, want 1", st.Detached)
		}
	})
}

// Without a validator nobody can tell that the rest is of the same body: the
// client must see that its response was cut.
func TestDetachedWithoutValidatorIsCut(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/12000000?cc=max-age%3D60&delay=1s"
		var wg sync.WaitGroup
		wg.Go(func() {
			body, err := r.slowClient(target, time.Minute)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the slow client got %d bytes, %v, want a cut", len(body), err)
			}
		})
		wg.Go(func() {
			if a := r.get(target); a.err != nil || len(a.body) != 12000000 {
				t.Errorf("the fast client got %d bytes, %v", len(a.body), a.err)
			}
		})
		wg.Wait()
	})
}

// A body that breaks off is cut at the client, not stored, and asked for anew.
func TestTruncatedBody(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, target := range []string{"/size/100000?cc=max-age%3D60&abort=50000", "/size/100001?cc=max-age%3D60&abort=50000&chunked=1"} {
			if a, err := r.do(t.Context(), http.MethodGet, target); err == nil && a.err == nil {
				t.Errorf("%s: %d bytes came as if they were all", target, len(a.body))
			}
			if record := r.last(); !record.Aborted || record.UpstreamError != "body-incomplete" {
				t.Errorf("%s: record %+v", target, record)
			}
		}
		if st := r.store.Stats(); st.Objects != 0 || st.Failed != 2 {
			t.Errorf("Stats %+v", st)
		}
	})
}

func TestUnsafeMethodsInvalidate(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D600"
		r.get(target)
		if _, err := r.do(t.Context(), "POST", target+"&status=500"); err != nil {
			t.Fatal(err)
		}
		r.origin.Script("/size/100", testorigin.Answer{Status: 500})
		if a, _ := r.do(t.Context(), "POST", target); a.StatusCode != 500 {
			t.Fatalf("POST: %d", a.StatusCode)
		}
		r.get(target).expect(t, 200, "HIT", "hit; ttl=600")
		r.origin.Script("/size/100", testorigin.Answer{Status: 204})
		a, err := r.do(t.Context(), "DELETE", target)
		if err != nil {
			t.Fatal(err)
		}
		a.expect(t, 204, "BYPASS", "fwd=method; fwd-status=204")
		r.origin.Unscript("/size/100")
		r.get(target).expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=600; stored")
	})
}

// fetcherFunc is a Fetcher that is a function.
type fetcherFunc func(ctx context.Context, req *origin.Request) (*origin.Response, error)

func (f fetcherFunc) Fetch(ctx context.Context, req *origin.Request) (*origin.Response, error) {
	return f(ctx, req)
}

// A panic costs the requests that met it, and no other.
func TestPanicCostsOneRequest(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.handler.Swap(NewSites([]*Site{r.site, {
			Name: "broken.test", Rules: &httpcache.Rules{},
			Origin: fetcherFunc(func(context.Context, *origin.Request) (*origin.Response, error) { panic("secret words") }),
		}}), Limits{})
		for _, method := range []string{"GET", "POST"} {
			a, err := r.do(t.Context(), method, "/", "Host: broken.test")
			if err != nil {
				t.Fatal(err)
			}
			a.expect(t, 500, "ERROR", "detail=panic")
			if strings.Contains(a.body, "secret words") {
				t.Error("the client was told what the fault is")
			}
		}
		if n := r.handler.Panics(); n != 2 {
			t.Errorf("%d panics counted, want 2", n)
		}
		if a := r.get("/size/1"); a.StatusCode != 200 {
			t.Errorf("another site: %d", a.StatusCode)
		}
	})
}

// Between look-up and reading an object may be evicted: the upstream is asked.
func TestGoneBeforeReading(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D600"
		r.get(target)
		request, _ := http.NewRequest("GET", "http://www.test"+target, nil)
		request.RequestURI = target
		w := &memoryWriter{header: make(http.Header)}
		x := r.handler.begin(w, request, time.Now())
		if fault := x.admit(); fault != nil {
			t.Fatal(fault)
		}
		found, d := x.look(x.now)
		r.store.Remove(x.key)
		x.answer(found, reply{result: ResultHit, status: hitStatus(d, ""), age: d.Age})
		r.handler.end(x)
		if w.status != 200 || len(w.body) != 100 {
			t.Errorf("status %d, %d bytes", w.status, len(w.body))
		}
		r.hits("/size/100", 2)
	})
}

// memoryWriter is a ResponseWriter that keeps what it is given.
type memoryWriter struct {
	header http.Header
	status int
	body   []byte
}

func (w *memoryWriter) Header() http.Header    { return w.header }
func (w *memoryWriter) WriteHeader(status int) { w.status = status }
func (w *memoryWriter) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}

func TestRefusals(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.handler.Swap(NewSites([]*Site{r.site}), Limits{Fields: 10, TargetBytes: 100, BodyBytes: 10})
		tests := []struct {
			name, target string
			fields       []string
			status       int
			reason       string
		}{
			{"another host", "/", []string{"Host: elsewhere.test"}, 421, "no-such-site"},
			{"no host at all", "/", []string{"Host: a..b"}, 400, "bad-host"},
			{"a long target", "/" + strings.Repeat("x", 100), nil, 414, "target-too-long"},
			{"many fields", "/", strings.Split(strings.Repeat("A: b|", 11), "|")[:11], 431, "too-many-fields"},
			{"a path of ours", "/.perigee/else", nil, 404, "no-such-path"},
		}
		for _, test := range tests {
			a := r.get(test.target, test.fields...)
			if a.StatusCode != test.status || !strings.Contains(a.Header.Get(httpcache.CacheStatusField), "detail="+test.reason) {
				t.Errorf("%s: %d, %q; want %d, %s", test.name, a.StatusCode, a.Header.Get(httpcache.CacheStatusField), test.status, test.reason)
			}
		}
		if n := r.origin.Total(); n != 0 {
			t.Errorf("%d refused requests reached the origin", n)
		}
	})
}

// One host in all its spellings is one site and one key.
func TestHostForms(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/10?cc=max-age%3D60"
		r.get(target)
		for _, host := range []string{"WWW.Test", "www.test.", "www.test:8080", "test", "TEST.:80"} {
			r.get(target, "Host: "+host).expect(t, 200, "HIT", "hit; ttl=60")
		}
		r.get("/./size/../size/10?cc=max-age%3D60").expect(t, 200, "HIT", "hit; ttl=60")
	})
}

// What a client says of itself does not reach the origin; what we know does.
func TestForwardedFields(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.site.Request = FieldEdits{Remove: []string{"X-Secret"}, Set: map[string]string{"X-Added": "1"}}
		a := r.get("/echo", "Host: test:81", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https", "X-Real-Ip: 9.9.9.9",
			"Forwarded: for=9.9.9.9", "X-Secret: s", "Connection: X-Hop", "X-Hop: h", "Via: 1.1 before", "Accept-Encoding: br;q=0.5, x-none, gzip")
		for _, want := range []string{"X-Forwarded-Host: www.test\n", "X-Forwarded-Proto: http\n", "X-Added: 1\n", "Via: 1.1 before\n", "Via: 1.1 perigee\n", "Accept-Encoding: br, gzip\n"} {
			if !strings.Contains(strings.ReplaceAll(a.body, "\r\n", "\n"), want) {
				t.Errorf("the origin did not get %q; it got\n%s", want, a.body)
			}
		}
		for _, never := range []string{"9.9.9.9", "evil", "X-Secret", "X-Hop", "Forwarded: for"} {
			if strings.Contains(a.body, never) {
				t.Errorf("the origin got %q:\n%s", never, a.body)
			}
		}
	})
}

func TestMemoryForgetsByPlace(t *testing.T) {
	t.Parallel()
	var m memory[int]
	a, b := httpcache.Key{1}, httpcache.Key{2} // the same slot: it is chosen by later bytes
	m.set(a, 1)
	if v, ok := m.get(a); !ok || v != 1 {
		t.Errorf("get = %d, %v, want 1", v, ok)
	}
	if _, ok := m.get(b); ok {
		t.Error("a key that was never set is known")
	}
	m.set(b, 2)
	if _, ok := m.get(a); ok {
		t.Error("two keys live in one slot")
	}
	m.forget(a)
	if v, ok := m.get(b); !ok || v != 2 {
		t.Errorf("forgetting another key took %d, %v", v, ok)
	}
	m.forget(b)
	if _, ok := m.get(b); ok {
		t.Error("a forgotten key is known")
	}
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
		if err := r.handler.Close(bounded); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v, want the deadline", err)
		}
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
		if used := r.store.Stats().UsedBytes; used != 0 {
			t.Errorf("%d bytes are still reserved", used)
		}
	})
}

// A part of a body that is too large for the store is asked for as a part, from
// the first request on.
func TestPartOfTheOversized(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/12000000?cc=max-age%3D60&etag=v1"
		whole := testorigin.Body(testorigin.Seed("/size/12000000", `"v1"`), 12000000)
		for range 2 {
			a := r.get(target, "Range: bytes=11000000-11000009")
			if a.StatusCode != 206 || a.body != string(whole[11000000:11000010]) {
				t.Errorf("status %d, %d bytes", a.StatusCode, len(a.body))
			}
			if record := r.last(); record.BodyBytes != 10 || record.UpstreamStatus != 206 {
				t.Errorf("record %+v", record)
			}
		}
	})
}

// Many wait for a body that cannot be stored. None of them may miss its beginning,
// however late it gets to run: the origin is asked once.
func TestOversizedForAHerd(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/9000000?cc=max-age%3D60&etag=v1&delay=1s"
		for _, a := range r.herd(60, target) {
			if a.err != nil || len(a.body) != 9000000 {
				t.Errorf("an answer of %d bytes, %v", len(a.body), a.err)
			}
		}
		r.hits("/size/9000000", 1)
	})
}

// A 304 about another version than the one that was asked for must not reach a
// client that set no condition: the whole is fetched.
func TestContradictory304(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60&etag=v1"
		r.get(target)
		time.Sleep(2 * time.Minute)
		r.origin.Script("/size/100", testorigin.Answer{Handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"v2"`)
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = io.WriteString(w, "version 2")
		}})
		if a := r.get(target); a.StatusCode != 200 || a.body != "version 2" {
			t.Errorf("status %d, body %.20q", a.StatusCode, a.body)
		}
	})
}

// An encoded slash is not a slash, also beside a character that a URL should not
// hold.
func TestEncodedSlashStays(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		conn, err := r.net.DialContext(t.Context(), "tcp", "www.test:80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /text/a%2Fb\"c HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		if last, ok := r.origin.Last("/text/a/b\"c"); ok && !strings.Contains(last.URI, "%2F") {
			t.Errorf("the origin was asked for %q", last.URI)
		} else if !ok && !strings.HasPrefix(string(all), "HTTP/1.1 400") {
			t.Errorf("neither refused nor forwarded: %.200q", all)
		}
	})
}

// A field that private names goes to the client it was made for, and to no other.
func TestWithheldFieldReachesItsClientOnly(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = `/size/10?cc=max-age%3D60,private%3D%22x-user%22&h=X-User:me`
		if got := r.get(target).Header.Get("X-User"); got != "me" {
			t.Errorf("the client it was made for got %q", got)
		}
		a := r.get(target)
		a.expect(t, 200, "HIT", "hit; ttl=60")
		if got := a.Header.Get("X-User"); got != "" {
			t.Errorf("another client got %q", got)
		}
	})
}
