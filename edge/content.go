package edge

import (
	"errors"
	"io"
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
