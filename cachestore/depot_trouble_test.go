package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/internal/storetest"
)

// Damage and loss before the first byte are a miss, and the object is not found again;
// later they end the reader in a way that says so, with every byte before them right.
func TestDepotDamage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		bytes int
		harm  func(d *storetest.Depot)
		whole int   // bytes that can be read after all
		first error // of Open
		found int   // by Get afterwards
	}{
		{"long, from the beginning", 2 << 20, func(d *storetest.Depot) { d.Damage(storetest.Key(1), 0) }, 0, cachestore.ErrGone, 0},
		{"long, from the middle", 2 << 20, func(d *storetest.Depot) { d.Damage(storetest.Key(1), 1<<20) }, 1 << 20, nil, 0},
		{"middling, from the beginning", 200_000, func(d *storetest.Depot) { d.Damage(storetest.Key(1), 0) }, 0, cachestore.ErrGone, 0},
		{"middling, from the middle", 200_000, func(d *storetest.Depot) { d.Damage(storetest.Key(1), 100_000) }, 100_000, nil, 0},
		{"long, gone", 2 << 20, func(d *storetest.Depot) { d.Evict(storetest.Key(1)) }, 0, cachestore.ErrGone, 0},
		{"middling, gone", 200_000, func(d *storetest.Depot) { d.Evict(storetest.Key(1)) }, 0, cachestore.ErrGone, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newDeepRig(t, deepRAM)
			defer r.close()
			body := storetest.Content(1, test.bytes)
			r.keep(1, body, true)
			r.evict(1)
			o := r.get(1)[0]
			test.harm(r.depot)
			got, err := storetest.Read(context.Background(), o, 0, -1)
			want := test.first
			if want == nil {
				want = cachestore.ErrDamaged
			}
			if !errors.Is(err, want) || !bytes.Equal(got, body[:test.whole]) {
				t.Errorf("read %d bytes, equal %v, and %v; want %d and %v", len(got), bytes.HasPrefix(body, got), err, test.whole, want)
			}
			if _, err := o.Open(int64(test.whole), 1); !errors.Is(err, cachestore.ErrGone) {
				t.Errorf("Open at what is lost: %v, want ErrGone", err)
			}
			if got := r.get(1); len(got) != 0 || len(r.home(1)) != 0 || r.depot.Objects() != 0 {
				t.Errorf("afterwards Get found %d, memory has %d, the depot %d", len(got), len(r.home(1)), r.depot.Objects())
			}
			if st := r.store.Stats(); st.Damaged == 0 {
				t.Errorf("Stats %+v, want something damaged", st)
			}
			r.keep(1, body, true)
			r.check(r.get(1)[0], body)
		})
	}
}

// A short body that is damaged is not even found.
func TestDepotDamageOfAShortBody(t *testing.T) {
	t.Parallel()
	r := newDeepRig(t, deepRAM)
	defer r.close()
	r.keep(1, storetest.Content(1, 1000), true)
	r.evict(1)
	r.depot.Damage(storetest.Key(1), 500)
	if got := r.get(1); len(got) != 0 || r.depot.Objects() != 0 {
		t.Errorf("Get found %d; the depot has %d", len(got), r.depot.Objects())
	}
}

// A reader that has begun keeps what it reads from being let go; one whose request has
// ended stops.
func TestReaderPinsTheDepot(t *testing.T) {
	t.Parallel()
	r := newDeepRig(t, deepRAM)
	defer r.close()
	body := storetest.Content(1, 2<<20)
	r.keep(1, body, true)
	reader, err := r.get(1)[0].Open(0, -1)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(io.ErrClosedPipe)
	want := nextOf(t, reader, body)
	if _, err := reader.Next(ended); !errors.Is(err, io.ErrClosedPipe) || !reader.Ready() {
		t.Errorf("Next in an ended context: %v, want its cause; ready %v", err, reader.Ready())
	}
	r.depot.Evict(storetest.Key(1))
	for len(want) > 0 {
		want = nextOf(t, reader, want)
	}
	reader.Close()
	reader.Close()
	if err := r.get(1); len(err) != 0 {
		t.Errorf("Get found %d", len(err))
	}
	var fresh cachestore.Reader
	r.keep(2, body, true)
	if err := r.get(2)[0].OpenContext(ended, &fresh, 0, -1); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Open in an ended context: %v, want its cause", err)
	}
}

