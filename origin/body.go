package origin

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
)

// uploadEnd is why the request's body could not be read to its end.
type uploadEnd struct{ err error }

// upload is the request's body on its way to the transport. It bounds the time that
// the upstream takes between two reads, not the time that the client takes in one.
type upload struct {
	x      *exchange
	src    io.ReadCloser
	closed atomic.Bool
}

func (b *upload) Read(p []byte) (int, error) {
	b.x.send.disarm()
	n, err := b.src.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if !b.closed.Load() { // else the transport has done with it, which is not the client's doing
			b.x.upload.CompareAndSwap(nil, &uploadEnd{err})
		}
		return n, err
	}
	b.x.send.arm() // also after EOF: what is buffered must still be written
	return n, err
}

func (b *upload) Close() error {
	b.closed.Store(true)
	return b.src.Close()
}

// body is the response's body as the caller gets it.
type body struct {
	x      *exchange
	src    io.ReadCloser
	closed atomic.Bool

	mu  sync.Mutex // guards err
	err error      // what every further Read returns
}

func newBody(x *exchange, src io.ReadCloser) *body {
	b := &body{x: x, src: src}
	x.src = src
	x.cleanup = runtime.AddCleanup(b, leaked, x)
	return b
}

// leaked ends an exchange whose body was dropped without reading it to the end or
// closing it. The count says that our caller has a bug; the connection is not lost
// for it.
func leaked(x *exchange) {
	x.upstream.counts.leaked.Add(1)
	x.src.Close()
	x.finish()
}

// Read reads; io.EOF comes only after the body's true end.
func (b *body) Read(p []byte) (int, error) {
	if err := b.stuck(); err != nil {
		return 0, err
	}
	b.x.read.arm()
	n, err := b.src.Read(p)
	b.x.read.disarm()
	if err == nil {
		return n, nil
	}
	return n, b.end(err)
}

// stuck is the error that all reads return by now.
func (b *body) stuck() error {
	if b.closed.Load() {
		return http.ErrBodyReadAfterClose
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// end remembers how reading ended and frees the connection.
func (b *body) end(err error) error {
	if b.closed.Load() {
		return http.ErrBodyReadAfterClose
	}
	if err != io.EOF {
		typed := b.x.bodyError(err)
		b.x.upstream.counts.cut[typed.Kind].Add(1)
		b.src.Close()
		err = typed
	}
	b.x.finish()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	return err
}

// Close ends the exchange. If the body was not read to its end, an HTTP/1.1
// connection is closed with it.
func (b *body) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	err := b.src.Close()
	b.x.finish()
	return err
}

// tunnel is the body of a 101 response: the connection itself.
type tunnel struct {
	*body
	conn io.ReadWriteCloser
}

// Read reads what the upstream sends. No limit of ours bounds it, for who knows how
// long a protocol may be silent; EOF does not end the other direction.
func (t *tunnel) Read(p []byte) (int, error) {
	if t.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := t.conn.Read(p)
	runtime.KeepAlive(t.body)
	if err != nil && err != io.EOF {
		err = t.x.bodyError(err)
	}
	return n, err
}

// Write sends to the upstream.
func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.conn.Write(p)
	runtime.KeepAlive(t.body)
	if err != nil {
		err = t.x.bodyError(err)
	}
	return n, err
}

// CloseWrite tells the upstream that no more will come, where the connection can.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
