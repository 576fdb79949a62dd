package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/internal/storetest"
)

// rig is a store over a memory tier, and what tests do with it.
type rig struct {
	t      testing.TB
	budget *cachestore.Budget
	tier   *ram.Tier
	store  *cachestore.Store
	fixed  int64 // reserved by the tier for itself
}

func newRig(t testing.TB, limit int64) *rig {
	t.Helper()
	budget := cachestore.NewBudget(limit)
	tier, err := ram.New(budget)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, budget: budget, tier: tier, fixed: budget.Used(), store: cachestore.New(cachestore.Options{Budget: budget, Home: tier})}
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

func TestStoreKeepsBodies(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 1000, 8 << 10, 8<<10 + 1, 100_000, 256 << 10, 256<<10 + 1, 1 << 20, 3_333_333} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, length known %v", n, known), func(t *testing.T) {
				r := newRig(t, 32<<20)
				defer r.close()
				body, length := storetest.Content(n, n), int64(-1)
				if known {
					length = int64(n)
				}
				f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: length})
				if err := f.Copy(context.Background(), bytes.NewReader(body)); err != nil {
					t.Fatal(err)
				}
				got := r.get(1)
				if len(got) != 1 {
					t.Fatalf("Get found %d objects, want 1", len(got))
				}
				if size, ok := got[0].Size(); size != int64(n) || !ok {
					t.Errorf("Size = %d, %v, want %d, true", size, ok, n)
				}
				for _, part := range [][2]int64{{0, -1}, {int64(n) / 2, -1}, {int64(n) / 3, int64(n) / 3}, {0, 1}} {
					want := body[part[0]:]
					if part[1] >= 0 {
						want = want[:min(part[1], int64(len(want)))]
					}
					all, err := storetest.Read(context.Background(), got[0], part[0], part[1])
					if err != nil || !bytes.Equal(all, want) {
						t.Errorf("read %d+%d: %d bytes, %v; want %d equal ones", part[0], part[1], len(all), err, len(want))
					}
				}
				if cost := got[0].CostBytes(); cost < int64(n) || cost > int64(n)+int64(n)/4+16<<10 {
					t.Errorf("CostBytes = %d for a body of %d", cost, n)
				}
			})
		}
	}
}

func TestVisibleFromHeadToEviction(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	src, dst := io.Pipe()
	f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: 6})
	if got := r.get(1); len(got) != 1 || !got[0].Filling() {
		t.Fatalf("a fill just begun: Get found %v", got)
	}
	done := make(chan error)
	go func() { done <- f.Copy(context.Background(), src) }()
	if _, err := dst.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	reader, err := r.get(1)[0].Open(0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if piece, err := reader.Next(context.Background()); string(piece) != "abc" || err != nil {
		t.Fatalf("Next = %q, %v, want abc", piece, err)
	}
	if reader.Ready() {
		t.Error("Ready with nothing to read")
	}
	_, _ = dst.Write([]byte("def"))
	dst.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if piece, err := reader.Next(context.Background()); string(piece) != "def" || err != nil {
		t.Fatalf("Next = %q, %v, want def", piece, err)
	}
	if _, err := reader.Next(context.Background()); err != io.EOF {
		t.Fatalf("Next at the end: %v, want EOF", err)
	}
	if got := r.get(1); len(got) != 1 || got[0].Filling() {
		t.Fatalf("a whole object: Get found %v", got)
	}
}

func TestFillErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("the upstream broke off")
	tests := []struct {
		name   string
		length int64
		body   io.Reader
		want   error
	}{
		{"too short", 10, strings.NewReader("abc"), cachestore.ErrTruncated},
		{"too long", 2, strings.NewReader("abc"), cachestore.ErrTruncated},
		{"longer than an empty body", 0, strings.NewReader("a"), cachestore.ErrTruncated},
		{"breaks off", -1, io.MultiReader(strings.NewReader("abc"), errReader{broken}), broken},
		{"breaks off at the end", 3, io.MultiReader(strings.NewReader("ab"), errReader{broken}), broken},
		{"never gives anything", -1, errReader{nil}, io.ErrNoProgress},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, 16<<20)
			defer r.close()
			f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: test.length})
			reader, err := f.Object().Open(0, -1)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Copy(context.Background(), test.body); !errors.Is(err, test.want) {
				t.Errorf("Copy: %v, want %v", err, test.want)
			}
			for err = nil; err == nil; {
				_, err = reader.Next(context.Background())
			}
			if !errors.Is(err, test.want) {
				t.Errorf("the reader sees %v, want %v", err, test.want)
			}
			reader.Close()
			if got := r.get(1); len(got) != 0 {
				t.Errorf("Get found %d objects after a failed fill", len(got))
			}
			if st := r.store.Stats(); st.Failed != 1 || st.Fills != 0 {
				t.Errorf("Stats %+v, want one failed, none filling", st)
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestFillEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	cause := errors.New("shut down")
	ctx, cancel := context.WithCancelCause(context.Background())
	// Longer than the store takes, so that it becomes a window, which waits for its
	// reader: that wait must end with the context.
	f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: 12 << 20})
	if f.Stored() {
		t.Fatal("an object beyond half of the budget is to be stored")
	}
	reader, err := f.Object().Open(0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cancel(cause)
	if err := f.Copy(ctx, bytes.NewReader(storetest.Content(1, 12<<20))); !errors.Is(err, cause) {
		t.Errorf("Copy: %v, want %v", err, cause)
	}
}

func TestVariants(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	for i := range 3 {
		r.put(1, storetest.Content(i, 100), fmt.Sprintf("Accept-Language: l%d", i))
	}
	if got := r.get(1); len(got) != 3 {
		t.Fatalf("Get found %d variants, want 3", len(got))
	}
	newer := r.put(1, storetest.Content(9, 50), "Accept-Language: l1")
	got := r.get(1)
	if len(got) != 3 {
		t.Fatalf("after replacing one Get found %d variants, want 3", len(got))
	}
	seen := false
	for _, o := range got {
		seen = seen || o == newer
	}
	if st := r.store.Stats(); !seen || st.Replaced != 1 || st.Objects != 3 {
		t.Errorf("the newer one is shown: %v; Stats %+v", seen, st)
	}
	if n := r.store.Remove(storetest.Key(1)); n != 3 || len(r.get(1)) != 0 {
		t.Errorf("Remove = %d, then Get found %d", n, len(r.get(1)))
	}
}

func TestFreshenSharesTheBody(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	body := storetest.Content(1, 1<<20)
	old := r.put(1, body)
	before := r.budget.Used()
	fresh := r.store.Freshen(old, storetest.Stored(t))
	if got := r.get(1); len(got) != 1 || got[0] != fresh {
		t.Fatalf("Get found %v, want the freshened object", got)
	}
	if all, err := storetest.Read(context.Background(), fresh, 0, -1); err != nil || !bytes.Equal(all, body) {
		t.Errorf("body of the freshened object: %d bytes, %v", len(all), err)
	}
	if after := r.budget.Used(); after != before {
		t.Errorf("freshening changed what is reserved from %d to %d", before, after)
	}
}

