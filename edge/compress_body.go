package edge

import (
	"context"
	"errors"
	"io"

	"perigee/cachestore"
)

const (
	// codedAtOnce is how much is coded in one turn, so that turns are short.
	codedAtOnce = 32 << 10
	// readAtOnce is how much is coded ahead of a read while the source has more.
	readAtOnce = 32 << 10
	// maxEmptyReads is how often in a row a reader may give nothing.
	maxEmptyReads = 100
)

// source is where the bytes come from that are coded.
type source interface {
	// next returns the bytes that follow, valid until the next call, or why there are
	// none: io.EOF at the end.
	next(ctx context.Context) ([]byte, error)
	// waits tells that the next bytes may be long in coming.
	waits() bool
}

// storedSource is the body of a stored response, perhaps still arriving.
type storedSource struct{ *cachestore.Reader }

func (s storedSource) next(ctx context.Context) ([]byte, error) { return s.Next(ctx) }
func (s storedSource) waits() bool                              { return !s.Ready() }

// relayedSource is a body that comes from the upstream. A read that did not fill the
// buffer was all there is for now.
type relayedSource struct {
	io.Reader
	buf   *[relayBytes]byte
	short bool
	err   error // that came with the last bytes
}

func (s *relayedSource) next(context.Context) ([]byte, error) {
	for range maxEmptyReads {
		if s.err != nil {
			return nil, s.err
		}
		var n int
		n, s.err = s.Read(s.buf[:])
		if s.short = n < len(s.buf); n > 0 {
			return s.buf[:n], nil
		}
	}
	return nil, io.ErrNoProgress
}

func (s *relayedSource) waits() bool { return s.short && s.err == nil }

// codedBody is a body in its coded form, as a reader. Whenever its source has nothing
// for now, all that has come can be read: nothing is held back. It ends with io.EOF
// only if the source did; what is read before another error is no whole body.
type codedBody struct {
	ctx   context.Context // ends the wait for the source and for turns
	from  source
	coder *coder
	turns chan struct{}
	ended func(in, out int64) // is told the lengths when all has been coded; may be nil

	piece  []byte // of the source, not coded yet
	held   bool   // the encoder has bytes that it has not written
	in     int64
	out    int64
	broken bool  // the encoder failed: it must not be used again
	err    error // what remains to be said when all has been read
}

// Read implements [io.Reader].
func (b *codedBody) Read(p []byte) (int, error) {
	for b.err == nil && (b.coder.out.Len() == 0 || b.coder.out.Len() < min(len(p), readAtOnce) && !b.from.waits()) {
		b.err = b.step()
	}
	n, _ := b.coder.out.Read(p)
	b.out += int64(n)
	if b.coder.out.Len() == 0 && b.ended != nil && errors.Is(b.err, io.EOF) {
		b.ended(b.in, b.out)
		b.ended = nil
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

// step brings the body on by one piece, or says why it cannot go on.
func (b *codedBody) step() error {
	if len(b.piece) == 0 {
		if b.held && b.from.waits() {
			b.held = false
			return b.compute(b.coder.Flush)
		}
		piece, err := b.from.next(b.ctx)
		if errors.Is(err, io.EOF) {
			if err := b.compute(b.coder.Close); err != nil {
				return err
			}
			return io.EOF
		}
		if err != nil {
			return err
		}
		b.piece = piece
	}
	part := b.piece[:min(len(b.piece), codedAtOnce)]
	b.piece = b.piece[len(part):]
	b.in += int64(len(part))
	b.held = true
	return b.compute(func() error {
		_, err := b.coder.Write(part)
		return err
	})
}

// compute waits for a turn and uses the encoder. Should that panic, the turn is given
// back and the encoder counts as broken.
func (b *codedBody) compute(work func() error) error {
	select {
	case b.turns <- struct{}{}:
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
	b.broken = true
	defer func() { <-b.turns }()
	if err := work(); err != nil {
		return err
	}
	b.broken = false
	return nil
}
