package edge

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// content is a request's body. It knows whether all of it has been read, for a
// connection on which some is left cannot carry another request.
type content struct {
	io.ReadCloser
	want int64 // Content-Length, -1 unknown
	got  atomic.Int64
	done atomic.Bool
}

// Read implements [io.Reader].
func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.got.Add(int64(n))
	if errors.Is(err, io.EOF) {
		c.done.Store(true)
	}
	return n, err
}

// whole tells whether nothing is left.
func (c *content) whole() bool { return c.done.Load() || c.want >= 0 && c.got.Load() >= c.want }

// limitedBody ends a body that is longer than allowed. Unlike [http.MaxBytesReader] it
// does not touch the response, which others may be writing: a body is read by the
// connection to the upstream.
type limitedBody struct {
	io.ReadCloser
	left, limit int64
}

// Read implements [io.Reader]. The error is an [*http.MaxBytesError].
func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, &http.MaxBytesError{Limit: b.limit}
	}
	// One byte more than is left tells a body that ends from one that goes on.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, &http.MaxBytesError{Limit: b.limit}
	}
	return n, err
}
