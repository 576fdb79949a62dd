package cachestore_test

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"perigee/cachestore"
	"perigee/internal/storetest"
)

// before is a guard to whom everything is gone that was born before a moment.
type before struct{ moment atomic.Int64 }

func (g *before) Verdict(o *cachestore.Object) cachestore.Verdict {
	if o.Born().Local < g.moment.Load() {
		return cachestore.Gone
	}
	return cachestore.Valid
}

// What a guard calls gone is found by nobody, leaves the tier, and is not stored if it
// is still arriving.
func TestGuard(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1<<20)
	guard := new(before)
	r.store.Watch(guard)
	begin := func(key int, born int64) *cachestore.Fill {
		return r.store.Begin(cachestore.Beginning{Key: storetest.Key(key), Stored: storetest.Stored(t), Length: 10, Born: cachestore.Birth{Local: born}})
	}
	bring := func(f *cachestore.Fill) {
		t.Helper()
		if err := f.Copy(context.Background(), bytes.NewReader(storetest.Content(1, 10))); err != nil {
			t.Fatal(err)
		}
	}
	bring(begin(1, 1))
	arriving := begin(2, 1)
	if len(r.get(1)) != 1 || len(r.get(2)) != 1 {
		t.Fatalf("valid: %d stored, %d arriving, want 1 of each", len(r.get(1)), len(r.get(2)))
	}
	guard.moment.Store(2)
	// Who only looks sees them, and takes nothing away.
	before := r.store.Stats()
	if a, b := r.store.Peek(storetest.Key(1), nil), r.store.Peek(storetest.Key(2), nil); len(a) != 1 || len(b) != 1 || r.store.Stats() != before {
		t.Errorf("Peek: %d stored, %d arriving, want 1 of each; %+v, before it was %+v", len(a), len(b), r.store.Stats(), before)
	}
	if len(r.get(1)) != 0 || len(r.get(2)) != 0 {
		t.Errorf("gone: %d stored, %d arriving, want none", len(r.get(1)), len(r.get(2)))
	}
	bring(arriving)
	if st := r.store.Stats(); st.Objects != 0 || st.Removed != 2 {
		t.Errorf("%d objects, %d removed; want 0, 2", st.Objects, st.Removed)
	}
	bring(begin(1, 2))
	if len(r.get(1)) != 1 {
		t.Error("what was fetched later is gone too")
	}
}

// A part is not joined to parts that are gone, or it would be gone with them.
func TestGuardKeepsPartsApart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1<<20)
	guard := new(before)
	r.store.Watch(guard)
	whole := storetest.Content(1, 100)
	meta := storetest.Tagged(t, `"a"`, 0)
	part := func(born, first, last int64, base *cachestore.Object) {
		t.Helper()
		f := r.store.Begin(cachestore.Beginning{
			Key: storetest.Key(1), Stored: meta, Base: base, Born: cachestore.Birth{Local: born},
			Size: 100, Part: spans(first, last)[0],
		})
		if err := f.Copy(context.Background(), bytes.NewReader(whole[first:last+1])); err != nil {
			t.Fatal(err)
		}
	}
	part(1, 0, 9, nil)
	old := r.found()
	guard.moment.Store(2)
	part(2, 20, 29, old)
	got := r.found()
	if got == nil || got.Covers(spans(0, 9)[0]) || !got.Covers(spans(20, 29)[0]) {
		t.Errorf("found %+v, want the later part alone", got)
	}
}

// A sweep frees the room of what is gone before anybody asks for it.
func TestSweep(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1<<20)
	guard := new(before)
	r.store.Watch(guard)
	for i := range int64(10) {
		f := r.store.Begin(cachestore.Beginning{
			Key: storetest.Key(int(i)), Stored: storetest.Stored(t), Length: 10, Born: cachestore.Birth{Local: i},
		})
		if err := f.Copy(context.Background(), bytes.NewReader(storetest.Content(1, 10))); err != nil {
			t.Fatal(err)
		}
	}
	used := r.budget.Used()
	guard.moment.Store(4)
	if n := r.store.Sweep(); n != 4 || r.store.Stats().Objects != 6 || r.budget.Used() >= used {
		t.Errorf("%d swept, %d objects left, %d of %d bytes used", n, r.store.Stats().Objects, r.budget.Used(), used)
	}
	if n := r.store.Sweep(); n != 0 {
		t.Errorf("%d swept a second time", n)
	}
	arriving := r.store.Begin(cachestore.Beginning{
		Key: storetest.Key(20), Stored: storetest.Stored(t), Length: 10, Born: cachestore.Birth{Local: 5},
	})
	guard.moment.Store(6)
	r.store.Sweep()
	guard.moment.Store(0) // it forgets
	if err := arriving.Copy(context.Background(), bytes.NewReader(storetest.Content(1, 10))); err != nil {
		t.Fatal(err)
	}
	if got := r.get(20); len(got) != 0 {
		t.Errorf("what arrived as it was struck is stored: %v", got)
	}
}
