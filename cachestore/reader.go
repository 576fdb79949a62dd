package cachestore

import (
	"context"
	"io"
)

// Reader reads a part of an object's body at its own pace, while it is still
// arriving or later. It holds the body's bytes until Close, or until it is past
// them. One goroutine at a time may use it, and it must not be copied.
type Reader struct {
	sole   cursor   // where all bytes come from one body
	path   []cursor // else: the bodies to be read, one after the other
	at     int      // in path
	closed bool
}

// Open returns a reader of n bytes of o's body from the offset off, or of all from
// there if n < 0; what lies beyond the end of the representation is left out. It
// returns ErrGone if the bytes have been let go since o was looked up, or where o
// is partial and some of them are neither here nor on their way; look again, or ask
// the upstream.
func (o *Object) Open(off, n int64) (*Reader, error) {
	r := new(Reader)
	if err := o.OpenInto(r, off, n); err != nil {
		return nil, err
	}
	return r, nil
}

// OpenInto is Open with a reader of the caller's, which must not be in use.
func (o *Object) OpenInto(r *Reader, off, n int64) error {
	return o.OpenContext(context.Background(), r, off, n)
}

// OpenContext is OpenInto within ctx. Where the first bytes are in a depot it waits until
// they have been read and found to be right, so that what is damaged there is ErrGone
// before anything has been sent; if ctx ends first the error is its cause.
func (o *Object) OpenContext(ctx context.Context, r *Reader, off, n int64) error {
	if o.body == nil {
		return o.openRow(ctx, r, off, n)
	}
	end := int64(-1)
	if n >= 0 {
		end = off + n
	}
	*r = Reader{}
	r.sole.body, r.sole.off, r.sole.end = o.body, off, end
	return r.openSole(ctx)
}

// openSole opens a reader of one body.
func (r *Reader) openSole(ctx context.Context) error {
	err := ErrGone
	if r.sole.open() {
		if err = r.sole.prime(ctx); err == nil {
			return nil
		}
	}
	*r = Reader{}
	return err
}

func (r *Reader) cursor() *cursor {
	if r.path == nil {
		return &r.sole
	}
	return &r.path[r.at]
}

// step goes on to the next body; nil if there is none.
func (r *Reader) step() *cursor {
	if r.at+1 >= len(r.path) {
		return nil
	}
	r.path[r.at].close()
	r.at++
	return &r.path[r.at]
}

// Offset is where in the representation the next byte to be read stands.
func (r *Reader) Offset() int64 {
	c := r.cursor()
	return c.base + c.off
}

// Next returns the bytes that follow, as many as lie in one piece, and waits until
// there are some. They stay valid and unchanged until the next call. The error is
// io.EOF at the end, ErrDetached if the reader fell out of a window, ErrDamaged if what
// a depot had is lost, the upstream's error if the body ends early, or the cause of ctx's
// end.
func (r *Reader) Next(ctx context.Context) ([]byte, error) {
	c := r.cursor()
	for {
		if c.spent() {
			if c = r.step(); c == nil {
				return nil, io.EOF
			}
			continue
		}
		if c.body.sealed.Load() {
			return c.nextSealed(ctx)
		}
		seen := c.look()
		switch {
		case seen.at != nil:
			return c.nextFrom(ctx, seen.at)
		case seen.grown == nil:
			c.block.Release()
			return seen.piece, seen.err
		}
		select {
		case <-seen.grown:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Ready tells whether Next would return without waiting.
func (r *Reader) Ready() bool {
	c := r.cursor()
	if c.spent() && r.at+1 < len(r.path) {
		c = &r.path[r.at+1]
	}
	return c.ready()
}

// Close lets the bytes go. It may be called more than once.
func (r *Reader) Close() {
	if r.closed {
		return
	}
	r.closed = true
	if r.path == nil {
		if r.sole.body != nil {
			r.sole.close()
		}
		return
	}
	for i := r.at; i < len(r.path); i++ {
		r.path[i].close()
	}
}
