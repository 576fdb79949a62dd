package h1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Options say how connections are read. One value serves many.
type Options struct {
	Limits Limits
	// HeaderTime bounds a head from its first octet on, if net/http has not set an
	// earlier deadline. Must be positive.
	HeaderTime time.Duration
	// Counts gets each refusal. Must not be nil.
	Counts *Counts
}

// Conn is the server's end of an HTTP/1.1 connection, to be served by net/http. Whoever
// serves it must tell it of http.StateIdle and http.StateHijacked. Reads come one at a
// time, as net/http's do; the other methods may be called concurrently with them.
type Conn struct {
	net.Conn
	options *Options

	// What follows belongs to the reader, and to Idle and Hijacked, which are called
	// while nobody reads.
	phase   phase
	buf     *buffer // nil = nothing is held
	next    int     // the first octet in buf that has not been passed on
	headEnd int     // of the head that is being passed on
	left    int64   // of a body of known length
	chunks  chunks
	busy    bool // the server has a request that it has not answered
	fault   Reason

	// mu guards the fields below.
	mu        sync.Mutex
	deadline  time.Time     // for reading
	waiting   chan struct{} // a reader waits for a change of deadline or closed
	closed    bool
	responded bool // something of a final response has been written
	refused   bool // nothing more may be written
}

type phase uint8

const (
	phaseHead    phase = iota // a head is arriving
	phaseRelease              // it is good, and passed on
	phaseLength               // a body of known length is passed on
	phaseChunked              // a chunked body is passed on
	phaseFault                // what comes next is no request
	phaseRaw                  // no HTTP/1.1 any more
	phaseOver                 // nothing more is read
)

// New reads HTTP/1.1 from nc, in clear.
func New(nc net.Conn, o *Options) *Conn { return &Conn{Conn: nc, options: o} }

// TLSConn is a Conn over TLS. That they are two types is for net/http: whatever has a
// ConnectionState it takes for TLS.
type TLSConn struct {
	*Conn
	tls *tls.Conn
}

// NewTLS reads HTTP/1.1 from t, whose handshake is done and has not chosen h2.
func NewTLS(t *tls.Conn, o *Options) *TLSConn { return &TLSConn{New(t, o), t} }

// ConnectionState is what the handshake came to.
func (c *TLSConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// Of is the Conn that net/http was given as nc, nil if it is none.
func Of(nc net.Conn) *Conn {
	switch c := nc.(type) {
	case *Conn:
		return c
	case *TLSConn:
		return c.Conn
	}
	return nil
}

// NetConn returns the connection beneath.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Idle tells that the request before has been answered (http.StateIdle).
func (c *Conn) Idle() {
	c.busy = false
	c.mu.Lock()
	defer c.mu.Unlock()
	c.responded = false
}

// Hijacked tells that the connection is net/http's no longer (http.StateHijacked).
// Everything that has been sent after the last request is read as it came.
func (c *Conn) Hijacked() { c.phase = phaseRaw }

// Read passes on what is good: a head only when all of it is, and from a body never
// more than is the body's. A head that is not good is answered here, and io.EOF
// returned; but while a request is being answered Read waits, until the deadline or
// the end of the connection, because an error would end that request.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch c.phase {
		case phaseHead:
			if err := c.collect(p); err != nil {
				return 0, err
			}
		case phaseRelease:
			return c.release(p), nil
		case phaseLength:
			return c.known(p)
		case phaseChunked:
			return c.chunked(p)
		case phaseFault:
			if c.busy {
				return 0, c.wait()
			}
			c.refuse(c.fault)
		case phaseRaw:
			return c.source(p)
		case phaseOver:
			return 0, io.EOF
		}
	}
}

// collect reads until the head is good or not. spare is where to read to while
// nothing is held, so that a connection that waits holds no buffer.
func (c *Conn) collect(spare []byte) error {
	var limit headerTimer
	defer limit.stop()
	for {
		if c.buf != nil {
			held := c.buf.b[c.next:]
			end, r := c.buf.head.parse(held, &c.options.Limits)
			if r == ReasonNone && end > 0 {
				r = c.accept(end)
			}
			if r != ReasonNone {
				c.phase, c.fault = phaseFault, r
			}
			if c.phase != phaseHead {
				return limit.stop()
			}
			if !c.busy {
				limit.start(c)
			}
		}
		if err := c.fill(spare); err != nil {
			if limit.stop() == nil && errors.Is(err, io.EOF) && !c.busy && c.begun() {
				c.phase, c.fault = phaseFault, ReasonTruncated
				return nil
			}
			return err
		}
	}
}

// begun reports whether something of a head is held, and not only empty lines.
func (c *Conn) begun() bool {
	return c.buf != nil && (c.buf.head.begun || c.buf.head.line < len(c.buf.head.raw))
}