func TestRemoveWhileFilling(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: 3})
	reader, err := f.Object().Open(0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if n := r.store.Remove(storetest.Key(1)); n != 1 {
		t.Errorf("Remove = %d, want 1", n)
	}
	if got := r.get(1); len(got) != 0 {
		t.Error("a removed fill can still be found")
	}
	if err := f.Copy(context.Background(), strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	if got := r.get(1); len(got) != 0 {
		t.Error("a fill that was removed meanwhile was stored")
	}
	if piece, err := reader.Next(context.Background()); string(piece) != "abc" || err != nil {
		t.Errorf("its reader got %q, %v", piece, err)
	}
}

// One reader that does not read may hold a window up for a while, then it is let
// go; the other gets the whole body, and no more than the window was ever held.
func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 16<<20)
		body := storetest.Content(3, 20<<20)
		f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: int64(len(body))})
		if f.Stored() {
			t.Fatal("a body beyond half of the budget is to be stored")
		}
		if got := r.get(1); len(got) != 1 {
			t.Fatal("until bytes are lost others may join")
		}
		stuck, err := f.Object().Open(0, -1)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var got []byte
		var gotErr error
		var wg sync.WaitGroup
		wg.Go(func() { got, gotErr = storetest.Read(t.Context(), f.Object(), 0, -1) })
		synctest.Wait()
		if err := f.Copy(t.Context(), bytes.NewReader(body)); err != nil {
			t.Errorf("Copy: %v", err)
		}
		wg.Wait()
		if gotErr != nil || !bytes.Equal(got, body) {
			t.Errorf("the reader that read got %d bytes, %v; want all %d", len(got), gotErr, len(body))
		}
		if waited := time.Since(began); waited < 5*time.Second || waited > 6*time.Second {
			t.Errorf("the stuck reader held the others up for %v, want 5 s", waited)
		}
		if _, err := stuck.Next(t.Context()); !errors.Is(err, cachestore.ErrDetached) {
			t.Errorf("the stuck reader got %v, want ErrDetached", err)
		}
		if got := r.get(1); len(got) != 0 {
			t.Error("a body that has lost bytes can still be found")
		}
		if _, err := f.Object().Open(0, -1); !errors.Is(err, cachestore.ErrGone) {
			t.Errorf("Open of a body that has lost bytes: %v, want ErrGone", err)
		}
		stuck.Close()
		if st := r.store.Stats(); st.Detached != 1 || st.TooLarge != 1 || st.Windows != 0 || st.Objects != 0 {
			t.Errorf("Stats %+v", st)
		}
		r.close()
	})
}

// A lone slow reader is no reason to cut anything: the upstream goes at its pace.
func TestWindowGoesAtTheLoneReadersPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 16<<20)
		body := storetest.Content(3, 12<<20)
		f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: int64(len(body))})
		reader, err := f.Object().Open(0, -1)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- f.Copy(t.Context(), bytes.NewReader(body)) }()
		var got []byte
		for {
			time.Sleep(3 * time.Second)
			piece, err := reader.Next(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			got = append(got, piece...)
			if used := r.budget.Used() - r.fixed; used > 5<<20 {
				t.Fatalf("a window holds %d bytes", used)
			}
		}
		if err := <-done; err != nil || !bytes.Equal(got, body) {
			t.Errorf("Copy: %v; the reader got %d bytes of %d", err, len(got), len(body))
		}
		reader.Close()
		r.close()
	})
}

// When everybody has left, what is not stored is not fetched to its end.
func TestWindowEndsWithItsLastReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 16<<20)
		f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: 12 << 20})
		reader, err := f.Object().Open(0, -1)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- f.Copy(t.Context(), bytes.NewReader(storetest.Content(1, 12<<20))) }()
		synctest.Wait()
		reader.Close()
		if err := <-done; err == nil {
			t.Error("Copy went on for nobody")
		}
		r.close()
	})
}

// A body of unknown length that outgrows its bound, or the memory there is, is no
// longer stored, but nobody who reads it notices.
func TestOutgrown(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		maxBytes int64
		size     int
	}{{"the site's bound", 1 << 20, 3 << 20}, {"the memory", 0, 20 << 20}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 16<<20)
			defer r.close()
			body := storetest.Content(5, test.size)
			f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: -1, MaxBytes: test.maxBytes})
			if !f.Stored() {
				t.Fatal("nothing speaks against storing it yet")
			}
			var wg sync.WaitGroup
			for range 3 {
				o := f.Object()
				reader, err := o.Open(0, -1)
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					defer reader.Close()
					var got []byte
					for {
						piece, err := reader.Next(context.Background())
						if err == io.EOF {
							break
						}
						if err != nil {
							t.Errorf("after %d bytes: %v", len(got), err)
							return
						}
						got = append(got, piece...)
					}
					if !bytes.Equal(got, body) {
						t.Errorf("a reader got %d bytes, want the %d of the body", len(got), len(body))
					}
				})
			}
			if err := f.Copy(context.Background(), bytes.NewReader(body)); err != nil {
				t.Errorf("Copy: %v", err)
			}
			wg.Wait()
			if st := r.store.Stats(); st.TooLarge != 1 || st.Stored != 0 || len(r.get(1)) != 0 {
				t.Errorf("Stats %+v; Get found %d", st, len(r.get(1)))
			}
		})
	}
}

