package httpcache

import (
	"math/bits"
	"time"
)

// Bounds of the early refresh: which part of its time a response may be refreshed
// in, and how long that time must be to be worth it.
const (
	refreshPart  = 10
	refreshLeast = 10 * time.Second
)

// EarlyRefresh reports whether a response that is served fresh should be refreshed
// in the background already, so that a popular set that was stored at once does
// not become stale at once. It is so from RefreshAt on, and only where
// stale-while-revalidate, the origin's or the rules', allows a refresh that
// nobody waits for (RFC 5861 §3). Freshness itself is not touched.
func EarlyRefresh(rules *Rules, s *Stored, d Decision, seed uint64) bool {
	if d.Action != Serve || d.TTL <= 0 || s.staleFor(rules.StaleWhileRevalidate, s.staleWhileRevalidate) <= 0 {
		return false
	}
	at := RefreshAt(s, seed)
	return at > 0 && d.Age >= at
}

// RefreshAt returns the age from which the response may be refreshed early: a
// point in the last tenth of the time that it had left on arrival, evenly chosen
// by the seed of the object. It is 0 where that time is shorter than 10 s. Time
// spent in caches before us does not count, or a response that comes with most
// of its lifetime gone would be refreshed again and again.
func RefreshAt(s *Stored, seed uint64) time.Duration {
	left := s.lifetime - s.initialAge
	if left < refreshLeast {
		return 0
	}
	tenth := left / refreshPart
	offset, _ := bits.Mul64(spread(seed), uint64(tenth))
	return s.lifetime - tenth + time.Duration(offset)
}

// spread makes every bit of the seed count for the high bits, also where seeds
// are small or count up (the finaliser of SplitMix64).
func spread(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
