package cachestore_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

// hookTier is memory in which something happens at the worst moment, once each.
type hookTier struct {
	cachestore.Tier
	put     func()                          // after an object was put in
	discard func()                          // before one is discarded
	remove  func()                          // after a key was removed
	refuse  func(o *cachestore.Object) bool // room for it
	full    bool                            // nothing is put in any more
}

func once(hook *func()) {
	if do := *hook; do != nil {
		*hook = nil
		do()
	}
}

func (h *hookTier) Put(o *cachestore.Object) bool {
	defer once(&h.put)
	return !h.full && h.Tier.Put(o)
}

func (h *hookTier) Discard(o *cachestore.Object) bool {
	once(&h.discard)
	return h.Tier.Discard(o)
}

func (h *hookTier) Remove(key httpcache.Key) int {
	defer once(&h.remove)
	return h.Tier.Remove(key)
}

func (h *hookTier) Reserve(o *cachestore.Object, n int64) bool {
	return (h.refuse == nil || !h.refuse(o)) && h.Tier.Reserve(o, n)
}

// hookDepot is the same of a depot.
type hookDepot struct {
	*storetest.Depot
	freshen func() // before anything is freshened
	current func() // before it says what is current
	recall  func() // after something was recalled
}

func (h *hookDepot) Recall(key httpcache.Key, have, buf []*cachestore.Object) []*cachestore.Object {
	defer once(&h.recall)
	return h.Depot.Recall(key, have, buf)
}

func (h *hookDepot) Freshen(old, o *cachestore.Object) {
	once(&h.freshen)
	h.Depot.Freshen(old, o)
}

func (h *hookDepot) Current(o *cachestore.Object) bool {
	once(&h.current)
	return h.Depot.Current(o)
}

// later is metadata that came an hour later.
func later(t *testing.T) *httpcache.Stored { return storetest.Tagged(t, "", time.Hour) }