// fill adds to what is held.
func (c *Conn) fill(spare []byte) error {
	if c.buf == nil {
		n, err := c.Conn.Read(spare)
		if n > 0 {
			c.hold(spare[:n])
			return nil
		}
		return err
	}
	c.next -= c.buf.room(c.next)
	b := c.buf.b
	n, err := c.Conn.Read(b[len(b):cap(b)])
	if n > 0 {
		c.buf.b = b[:len(b)+n]
		return nil
	}
	return err
}

// hold keeps a copy of b for later. Nothing may be held.
func (c *Conn) hold(b []byte) {
	c.buf = takeBuffer()
	c.buf.b = append(c.buf.b, b...)
	c.next = 0
}

// accept decides on a head that is good and has size octets, empty lines before it
// included; net/http does not take those. What wants to see a request before net/http
// does has it here, in c.buf.head.
func (c *Conn) accept(size int) Reason {
	end := c.next + size
	if c.buf.head.chunked {
		// What is in hand of the body need not wait to be found bad until somebody
		// has begun with the request.
		var ahead chunks
		if _, _, r := ahead.feed(c.buf.b[end:]); r != ReasonNone {
			return r
		}
	}
	c.next += c.buf.head.method.from
	c.phase, c.headEnd = phaseRelease, end
	return ReasonNone
}

// release passes the head on. With its last octet the request is the server's.
func (c *Conn) release(p []byte) int {
	n := copy(p, c.buf.b[c.next:c.headEnd])
	if c.next += n; c.next < c.headEnd {
		return n
	}
	c.busy = true
	h := &c.buf.head
	switch {
	case h.chunked:
		c.phase, c.chunks = phaseChunked, chunks{}
	case h.length > 0:
		c.phase, c.left = phaseLength, h.length
	default:
		c.phase = phaseHead
	}
	h.reset()
	c.drained()
	return n
}

// drained gives the buffer back if all of it has been passed on.
func (c *Conn) drained() {
	if c.buf != nil && c.next == len(c.buf.b) {
		c.buf.give()
		c.buf, c.next = nil, 0
	}
}

// source reads what is held first.
func (c *Conn) source(p []byte) (int, error) {
	if c.buf == nil {
		return c.Conn.Read(p)
	}
	n := copy(p, c.buf.b[c.next:])
	c.next += n
	c.drained()
	return n, nil
}

func (c *Conn) known(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.source(p)
	if c.left -= int64(n); c.left == 0 {
		c.phase, err = phaseHead, nil
	}
	return n, err
}

// maxChunkedRead bounds what of a next request can come along with a chunked body,
// because that must be held.
const maxChunkedRead = 8 << 10

func (c *Conn) chunked(p []byte) (int, error) {
	p = p[:min(len(p), maxChunkedRead)]
	var n int
	var err error
	if c.buf != nil {
		n = copy(p, c.buf.b[c.next:])
	} else {
		n, err = c.Conn.Read(p)
	}
	of, done, r := c.chunks.feed(p[:n])
	if r != ReasonNone {
		c.refuse(r)
		return 0, errMalformed
	}
	switch {
	case c.buf != nil:
		c.next += of
		c.drained()
	case of < n:
		c.hold(p[of:n])
	}
	if done {
		c.phase, err = phaseHead, nil
	}
	return of, err
}

// errMalformed is what reading a body ends with that is not framed as it must be.
var errMalformed = errors.New("h1: malformed chunked body")

// headerTimer ends a read by a deadline in the past when a head takes too long. It
// is no clock's time, so it cannot lengthen what net/http has set.
type headerTimer struct {
	timer *time.Timer
	late  bool
}

func (t *headerTimer) start(c *Conn) {
	if t.timer == nil {
		t.timer = time.AfterFunc(c.options.HeaderTime, func() { _ = c.Conn.SetReadDeadline(time.Unix(1, 0)) })
	}
}

// stop is os.ErrDeadlineExceeded if the time was up before.
func (t *headerTimer) stop() error {
	if t.timer != nil && !t.timer.Stop() {
		t.late = true
	}
	t.timer = nil
	if t.late {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// SetReadDeadline as in net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline as in net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetDeadline(t)
}

func (c *Conn) note(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = deadline
	c.wakeLocked()
}

// Close as in net.Conn.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.Wake()
	return err
}

// Wake tells that the connection beneath has been closed.
func (c *Conn) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.wakeLocked()
}

func (c *Conn) wakeLocked() {
	if c.waiting != nil {
		close(c.waiting)
		c.waiting = nil
	}
}

// wait returns when a read would have: at the deadline, or when the connection is
// closed from this side. That the client has closed it is not noticed.
func (c *Conn) wait() error {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return net.ErrClosed
		}
		changed := make(chan struct{})
		c.waiting = changed
		deadline := c.deadline
		c.mu.Unlock()
		ctx, cancel := context.Background(), func() {}
		if !deadline.IsZero() {
			ctx, cancel = context.WithDeadline(ctx, deadline)
		}
		select {
		case <-ctx.Done():
			cancel()
			return os.ErrDeadlineExceeded
		case <-changed:
			cancel()
		}
	}
}
