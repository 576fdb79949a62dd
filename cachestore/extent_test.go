package cachestore

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bounds are the first bytes and the ends of extents.
type bounds [][2]int64

// row makes extents whose bodies are whole.
func (b bounds) row() []extent {
	var row []extent
	for _, each := range b {
		row = with(row, sealedExtent(each[0], each[1]))
	}
	return row
}

func sealedExtent(off, end int64) extent {
	e := extent{off: off, end: end, body: newBody(NewBudget(1<<20), new(counts), end-off)}
	e.body.finish(nil)
	return e
}

func boundsOf(row []extent) (b bounds) {
	for _, e := range row {
		b = append(b, [2]int64{e.off, e.end})
	}
	return b
}

func TestUnite(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		row      bounds
		off, end int64
		want     bounds
	}{
		{"the first", nil, 5, 9, bounds{{5, 9}}},
		{"before another", bounds{{5, 9}}, 0, 3, bounds{{0, 3}, {5, 9}}},
		{"touching others", bounds{{0, 3}, {5, 9}}, 3, 5, bounds{{0, 3}, {3, 5}, {5, 9}}},
		{"again", bounds{{0, 3}}, 0, 3, nil},
		{"within another", bounds{{0, 9}}, 2, 5, nil},
		{"within two together", bounds{{0, 5}, {5, 9}}, 2, 8, nil},
		{"around another", bounds{{2, 5}}, 0, 9, bounds{{0, 9}}},
		{"around two and into a third", bounds{{0, 2}, {2, 5}, {7, 12}}, 0, 9, bounds{{0, 9}, {7, 12}}},
		{"overlapping two, which cover no third", bounds{{0, 4}, {6, 9}}, 3, 7, bounds{{0, 4}, {3, 7}, {6, 9}}},
		{"making one between superfluous", bounds{{0, 4}, {3, 7}}, 4, 9, bounds{{0, 4}, {4, 9}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := boundsOf(unite(test.row.row(), extent{off: test.off, end: test.end}))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("unite(%v, %d-%d) (-want +got):\n%s", test.row, test.off, test.end, diff)
			}
		})
	}
}

// Whatever comes in whatever order: all bytes that came are there, each extent is
// there for a byte of its own, and pick finds a way through.
func TestUniteAtRandom(t *testing.T) {
	t.Parallel()
	const size = 100
	for seed := range uint64(200) {
		src := rand.New(rand.NewPCG(7, seed))
		var row []extent
		var came [size + 1]bool
		for range 30 {
			off := src.Int64N(size)
			e := sealedExtent(off, min(size, off+1+src.Int64N(20)))
			for i := e.off; i < e.end; i++ {
				came[i] = true
			}
			if joined := unite(row, e); joined != nil {
				row = joined
			}
		}
		for i, e := range row {
			if covers(row, i, e.off, e.end) {
				t.Fatalf("seed %d: %v are covered without %d-%d", seed, boundsOf(row), e.off, e.end)
			}
		}
		for off := range int64(size) {
			e, ok := pick(row, off)
			if ok != came[off] || ok && (off < e.off || off >= e.end) {
				t.Fatalf("seed %d: in %v the byte %d is in %d-%d, found %v, want %v", seed, boundsOf(row), off, e.off, e.end, ok, came[off])
			}
			if got := covers(row, -1, off, off+2); got != (came[off] && came[off+1]) {
				t.Fatalf("seed %d: %v cover %d-%d: %v", seed, boundsOf(row), off, off+2, got)
			}
		}
	}
}

// What is here is read before what has yet to be waited for.
func TestPickPrefersWhatIsHere(t *testing.T) {
	t.Parallel()
	growing := extent{off: 0, end: 100, body: newBody(NewBudget(1<<20), new(counts), 100)}
	row := with(with([]extent{growing}, sealedExtent(10, 20)), sealedExtent(5, 30))
	for _, test := range []struct{ off, end int64 }{{0, 100}, {5, 30}, {15, 30}, {29, 30}, {30, 100}, {99, 100}} {
		if e, ok := pick(row, test.off); !ok || e.end != test.end {
			t.Errorf("the byte %d is read from %d-%d, %v; want one that ends at %d", test.off, e.off, e.end, ok, test.end)
		}
	}
	if _, ok := pick(row, 100); ok {
		t.Error("a byte beyond the end is found")
	}
	growing.body.finish(ErrTruncated)
	if got, want := boundsOf(liveRow(row)), (bounds{{5, 30}, {10, 20}}); !cmp.Equal(got, want) {
		t.Errorf("with one failed there are %v, want %v", got, want)
	}
}