// What the guard calls gone is let go in both tiers, wherever it is found.
func TestDepotGuard(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"both", "depot"} {
		for _, n := range []int{1000, 2 << 20} {
			r := newDeepRig(t, deepRAM)
			g := &switchGuard{}
			r.store.Watch(g)
			r.keep(1, storetest.Content(1, n), true)
			if where == "depot" {
				r.evict(1)
			}
			g.gone = true
			if got := r.get(1); len(got) != 0 || len(r.home(1)) != 0 || r.depot.Objects() != 0 {
				t.Errorf("%s, %d bytes: Get found %d, memory has %d, the depot %d", where, n, len(got), len(r.home(1)), r.depot.Objects())
			}
			if st := r.store.Stats(); st.Removed != 1 {
				t.Errorf("%s, %d bytes: Stats %+v, want one removed", where, n, st)
			}
			r.close()
		}
	}
}

type switchGuard struct{ gone bool }

func (g *switchGuard) Verdict(*cachestore.Object) cachestore.Verdict {
	if g.gone {
		return cachestore.Gone
	}
	return cachestore.Valid
}

// Removed is removed in both, also while it is being written or recalled.
func TestDepotRemove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newDeepRig(t, deepRAM)
		defer r.close()
		body := storetest.Content(1, 1000)
		r.keep(1, body, true)
		r.keep(2, body, true)
		r.evict(2)
		for i := 1; i <= 2; i++ {
			if n := r.store.Remove(storetest.Key(i)); n != 1 || len(r.get(i)) != 0 {
				t.Errorf("Remove of object %d = %d, want 1; then Get found %d", i, n, len(r.get(i)))
			}
		}
		r.depot.Hold()
		f := r.begin(3, body, true)
		ended := make(chan error, 1)
		go func() { ended <- f.Copy(context.Background(), bytes.NewReader(body)) }()
		synctest.Wait()
		if got := r.get(3); len(got) != 1 || got[0] != f.Object() {
			t.Errorf("while it is written Get found %v", got)
		}
		r.store.Remove(storetest.Key(3))
		if got := r.get(3); len(got) != 0 {
			t.Errorf("after Remove Get found %d", len(got))
		}
		r.depot.Let()
		<-ended
		if got := r.get(3); len(got) != 0 || r.depot.Objects() != 0 {
			t.Errorf("in the end Get found %d, the depot has %d", len(got), r.depot.Objects())
		}
	})
}

// An old copy never takes the place of what came later, whatever memory lets go meanwhile.
func TestNothingOldComesUp(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1000, 100_000, 2 << 20} {
		synctest.Test(t, func(t *testing.T) {
			r := newDeepRig(t, deepRAM)
			defer r.close()
			old, latest := storetest.Content(1, n), storetest.Content(2, n)
			r.keep(1, old, true)
			r.evict(1)
			stale := r.get(1)[0]
			r.evict(1)
			r.depot.Hold()
			f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Tagged(t, "", time.Hour), Length: int64(n)})
			ended := make(chan error, 1)
			go func() { ended <- f.Copy(context.Background(), bytes.NewReader(latest)) }()
			synctest.Wait()
			r.evict(1) // memory lets it go before the disk has it
			if used := r.budget.Used() - r.fixed; n < 1<<20 && used < int64(n) {
				t.Errorf("%d bytes wait to be written, and %d are reserved", n, used)
			}
			for range 3 {
				for _, o := range r.get(1) {
					r.store.Use(o)
				}
				r.store.Use(stale)
				synctest.Wait()
			}
			r.depot.Let()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			r.store.Use(stale)
			synctest.Wait()
			for range 2 {
				got := r.get(1)
				if len(got) != 1 {
					t.Fatalf("%d bytes: Get found %d", n, len(got))
				}
				r.check(got[0], latest)
				r.evict(1)
			}
		})
	}
}

// New metadata goes into both tiers, wherever the old object was found.
func TestFreshenBelow(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1000, 100_000, 2 << 20} {
		for _, where := range []string{"both", "depot", "recalled and brought up", "recalled and let go"} {
			synctest.Test(t, func(t *testing.T) {
				r := newDeepRig(t, deepRAM)
				defer r.close()
				body := storetest.Content(1, n)
				r.keep(1, body, true)
				old := r.get(1)[0]
				switch where {
				case "depot":
					r.evict(1)
				case "recalled and brought up":
					r.evict(1)
					old = r.depot.Recall(storetest.Key(1), nil, nil)[0]
					r.store.Use(r.get(1)[0])
					synctest.Wait()
				case "recalled and let go":
					r.evict(1)
					old = r.get(1)[0]
					r.evict(1)
				}
				meta := storetest.Tagged(t, "", time.Hour)
				fresh := r.store.FreshenAt(old, meta, cachestore.Birth{Seq: 7}, nil)
				r.check(fresh, body)
				r.depot.Flush()
				for _, found := range []string{"memory", "the depot"} {
					got := r.get(1)
					if len(got) != 1 || got[0].Stored() != meta || got[0].Born().Seq != 7 || got[0].Representation() != old.Representation() {
						t.Fatalf("%d bytes in %s: %s has %d objects, of %v", n, where, found, len(got), got[0].Stored().ResponseTime())
					}
					r.check(got[0], body)
					r.evict(1)
				}
				again := r.store.Freshen(r.get(1)[0], storetest.Tagged(t, "", 2*time.Hour))
				r.depot.Flush()
				r.evict(1)
				if got := r.get(1); len(got) != 1 || got[0].Stored() != again.Stored() {
					t.Errorf("%d bytes in %s: freshened again, Get found %d", n, where, len(got))
				}
			})
		}
	}
}

