package memnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Conn is one end of a connection. Besides being a [net.Conn] it can close one
// direction only and be reset, as a [net.TCPConn] can.
type Conn struct {
	in, out       *stream
	local, remote netip.AddrPort

	mu     sync.Mutex // guards linger
	linger int
}

var _ net.Conn = (*Conn)(nil)

// Pipe makes the two ends of a connection without a network.
func Pipe() (*Conn, *Conn) {
	return pair(netip.AddrPortFrom(client, firstDialPort), netip.AddrPortFrom(firstHost, firstListenPort))
}

func pair(a, b netip.AddrPort) (*Conn, *Conn) {
	there, back := newStream(), newStream()
	return &Conn{in: back, out: there, local: a, remote: b, linger: -1},
		&Conn{in: there, out: back, local: b, remote: a, linger: -1}
}

// Read reads what the other end wrote. It returns [io.EOF] once that end has closed
// its direction and all is read.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.opError("read", err)
}

// Write writes p, waiting while the other end's buffer of 64 KiB is full.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.opError("write", err)
}

// Close closes both directions. The other end may still read what was written;
// what it wrote and we did not read is lost, and as with TCP it then sees a reset.
func (c *Conn) Close() error {
	c.mu.Lock()
	abort := c.linger == 0
	c.mu.Unlock()

	unread, again := false, false
	c.in.change(func() {
		again = c.in.readerGone
		unread = c.in.off < len(c.in.buf)
		c.in.readerGone, c.in.left = true, true
		c.in.buf, c.in.off = nil, 0
	})
	c.out.change(func() {
		c.out.writerGone, c.out.ended = true, true
	})
	if again {
		return c.opError("close", net.ErrClosed)
	}
	if abort || unread {
		c.Reset()
	}
	c.SetDeadline(time.Time{}) // stops the timers
	return nil
}

// CloseWrite closes the direction that we write: the other end reads EOF after the
// last byte.
func (c *Conn) CloseWrite() error {
	c.out.change(func() { c.out.ended = true })
	return nil
}

// CloseRead closes the direction that we read: the other end's writes fail.
func (c *Conn) CloseRead() error {
	c.in.change(func() { c.in.left, c.in.ended = true, true })
	return nil
}

// SetLinger with sec 0 makes Close reset the connection, as on a [net.TCPConn]; other
// values change nothing.
func (c *Conn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger = sec
	return nil
}

// Reset breaks the connection: both ends get ECONNRESET from then on, and bytes on
// the way are lost.
func (c *Conn) Reset() {
	for _, s := range []*stream{c.in, c.out} {
		s.change(func() {
			s.reset = true
			s.buf, s.off = nil, 0
		})
	}
}

// LocalAddr is this end's address, a [*net.TCPAddr].
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr is the other end's address, a [*net.TCPAddr].
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds Read; the zero time takes the bound away.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readUntil, t)
	return nil
}

// SetWriteDeadline bounds Write; the zero time takes the bound away.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeUntil, t)
	return nil
}

func (c *Conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
