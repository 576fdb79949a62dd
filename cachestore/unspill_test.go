package cachestore_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"

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
