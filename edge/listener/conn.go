package listener

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"perigee/edge/listener/h1"
)

// conn is an accepted connection. It is counted from the gate's yes until Close,
// whoever calls that: the server, a handshake that failed, the one who hijacked it,
// or a shutdown.
type conn struct {
	net.Conn
	gate   *gate
	engine *engine                 // set by take, before anybody else sees the conn
	from   netip.Addr              // what ConnectionsPerIP counts by; zero = uncounted
	reader atomic.Pointer[h1.Conn] // of HTTP/1.1 on it; must hear of Close
	armed  atomic.Int64            // when the deadline for writing was set, in ns; 0 = it is not ours
	fault  Fault                   // why a handshake is going to fail; only the handshake's goroutine uses it

	// Guarded by gate.mu.
	released bool
	hijacked bool
	// Guarded by engine.mu.
	begun bool // the server has read from it
	cut   bool // closed by us
}

// Read implements [net.Conn]. It yields after each read: a connection that always
// has more to read would otherwise keep the processor for 10 ms at a time, and a
// few of them make everybody else wait.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	runtime.Gosched()
	return n, err
}

// The least that a connection has to take, and how often that is looked at.
const (
	writePart = 64 << 10
	writeRest = 5 * time.Second // a deadline is left as it is for so long
	writeIdle = 5 * time.Second // on top of what a part takes at Limits.MinRate
)

// Write implements [net.Conn]. A client that does not take a part in its time is
// cut, whatever it is being sent; each part has a deadline, renewed now and then.
func (c *conn) Write(p []byte) (int, error) {
	sent := 0
	for {
		part := p[sent:min(len(p), sent+writePart)]
		c.allowWrite()
		n, err := c.Conn.Write(part)
		if sent += n; err != nil || sent == len(p) {
			return sent, err
		}
	}
}

func (c *conn) allowWrite() {
	if c.engine == nil || c.engine.limits.MinRate <= 0 {
		return
	}
	now := clock()
	if armed := c.armed.Load(); now.UnixNano()-armed < int64(writeRest) {
		return
	}
	c.armed.Store(now.UnixNano())
	part := time.Duration(writePart * int64(time.Second) / c.engine.limits.MinRate)
	_ = c.Conn.SetWriteDeadline(now.Add(writeRest + writeIdle + part))
}

// SetWriteDeadline implements [net.Conn]: the next Write sets ours again.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.armed.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	c.armed.Store(0)
	return c.Conn.SetDeadline(t)
}

// Close closes the connection and ends its being counted; only the first call does.
func (c *conn) Close() error {
	err := c.Conn.Close()
	if r := c.reader.Load(); r != nil {
		r.Wake()
	}
	if c.engine != nil {
		c.engine.forget(c)
	}
	c.gate.release(c)
	return err
}

// CloseWrite sends FIN where the transport can; the server uses it so that an
// answer to a request it did not read whole is not lost to a reset.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the connection beneath.
func (c *conn) NetConn() net.Conn { return c.Conn }

// connOf finds our conn beneath what the server holds.
func connOf(nc net.Conn) (c *conn, isH2 bool) {
	if r := h1.Of(nc); r != nil {
		nc = r.NetConn()
	} else {
		isH2 = true
	}
	if c, ok := nc.(*conn); ok {
		return c, isH2
	}
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		c, _ := t.NetConn().(*conn)
		return c, isH2
	}
	return nil, false
}

// clientKey is what ConnectionsPerIP counts by: an IPv4 address, or the /64 of an
// IPv6 one, which is what a single customer commonly holds. Zero for a transport
// without addresses, which is counted only in all.
func clientKey(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if !ip.Is6() {
		return ip
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ip
	}
	return p.Addr()
}
