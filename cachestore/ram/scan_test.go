//go:build !race

// Ristretto counts uses in batches that it keeps in a sync.Pool. Under the race
// detector such a pool throws things away at random, and the uses with them.

package ram

import (
	"testing"

	"perigee/internal/storetest"
)

// What is asked for again and again stays when a scan goes by that would push it
// out of any cache that looks at recency only: between two uses of a hot object ten
// times the memory passes.
func TestScanLeavesTheHotSet(t *testing.T) {
	t.Parallel()
	const size, hot, scan = 20_000, 100, 40
	r := newRig(t, 8<<20)
	defer r.close()
	body := storetest.Content(1, size)
	use := func(i int) bool {
		got := r.get(i)
		if len(got) == 0 {
			r.put(i, body)
			return false
		}
		r.store.Use(got[0])
		r.tier.policy.Wait() // lets the policy's goroutines run, as the time between requests would
		return true
	}
	for range 30 {
		for i := range hot {
			use(i)
		}
	}
	hits, asked := 0, 0
	for i := range 3 * hot {
		for j := range scan {
			use(1000 + i*scan + j)
		}
		if asked++; use(i % hot) {
			hits++
		}
	}
	// Ristretto counts uses in batches and may drop some, hence not all.
	if hits < asked/2 {
		t.Errorf("beside a scan the hot set had %d hits of %d", hits, asked)
	}
}
