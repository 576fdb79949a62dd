package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"perigee/cachestore"
	"perigee/internal/storetest"
)

// deepRig is a rig with a depot beneath memory.
type deepRig struct {
	*rig
	depot *storetest.Depot
}

// deepRAM is a budget of which 256 KiB are the longest body in memory.
const deepRAM = 16 << 20

func newDeepRig(t testing.TB, limit int64) *deepRig {
	t.Helper()
	return newDeepRigOver(t, limit, func(r *deepRig) (cachestore.Tier, cachestore.Depot) { return r.tier, r.depot })
}

// newDeepRigOver returns one whose store is over what wrap makes of its tiers.
func newDeepRigOver(t testing.TB, limit int64, wrap func(*deepRig) (cachestore.Tier, cachestore.Depot)) *deepRig {
	t.Helper()
	r := &deepRig{rig: newRig(t, limit)}
	r.depot = storetest.NewDepot(r.budget, 64<<20)
	tier, depot := wrap(r)
	r.store = cachestore.New(cachestore.Options{Budget: r.budget, Home: tier, Depot: depot})
	return r
}

// close checks that nothing is held any more, after closing the store.
func (r *deepRig) close() {
	r.t.Helper()
	r.rig.close()
	if pins, blocks := r.depot.Pins.Load(), r.depot.Blocks.Load(); pins != 0 || blocks != 0 {
		r.t.Errorf("after Close %d pins and %d blocks are held", pins, blocks)
	}
}

// evict has memory let go what is under key i.
func (r *deepRig) evict(i int) { r.tier.Remove(storetest.Key(i)) }

func (r *deepRig) home(i int) []*cachestore.Object { return r.tier.Get(storetest.Key(i), nil) }

func (r *deepRig) begin(i int, body []byte, known bool) *cachestore.Fill {
	length := int64(-1)
	if known {
		length = int64(len(body))
	}
	return r.store.Begin(cachestore.Beginning{Key: storetest.Key(i), Stored: storetest.Stored(r.t), Length: length})
}

// keep stores a body and checks that it is.
func (r *deepRig) keep(i int, body []byte, known bool) {
	r.t.Helper()
	if err := r.begin(i, body, known).Copy(context.Background(), bytes.NewReader(body)); err != nil {
		r.t.Fatalf("Copy of %d bytes: %v", len(body), err)
	}
	if got := r.get(i); len(got) != 1 {
		r.t.Fatalf("%d bytes: Get found %d objects, want 1; Stats %+v", len(body), len(got), r.store.Stats())
	}
}

func (r *deepRig) check(o *cachestore.Object, body []byte) {
	r.t.Helper()
	for _, part := range [][2]int64{{0, -1}, {int64(len(body)) / 2, -1}, {int64(len(body)) / 3, int64(len(body)) / 3}, {0, 1}} {
		want := body[part[0]:]
		if part[1] >= 0 {
			want = want[:min(part[1], int64(len(want)))]
		}
		got, err := storetest.Read(context.Background(), o, part[0], part[1])
		if err != nil || !bytes.Equal(got, want) {
			r.t.Errorf("read %d+%d of %d from %v: %d bytes, %v; want %d equal ones", part[0], part[1], len(body), o.Tier(), len(got), err, len(want))
		}
	}
}

// Bodies of every size are found again when memory has let them go, byte for byte, and
// come up into memory again if they are for it.
func TestDepotKeepsBodies(t *testing.T) {
	t.Parallel()
	const ramMax = 256 << 10
	for _, n := range []int{0, 1, 1000, 64 << 10, 64<<10 + 1, 200_000, ramMax, ramMax + 1, 700_000, 3_333_333} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, length known %v", n, known), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { checkDepotKeeps(t, n, ramMax, known) })
			})
		}
	}
}

func checkDepotKeeps(t *testing.T, n, ramMax int, known bool) {
	r := newDeepRig(t, deepRAM)
	defer r.close()
	body := storetest.Content(n, n)
	r.keep(1, body, known)
	first := r.get(1)[0]
	long := n > ramMax && (known || n > ramMax+256<<10) // what comes without a length comes by chunks
	if want := map[bool]cachestore.Place{true: cachestore.TierDisk, false: cachestore.TierRAM}[long]; first.Tier() != want {
		t.Errorf("stored in %v, want %v", first.Tier(), want)
	}
	if cost := first.CostBytes(); long && cost > 8<<10 || !long && cost < int64(n) {
		t.Errorf("it costs %d bytes", cost)
	}
	r.check(first, body)
	for range 2 { // the second time it comes from what was recalled itself
		r.evict(1)
		name := first.Representation()
		o := r.get(1)[0]
		if o.Representation() != name || name == 0 {
			t.Errorf("recalled, the bytes have the name %d, want %d", o.Representation(), name)
		}
		r.check(o, body)
		r.store.Use(o)
		synctest.Wait()
		up := r.home(1)
		if len(up) != 1 || (up[0].Tier() == cachestore.TierDisk) != (n > ramMax) {
			t.Fatalf("memory has %d objects after it was used, of which the first is in %v", len(up), up[0].Tier())
		}
		if got := r.get(1); len(got) != 1 || got[0] != up[0] {
			t.Errorf("Get found %v, want what came up", got)
		}
		r.check(up[0], body)
		r.check(o, body)
	}
	r.check(first, body) // whoever still has it can read it
	st := r.store.Stats()
	if st.Recalled != 2 || st.Stored != 1 || st.DepotStored != 1 || st.Objects != 1 || st.DepotObjects != 1 || st.Damaged != 0 ||
		(st.Promoted == 2) != (n <= ramMax) || (st.Spilled == 1) != long {
		t.Errorf("Stats %+v", st)
	}
	if used := r.budget.Used() - r.fixed; used != r.home(1)[0].CostBytes() {
		t.Errorf("%d bytes are reserved for what costs %d", used, r.home(1)[0].CostBytes())
	}
}

