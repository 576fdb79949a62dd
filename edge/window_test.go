package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// A body of bigBytes is longer than the sites of this file store, and than a window
// with all the buffers on its way: a client that stands still holds it up.
const (
	bigBytes = 5_000_000
	big      = "/size/5000000"
	bigTag   = `"v1"`
)

// inWindow runs a story about bodies that are passed on and not stored.
func inWindow(t *testing.T, story func(t *testing.T, r *rig)) {
	t.Helper()
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.MaxObjectBytes = 1 << 20 })
		story(t, r)
	})
}

// bigFrom is what the origin gives of the big body of a version from an offset on.
func bigFrom(etag string, off int64) io.Reader {
	return testorigin.Reader(testorigin.Seed(big, etag), off, bigBytes)
}

// whole asks for target and compares its body with want. The client stands still
// for pause after the head.
func (r *rig) whole(target string, pause time.Duration, want io.Reader, fields ...string) error {
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://www.test"+target, nil)
	if err != nil {
		return err
	}
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	time.Sleep(pause)
	return compare(response.Body, want)
}

// wholeForMany lets n clients ask at once.
func (r *rig) wholeForMany(n int, target string, want func() io.Reader, fields ...string) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := r.whole(target, 0, want(), fields...); err != nil {
				r.t.Errorf("GET %s %q, for one of %d: %v", target, fields, n, err)
			}
		})
	}
	wg.Wait()
}

// A body too large for the store is passed on to all who want it at the same time,
// for one request to the origin. None of them may miss its beginning, however late
// it gets to run.
func TestOversizedForAHerd(t *testing.T) {
	inWindow(t, func(t *testing.T, r *rig) {
		const target = big + "?cc=max-age%3D60&etag=v1&delay=1s"
		r.wholeForMany(30, target, func() io.Reader { return bigFrom(bigTag, 0) })
		r.hits(big, 1)
		if st := r.store.Stats(); st.Detached != 0 || st.Objects != 0 || st.TooLarge != 1 {
			t.Errorf("Stats %+v", st)
		}
	})
}

// The store's own bound, half of its memory, holds for sites without one of theirs.
func TestOversizedForTheStore(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/8400000?cc=max-age%3D60&etag=v1"
		seed := testorigin.Seed("/size/8400000", bigTag)
		for range 2 {
			if err := r.whole(target, 0, testorigin.Reader(seed, 0, 8_400_000)); err != nil {
				t.Error(err)
			}
		}
		if record := r.last(); record.Cache != ResultMiss || record.Stored {
			t.Errorf("record %+v of what cannot be stored", record)
		}
		r.hits("/size/8400000", 2)
	})
}

// Who waited for a body that turns out to be of another variant goes elsewhere, and
// holds nobody up by that.
func TestOversizedInTwoVariants(t *testing.T) {
	inWindow(t, func(t *testing.T, r *rig) {
		const target = big + "?cc=max-age%3D60&etag=v1&delay=1s&vary=Accept-Language"
		began := time.Now()
		var wg sync.WaitGroup
		for _, language := range []string{"en", "fr"} {
			wg.Go(func() {
				r.wholeForMany(2, target, func() io.Reader { return bigFrom(bigTag, 0) }, "Accept-Language", language)
			})
		}
		wg.Go(func() { // who needs no body holds nobody up either
			if a := r.get(target, "Accept-Language: en", "If-None-Match: "+bigTag); a.StatusCode != 304 {
				t.Errorf("status %d, want 304", a.StatusCode)
			}
		})
		wg.Wait()
		if took := time.Since(began); took > 4*time.Second || r.store.Stats().Detached != 0 {
			t.Errorf("took %v, and %d readers were detached: somebody waited for nobody", took, r.store.Stats().Detached)
		}
	})
}

