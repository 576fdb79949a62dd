package cachestore

import (
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
	held     time.Duration // how long others waited for this reader
	detached bool

	joined bool // the body knows c: it was still arriving when c was opened
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
	b.readers[c] = struct{}{}
	c.pinTo(b.find(c.off))
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
func (c *cursor) nextSealed() ([]byte, error) {
	b := c.body
	if c.off >= b.written {
		return nil, io.EOF
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

// look is one look at a body that is still arriving: a piece, an error, or a
// channel that tells when to look again.
func (c *cursor) look() (piece []byte, grown chan struct{}, err error) {
	b := c.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.detached || c.off < b.lost {
		return nil, nil, ErrDetached
	}
	if k := b.find(c.off); k != nil {
		c.pinTo(k)
		return c.take(k), nil, nil
	}
	c.pinTo(nil)
	if b.done {
		if b.err != nil {
			return nil, nil, b.err
		}
		return nil, nil, io.EOF
	}
	if b.grown == nil {
		b.grown = make(chan struct{})
	}
	return nil, b.grown, nil
}

// pinTo moves c's pin to k, which may be nil. The body's mutex is held.
func (c *cursor) pinTo(k *chunk) {
	if c.pin == k {
		return
	}
	if c.pin != nil {
		if c.pin.pins--; c.pin.pins == 0 {
			c.body.wakeWriter()
		}
	}
	if c.pin = k; k != nil {
		k.pins++
	}
}

// leave takes c out of the body's readers. The body's mutex is held.
func (c *cursor) leave() {
	c.pinTo(nil)
	delete(c.body.readers, c)
	c.body.wakeWriter()
}

// close lets the body go.
func (c *cursor) close() {
	if c.joined {
		c.body.mu.Lock()
		c.leave()
		c.body.mu.Unlock()
	}
	c.body.release()
}
