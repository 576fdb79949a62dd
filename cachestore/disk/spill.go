package disk

import (
	"sync"

	"perigee/cachestore"
)

// spill is a body that is written while it arrives. It implements [cachestore.Spill].
type spill struct {
	volume *volume
	log    logKind
	object *cachestore.Object
	source *body
	news   chan struct{}

	mu      sync.Mutex // guards what follows
	waiting int        // pieces that are not written yet
	bad     bool       // some of it could not be written
	ended   bool       // and its source is not pinned any more
	idle    *sync.Cond // nothing waits
}

// Spill implements [cachestore.Depot].
func (d *Depot) Spill(o *cachestore.Object) cachestore.Spill {
	n := nameOf(o.Key(), o.Variant())
	v := d.volumeFor(n)
	if v == nil {
		return nil
	}
	s := &spill{volume: v, log: v.logForSpill(n, o), object: o, source: newSource(d, n, 0, nil), news: make(chan struct{}, 1)}
	s.idle = sync.NewCond(&s.mu)
	s.source.Pin() // what has been written stays until all of it has
	return s
}

// shareOfLog is the part of the log of what is new that one body may take: one that goes
// round in it would let its own beginning go.
const shareOfLog = 8

// logForSpill is the log for a long body of o: the main one unless it is short beside
// that of what is new.
func (v *volume) logForSpill(n name, o *cachestore.Object) logKind {
	if size, known := o.Size(); known && size <= v.limit/smallShare/shareOfLog {
		return v.logFor(n)
	}
	return logMain
}

// Write implements [cachestore.Spill].
func (s *spill) Write(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), pieceBytes)
		if !s.expect() {
			return false
		}
		// A piece that is refused settles itself.
		if !s.volume.queue.add(&item{kind: itemPiece, name: nameOf(s.object.Key(), s.object.Variant()), spill: s, data: p[:n], bytes: int64(n)}) {
			s.fail()
			return false
		}
		p = p[n:]
	}
	return !s.hasFailed()
}

func (s *spill) expect() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad {
		return false
	}
	s.waiting++
	return true
}

// Source implements [cachestore.Spill].
func (s *spill) Source() cachestore.Source { return s.source }

// Grown implements [cachestore.Spill].
func (s *spill) Grown() <-chan struct{} { return s.news }

// End implements [cachestore.Spill].
func (s *spill) End() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.waiting > 0 {
		s.idle.Wait()
	}
	s.unpin()
	return !s.bad
}

// unpin lets what was written go like everything else. The mutex is held.
func (s *spill) unpin() {
	if !s.ended {
		s.ended = true
		s.source.Unpin()
	}
}

// Drop implements [cachestore.Spill]. What was written is not referred to, and goes with
// its segments.
func (s *spill) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = true
	s.unpin()
}

// take notes a piece that has been written.
func (s *spill) take(r run) {
	s.mu.Lock()
	if !s.bad { // else a piece before it is missing
		s.source.append(r)
	}
	s.settle()
}

// fail notes a piece that will not be written.
func (s *spill) fail() {
	s.mu.Lock()
	s.bad = true
	s.settle()
}

// settle notes that one piece less waits, and gives the mutex free.
func (s *spill) settle() {
	if s.waiting--; s.waiting == 0 {
		s.idle.Broadcast()
	}
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *spill) hasFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad
}
