package purge

import (
	"math"
	"sync"
	"time"
)

// bucket bounds a rate: it holds so many permits, and gets some back each second. A
// nil bucket bounds nothing.
type bucket struct {
	rate, burst float64

	mu   sync.Mutex // guards what follows
	left float64
	at   time.Time // when left was reckoned; zero = never, the bucket is full
}

// newBucket makes a bucket; a rate of 0 is DefaultRate, a negative one no bound.
func newBucket(rate, burst float64) *bucket {
	switch {
	case rate < 0:
		return nil
	case rate == 0:
		rate = DefaultRate
	}
	return &bucket{rate: rate, burst: burst}
}

// take takes n permits if they are all there, and else says how long to wait for
// them.
func (b *bucket) take(n int, now time.Time) (wait time.Duration, ok bool) {
	if b == nil {
		return 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.at.IsZero():
		b.left, b.at = b.burst, now
	case now.After(b.at):
		b.left, b.at = math.Min(b.burst, b.left+now.Sub(b.at).Seconds()*b.rate), now
	}
	if want := float64(n); b.left >= want {
		b.left -= want
		return 0, true
	}
	return time.Duration((float64(n) - b.left) / b.rate * float64(time.Second)), false
}

// inherit goes on where the bucket of an earlier credential stands.
func (b *bucket) inherit(from *credential) {
	if b == nil || from == nil || from.bucket == nil {
		return
	}
	from.bucket.mu.Lock()
	defer from.bucket.mu.Unlock()
	b.left, b.at = math.Min(b.burst, from.bucket.left), from.bucket.at
}
