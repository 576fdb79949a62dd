package storetest

import (
	"context"
	"sync"
	"sync/atomic"

	"perigee/cachestore"
)

// spill implements [cachestore.Spill].
type spill struct {
	depot  *Depot
	source *source
	grown  chan struct{}

	mu      sync.Mutex // guards what follows
	held    []byte     // written, but less than a piece
	given   int64
	written int64
	failed  bool
}

// Spill implements [cachestore.Depot].
func (d *Depot) Spill(*cachestore.Object) cachestore.Spill {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refusing || d.closed {
		return nil
	}
	return &spill{depot: d, source: &source{depot: d}, grown: make(chan struct{}, 1)}
}

// Write implements [cachestore.Spill].
func (s *spill) Write(p []byte) bool {
	d := s.depot
	d.mu.Lock()
	defer d.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) == 0 {
		return !s.failed
	}
	if s.failed || d.closed || d.waiting+len(p) > d.room {
		s.failed = true
		return false
	}
	s.given += int64(len(p))
	d.waiting += len(p)
	d.queue = append(d.queue, &order{spill: s, data: p})
	d.changed.Broadcast()
	return true
}

// take writes what was given, or fails.
func (s *spill) take(p []byte, refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = s.failed || refuse
	grown := s.failed
	if !s.failed {
		s.written += int64(len(p))
		s.held = append(s.held, p...)
		if n := len(s.held) / spillPiece * spillPiece; n > 0 {
			s.source.append(s.held[:n])
			s.held = append([]byte(nil), s.held[n:]...)
			grown = true
		}
	}
	if !grown {
		return
	}
	select {
	case s.grown <- struct{}{}:
	default:
	}
}

// Source implements [cachestore.Spill].
func (s *spill) Source() cachestore.Source { return s.source }

// Grown implements [cachestore.Spill].
func (s *spill) Grown() <-chan struct{} { return s.grown }

// End implements [cachestore.Spill].
func (s *spill) End() bool {
	d := s.depot
	d.mu.Lock()
	defer d.mu.Unlock()
	for !s.over() {
		d.changed.Wait()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failed {
		s.source.append(s.held)
	}
	s.held = nil
	return !s.failed
}

func (s *spill) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed || s.written == s.given
}

// Drop implements [cachestore.Spill].
func (s *spill) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
	s.source.gone.Store(true)
	s.depot.Dropped.Add(1)
}

// source implements [cachestore.Source].
type source struct {
	depot *Depot
	gone  atomic.Bool
	bad   atomic.Int64 // one more than the offset from which nothing can be read; 0 = all can

	mu   sync.Mutex // guards what follows
	data []byte
	pins int
}

func (s *source) append(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append(s.data, p...)
}

// Size implements [cachestore.Source].
func (s *source) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.data))
}

// Block implements [cachestore.Source].
func (s *source) Block(ctx context.Context, off int64) (cachestore.Block, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return cachestore.Block{}, err
	}
	bad := s.bad.Load()
	if bad > 0 && off >= bad-1 {
		return cachestore.Block{}, cachestore.ErrDamaged
	}
	if s.gone.Load() && s.pins == 0 {
		return cachestore.Block{}, cachestore.ErrGone
	}
	from := off / blockBytes * blockBytes
	data := append([]byte(nil), s.data[from:min(from+blockBytes, int64(len(s.data)))]...)
	if bad > 0 {
		data = data[:min(int64(len(data)), bad-1-from)]
	}
	s.depot.Blocks.Add(1)
	return cachestore.Block{Data: data, Off: from, Hold: &memory{depot: s.depot, data: data}}, nil
}

// Pin implements [cachestore.Source].
func (s *source) Pin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone.Load() {
		return false
	}
	s.pins++
	s.depot.Pins.Add(1)
	return true
}

// Unpin implements [cachestore.Source].
func (s *source) Unpin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pins--; s.pins < 0 {
		panic("storetest: more unpinned than pinned")
	}
	s.depot.Pins.Add(-1)
}

// memory is what a block holds.
type memory struct {
	depot    *Depot
	data     []byte
	released atomic.Bool
}

// Release implements [cachestore.Holder].
func (m *memory) Release() {
	if m.released.Swap(true) {
		panic("storetest: a block was released twice")
	}
	for i := range m.data {
		m.data[i] = 0xdb
	}
	m.depot.Blocks.Add(-1)
}