// One client stalls on a body that is not stored. The other goes on after a while;
// the one that stalled gets the rest by a range of its own.
func TestDetachedGoesOnByRange(t *testing.T) {
	inWindow(t, func(t *testing.T, r *rig) {
		const target = big + "?cc=max-age%3D60&etag=v1&delay=1s"
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := r.whole(target, time.Minute, bigFrom(bigTag, 0)); err != nil {
				t.Errorf("the slow client: %v", err)
			}
		})
		wg.Go(func() {
			began := time.Now()
			if err := r.whole(target, 0, bigFrom(bigTag, 0)); err != nil {
				t.Errorf("the fast client: %v", err)
			}
			if waited := time.Since(began); waited > 20*time.Second {
				t.Errorf("the fast client waited %v for the slow one", waited)
			}
		})
		wg.Wait()
		r.hits(big, 2)
		if last, _ := r.origin.Last(big); last.Header.Get("If-Range") != bigTag || last.Header.Get("Range") == "" {
			t.Errorf("the rest was asked for with %v, want If-Range %s and a Range", last.Header, bigTag)
		}
		if st := r.store.Stats(); st.Detached != 1 {
			t.Errorf("%d readers were detached, want 1", st.Detached)
		}
	})
}

// Without a validator nobody can tell that the rest is of the same body: the
// client must see that its response was cut.
func TestDetachedWithoutValidatorIsCut(t *testing.T) {
	inWindow(t, func(t *testing.T, r *rig) {
		const target = big + "?cc=max-age%3D60&delay=1s"
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := r.whole(target, time.Minute, bigFrom("", 0)); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the slow client: %v, want a cut", err)
			}
		})
		wg.Go(func() {
			if err := r.whole(target, 0, bigFrom("", 0)); err != nil {
				t.Errorf("the fast client: %v", err)
			}
		})
		wg.Wait()
	})
}

// A window needs room like everything else. In a store that is full to the brim
// others leave for it, and the body comes whole.
func TestWindowInAFullStore(t *testing.T) {
	inWindow(t, func(t *testing.T, r *rig) {
		for i := range 17 {
			r.get("/size/1000000?cc=max-age%3D600&i=" + strconv.Itoa(i))
		}
		if st := r.store.Stats(); st.LimitBytes-st.UsedBytes > 1<<20 {
			t.Fatalf("%d bytes are free: the store is not full", st.LimitBytes-st.UsedBytes)
		}
		const target = big + "?cc=max-age%3D60&etag=v1&delay=1s"
		began := time.Now()
		r.wholeForMany(2, target, func() io.Reader { return bigFrom(bigTag, 0) })
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("took %v: the clients waited for each other's room", took)
		}
		r.hits(big, 1)
	})
}

// A part of a body that is too large for the store is asked for as a part, from
// the first request on.
func TestPartOfTheOversized(t *testing.T) {
	inWindow(t, func(t *testing.T, r *rig) {
		const target = big + "?cc=max-age%3D60&etag=v1"
		want, _ := io.ReadAll(io.LimitReader(bigFrom(bigTag, 4_900_000), 10))
		for range 2 {
			a := r.get(target, "Range: bytes=4900000-4900009")
			if a.StatusCode != 206 || a.body != string(want) {
				t.Errorf("status %d, %d bytes", a.StatusCode, len(a.body))
			}
			if record := r.last(); record.BodyBytes != 10 || record.UpstreamStatus != 206 {
				t.Errorf("record %+v", record)
			}
		}
		r.hits(big, 2)
	})
}

// A body that is on its way to others, slowly, is not waited for by whoever wants
// only its end.
func TestPartFarAheadIsAskedForByItself(t *testing.T) {
	inWindow(t, func(t *testing.T, r *rig) {
		r.origin.Script(big, testorigin.Answer{Fields: []string{"cache-control: max-age=60"}, Size: bigBytes, Delay: time.Second, Rate: 50_000})
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = r.do(ctx, http.MethodGet, big) })
		time.Sleep(1500 * time.Millisecond)
		began := time.Now()
		a := r.get(big, "Range: bytes=4999990-")
		if took := time.Since(began); a.StatusCode != 206 || len(a.body) != 10 || took > 3*time.Second {
			t.Errorf("status %d, %d bytes after %v; want 206, 10 bytes, and no waiting for the other client's", a.StatusCode, len(a.body), took)
		}
		r.hits(big, 2)
		leave()
		wg.Wait()
	})
}