// Where memory has no room, the depot keeps what comes, and serves it.
func TestDepotAlone(t *testing.T) {
	t.Parallel()
	r := newDeepRigOver(t, deepRAM, func(r *deepRig) (cachestore.Tier, cachestore.Depot) { return stingyTier{r.tier}, r.depot })
	defer r.close()
	for i, n := range []int{0, 1000, 100_000, 300_000, 2_000_000} {
		for j, known := range []bool{true, false} {
			body := storetest.Content(i, n)
			r.keep(2*i+j, body, known)
			o := r.get(2*i + j)[0]
			if got := r.home(2*i + j); len(got) != 0 {
				t.Errorf("%d bytes: memory has %d objects", n, len(got))
			}
			r.check(o, body)
		}
	}
	if used := r.budget.Used() - r.fixed; used != 0 {
		t.Errorf("%d bytes are reserved for nothing", used)
	}
}

// stingyTier never has room.
type stingyTier struct{ cachestore.Tier }

func (stingyTier) Reserve(*cachestore.Object, int64) bool { return false }

// While a long body arrives and nothing can be written, those who read it get every byte
// at once, and the end too.
func TestReadersDoNotWaitForTheDepot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newDeepRig(t, deepRAM)
		defer r.close()
		r.depot.Hold()
		body := storetest.Content(1, 1<<20)
		f := r.begin(1, body, true)
		src, ended := startCopy(t, f)
		reader, err := f.Object().Open(0, -1)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for at := 0; at < len(body); at += 1 << 16 {
			_, _ = src.Write(body[at : at+1<<16])
			synctest.Wait()
			for reader.Ready() && len(got) < at+1<<16 {
				piece, err := reader.Next(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, piece...)
			}
			if len(got) != at+1<<16 {
				t.Fatalf("%d bytes have come, the reader has %d", at+1<<16, len(got))
			}
		}
		src.Close()
		synctest.Wait()
		if _, err := reader.Next(context.Background()); err != io.EOF || !bytes.Equal(got, body) {
			t.Errorf("at the end: %v, equal %v; want EOF", err, bytes.Equal(got, body))
		}
		reader.Close()
		select {
		case <-ended:
			t.Error("Copy returned before anything was written")
		default:
		}
		if got := r.get(1); len(got) != 1 || got[0] != f.Object() || !got[0].Filling() {
			t.Errorf("while it is written Get found %v", got)
		}
		r.check(f.Object(), body)
		r.depot.Let()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		r.check(r.get(1)[0], body)
	})
}

// A reader that is far behind reads what has left memory from the depot, catches up, and
// goes on with what arrives; memory holds little meanwhile.
func TestSlowReaderOfASpill(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newDeepRig(t, deepRAM)
			defer r.close()
			body := storetest.Content(1, 8<<20)
			f := r.begin(1, body, known)
			src, ended := startCopy(t, f)
			slow, err := f.Object().Open(0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer slow.Close()
			fast, err := f.Object().Open(0, -1)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = src.Write(body[:7<<20])
			synctest.Wait()
			if used := r.budget.Used() - r.fixed; used > 4<<20 {
				t.Errorf("length known %v: 7 MiB have come, and %d bytes are reserved", known, used)
			}
			want := body
			for len(want) > 1<<20 {
				want = nextOf(t, slow, want)
			}
			done := make(chan struct{})
			go func() { checkReader(t, fast, body); close(done) }()
			_, _ = src.Write(body[7<<20:])
			src.Close()
			for len(want) > 0 {
				want = nextOf(t, slow, want)
			}
			if _, err := slow.Next(context.Background()); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
			<-done
			if err := <-ended; err != nil {
				t.Error(err)
			}
			r.check(r.get(1)[0], body)
			if st := r.store.Stats(); st.Spilled != 1 || st.Unspilled != 0 {
				t.Errorf("Stats %+v", st)
			}
		})
	}
}

