package cachestore

import (
	"errors"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// chunkBytes is the largest piece of memory that a body is made of.
	chunkBytes = 256 << 10
	// firstChunkBytes is the first piece of a body of unknown length; each further
	// one is twice as large, up to chunkBytes.
	firstChunkBytes = 8 << 10
	// windowBytes is how much of a body that is not stored may wait for its slowest
	// reader.
	windowBytes = 4 << 20
	// windowChunkBytes is the piece that a window is made of.
	windowChunkBytes = 64 << 10
	// graceBytes is what an empty window may take when the budget has nothing left,
	// because a response must go on: the only memory here that is not reserved.
	graceBytes = 32 << 10
	// windowPatience is how long, in all, a reader may hold up a full window that
	// others wait for.
	windowPatience = 5 * time.Second
)

var (
	// ErrGone is returned by Open for an object whose bytes have been let go.
	ErrGone = errors.New("stored body is gone")
	// ErrDetached ends a reader that fell out of the window of a body which is not
	// stored: what it has not read yet must be had elsewhere.
	ErrDetached = errors.New("reader fell behind a body that is not stored")
	// ErrUnread ends a fill that is not stored and that nobody reads.
	ErrUnread = errors.New("nobody reads what is not stored")
	// errBroken ends a fill whose source panicked.
	errBroken = errors.New("the source of the body broke")
	// ErrTruncated ends a body that had fewer or more bytes than its length said.
	ErrTruncated = errors.New("body length differs from Content-Length")
)

// chunk is a piece of a body. Its bytes up to the body's written mark never change.
type chunk struct {
	off      int64 // of its first byte in the body
	data     []byte
	reserved int64 // bytes of the budget to give back when it is dropped from a window
	pins     int   // readers whose last piece came from here
	left     bool  // out of its body: the last reader to unpin it gives reserved back
}

// body is the bytes of one representation, perhaps still growing. Memory is never
// used again for other bytes: a chunk is garbage once nobody points to it, so a
// mistake in counting costs accounting, never a wrong byte.
type body struct {
	budget  *Budget
	counts  *counts      // nil where nothing can arrive
	refs    atomic.Int32 // objects and readers; at zero the reservation is released
	settled settled
	broken  atomic.Bool // a reader found it gone or damaged where it has settled
	sealed  atomic.Bool // whole: nothing below changes any more, and no lock is needed
	lean    atomic.Bool // sealed, and its bytes are where it has settled only
	want    int64       // length said by the upstream, -1 unknown

	// mu guards all that follows until sealed.
	mu       sync.Mutex
	chunks   []*chunk
	written  int64                // bytes that readers may see
	reserved int64                // bytes of the budget held for chunks, present and future
	done     bool                 // no more will come
	err      error                // why, unless the body is whole
	windowed bool                 // not stored: what all have read is dropped
	lost     int64                // bytes dropped from the front
	readers  map[*cursor]struct{} // made for the first
	grown    chan struct{}        // closed when readers have something new; nil if none waits
	drained  chan struct{}        // closed when the window may have room; nil if none waits
	spill    Spill                // to be dropped with the last reference; nil for none
	spilled  Source               // the bytes that it has, read by those who are behind chunks
}

func newBody(budget *Budget, counts *counts, want int64) *body {
	b := &body{budget: budget, counts: counts, want: want}
	b.refs.Store(1)
	return b
}

// retain takes a reference; false if the last one is gone and the bytes are in memory
// only.
func (b *body) retain() bool {
	for {
		refs := b.refs.Load()
		if refs == 0 {
			return b.revive()
		}
		if b.refs.CompareAndSwap(refs, refs+1) {
			return true
		}
	}
}

// release gives a reference back, and with the last one the reservation.
func (b *body) release() {
	if b.refs.Add(-1) > 0 {
		return
	}
	b.mu.Lock()
	var spill Spill
	if b.refs.Load() == 0 { // it may have been revived meanwhile
		b.letGo()
		if spill, b.spill = b.spill, nil; spill != nil {
			b.settled.at.Store(nil)
		}
	}
	b.mu.Unlock()
	if spill != nil {
		spill.Drop()
	}
}

