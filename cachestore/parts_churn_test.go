package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

// Many at once add parts, fail, read, remove and freshen in a store that is too
// small for all of it.
func TestPartsChurn(t *testing.T) {
	t.Parallel()
	const keys, size = 8, 1 << 20
	r := newRig(t, 4<<20)
	defer r.close()
	bodies := make([][]byte, keys)
	for i := range bodies {
		bodies[i] = storetest.Content(i, size)
	}
	var workers sync.WaitGroup
	for worker := range 6 {
		workers.Go(func() {
			src := rand.New(rand.NewPCG(9, uint64(worker)))
			for range 150 {
				churn(t, r, src, src.IntN(keys), bodies)
				if used := r.budget.Used(); used > r.budget.Limit() {
					t.Errorf("%d bytes are reserved of %d", used, r.budget.Limit())
				}
			}
		})
	}
	workers.Wait()
	if st := r.store.Stats(); st.Stored == 0 || st.Failed == 0 || st.Fills != 0 || st.Windows != 0 {
		t.Errorf("Stats %+v: want some stored, some failed, none filling", st)
	}
}

func churn(t *testing.T, r *rig, src *rand.Rand, key int, bodies [][]byte) {
	whole := bodies[key]
	first := src.Int64N(int64(len(whole)))
	n := 1 + src.Int64N(min(int64(len(whole))-first, 200_000))
	got := r.get(key)
	for _, o := range got {
		if all, err := storetest.Read(context.Background(), o, first, n); !bytes.Equal(all, whole[first:first+n]) &&
			(err == nil || !bytes.HasPrefix(whole[first:], all)) {
			t.Errorf("key %d: %d wrong bytes at %d, %v", key, len(all), first, err)
		}
	}
	switch src.IntN(30) {
	case 0:
		r.store.Remove(storetest.Key(key))
	case 1:
		if len(got) > 0 {
			r.store.FreshenAt(got[len(got)-1], storetest.Tagged(t, `"a"`, 0), cachestore.Birth{Local: 1}, nil)
		}
	}
	with := cachestore.Beginning{
		Key: storetest.Key(key), Stored: storetest.Tagged(t, `"a"`, 0),
		Size: int64(len(whole)), Part: httpcache.ByteRange{First: first, Last: first + n - 1},
	}
	if len(got) > 0 {
		with.Base = got[src.IntN(len(got))]
	}
	f := r.store.Begin(with)
	reader, err := f.Object().Open(first, n)
	if err != nil {
		t.Errorf("Open of what has just begun: %v", err)
		return
	}
	var body io.Reader = bytes.NewReader(whole[first : first+n])
	broken := src.IntN(5) == 0
	if broken {
		body = io.MultiReader(io.LimitReader(body, n/2), errReader{errBrokenOff})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer reader.Close()
		want := whole[first : first+n]
		for {
			piece, err := reader.Next(context.Background())
			if !bytes.HasPrefix(want, piece) {
				t.Errorf("key %d: wrong bytes %d before the end", key, len(want))
				return
			}
			if want = want[len(piece):]; err == nil {
				continue
			}
			// The base may show a part of another worker's that fails.
			if !errors.Is(err, errBrokenOff) && (err != io.EOF || len(want) > 0) {
				t.Errorf("key %d: %v with %d to go", key, err, len(want))
			}
			return
		}
	})
	if err := f.Copy(context.Background(), body); err != nil && !errors.Is(err, cachestore.ErrUnread) && !broken {
		t.Errorf("Copy: %v", err)
	}
	wg.Wait()
}
