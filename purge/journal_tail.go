package purge

import (
	"context"
	"sync"
)

// Bounds of what a log keeps in memory.
const (
	maxTail      = 8192     // entries that those who follow are served from
	maxTailBytes = 16 << 20 // of their texts
	maxIDs       = 1 << 16  // appends that are known again
)

// tail is the newest entries of a log, from which those who follow it are served.
type tail struct {
	mu      sync.Mutex
	entries []Entry // never written again but at the end
	bytes   int
	floor   int64 // entries up to it are not here
	// unread is the number from which on somebody has not read; it stays where the last
	// who followed left off. readers are those who follow, by the number each is at.
	unread  int64
	readers map[*int64]bool
	passed  chan struct{} // closed when unread rises; nil = nobody waits
	last    int64
	wake    chan struct{}
	closed  bool
}

func newTail(last int64) *tail {
	return &tail{floor: last, last: last, unread: last + 1, readers: make(map[*int64]bool), wake: make(chan struct{})}
}

// room tells whether further entries of one append fit in without letting go of what
// somebody who follows has not read. Where they do not, wait is closed when more has
// been read.
func (t *tail) room(entries []Entry) (fits bool, wait <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unread > t.last {
		return true, nil
	}
	n, bytes := len(entries), 0
	for i := range entries {
		bytes += textBytes(&entries[i])
	}
	for i := len(t.entries) - 1; i >= 0 && t.entries[i].Seq >= t.unread; i-- {
		n++
		bytes += textBytes(&t.entries[i])
	}
	if n <= maxTail/2 && bytes <= maxTailBytes/2 { // what halving leaves
		return true, nil
	}
	if t.passed == nil {
		t.passed = make(chan struct{})
	}
	return false, t.passed
}

// read notes how far somebody who follows has come; joining and leaving are noted too.
func (t *tail) read(at *int64, next int64, follows bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *at = next; follows {
		t.readers[at] = true
	} else {
		delete(t.readers, at)
	}
	before, unread := t.unread, t.last+1
	for reader := range t.readers {
		unread = min(unread, *reader)
	}
	if len(t.readers) == 0 {
		unread = max(before, next)
	}
	if t.unread = unread; unread > before && t.passed != nil {
		close(t.passed)
		t.passed = nil
	}
}

// add publishes entries. It returns those that fell out.
func (t *tail) add(entries []Entry) (out []Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = append(t.entries, entries...)
	for i := range entries {
		t.bytes += textBytes(&entries[i])
	}
	t.last = t.entries[len(t.entries)-1].Seq
	if len(t.entries) > maxTail || t.bytes > maxTailBytes {
		out = t.halve()
	}
	close(t.wake)
	t.wake = make(chan struct{})
	return out
}

// halve drops the older entries. The others move: who reads the old ones may go on.
func (t *tail) halve() (out []Entry) {
	keep := 0
	for bytes := 0; keep < min(maxTail/2, len(t.entries)-1); keep++ {
		if bytes += textBytes(&t.entries[len(t.entries)-1-keep]); bytes > maxTailBytes/2 && keep > 0 {
			break
		}
	}
	cut := len(t.entries) - keep
	out = t.entries[:cut]
	t.floor = out[cut-1].Seq
	t.entries = append(make([]Entry, 0, maxTail), t.entries[cut:]...)
	t.bytes = 0
	for i := range t.entries {
		t.bytes += textBytes(&t.entries[i])
	}
	return out
}

func textBytes(e *Entry) int { return len(e.Site) + len(e.Value) + len(e.Who) + len(e.From) }

// from returns the entries from the number next on. behind tells that some of them
// are not here any more; wake is closed when there are others, or at the end.
func (t *tail) from(next int64) (entries []Entry, behind bool, wake <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, false, nil, ErrClosed
	}
	if next <= t.floor {
		return nil, true, nil, nil
	}
	first := len(t.entries)
	for first > 0 && t.entries[first-1].Seq >= next {
		first--
	}
	return t.entries[first:len(t.entries):len(t.entries)], false, t.wake, nil
}

// before is the number up to which entries are not here any more, newest that of the
// last one.
func (t *tail) before() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.floor
}

func (t *tail) newest() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.wake)
	}
}

// follow calls fn with all entries from the number next on. Those that the tail has
// no more are the business of older, which returns the number to go on with.
func (t *tail) follow(ctx context.Context, next int64, fn func(Entry) error, older func(next int64) (int64, error)) error {
	at := new(int64)
	defer func() { t.read(at, next, false) }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.read(at, next, true)
		entries, behind, wake, err := t.from(next)
		switch {
		case err != nil:
			return err
		case behind:
			if next, err = older(next); err != nil {
				return err
			}
			continue
		}
		for _, e := range entries {
			if err := fn(e); err != nil {
				return err
			}
			next = e.Seq + 1
		}
		if len(entries) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// remembered is the appends of late by their IDs, with the numbers they ended at.
type remembered struct {
	last map[ID]int64
	ring []ID
	next int
}

func (r *remembered) add(id ID, last int64) {
	if r.last == nil {
		r.last = make(map[ID]int64)
	}
	if len(r.ring) < maxIDs {
		r.ring = append(r.ring, id)
	} else {
		delete(r.last, r.ring[r.next])
		r.ring[r.next] = id
		r.next = (r.next + 1) % maxIDs
	}
	r.last[id] = last
}
