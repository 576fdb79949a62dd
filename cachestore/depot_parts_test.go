package cachestore_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

// Parts that come one after the other are joined, wherever those before them are by then:
// in both tiers, in the depot alone, in memory alone.
func TestPartsBelow(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"both", "depot", "memory"} {
		for _, size := range []int64{900, 3 << 20} {
			synctest.Test(t, func(t *testing.T) {
				r := newDeepRig(t, deepRAM)
				defer r.close()
				whole, meta := storetest.Content(1, int(size)), storetest.Tagged(t, `"a"`, 0)
				third := size / 3
				for i, want := range [][]httpcache.ByteRange{spans(third, 2*third-1), spans(0, 2*third-1), nil} {
					first := []int64{third, 0, 2 * third}[i]
					r.putPart(meta, whole, first, first+third-1)
					o := r.found()
					if diff := cmp.Diff(want, o.Extents()); diff != "" || r.home(1)[0] != o {
						t.Fatalf("%s, %d bytes, part %d: extents (-want +got):\n%s", where, size, i, diff)
					}
					for _, each := range []int64{first, first + third/2} {
						checkRead(t, o, whole, each, third/2)
					}
					switch where {
					case "depot":
						r.evict(1)
					case "memory":
						r.depot.Remove(storetest.Key(1))
						if size > 900 {
							return // what is in the depot alone is gone with it
						}
					}
				}
				o := r.found()
				if o.Partial() || o.Representation() == 0 {
					t.Errorf("%s, %d bytes: %v is not whole", where, size, o.Extents())
				}
				checkRead(t, o, whole, 0, -1)
				r.store.Use(o)
				synctest.Wait()
				checkRead(t, r.found(), whole, 0, -1)
				st := r.store.Stats()
				if st.Stored != 3 || st.Objects != 1 || st.DepotStored != 3 || st.Unspilled != 0 || (st.Spilled == 3) != (size > 900) {
					t.Errorf("%s, %d bytes: Stats %+v", where, size, st)
				}
				if got := r.budget.Used() - r.fixed; got != r.found().CostBytes() {
					t.Errorf("%s, %d bytes: %d bytes are reserved for what costs %d", where, size, got, r.found().CostBytes())
				}
			})
		}
	}
}

// While a part arrives its object shows what the depot has beside it.
func TestPartShowsWhatIsBelow(t *testing.T) {
	t.Parallel()
	r := newDeepRig(t, deepRAM)
	defer r.close()
	whole, meta := storetest.Content(1, 2<<20), storetest.Tagged(t, `"a"`, 0)
	r.putPart(meta, whole, 0, 1<<20-1)
	r.evict(1)
	f := r.beginPart(meta, whole, 1<<20, 2<<20-1, r.found())
	src, ended := startCopy(t, f)
	reader, err := f.Object().Open(100, -1)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { checkReader(t, reader, whole[100:]); close(done) }()
	_, _ = src.Write(whole[1<<20:])
	src.Close()
	<-done
	if err := <-ended; err != nil {
		t.Error(err)
	}
	checkRead(t, r.found(), whole, 0, -1)
}

// A part meets what changed in the depot while it arrived.
func TestPartMeetsTheDepot(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(r *deepRig, whole []byte)
		want   []httpcache.ByteRange
		after  time.Duration
	}{
		{"nothing", func(*deepRig, []byte) {}, spans(0, 199), 0},
		{"it was freshened", func(r *deepRig, _ []byte) {
			r.store.FreshenAt(r.depot.Recall(storetest.Key(1), nil, nil)[0], storetest.Tagged(r.t, `"a"`, time.Hour), cachestore.Birth{}, nil)
		}, spans(0, 199), time.Hour},
		{"it was evicted", func(r *deepRig, _ []byte) { r.depot.Evict(storetest.Key(1)) }, spans(100, 199), 0},
		{"it was removed", func(r *deepRig, _ []byte) { r.depot.Remove(storetest.Key(1)) }, spans(100, 199), 0},
		{"another part came", func(r *deepRig, whole []byte) {
			r.putPart(storetest.Tagged(r.t, `"a"`, 0), whole, 200, 299)
			r.evict(1)
		}, nil, 0},
		{"nothing is taken any more", func(r *deepRig, _ []byte) { r.depot.Refuse(true) }, spans(0, 99), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newDeepRig(t, deepRAM)
			defer r.close()
			whole, meta := storetest.Content(1, 300), storetest.Tagged(t, `"a"`, 0)
			r.putPart(meta, whole, 0, 99)
			r.evict(1)
			f := r.beginPart(meta, whole, 100, 199, nil)
			test.change(r, whole)
			r.depot.Flush()
			if test.after == 0 {
				r.evict(1)
			}
			if err := f.Copy(context.Background(), bytes.NewReader(whole[100:200])); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				o := r.found()
				if diff := cmp.Diff(test.want, o.Extents()); diff != "" || !o.Stored().ResponseTime().Equal(meta.ResponseTime().Add(test.after)) {
					t.Errorf("of %v, extents (-want +got):\n%s", o.Stored().ResponseTime(), diff)
				}
				if test.want == nil {
					checkRead(t, o, whole, 0, -1)
				}
				for _, each := range test.want {
					checkRead(t, o, whole, each.First, each.Length())
				}
				r.evict(1)
			}
		})
	}
}
