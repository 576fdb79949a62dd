package main

import "testing"

// shorter cuts t to what a test has time for.
func shorter(t *trace) *trace {
	t.warm = 30_000
	t.requests = t.requests[:100_000]
	return t
}

func TestWhatIsWrittenAgainIsBounded(t *testing.T) {
	t.Parallel()
	size := newSizes()
	capacity := size.hotBytes() / 20
	tr := shorter(newTrace(newZipf(1), mixedScan, capacity, size))
	for _, p := range policies() {
		if p.lru || p.best {
			continue
		}
		got := replay(tr, p, capacity, size, false)
		if got != replay(tr, p, capacity, size, false) {
			t.Errorf("%s: two replays of one trace differ", p.name)
		}
		if p.heat == 0 && got.again != 0 {
			t.Errorf("%s: wrote %d bytes again, want 0", p.name, got.again)
		}
		if p.limit == 0 {
			continue
		}
		// What is written makes as much leave, give or take what was carried over.
		slack := int64(p.carry+2) * capacity / segments
		if most := int64(p.limit*float64(got.fresh+got.again)) + slack; got.again > most {
			t.Errorf("%s: wrote %d bytes again beside %d new ones, want at most %d", p.name, got.again, got.fresh, most)
		}
	}
}

func TestDiskStaysWithinItsCapacity(t *testing.T) {
	t.Parallel()
	size := newSizes()
	const capacity = 64 << 20
	tr := shorter(newTrace(newZipf(0.8), burstScan, capacity, size))
	for _, p := range policies() {
		if p.lru || p.best {
			continue
		}
		d := newDisk(p, tr.top, capacity, size)
		for _, id := range tr.requests {
			if d.has(id) {
				d.hit(id)
			} else {
				d.store(id)
			}
			if used := d.logs[0].used + d.logs[1].used; used > capacity {
				t.Fatalf("%s: %d bytes in use, want at most %d", p.name, used, capacity)
			}
		}
		var counted int64
		for id, at := range d.places {
			if at.log != 0 {
				counted += size.of(uint32(id))
			}
		}
		if used := d.logs[0].used + d.logs[1].used; used != counted {
			t.Errorf("%s: says %d bytes are in use, its objects have %d", p.name, used, counted)
		}
	}
}

func TestChosenKeepsMoreThanCLOCKWithinTheLimit(t *testing.T) {
	t.Parallel()
	size := newSizes()
	capacity := size.hotBytes() / 20
	clock := policy{heat: 3, threshold: 1, limit: 0.23}
	for k := range kinds {
		tr := shorter(newTrace(newZipf(0.8), k, capacity, size))
		got := replay(tr, chosen(), capacity, size, false)
		if than := replay(tr, clock, capacity, size, false); got.objectRatio() <= than.objectRatio() {
			t.Errorf("%s: hits %.1f %%, want more than CLOCK's %.1f %%", k, got.objectRatio(), than.objectRatio())
		}
		if got.amplification() > 1.3 {
			t.Errorf("%s: writes %.3f bytes for a new one, want at most 1.3", k, got.amplification())
		}
	}
}

func TestZipfDrawsByRank(t *testing.T) {
	t.Parallel()
	z, r := newZipf(1), random(9)
	const draws = 1_000_000
	counts := make([]float64, hotObjects)
	for range draws {
		counts[z.draw(&r)]++
	}
	for _, k := range []int{0, 1, 9, 99} {
		below := 0.0
		if k > 0 {
			below = z.sums[k-1]
		}
		want := draws * (z.sums[k] - below)
		if got := counts[k]; got < 0.9*want || got > 1.1*want {
			t.Errorf("rank %d was drawn %.0f times, want %.0f ± 10 %%", k, got, want)
		}
	}
}
