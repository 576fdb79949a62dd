package cachestore

import (
	"context"
	"errors"
	"io"
	"time"
)

// Reader reads a part of an object's body at its own pace, while it is still
// arriving or later. It holds the body's bytes until Close. One goroutine at a time
// may use it.
type Reader struct {
	body *body
	off  int64 // of the next byte
	end  int64 // where to stop; -1 at the end of the body
	hint int   // index of the chunk read last, once the body is sealed

	// The body's mutex guards these while the body is not sealed.
	pin      *chunk        // where the last piece came from, until more is asked for
	held     time.Duration // how long others waited for this reader
	detached bool

	joined bool // the body knows r: it was still arriving when r was opened
	closed bool
}

// Open returns a reader of n bytes of o's body from the offset off, or of all from
// there if n < 0. It returns ErrGone if the bytes have been let go since o was
// looked up; look again, or ask the upstream.
func (o *Object) Open(off, n int64) (*Reader, error) {
	r := new(Reader)
	if err := o.OpenInto(r, off, n); err != nil {
		return nil, err
	}
	return r, nil
}

// OpenInto is Open with a reader of the caller's, which must not be in use.
func (o *Object) OpenInto(r *Reader, off, n int64) error {
	b := o.body
	if !b.retain() {
		return ErrGone
	}
	*r = Reader{body: b, off: off, end: -1}
	if n >= 0 {
		r.end = off + n
	}
	if b.sealed.Load() || r.join() {
		return nil
	}
	b.release()
	return ErrGone
}

// join makes r known to a body that is still arriving; false if the bytes that r
// wants are lost, or will not come because nobody wanted them.
func (r *Reader) join() bool {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.off < b.lost || b.done && errors.Is(b.err, ErrUnread) {
		return false
	}
	r.joined = true
	b.readers[r] = struct{}{}
	r.pinTo(b.find(r.off))
	return true
}

// Offset is where in the body the next byte to be read stands.
func (r *Reader) Offset() int64 { return r.off }

// Next returns the bytes that follow, as many as lie in one piece, and waits until
// there are some. They stay valid and unchanged until the next call. The error is
// io.EOF at the end, ErrDetached if the reader fell out of a window, the upstream's
// error if the body ends early, or the cause of ctx's end.
func (r *Reader) Next(ctx context.Context) ([]byte, error) {
	for {
		if r.end >= 0 && r.off >= r.end {
			return nil, io.EOF
		}
		if r.body.sealed.Load() {
			return r.nextSealed()
		}
		piece, grown, err := r.look()
		if grown == nil {
			return piece, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Ready tells whether Next would return without waiting.
func (r *Reader) Ready() bool {
	b := r.body
	if b.sealed.Load() || (r.end >= 0 && r.off >= r.end) {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done || r.detached || r.off < b.written
}

// nextSealed reads from a body that no longer changes, without a lock.
func (r *Reader) nextSealed() ([]byte, error) {
	b := r.body
	if r.off >= b.written {
		return nil, io.EOF
	}
	if r.hint >= len(b.chunks) || !r.within(b.chunks[r.hint]) {
		r.hint = b.index(r.off)
	}
	piece := r.take(b.chunks[r.hint])
	r.hint++
	return piece, nil
}

func (r *Reader) within(c *chunk) bool {
	return r.off >= c.off && r.off < c.off+int64(len(c.data))
}

// take returns what r may read of c and moves behind it.
func (r *Reader) take(c *chunk) []byte {
	end := min(c.off+int64(len(c.data)), r.body.written)
	if r.end >= 0 {
		end = min(end, r.end)
	}
	piece := c.data[r.off-c.off : end-c.off : end-c.off]
	r.off = end
	return piece
}

// look is one look at a body that is still arriving: a piece, an error, or a
// channel that tells when to look again.
func (r *Reader) look() (piece []byte, grown chan struct{}, err error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.detached || r.off < b.lost {
		return nil, nil, ErrDetached
	}
	if c := b.find(r.off); c != nil {
		r.pinTo(c)
		return r.take(c), nil, nil
	}
	r.pinTo(nil)
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

// pinTo moves r's pin to c, which may be nil. The body's mutex is held.
func (r *Reader) pinTo(c *chunk) {
	if r.pin == c {
		return
	}
	if r.pin != nil {
		if r.pin.pins--; r.pin.pins == 0 {
			r.body.wakeWriter()
		}
	}
	if r.pin = c; c != nil {
		c.pins++
	}
}

// leave takes r out of the body's readers. The body's mutex is held.
func (r *Reader) leave() {
	r.pinTo(nil)
	delete(r.body.readers, r)
	r.body.wakeWriter()
}

// Close lets the body go. It may be called more than once.
func (r *Reader) Close() {
	if r.closed || r.body == nil {
		return
	}
	r.closed = true
	if r.joined {
		r.body.mu.Lock()
		r.leave()
		r.body.mu.Unlock()
	}
	r.body.release()
}