// nextOf reads a piece of want and returns what is left of that.
func nextOf(t *testing.T, reader *cachestore.Reader, want []byte) []byte {
	t.Helper()
	piece, err := reader.Next(context.Background())
	if err != nil || !bytes.HasPrefix(want, piece) {
		t.Fatalf("%d bytes before the end: %d bytes, equal %v, %v", len(want), len(piece), bytes.HasPrefix(want, piece), err)
	}
	return want[len(piece):]
}

// Where the depot cannot keep up with a reader, or fails, the body is not stored, but
// all who read it get it: from memory, or what had been written from the depot.
func TestUnspilled(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	body := storetest.Content(1, size)
	for _, test := range []struct {
		name    string
		trouble func(d *storetest.Depot)
		readers int
		stored  bool
	}{
		{"nothing happens", func(*storetest.Depot) {}, 1, true},
		{"it hangs, and somebody reads", (*storetest.Depot).Hold, 1, false},
		{"it fails, and somebody reads", func(d *storetest.Depot) { d.Refuse(true) }, 1, false},
		{"it fails, and nobody reads", func(d *storetest.Depot) { d.Refuse(true) }, 0, false},
		{"it takes no more, and somebody reads", func(d *storetest.Depot) { d.Bound(10) }, 1, false},
		{"it takes no more, and nobody reads", func(d *storetest.Depot) { d.Bound(10) }, 0, false},
	} {
		for _, at := range []int{0, 3 << 20, size - 1} {
			t.Run(fmt.Sprintf("%s after %d", test.name, at), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newDeepRig(t, deepRAM)
					f := r.begin(1, body, true)
					src, ended := startCopy(t, f)
					done := make(chan struct{}, test.readers)
					for range test.readers {
						reader, err := f.Object().Open(0, -1)
						if err != nil {
							t.Fatal(err)
						}
						go func() { checkReader(t, reader, body); done <- struct{}{} }()
					}
					rest := body[at:]
					if test.stored {
						rest = nil
					}
					for calm := body[:len(body)-len(rest)]; len(calm) > 0; {
						n := min(1<<20, len(calm))
						_, _ = src.Write(calm[:n])
						calm = calm[n:]
						synctest.Wait()
					}
					test.trouble(r.depot)
					go func() { _, _ = src.Write(rest); src.Close() }()
					for range test.readers {
						<-done
					}
					r.depot.Let()
					err := <-ended
					src.Close()
					if err != nil && (test.readers > 0 || !errors.Is(err, cachestore.ErrUnread)) {
						t.Errorf("Copy: %v", err)
					}
					st := r.store.Stats()
					late := test.name == "it hangs, and somebody reads" && at == size-1 // all of the rest may wait
					if (st.Stored == 1) != (test.stored || late) || st.Unspilled != 1-st.Stored || (len(r.get(1)) == 1) != (st.Stored == 1) {
						t.Errorf("Stats %+v; Get found %d", st, len(r.get(1)))
					}
					r.close()
				})
			})
		}
	}
}

// What fails or is removed or refused while it spills leaves nothing behind, and those
// who are behind read what had come.
func TestSpillThatIsNotKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		end    func(r *deepRig, src *io.PipeWriter)
		check  func() bool
		marked bool
		want   error
	}{
		{"the upstream broke off", func(_ *deepRig, src *io.PipeWriter) { src.CloseWithError(errBrokenOff) }, nil, false, errBrokenOff},
		{"it was removed", func(r *deepRig, src *io.PipeWriter) { r.store.Remove(storetest.Key(1)); src.Close() }, nil, false, nil},
		{"its check refuses it", func(_ *deepRig, src *io.PipeWriter) { src.Close() }, func() bool { return false }, false, nil},
		{"it was removed while it was written", func(r *deepRig, src *io.PipeWriter) {
			r.depot.Hold()
			src.Close()
			synctest.Wait()
			r.store.Remove(storetest.Key(1))
			r.depot.Let()
		}, nil, false, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newDeepRig(t, deepRAM)
				body := storetest.Content(1, 5<<20)
				f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: -1, Check: test.check})
				src, ended := startCopy(t, f)
				reader, err := f.Object().Open(0, -1)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = src.Write(body)
				synctest.Wait()
				test.end(r, src)
				if err := <-ended; !errors.Is(err, test.want) {
					t.Errorf("Copy: %v, want %v", err, test.want)
				}
				want := body
				for len(want) > 0 {
					want = nextOf(t, reader, want)
				}
				if _, err := reader.Next(context.Background()); err != io.EOF && (test.want == nil || !errors.Is(err, test.want)) {
					t.Errorf("the reader's end: %v", err)
				}
				reader.Close()
				if got := r.get(1); len(got) != 0 || r.depot.Objects() != 0 {
					t.Errorf("Get found %d, the depot has %d", len(got), r.depot.Objects())
				}
				if used := r.budget.Used() - r.fixed; used != 0 || r.depot.Dropped.Load() != 1 {
					t.Errorf("%d bytes are reserved for nothing; %d spills were dropped, want 1", used, r.depot.Dropped.Load())
				}
				r.close()
			})
		})
	}
}
