package cachestore_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/internal/storetest"
)

// A reader that still has bytes which have left memory when the storing ends is not left
// behind by the window, and what it has stays reserved until it goes on.
func TestUnspilledWhileAReaderHasWhatHasLeft(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newDeepRig(t, deepRAM)
			defer r.close()
			body := storetest.Content(1, 14<<20)
			f := r.begin(1, body, known)
			src, ended := startCopy(t, f)
			reader, err := f.Object().Open(0, -1)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = src.Write(body[:1<<20])
			synctest.Wait()
			want := nextOf(t, reader, body)
			_, _ = src.Write(body[1<<20 : 5<<20]) // more than stays in memory for those who follow
			synctest.Wait()
			r.depot.Bound(10)
			go func() { _, _ = src.Write(body[5<<20:]); src.Close() }()
			synctest.Wait()
			if st := r.store.Stats(); st.Windows != 1 {
				t.Fatalf("length known %v: Stats %+v, want a window", known, st)
			}
			for len(want) > 0 {
				want = nextOf(t, reader, want)
			}
			if _, err := reader.Next(context.Background()); err != io.EOF {
				t.Errorf("length known %v: at the end: %v", known, err)
			}
			reader.Close()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// Many bodies that spill at once leave room in what may wait to be written: none of them
// is given up because the others came first.
func TestManySpillsShareWhatMayWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newDeepRig(t, deepRAM)
		defer r.close()
		r.depot.Hold()
		r.depot.Bound(deepRAM / 8)
		const spills = 6
		ended := make(chan error, spills)
		for i := range spills {
			body := storetest.Content(i, 1<<20)
			f := r.begin(i, body, true)
			go func() { ended <- f.Copy(context.Background(), bytes.NewReader(body)) }()
		}
		synctest.Wait()
		if st := r.store.Stats(); st.Unspilled != 0 {
			t.Errorf("Stats %+v, want none given up", st)
		}
		r.depot.Let()
		for range spills {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if st := r.store.Stats(); st.Stored != spills {
			t.Errorf("Stats %+v, want %d stored", st, spills)
		}
	})
}

// lateNews is a depot whose spills tell of their growth when it has been seen already,
// and which tell of it again and again.
type lateNews struct{ *storetest.Depot }

type lateSpill struct {
	cachestore.Spill
	news chan struct{}
}

func (d lateNews) Spill(o *cachestore.Object) cachestore.Spill {
	s := lateSpill{d.Depot.Spill(o), make(chan struct{}, 1)}
	s.news <- struct{}{}
	go func() {
		for range 1000 {
			time.Sleep(time.Millisecond)
			select {
			case s.news <- struct{}{}:
			default:
			}
		}
	}()
	return s
}

func (s lateSpill) Grown() <-chan struct{} { return s.news }

// That a depot speaks up late, or for nothing, does not make it one that has failed.
func TestNewsOfASpill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newDeepRigOver(t, deepRAM, func(r *deepRig) (cachestore.Tier, cachestore.Depot) { return r.tier, lateNews{r.depot} })
		body := storetest.Content(1, 6<<20)
		f := r.begin(1, body, true)
		src, ended := startCopy(t, f)
		go func() {
			for at := 0; at < len(body); at += 1 << 20 {
				_, _ = src.Write(body[at : at+1<<20])
				time.Sleep(10 * time.Millisecond)
			}
			src.Close()
		}()
		select {
		case err := <-ended:
			if st := r.store.Stats(); err != nil || st.Unspilled != 0 || st.Stored != 1 {
				t.Errorf("Copy: %v, Stats %+v", err, st)
			}
		case <-time.After(time.Minute):
			t.Error("Copy has not returned")
		}
		src.Close()
		time.Sleep(2 * time.Second) // the news ends
		r.close()
	})
}
