package ram

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

// rig is a store over a memory tier, and what tests do with it.
type rig struct {
	t      testing.TB
	budget *cachestore.Budget
	tier   *Tier
	store  *cachestore.Store
}

func newRig(t testing.TB, limit int64) *rig {
	t.Helper()
	budget := cachestore.NewBudget(limit)
	tier, err := New(budget)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, budget: budget, tier: tier, store: cachestore.New(cachestore.Options{Budget: budget, Home: tier})}
}

// close closes the store and checks that every byte has been given back.
func (r *rig) close() {
	r.t.Helper()
	if err := r.store.Close(context.Background()); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	if used := r.budget.Used(); used != 0 {
		r.t.Errorf("after Close %d bytes are still reserved", used)
	}
}

func (r *rig) put(i int, body []byte, vary ...string) *cachestore.Object {
	r.t.Helper()
	f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(i), Stored: storetest.Stored(r.t, vary...), Length: int64(len(body))})
	kept := f.Stored()
	if err := f.Copy(context.Background(), bytes.NewReader(body)); kept && err != nil || !kept && !errors.Is(err, cachestore.ErrUnread) {
		r.t.Fatalf("Copy of object %d, to be kept %v: %v", i, kept, err)
	}
	return f.Object()
}

func (r *rig) get(i int) []*cachestore.Object { return r.store.Get(storetest.Key(i), nil) }

func TestVariantsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	for i := range maxVariants + 10 {
		r.put(1, storetest.Content(i, 10), fmt.Sprintf("Accept-Language: l%d", i))
	}
	if got := r.get(1); len(got) != maxVariants {
		t.Errorf("Get found %d variants, want %d", len(got), maxVariants)
	}
	if st := r.store.Stats(); st.Evicted != 10 || st.Objects != maxVariants {
		t.Errorf("Stats %+v, want 10 evicted, %d objects", st, maxVariants)
	}
}

func TestEvictionMakesRoomAndBodiesStayWithTheirReaders(t *testing.T) {
	t.Parallel()
	const size = 100_000
	r := newRig(t, 8<<20)
	defer r.close()
	first := r.put(0, storetest.Content(0, size))
	reader, err := first.Open(0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for i := 1; i < 500; i++ {
		r.put(i, storetest.Content(i, size))
		if used := r.budget.Used(); used > r.budget.Limit() {
			t.Fatalf("after %d objects %d bytes are reserved, the budget is %d", i, used, r.budget.Limit())
		}
	}
	st := r.store.Stats()
	if st.Evicted == 0 || st.Objects == 0 || st.Objects > 80 {
		t.Errorf("Stats %+v, want evictions and at most 80 objects", st)
	}
	if st.Stored+st.Refused != 500 || st.Stored < 250 {
		t.Errorf("Stats %+v: of 500 objects asked for once each, most should be stored", st)
	}
	got, err := reader.Next(context.Background())
	if err != nil || !bytes.Equal(got, storetest.Content(0, size)) {
		t.Errorf("a reader of the first object got %d bytes, %v", len(got), err)
	}
	kept := 0
	for o := range r.store.All() {
		i := int(binary.BigEndian.Uint64(keyBytes(o)[8:]))
		all, err := storetest.Read(context.Background(), o, 0, -1)
		if err != nil || !bytes.Equal(all, storetest.Content(i, size)) {
			t.Errorf("object %d: %d bytes, %v", i, len(all), err)
		}
		kept++
	}
	if int64(kept) != st.Objects {
		t.Errorf("All yields %d objects, Stats says %d", kept, st.Objects)
	}
}

func keyBytes(o *cachestore.Object) []byte { key := o.Key(); return key[:] }

func TestTooLittleMemory(t *testing.T) {
	t.Parallel()
	if _, err := New(cachestore.NewBudget(1000)); err == nil {
		t.Error("New took a budget that does not hold its counters")
	}
}

// Two keys with the same 64-bit name in the policy: the policy can only know one
// of them, so the other must leave the index too, or it would never be evicted.
func TestNamesakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	a, b := storetest.Key(1), storetest.Key(1)
	b[15] ^= 1 // the name is made of the first eight bytes
	for _, key := range []httpcache.Key{a, b} {
		f := r.store.Begin(cachestore.Beginning{Key: key, Stored: storetest.Stored(t), Length: 1})
		if err := f.Copy(context.Background(), strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		r.tier.policy.Wait()
	}
	if len(r.store.Get(a, nil)) != 0 || len(r.store.Get(b, nil)) != 1 {
		t.Errorf("Get found %d of the first and %d of the second", len(r.store.Get(a, nil)), len(r.store.Get(b, nil)))
	}
}

func BenchmarkGet(b *testing.B) {
	r := newRig(b, 64<<20)
	defer r.close()
	const keys = 10_000
	for i := range keys {
		r.put(i, storetest.Content(1, 1024))
	}
	var names [keys]httpcache.Key
	for i := range names {
		names[i] = storetest.Key(i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var room [4]*cachestore.Object
		for i := 0; pb.Next(); i++ {
			got := r.store.Get(names[i%keys], room[:0])
			r.store.Use(got[0])
		}
	})
}

// BenchmarkFill stores objects in a full store, so that each one has another leave.
func BenchmarkFill(b *testing.B) {
	r := newRig(b, 16<<20)
	defer r.close()
	body, meta := storetest.Content(1, 4096), storetest.Stored(b)
	src := bytes.NewReader(body)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for i := 0; b.Loop(); i++ {
		src.Reset(body)
		f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(i), Stored: meta, Length: int64(len(body))})
		if err := f.Copy(context.Background(), src); err != nil && !errors.Is(err, cachestore.ErrUnread) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(r.store.Stats().Stored)/float64(b.N), "stored/op")
}

func TestRemoveAndAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	for i := range 10 {
		r.put(i, storetest.Content(i, 100))
	}
	if n := r.store.Remove(storetest.Key(3)); n != 1 {
		t.Errorf("Remove = %d, want 1", n)
	}
	if n := r.store.Remove(storetest.Key(3)); n != 0 {
		t.Errorf("Remove of what is gone = %d, want 0", n)
	}
	seen := 0
	for o := range r.store.All() {
		if seen++; o.Key() == storetest.Key(3) {
			t.Error("All yields what was removed")
		}
	}
	if seen != 9 {
		t.Errorf("All yields %d objects, want 9", seen)
	}
	for range r.store.All() {
		break // an iteration may end early
	}
	r.tier.policy.Wait()
	if free, want := r.tier.policy.RemainingCost(), r.budget.Limit()-(r.budget.Used()-r.tier.fixed); free != want {
		t.Errorf("the policy knows of %d free bytes, want %d: it counts what is gone", free, want)
	}
}

// Closed under a fill's feet, the tier refuses, and nothing stays reserved.
func TestAfterClose(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: 1})
	r.put(2, storetest.Content(2, 100))
	if err := r.tier.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Copy(context.Background(), strings.NewReader("x")); err != nil {
		t.Errorf("Copy: %v", err)
	}
	if n := r.store.Remove(storetest.Key(2)); n != 0 {
		t.Errorf("Remove after Close = %d", n)
	}
	f = r.store.Begin(cachestore.Beginning{Key: storetest.Key(3), Stored: storetest.Stored(t), Length: 20 << 20})
	if f.Stored() {
		t.Error("a closed tier takes something")
	}
	if err := f.Copy(context.Background(), strings.NewReader("")); err == nil {
		t.Error("Copy went on for nobody")
	}
	r.close()
}

// While everything that could leave is being read, nothing is free, and what asks
// for room is refused rather than let in beyond the budget.
func TestNoRoomWhileAllIsRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4<<20)
	defer r.close()
	for i := 0; r.store.Stats().Evicted == 0; i++ {
		o := r.put(i, storetest.Content(i, 200_000))
		if reader, err := o.Open(0, -1); err == nil {
			defer reader.Close()
		}
		if used := r.budget.Used(); used > r.budget.Limit() {
			t.Fatalf("%d bytes reserved of %d", used, r.budget.Limit())
		}
		if i > 100 {
			break
		}
	}
	if st := r.store.Stats(); st.Refused == 0 {
		t.Errorf("Stats %+v: nothing was refused although nothing was free", st)
	}
}

// To make room for one large object many small ones leave at once. Ristretto then
// names some of them twice, the second time without a value.
func TestManyLeaveForOne(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	for round := range 20 {
		for i := range 300 {
			r.put(1000*round+i, storetest.Content(i, 40_000))
		}
		r.put(1000*round+999, storetest.Content(round, 7<<20))
		if used := r.budget.Used(); used > r.budget.Limit() {
			t.Fatalf("%d bytes reserved of %d", used, r.budget.Limit())
		}
	}
	if st := r.store.Stats(); st.Evicted < 1000 {
		t.Errorf("Stats %+v, want many evictions", st)
	}
}