// A depot that takes nothing any more leaves memory as it would be alone, and does not
// show what is older.
func TestDepotRefuses(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1000, 2 << 20} {
		r := newDeepRig(t, deepRAM)
		old, latest := storetest.Content(1, n), storetest.Content(2, n)
		r.keep(1, old, true)
		r.depot.Refuse(true)
		r.keep(1, latest, true)
		r.check(r.get(1)[0], latest)
		if got := r.get(1)[0]; got.Tier() != cachestore.TierRAM {
			t.Errorf("%d bytes: stored in %v", n, got.Tier())
		}
		r.evict(1)
		if got := r.get(1); len(got) != 0 {
			t.Errorf("%d bytes: what is older was found", n)
		}
		if st := r.store.Stats(); st.DepotRefused != 1 || st.Stored != 2 {
			t.Errorf("%d bytes: Stats %+v", n, st)
		}
		r.close()
	}
}

// Many who want the same recalled object at once bring it up once.
func TestManyRecallTheSame(t *testing.T) {
	t.Parallel()
	r := newDeepRig(t, deepRAM)
	defer r.close()
	r.depot.Share()
	for i, n := range []int{1000, 100_000, 2 << 20} {
		body := storetest.Content(i, n)
		r.keep(i, body, true)
		r.evict(i)
		done := make(chan struct{}, 8)
		for range 8 {
			go func() {
				o := r.get(i)[0]
				r.store.Use(o)
				r.check(o, body)
				done <- struct{}{}
			}()
		}
		for range 8 {
			<-done
		}
		if got := r.get(i); len(got) != 1 {
			t.Errorf("Get found %d", len(got))
		}
	}
	if st := r.store.Stats(); st.Promoted > 2 || st.Objects != 3 {
		t.Errorf("Stats %+v, want at most two brought up", st)
	}
}

// What is asked for comes from everywhere: All, Oldest.
func TestDepotAll(t *testing.T) {
	t.Parallel()
	r := newDeepRig(t, deepRAM)
	defer r.close()
	if born, ok := r.store.Oldest(); !ok || born.Seq < 1<<62 {
		t.Errorf("of nothing the oldest is %v, %v", born, ok)
	}
	for i := range 4 {
		f := r.store.Begin(cachestore.Beginning{
			Key: storetest.Key(i), Stored: storetest.Stored(t), Length: 1, Born: cachestore.Birth{Seq: int64(10 - i), Local: int64(20 + i)},
		})
		if err := f.Copy(context.Background(), bytes.NewReader([]byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	r.evict(3)
	r.evict(0)
	n := 0
	for range r.store.All() {
		n++
	}
	if n != 4 {
		t.Errorf("All yields %d, want 4", n)
	}
	if born, ok := r.store.Oldest(); !ok || born != (cachestore.Birth{Seq: 7, Local: 20}) {
		t.Errorf("the oldest is %v, %v", born, ok)
	}
}

// BenchmarkGetAbove is a hit in memory with a depot beneath it.
func BenchmarkGetAbove(b *testing.B) {
	budget := cachestore.NewBudget(64 << 20)
	tier, err := ram.New(budget)
	if err != nil {
		b.Fatal(err)
	}
	depot := storetest.NewDepot(budget, 64<<20)
	store := cachestore.New(cachestore.Options{Budget: budget, Home: tier, Depot: depot})
	body := storetest.Content(1, 1024)
	f := store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(b), Length: 1024})
	if err := f.Copy(context.Background(), bytes.NewReader(body)); err != nil {
		b.Fatal(err)
	}
	var room [4]*cachestore.Object
	key := storetest.Key(1)
	b.ReportAllocs()
	for b.Loop() {
		store.Use(store.Get(key, room[:0])[0])
	}
	_ = store.Close(context.Background())
}