// Each case stores a body and has something happen while it is replaced, freshened,
// brought up or removed. In the end both tiers have the same, and it is the latest.
func TestDepotRaces(t *testing.T) {
	t.Parallel()
	old, latest := storetest.Content(1, 100_000), storetest.Content(2, 100_000)
	replace := func(t *testing.T, r *deepRig) {
		f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: later(t), Length: int64(len(latest))})
		if err := f.Copy(context.Background(), bytes.NewReader(latest)); err != nil {
			t.Error(err)
		}
	}
	for _, test := range []struct {
		name string
		run  func(t *testing.T, r *deepRig, tier *hookTier, depot *hookDepot)
		want []byte // nil for nothing
		at   time.Duration
	}{
		{"memory has no room for what replaces it", func(t *testing.T, r *deepRig, tier *hookTier, _ *hookDepot) {
			tier.refuse = func(o *cachestore.Object) bool {
				return o.Stored().ResponseTime().After(storetest.Stored(t).ResponseTime())
			}
			replace(t, r)
		}, latest, time.Hour},
		{"the same, and it is freshened before it leaves memory", func(t *testing.T, r *deepRig, tier *hookTier, _ *hookDepot) {
			first, meta := r.get(1)[0], later(t)
			tier.refuse = func(o *cachestore.Object) bool { return o.Stored() == meta }
			tier.discard = func() { r.store.FreshenAt(first, storetest.Tagged(t, "", time.Minute), cachestore.Birth{}, nil) }
			f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: meta, Length: int64(len(latest))})
			if err := f.Copy(context.Background(), bytes.NewReader(latest)); err != nil {
				t.Error(err)
			}
		}, latest, time.Hour},
		{"memory has room for what replaces it, but does not take it", func(t *testing.T, r *deepRig, tier *hookTier, _ *hookDepot) {
			tier.full = true
			replace(t, r)
		}, latest, time.Hour},
		{"it was replaced before it is freshened", func(t *testing.T, r *deepRig, _ *hookTier, _ *hookDepot) {
			stale := r.get(1)[0]
			replace(t, r)
			r.evict(1)
			r.depot.Hold() // and cannot refuse yet
			r.store.FreshenAt(stale, storetest.Tagged(t, "", 2*time.Hour), cachestore.Birth{}, nil)
			r.depot.Let()
		}, latest, time.Hour},
		{"it is removed while it is recalled", func(_ *testing.T, r *deepRig, _ *hookTier, depot *hookDepot) {
			r.evict(1)
			depot.recall = func() { r.store.Remove(storetest.Key(1)) }
			r.get(1)
		}, nil, 0},
		{"it is brought up before the depot knows of what replaces it", func(t *testing.T, r *deepRig, tier *hookTier, _ *hookDepot) {
			tier.put = func() {
				r.evict(1)
				for _, o := range r.get(1) {
					r.store.Use(o)
				}
				synctest.Wait()
			}
			replace(t, r)
		}, latest, time.Hour},
		{"what replaces it is freshened before the depot knows of it", func(t *testing.T, r *deepRig, tier *hookTier, _ *hookDepot) {
			tier.put = func() {
				r.store.FreshenAt(r.home(1)[0], storetest.Tagged(t, "", 2*time.Hour), cachestore.Birth{}, nil)
			}
			replace(t, r)
		}, latest, 2 * time.Hour},
		{"it is brought up while it is freshened", func(t *testing.T, r *deepRig, _ *hookTier, depot *hookDepot) {
			r.evict(1)
			lean := r.get(1)[0]
			depot.freshen = func() {
				r.store.Use(lean)
				synctest.Wait()
			}
			r.store.FreshenAt(lean, later(t), cachestore.Birth{}, nil)
			if got := r.home(1); len(got) != 1 || got[0].Stored().ResponseTime() != later(t).ResponseTime() {
				t.Errorf("memory has %v", got)
			}
		}, old, time.Hour},
		{"it is looked up while it is removed", func(_ *testing.T, r *deepRig, tier *hookTier, _ *hookDepot) {
			tier.remove = func() {
				for _, o := range r.get(1) {
					r.store.Use(o)
				}
				synctest.Wait()
			}
			r.store.Remove(storetest.Key(1))
		}, nil, 0},
		{"it is brought up after it was removed", func(t *testing.T, r *deepRig, _ *hookTier, depot *hookDepot) {
			r.evict(1)
			lean := r.get(1)[0]
			r.store.Remove(storetest.Key(1))
			depot.current = func() {
				if got := r.get(1); len(got) != 0 {
					t.Error("it was found on its way into memory")
				}
			}
			r.store.Use(lean)
			synctest.Wait()
			if depot.current != nil {
				t.Error("it was not even tried")
			}
		}, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tier, depot := &hookTier{}, &hookDepot{}
				r := newDeepRigOver(t, deepRAM, func(r *deepRig) (cachestore.Tier, cachestore.Depot) {
					tier.Tier, depot.Depot = r.tier, r.depot
					return tier, depot
				})
				defer r.close()
				r.keep(1, old, true)
				test.run(t, r, tier, depot)
				r.depot.Flush()
				for _, where := range []string{"memory", "the depot"} {
					got := r.get(1)
					if test.want == nil {
						if len(got) != 0 {
							t.Errorf("%s has %d objects, want none", where, len(got))
						}
						return
					}
					if len(got) != 1 || got[0].Stored().ResponseTime().Sub(storetest.Stored(t).ResponseTime()) != test.at {
						t.Fatalf("%s has %d objects, of %v; want one of %v later", where, len(got), got[0].Stored().ResponseTime(), test.at)
					}
					r.check(got[0], test.want)
					r.evict(1)
				}
			})
		})
	}
}

// A reader whose chunk has left the body keeps it reserved until it goes on.
func TestPinnedChunkStaysReserved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newDeepRig(t, deepRAM)
		defer r.close()
		body := storetest.Content(1, 4<<20)
		f := r.begin(1, body, true)
		src, ended := startCopy(t, f)
		reader, err := f.Object().Open(0, -1)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = src.Write(body[:1<<20])
		synctest.Wait()
		want := nextOf(t, reader, body)
		_, _ = src.Write(body[1<<20:])
		src.Close()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		cost := r.get(1)[0].CostBytes()
		if used := r.budget.Used() - r.fixed; used != cost+256<<10 {
			t.Errorf("%d bytes are reserved, want %d and a chunk", used, cost)
		}
		want = nextOf(t, reader, want)
		if used := r.budget.Used() - r.fixed; used != cost {
			t.Errorf("when the reader has gone on %d bytes are reserved, want %d", used, cost)
		}
		for len(want) > 0 {
			want = nextOf(t, reader, want)
		}
		reader.Close()
	})
}
