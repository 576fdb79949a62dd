package cachestore

import (
	"sync"

	"perigee/httpcache"
)

// turnsWaiting is how many may wait for a turn under one key: more come only while a disk
// hangs.
const turnsWaiting = 16

// turns lets one at a time change what both tiers have under a key. Who commits a fill
// keeps its turn while the disk writes; nobody who answers a request waits for one. Its
// size is bounded by the number of fills that end at once, and how many wait under one
// key by turnsWaiting.
type turns struct {
	mu    sync.Mutex // guards taken
	taken map[httpcache.Key]*turn
}

// turn is one that somebody has.
type turn struct {
	over    chan struct{} // closed at its end
	waiting int
}

// take waits for the turn; false if too many do.
func (t *turns) take(key httpcache.Key) bool {
	for {
		over, ok := t.join(key)
		if over == nil {
			return ok
		}
		<-over
	}
}

// join takes the turn if nobody has it. Else it returns a channel that is closed when it
// is over, nil where too many wait for that.
func (t *turns) join(key httpcache.Key) (over chan struct{}, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.taken[key]
	switch {
	case now == nil:
		if t.taken == nil {
			t.taken = make(map[httpcache.Key]*turn)
		}
		t.taken[key] = &turn{over: make(chan struct{})}
		return nil, true
	case now.waiting >= turnsWaiting:
		return nil, false
	}
	now.waiting++
	return now.over, true
}

// try takes the turn if nobody has it, and tells whether it did.
func (t *turns) try(key httpcache.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken[key] != nil {
		return false
	}
	if t.taken == nil {
		t.taken = make(map[httpcache.Key]*turn)
	}
	t.taken[key] = &turn{over: make(chan struct{})}
	return true
}

// give ends the turn.
func (t *turns) give(key httpcache.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.taken[key].over)
	delete(t.taken, key)
}
