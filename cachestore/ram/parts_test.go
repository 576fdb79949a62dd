package ram

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

// putPart stores the bytes first to last of whole under key i.
func (r *rig) putPart(i int, whole []byte, first, last int64) {
	r.t.Helper()
	with := cachestore.Beginning{
		Key: storetest.Key(i), Stored: storetest.Tagged(r.t, `"a"`, 0),
		Size: int64(len(whole)), Part: httpcache.ByteRange{First: first, Last: last},
	}
	if got := r.get(i); len(got) > 0 {
		with.Base = got[0]
	}
	if err := r.store.Begin(with).Copy(context.Background(), bytes.NewReader(whole[first:last+1])); err != nil && !errors.Is(err, cachestore.ErrUnread) {
		r.t.Fatalf("Copy of %d-%d: %v", first, last, err)
	}
}

// checkPolicy checks that the policy knows what each object costs now.
func (r *rig) checkPolicy() {
	r.t.Helper()
	r.tier.policy.Wait()
	var cost int64
	for o := range r.store.All() {
		cost += o.CostBytes()
	}
	if known := r.tier.policy.MaxCost() - r.tier.policy.RemainingCost(); known != cost {
		r.t.Errorf("the policy knows of %d bytes, those stored cost %d", known, cost)
	}
	if used := r.budget.Used() - r.tier.fixed; used != cost {
		r.t.Errorf("%d bytes are reserved, those stored cost %d", used, cost)
	}
}

// The policy's cost of an object follows when parts come and metadata changes, also
// while its first set is still in the policy's queue.
func TestCostFollowsParts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole := storetest.Content(1, 1<<20)
	for first := int64(0); first < 1<<20; first += 1 << 16 {
		r.putPart(1, whole, first, first+1<<16-1)
		r.putPart(2, whole, first, first+1<<15-1)
		if first%(1<<18) == 0 {
			r.checkPolicy()
		}
	}
	r.checkPolicy()
	r.store.FreshenAt(r.get(2)[0], storetest.Tagged(t, `"a"`, 0, "Accept-Language: de"), cachestore.Birth{Local: 1}, nil) // another variant: not kept
	r.store.FreshenAt(r.get(2)[0], storetest.Tagged(t, `"a-much-longer-tag"`, 0), cachestore.Birth{Local: 1}, nil)
	r.checkPolicy()
	if st := r.store.Stats(); st.Objects != 2 || st.Partial != 1 || st.Replaced != 2*15+1 {
		t.Errorf("Stats %+v, want two objects, one partial, 31 replaced", st)
	}
	r.put(1, storetest.Content(2, 1000))
	r.store.Remove(storetest.Key(2))
	r.checkPolicy()
	if st := r.store.Stats(); st.Objects != 1 || st.Partial != 0 {
		t.Errorf("Stats %+v, want one object, not partial", st)
	}
}

// Objects that grow by parts push others out, and are pushed out, like any others.
func TestPartsInTooLittleMemory(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4<<20)
	defer r.close()
	const keys, size = 20, 1 << 20
	bodies := make([][]byte, keys)
	for i := range bodies {
		bodies[i] = storetest.Content(i, size)
	}
	src := rand.New(rand.NewPCG(3, 3))
	for n := range 1000 {
		i, first := src.IntN(keys), src.Int64N(size)
		r.putPart(i, bodies[i], first, min(size-1, first+src.Int64N(100_000)))
		if used := r.budget.Used(); used > r.budget.Limit() {
			t.Fatalf("%d bytes reserved of %d", used, r.budget.Limit())
		}
		if n%100 == 0 {
			r.checkPolicy()
		}
	}
	r.checkPolicy()
	var partial int64
	for i, body := range bodies {
		for _, o := range r.get(i) {
			if o.Partial() {
				partial++
			}
			for _, each := range o.Extents() {
				got, err := storetest.Read(context.Background(), o, each.First, each.Length())
				if err != nil || !bytes.Equal(got, body[each.First:each.Last+1]) {
					t.Errorf("%v of object %d: %d bytes, %v", each, i, len(got), err)
				}
			}
		}
	}
	if st := r.store.Stats(); st.Evicted == 0 || st.Partial != partial || partial == 0 {
		t.Errorf("Stats %+v, want evictions and %d partial objects", st, partial)
	}
}

// Nil stands for nothing: what is there already is not replaced by it.
func TestReplaceNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	first := r.put(1, storetest.Content(1, 100))
	o := r.put(2, storetest.Content(2, 100), "Accept-Language: de")
	if r.tier.Replace(nil, first) || r.tier.Replace(nil, o) {
		t.Error("nothing was replaced where something is")
	}
	if got := r.get(1); len(got) != 1 || got[0] != first {
		t.Errorf("Get found %v", got)
	}
}
