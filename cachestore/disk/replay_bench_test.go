package disk

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"perigee/cachestore"
	"perigee/internal/storetest"
)

// BenchmarkReplay asks the store itself what bench/policy asks models: how many of the
// requests of a trace it answers, and how often each byte is written, once the folder is
// full. One iteration is a whole trace.
func BenchmarkReplay(b *testing.B) {
	for _, zipf := range []float64{0.8, 1.0} {
		for _, scan := range []int{0, 30} {
			b.Run(fmt.Sprintf("zipf=%.1f,scan=%d", zipf, scan), func(b *testing.B) {
				for range b.N {
					replay(b, zipf, scan)
				}
			})
		}
	}
}

const (
	replayObjects  = 40_000 // of 16 KiB in the mean: ten folders full
	replayRequests = 300_000
)

func replay(b *testing.B, zipf float64, scan int) {
	r := newRig(b)
	defer r.close()
	rng := rand.New(rand.NewPCG(1, 2))
	draw := zipfDraw(rng, replayObjects, zipf)
	var room [4]*cachestore.Object
	asked, hits := 0, 0
	var before Stats
	for i := range replayRequests {
		if i == replayRequests/3 {
			asked, hits, before = 0, 0, r.depot.Stats()
		}
		if rng.IntN(100) < scan {
			r.put(replayObjects+i, storetest.Content(1, lengthOf(replayObjects+i)))
			continue
		}
		asked++
		n := draw()
		found := r.store.Get(storetest.Key(n), room[:0])
		if len(found) == 0 {
			r.put(n, storetest.Content(1, lengthOf(n)))
			continue
		}
		hits++
		r.store.Use(found[0])
	}
	s := r.depot.Stats()
	b.ReportMetric(100*float64(hits)/float64(asked), "%hits")
	b.ReportMetric(float64(s.WrittenBytes-before.WrittenBytes)/float64(s.StoredBytes-before.StoredBytes), "written/stored")
	b.ReportMetric(100*float64(s.Folders[0].UsedBytes)/float64(s.Folders[0].LimitBytes), "%full")
}

// lengthOf is the length of a body, log-normal, 16 KiB in the mean.
func lengthOf(i int) int {
	rng := rand.New(rand.NewPCG(3, uint64(i)))
	return int(min(max(math.Exp(9+1.2*rng.NormFloat64()), 1<<10), 256<<10))
}

// zipfDraw draws numbers below n, the i-th in proportion to 1/(i+1)^s.
func zipfDraw(rng *rand.Rand, n int, s float64) func() int {
	sums := make([]float64, n)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s)
		sums[i] = sum
	}
	return func() int {
		x := rng.Float64() * sum
		lo, hi := 0, n-1
		for lo < hi {
			if mid := (lo + hi) / 2; sums[mid] < x {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		return lo
	}
}
