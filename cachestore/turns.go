package cachestore

import (
	"sync"

	"perigee/httpcache"
)

// turns lets one at a time change what both tiers have under a key. Who commits a fill
// keeps its turn while the disk writes; nobody who answers a request waits for one. Its
// size is bounded by the number of fills that end at once.
type turns struct {
	mu    sync.Mutex // guards taken
	taken map[httpcache.Key]chan struct{}
}

// take waits for the turn.
func (t *turns) take(key httpcache.Key) {
	for {
		over := t.try(key)
		if over == nil {
			return
		}
		<-over
	}
}

// try takes the turn if nobody has it, and returns nil; else a channel that is closed when
// it is over.
func (t *turns) try(key httpcache.Key) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if over := t.taken[key]; over != nil {
		return over
	}
	if t.taken == nil {
		t.taken = make(map[httpcache.Key]chan struct{})
	}
	t.taken[key] = make(chan struct{})
	return nil
}

// give ends the turn.
func (t *turns) give(key httpcache.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.taken[key])
	delete(t.taken, key)
}
