package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// refusalTime is how long a client may take to read a refusal and to see that
	// the connection ends.
	refusalTime = 2 * time.Second
	// refusalBytes is what is read of a client meanwhile: data that nobody reads
	// would make the kernel reset the connection, and the refusal with it.
	refusalBytes = 256 << 10
)

// errRefused is what a response of the server's gets that comes after a refusal.
var errRefused = errors.New("h1: the request has been refused")

// Write as in net.Conn, unless the request has been refused.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.refused {
		c.mu.Unlock()
		return 0, errRefused
	}
	if !interim(p) {
		c.responded = true
	}
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// interim reports whether p is a 1xx response; net/http writes each by itself.
func interim(p []byte) bool { return bytes.HasPrefix(p, []byte("HTTP/1.1 1")) }

// refuse answers for r, unless a response has begun, and ends the connection.
func (c *Conn) refuse(r Reason) {
	c.options.Counts.Add(r)
	c.phase = phaseOver
	head := c.buf != nil && string(c.buf.head.Method()) == http.MethodHead
	if c.buf != nil {
		c.buf.give()
		c.buf, c.next = nil, 0
	}
	c.mu.Lock()
	begun := c.responded
	c.refused = !begun
	c.mu.Unlock()
	if begun {
		return // that it is cut short must be seen, so it is not for us to end it well
	}
	end := time.AfterFunc(refusalTime, func() { _ = c.Conn.SetDeadline(time.Unix(1, 0)) })
	defer end.Stop()
	text := r.Text() + "\n"
	answer := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		r.Status(), http.StatusText(r.Status()), len(text))
	if !head {
		answer += text
	}
	if _, err := io.WriteString(c.Conn, answer); err != nil {
		return
	}
	if c.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c.Conn, refusalBytes)
	}
}

// CloseWrite ends what is written, all the way down to FIN, if the transport can.
func (c *Conn) CloseWrite() error {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	err := w.CloseWrite()
	// TLS only says so in its own words.
	if t, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		if w, ok := t.NetConn().(interface{ CloseWrite() error }); ok && err == nil {
			_ = w.CloseWrite()
		}
	}
	return err
}
