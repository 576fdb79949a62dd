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
	last    int64
	wake    chan struct{}
	closed  bool
}

func newTail(last int64) *tail {
	return &tail{floor: last, last: last, wake: make(chan struct{})}
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
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
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
