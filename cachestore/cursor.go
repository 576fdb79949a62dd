package cachestore

import (
	"context"
	"errors"
	"io"
	"time"
)

// cursor is a place in one body, from where a reader goes on.
type cursor struct {
	body *body // nil for nothing to read
	base int64 // of the body's first byte in the representation
	off  int64 // of the next byte in the body
	end  int64 // where to stop; -1 at the end of the body
	hint int   // index of the chunk read last, once the body is sealed

	// The body's mutex guards these while the body is not sealed.
	pin      *chunk        // where the last piece came from, until more is asked for
	former   *chunk        // the same, where pin is what is needed next; else nil
	held     time.Duration // how long others waited for this reader
	detached bool
	waiting  bool // for the byte at off, since the last look

	joined bool // the body knows c: it was still arriving when c was opened

	source Source // pinned; nil for none
	block  Block  // of source, where the last piece came from; empty for none
}

// open takes hold of c's body; false if its bytes have been let go, and then c holds
// nothing. c must stay where it is in memory until it is closed.
func (c *cursor) open() bool {
	b := c.body
	if !b.retain() {
		return false
	}
	if b.sealed.Load() || c.join() {
		return true
	}
	b.release()
	return false
}

// join makes c known to a body that is still arriving; false if the bytes that c
// wants are lost, or will not come because nobody wanted them.
func (c *cursor) join() bool {
	b := c.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.off < b.lost || b.done && errors.Is(b.err, ErrUnread) {
		return false
	}
	c.joined = true
	if b.readers == nil {
		b.readers = make(map[*cursor]struct{})
	}
	b.readers[c] = struct{}{}
	if b.windowed {
		c.pinTo(b.find(max(c.off, b.front()))) // where it is behind what has spilled is read first
	} else {
		c.pinTo(b.find(c.off))
	}
	return true
}

// spent tells that c is where it has to stop.
func (c *cursor) spent() bool { return c.end >= 0 && c.off >= c.end }

// ready tells whether c is spent or its next look would give something.
func (c *cursor) ready() bool {
	b := c.body
	if c.spent() || b.sealed.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done || c.detached || c.off < b.written
}

// nextSealed reads from a body that no longer changes, without a lock.
func (c *cursor) nextSealed(ctx context.Context) ([]byte, error) {
	b := c.body
	if c.off >= b.written {
		return nil, io.EOF
	}
	if len(b.chunks) == 0 {
		return c.nextSettled(ctx)
	}
	if c.hint >= len(b.chunks) || !c.within(b.chunks[c.hint]) {
		c.hint = b.index(c.off)
	}
	piece := c.take(b.chunks[c.hint])
	c.hint++
	return piece, nil
}

func (c *cursor) within(k *chunk) bool {
	return c.off >= k.off && c.off < k.off+int64(len(k.data))
}

// take returns what c may read of k and moves behind it.
func (c *cursor) take(k *chunk) []byte {
	end := min(k.off+int64(len(k.data)), c.body.written)
	if c.end >= 0 {
		end = min(end, c.end)
	}
	piece := k.data[c.off-k.off : end-k.off : end-k.off]
	c.off = end
	return piece
}

// sight is the outcome of one look at a body that is still arriving: a piece, an error,
// where the next piece is to be read, or a channel that tells when to look again.
type sight struct {
	piece []byte
	err   error
	at    Source
	grown chan struct{}
}

func (c *cursor) look() sight {
	b := c.body
	b.mu.Lock()
	defer b.mu.Unlock()
	c.waiting = false
	c.leaveFormer()
	if at := c.behind(); at != nil {
		return sight{at: at}
	}
	if c.detached || c.off < b.lost {
		return sight{err: ErrDetached}
	}
	if k := b.find(c.off); k != nil {
		c.pinTo(k)
		return sight{piece: c.take(k)}
	}
	c.pinTo(nil)
	if b.done {
		if b.err != nil {
			return sight{err: b.err}
		}
		return sight{err: io.EOF}
	}
	if b.grown == nil {
		b.grown = make(chan struct{})
	}
	if c.waiting = true; b.spilled != nil {
		b.wakeWriter() // it may be waiting as long as nobody waits for it
	}
	return sight{grown: b.grown}
}

// behind is where c has to read, because memory does not have the byte at off any more;
// nil for nowhere else. The body's mutex is held.
func (c *cursor) behind() Source {
	b := c.body
	if b.spilled == nil || c.off >= b.front() && !c.detached || c.off >= b.spilled.Size() {
		return nil
	}
	switch {
	case c.detached:
	case b.windowed:
		c.pinTo(b.find(b.front())) // what it needs next is not to be dropped before
	default:
		c.pinTo(nil)
	}
	return b.spilled
}

// pinTo moves c's pin to k, which may be nil. The body's mutex is held.
func (c *cursor) pinTo(k *chunk) {
	if c.pin == k {
		return
	}
	c.unpin(c.pin)
	if c.pin = k; k != nil {
		k.pins++
	}
}

// unpin undoes one pin of k, which may be nil. The body's mutex is held.
func (c *cursor) unpin(k *chunk) {
	if k == nil {
		return
	}
	if k.pins--; k.pins == 0 {
		if k.left {
			c.body.budget.Release(k.reserved)
		}
		c.body.wakeWriter()
	}
}

// pinAhead pins what c, whose pin is nil or has left the body, needs next. What it has in
// hand stays reserved until it asks for more. The body's mutex is held.
func (c *cursor) pinAhead(k *chunk) {
	if c.pin != nil {
		c.former, c.pin = c.pin, nil
	}
	c.pinTo(k)
}

// leaveFormer gives back what c had in hand when its pin went ahead. The body's mutex is
// held.
func (c *cursor) leaveFormer() {
	c.unpin(c.former)
	c.former = nil
}

// leave takes c out of the body's readers. The body's mutex is held.
func (c *cursor) leave() {
	c.leaveFormer()
	c.pinTo(nil)
	delete(c.body.readers, c)
	c.body.wakeWriter()
}

// close lets the body go.
func (c *cursor) close() {
	if c.source != nil {
		c.leaveSource()
	}
	if c.joined {
		c.body.mu.Lock()
		c.leave()
		c.body.mu.Unlock()
	}
	c.body.release()
}
