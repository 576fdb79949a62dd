package disk

import (
	"testing"

	"perigee/internal/storetest"
)

func TestWhatIsStoredOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 1000, 64 << 10, 64<<10 + 1, 200_000, 256 << 10, 256<<10 + 1, 700_000, 3 << 20, 9<<20 + 5}
	for name, again := range map[string]func(*rig){"closed": (*rig).reopen, "killed": (*rig).crash} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			for i, n := range sizes {
				r.put(i, storetest.Content(i, n))
			}
			for i, n := range sizes {
				r.want(i, storetest.Content(i, n))
			}
			again(r)
			defer r.close()
			for range 2 {
				for i, n := range sizes {
					r.want(i, storetest.Content(i, n))
				}
			}
			if got := r.depot.Objects(); got != int64(len(sizes)) {
				t.Errorf("%d objects, want %d", got, len(sizes))
			}
		})
	}
}

func TestFolderNeverTakesMoreThanItMay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 3000 {
		n := 1000 + i*37%200_000
		r.put(i, storetest.Content(i, n))
		if used, err := r.fs.UsedBytes(testFolder); err != nil || used > testSize {
			t.Fatalf("after object %d the folder takes %d bytes, %v", i, used, err)
		}
	}
	s := r.depot.Stats()
	if s.Evicted == 0 || s.Objects == 0 {
		t.Errorf("%+v: want some evicted, some kept", s)
	}
	r.reopen()
	defer r.close()
	hits := 0
	for i := range 3000 {
		if r.found(i, storetest.Content(i, 1000+i*37%200_000)) {
			hits++
		}
	}
	if hits < 300 {
		t.Errorf("%d of 3000 objects are there after a restart", hits)
	}
}
