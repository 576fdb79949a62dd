package cachestore_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

// busyTier is a tier in which something happens at the worst moment.
type busyTier struct {
	*ram.Tier
	reserve func(o *cachestore.Object) // before room is made for o
	keep    func()                     // before an object is put in
}

func (b *busyTier) Reserve(o *cachestore.Object, n int64) bool {
	if b.reserve != nil {
		b.reserve(o)
	}
	return b.Tier.Reserve(o, n)
}

func (b *busyTier) Put(o *cachestore.Object) bool {
	if b.keep != nil {
		b.keep()
	}
	return b.Tier.Put(o)
}

func (b *busyTier) Replace(old, o *cachestore.Object) bool {
	if b.keep != nil {
		b.keep()
	}
	return b.Tier.Replace(old, o)
}

func newBusyRig(t *testing.T) (*rig, *busyTier) {
	r := newRig(t, 16<<20)
	busy := &busyTier{Tier: r.tier}
	r.store = cachestore.New(cachestore.Options{Budget: r.budget, Home: busy})
	return r, busy
}

// A removal that comes while the tier takes what was filling is not lost.
func TestRemoveWhileKept(t *testing.T) {
	t.Parallel()
	for _, part := range []httpcache.ByteRange{{First: 0, Last: 299}, {First: 0, Last: 99}} {
		r, busy := newBusyRig(t)
		whole := storetest.Content(1, 300)
		busy.keep = func() { r.store.Remove(storetest.Key(1)) }
		f := r.beginPart(storetest.Tagged(t, `"a"`, 0), whole, part.First, part.Last, nil)
		if err := f.Copy(context.Background(), bytes.NewReader(whole[part.First:part.Last+1])); err != nil {
			t.Fatal(err)
		}
		if got := r.get(1); len(got) != 0 {
			t.Errorf("Get found %d objects after Remove", len(got))
		}
		if used := r.budget.Used() - r.fixed; used != 0 {
			t.Errorf("%d bytes are reserved for nothing", used)
		}
		r.close()
	}
}

// What the tier has changes between the look at it and the change of it: the part is
// fitted to the new state, a few times.
func TestPartIsFittedAgain(t *testing.T) {
	t.Parallel()
	whole := storetest.Content(1, 300)
	for _, test := range []struct {
		name    string
		before  bool // 0-99 are stored at the beginning
		change  func(r *rig, n int)
		changes int
		want    []httpcache.ByteRange
		refused int64
	}{
		{"another part came first", false, func(r *rig, _ int) {
			r.putPart(storetest.Tagged(r.t, `"a"`, 0), whole, 200, 249)
		}, 1, spans(100, 249), 0},
		{"a further part came", true, func(r *rig, _ int) {
			r.putPart(storetest.Tagged(r.t, `"a"`, 0), whole, 200, 249)
		}, 1, spans(0, 249), 0},
		{"what is stored was freshened", true, func(r *rig, _ int) {
			r.store.FreshenAt(r.found(), storetest.Tagged(r.t, `"a"`, time.Hour), cachestore.Birth{Local: 0}, nil)
		}, 1, spans(0, 199), 0},
		{"what is stored left", true, func(r *rig, _ int) {
			r.tier.Remove(storetest.Key(1))
		}, 1, spans(100, 199), 0},
		{"it changes each time", true, func(r *rig, n int) {
			r.store.FreshenAt(r.found(), storetest.Tagged(r.t, `"a"`, time.Duration(n)*time.Second), cachestore.Birth{Local: 0}, nil)
		}, 100, spans(0, 99), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, busy := newBusyRig(t)
			defer r.close()
			meta := storetest.Tagged(t, `"a"`, 0)
			if test.before {
				r.putPart(meta, whole, 0, 99)
			}
			f := r.beginPart(meta, whole, 100, 199, nil)
			n := 0
			busy.reserve = func(o *cachestore.Object) {
				if n == test.changes || o.Filling() {
					return
				}
				act := busy.reserve
				busy.reserve = nil // what happens now is not disturbed itself
				n++
				test.change(r, n)
				busy.reserve = act
			}
			if err := f.Copy(context.Background(), bytes.NewReader(whole[100:200])); err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				t.Fatal("nothing happened meanwhile")
			}
			o := r.found()
			if diff := cmp.Diff(test.want, o.Extents()); diff != "" || r.store.Stats().Refused != test.refused {
				t.Errorf("Stats %+v, want %d refused; extents (-want +got):\n%s", r.store.Stats(), test.refused, diff)
			}
			for _, each := range test.want {
				checkRead(t, o, whole, each.First, each.Length())
			}
			if got := r.budget.Used() - r.fixed; got != o.CostBytes() {
				t.Errorf("%d bytes are reserved for what costs %d", got, o.CostBytes())
			}
		})
	}
}
