package trial

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// maxFaults is how many faults are told; the rest is counted.
const maxFaults = 12

// tally is what all clients have seen.
type tally struct {
	requests, whole, partial, unmodified, heads atomic.Int64
	hits, diskHits, revalidated, bytes          atomic.Int64
	interrupted                                 atomic.Int64 // requests that a kill ended
	cut                                         atomic.Int64 // responses that could not be continued since the origin had a new version
	purges, refusedPurges, purgesInTheAir       atomic.Int64

	mu     sync.Mutex // guards faults and lost
	faults []string
	lost   int
}

// fault notes something that must not be.
func (t *tally) fault(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.faults) == maxFaults {
		t.lost++
		return
	}
	t.faults = append(t.faults, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// count is how many faults there are.
func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.faults) + t.lost
}

func (t *tally) report(w io.Writer) {
	fmt.Fprintf(w, "clients: %d requests, %d × 200, %d × 206, %d × 304, %d × HEAD; %.1f MB compared; %d failed since the process was ended or did not listen yet, %d because the origin had moved on\n",
		t.requests.Load(), t.whole.Load(), t.partial.Load(), t.unmodified.Load(), t.heads.Load(), float64(t.bytes.Load())/1e6,
		t.interrupted.Load(), t.cut.Load())
	fmt.Fprintf(w, "cache: %d hits, %d of objects that the origin had not been asked for in that life: from disk; %d validated\n",
		t.hits.Load(), t.diskHits.Load(), t.revalidated.Load())
	fmt.Fprintf(w, "purges: %d acknowledged, %d refused, %d cut off by kills\n", t.purges.Load(), t.refusedPurges.Load(), t.purgesInTheAir.Load())
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, each := range t.faults {
		fmt.Fprintf(w, "FAULT: %s\n", each)
	}
	if t.lost > 0 {
		fmt.Fprintf(w, "FAULT: and %d more\n", t.lost)
	}
}