// An origin that ignores ranges, or whose version is not the one that If-Range
// names, answers a request for a part with the whole. The request that asked by
// itself because the part is far ahead must not do so again and again.
func TestPartThatIsAnsweredWithTheWhole(t *testing.T) {
	for name, story := range map[string]struct {
		target string
		fields []string
		status int
	}{
		"no ranges":       {big + "?cc=max-age%3D60&etag=v1&ranges=0&delay=10ms", []string{"Range", "bytes=4900000-4900009"}, 206},
		"another version": {big + "?cc=max-age%3D60&etag=v1&delay=10ms", []string{"Range", "bytes=4900000-", "If-Range", `"v0"`}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			inWindow(t, func(t *testing.T, r *rig) {
				want := bigFrom(bigTag, 0)
				if story.status == 206 {
					want = io.LimitReader(bigFrom(bigTag, 4_900_000), 10)
				}
				if err := r.whole(story.target, 0, want, story.fields...); err != nil {
					t.Error(err)
				}
				if record := r.last(); record.Status != story.status {
					t.Errorf("status %d, want %d", record.Status, story.status)
				}
				if n := r.origin.Hits(big); n > 2 {
					t.Errorf("%d requests to the origin for one", n)
				}
			})
		})
	}
}

// An anchor is a reader of a window that takes nothing: the body stays where it is
// until the last of those it waits for has begun, and ends when nobody is left.
func TestAnchorHoldsTheBeginning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := cachestore.NewBudget(rigBudget)
		tier, err := ram.New(budget)
		if err != nil {
			t.Fatal(err)
		}
		store := cachestore.New(cachestore.Options{Budget: budget, Home: tier})
		defer store.Close(context.Background())
		request, _ := http.NewRequest(http.MethodGet, "http://www.test/", nil)
		meta := httpcache.Response{Status: 200, Header: http.Header{httpcache.CacheControlField: {"max-age=60"}}, ContentLength: bigBytes, RequestTime: time.Now(), ResponseTime: time.Now()}
		stored, refusal := httpcache.NewStored(&httpcache.Rules{}, httpcache.NewRequest(request), meta)
		if refusal != httpcache.Storable {
			t.Fatal(refusal)
		}
		fill := store.Begin(cachestore.Beginning{Stored: stored, Length: bigBytes, MaxBytes: 1})
		a := dropAnchor(fill.Object(), 0)
		a.expect(3)
		ended := make(chan error, 1)
		go func() { ended <- fill.Copy(t.Context(), testorigin.Reader(1, 0, bigBytes)) }()
		for waiting := 3; waiting > 0; waiting-- {
			time.Sleep(time.Minute)
			reader, err := fill.Object().Open(0, -1)
			if err != nil {
				t.Fatalf("%d have still to begin, and the beginning cannot be opened: %v", waiting, err)
			}
			reader.Close()
			a.begun()
		}
		synctest.Wait()
		if _, err := fill.Object().Open(0, -1); !errors.Is(err, cachestore.ErrGone) {
			t.Errorf("Open after the last has begun: %v, want ErrGone", err)
		}
		<-ended
	})
}

// Landings without an object have no anchor, and what has been let go cannot be
// anchored: none of that may be trouble.
func TestNoAnchor(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		var none *anchor
		none.expect(2)
		none.begun()
		const target = "/size/100?cc=max-age%3D600"
		r.get(target)
		x, _ := r.exchange(target)
		found, _ := x.look(x.now)
		r.store.Remove(x.key)
		r.handler.end(x)
		if a := dropAnchor(found, 0); a != nil {
			t.Error("an anchor in what has left the store")
		}
	})
}