func (b *body) cost() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reserved
}

// passing tells that b is not stored, and how many bytes have come.
func (b *body) passing() (arrived int64, passing bool) {
	if b.sealed.Load() {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written, b.windowed
}

func (b *body) length() (int64, bool) {
	if b.want >= 0 {
		return b.want, true
	}
	if b.sealed.Load() {
		return b.written, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written, b.done && b.err == nil
}

// tail is free memory behind the last byte written, nil if a new chunk is needed.
// Only the one writer calls it.
func (b *body) tail() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.chunks) == 0 {
		return nil
	}
	last := b.chunks[len(b.chunks)-1]
	if used := b.written - last.off; used < int64(len(last.data)) {
		return last.data[used:]
	}
	return nil
}

// nextChunkBytes is how large the next chunk should be.
func (b *body) nextChunkBytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.spilled != nil && !b.windowed && b.want < 0:
		return chunkBytes
	case b.windowed && b.want < 0:
		return windowChunkBytes
	case b.windowed:
		return max(1, min(windowChunkBytes, b.want-b.written))
	case b.want >= 0:
		// One byte where nothing is left: it shows a body longer than it said.
		return max(1, min(chunkBytes, b.want-b.written))
	case len(b.chunks) == 0:
		return firstChunkBytes
	default:
		return min(chunkBytes, 2*int64(len(b.chunks[len(b.chunks)-1].data)))
	}
}

// hold adds n bytes to what the body has reserved; the caller took them from the
// budget.
func (b *body) hold(n int64) {
	b.mu.Lock()
	b.reserved += n
	b.mu.Unlock()
}

// addChunk appends n bytes of memory that are paid for. In a window reserved is
// what to give back when the chunk leaves it.
func (b *body) addChunk(n, reserved int64) []byte {
	c := &chunk{data: make([]byte, n), reserved: reserved}
	b.mu.Lock()
	defer b.mu.Unlock()
	c.off = b.written
	b.chunks = append(b.chunks, c)
	return c.data
}

// advance publishes n more bytes to the readers.
func (b *body) advance(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.written += int64(n)
	if b.windowed {
		b.pinArrivals()
	}
	b.wakeReaders()
}

func (b *body) wakeReaders() {
	if b.grown != nil {
		close(b.grown)
		b.grown = nil
	}
}

func (b *body) wakeWriter() {
	if b.drained != nil {
		close(b.drained)
		b.drained = nil
	}
}

// finish ends the body: whole if err is nil, else cut where it is. One that spills has
// yet to be settled.
func (b *body) finish(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return
	}
	b.done, b.err = true, err
	if err == nil && !b.windowed && b.spilled == nil {
		b.trim()
		b.sealed.Store(true)
	}
	b.wakeReaders()
}

// trim gives back what was reserved beyond the bytes that came, and copies a last
// chunk that is mostly empty. Readers keep the bytes they have.
func (b *body) trim() {
	var held int64
	for i, c := range b.chunks {
		used := min(int64(len(c.data)), b.written-c.off)
		if used == 0 {
			b.chunks = b.chunks[:i]
			break
		}
		if free := int64(len(c.data)) - used; free > used/8 {
			exact := make([]byte, used)
			copy(exact, c.data)
			b.chunks[i] = &chunk{off: c.off, data: exact}
		}
		held += allocBytes(int64(len(b.chunks[i].data)))
	}
	if held < b.reserved {
		b.budget.Release(b.reserved - held)
		b.reserved = held
	}
}

// front is where the first byte stands that is in memory.
func (b *body) front() int64 {
	if len(b.chunks) == 0 {
		return b.written
	}
	return b.chunks[0].off
}

// find is the chunk that holds the byte at off, nil if it was dropped or has not
// come yet.
func (b *body) find(off int64) *chunk {
	i := b.index(off)
	if i < 0 || off >= b.written {
		return nil
	}
	return b.chunks[i]
}

// index is the place in chunks of the one that holds the byte at off, or would if
// it had come; -1 if it was dropped.
func (b *body) index(off int64) int {
	return sort.Search(len(b.chunks), func(i int) bool { return b.chunks[i].off > off }) - 1
}