// Many writers, readers and removers at once: every byte read is the right one and
// the budget holds throughout.
func TestChurn(t *testing.T) {
	t.Parallel()
	r := newRig(t, 8<<20)
	defer r.close()
	bodies := make([][]byte, 40)
	for i := range bodies {
		bodies[i] = storetest.Content(i, 1<<(8+i%12))
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			src := rand.New(rand.NewPCG(5, uint64(worker)))
			for range 300 {
				i := src.IntN(len(bodies))
				got := r.get(i)
				if len(got) == 0 {
					length := int64(len(bodies[i]))
					if src.IntN(2) == 0 {
						length = -1
					}
					f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(i), Stored: storetest.Stored(t), Length: length})
					reader, err := f.Object().Open(0, -1)
					if err != nil {
						t.Error(err)
						continue
					}
					wg.Go(func() { checkReader(t, reader, bodies[i]) })
					if err := f.Copy(context.Background(), bytes.NewReader(bodies[i])); err != nil {
						t.Errorf("Copy: %v", err)
					}
				} else if all, err := storetest.Read(context.Background(), got[0], 0, -1); err == nil && !bytes.Equal(all, bodies[i]) {
					t.Errorf("object %d has wrong bytes", i)
				}
				switch src.IntN(20) {
				case 0:
					r.store.Remove(storetest.Key(i))
				case 1:
					if len(got) > 0 {
						r.store.Freshen(got[0], storetest.Stored(t))
					}
				}
				if used := r.budget.Used(); used > r.budget.Limit() {
					t.Errorf("%d bytes are reserved of %d", used, r.budget.Limit())
				}
			}
		})
	}
	wg.Wait()
}

func checkReader(t *testing.T, reader *cachestore.Reader, want []byte) {
	defer reader.Close()
	var got []byte
	for {
		piece, err := reader.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Errorf("Next: %v", err)
			return
		}
		got = append(got, piece...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, want %d equal ones", len(got), len(want))
	}
}

// A validation that ends after the response was removed, or replaced, does not
// bring it back, although somebody still reads its body.
func TestFreshenBringsNothingBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		meanwhile func(r *rig)
		want      int // bytes of the object that is found then, -1 for none
	}{
		{"removed", func(r *rig) { r.store.Remove(storetest.Key(1)) }, -1},
		{"replaced", func(r *rig) { r.put(1, storetest.Content(2, 500)) }, 500},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, 16<<20)
			defer r.close()
			old := r.put(1, storetest.Content(1, 1000))
			reader, err := old.Open(0, -1)
			if err != nil {
				t.Fatal(err)
			}
			test.meanwhile(r)
			r.store.Freshen(old, storetest.Stored(t))
			reader.Close()
			got := -1
			if objects := r.get(1); len(objects) == 1 {
				body, _ := storetest.Read(context.Background(), objects[0], 0, -1)
				got = len(body)
			}
			if got != test.want {
				t.Errorf("%d bytes are found, want %d", got, test.want)
			}
		})
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("a broken source") }

// A panic of the source ends the fill for its readers before it goes on.
func TestPanicInFill(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(1), Stored: storetest.Stored(t), Length: 10})
	reader, err := f.Object().Open(0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not go on")
			}
		}()
		_ = f.Copy(context.Background(), panicReader{})
	}()
	if _, err := reader.Next(context.Background()); err == nil {
		t.Error("the reader was told nothing")
	}
	if st := r.store.Stats(); st.Fills != 0 || len(r.get(1)) != 0 {
		t.Errorf("Stats %+v", st)
	}
}
