package disk

import (
	"sync/atomic"
	"testing"

	"perigee/cachestore"
)

func quietBlocks(tb testing.TB, limit int64) *blocks {
	tb.Helper()
	budget := cachestore.NewBudget(2 * limit)
	s, err := newBlocks(blocksOptions{Limit: limit, Reserve: budget.Reserve, Release: budget.Release})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// getAt gets and releases a block whose read costs nothing.
func getAt(tb testing.TB, s *blocks, off int64, n int) {
	if b := s.kept(address{1, off}, n); b != nil {
		b.Release()
		return
	}
	b, err := s.get(tb.Context(), address{1, off}, n, func(p []byte) error {
		p[0] = byte(off)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	b.Release()
}

// Not parallel: others would allocate meanwhile.
func TestAllocationsOfGet(t *testing.T) {
	s := quietBlocks(t, 4<<20)
	var off int64
	for range 2000 { // until what is kept fills the limit
		off++
		getAt(t, s, off, 65552)
	}
	if n := testing.AllocsPerRun(200, func() { getAt(t, s, off, 65552) }); n != 0 {
		t.Errorf("a block that is kept: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(200, func() { off++; getAt(t, s, off, 65552) }); n > 8 {
		t.Errorf("a block that is not: %v allocations, want 8 at most", n)
	}
}

func BenchmarkBlocksKept(b *testing.B) {
	s := quietBlocks(b, 4<<20)
	b.ReportAllocs()
	for b.Loop() {
		getAt(b, s, 1, 65552)
	}
}

func BenchmarkBlocksMissed(b *testing.B) {
	s := quietBlocks(b, 4<<20)
	b.ReportAllocs()
	var off int64
	for b.Loop() {
		off++
		getAt(b, s, off, 65552)
	}
}

// Classes take turns, so that memory of one has to become that of another.
func BenchmarkBlocksMissedMixed(b *testing.B) {
	s := quietBlocks(b, 4<<20)
	b.ReportAllocs()
	var off int64
	for b.Loop() {
		off++
		getAt(b, s, off, []int{3000, 12000, 65552}[off%3])
	}
}

func BenchmarkBlocks64Same(b *testing.B) {
	s := quietBlocks(b, 4<<20)
	b.ReportAllocs()
	b.SetParallelism(32) // times two processors: 64 goroutines
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			getAt(b, s, 1, 65552)
		}
	})
}

func BenchmarkBlocks64Own(b *testing.B) {
	s := quietBlocks(b, 64<<20)
	b.ReportAllocs()
	b.SetParallelism(32)
	var own atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		off := own.Add(1) << 20
		for pb.Next() {
			getAt(b, s, off, 65552)
		}
	})
}
