package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// door is one bound address: it accepts, asks the gate, and hands each connection
// to the engine that serves there at that moment.
type door struct {
	addr     string // as it was asked for
	set      *Set
	listener net.Listener
	engine   atomic.Pointer[engine] // set before accept starts
	gone     context.Context        // ended by close
	leave    context.CancelFunc
}

func newDoor(s *Set, addr string, l net.Listener) *door {
	d := &door{addr: addr, set: s, listener: l}
	d.gone, d.leave = context.WithCancel(context.Background())
	return d
}

// secure reports whether TLS is spoken there now.
func (d *door) secure() bool { return d.engine.Load().secure }

// close stops accepting. Accepted connections stay.
func (d *door) close() {
	d.leave()
	if err := d.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		d.set.log.Warn("closing a listener failed", "addr", d.addr, "error", err)
	}
}

// accept runs until close. An accept error (out of file descriptors, mostly) never
// ends it: it waits a little longer each time and goes on.
func (d *door) accept() {
	select {
	case <-d.set.started:
	case <-d.set.closing:
		return
	case <-d.gone.Done():
		return
	}
	var b backoff
	for {
		nc, err := d.listener.Accept()
		if err == nil {
			b.reset()
			d.receive(nc)
			continue
		}
		if d.gone.Err() != nil {
			return
		}
		d.set.counts.acceptErrors.Add(1)
		wait, report := b.next()
		if report {
			d.set.log.Error("accepting connections fails, trying again", "addr", d.addr, "error", err)
		}
		if !pause(d.gone, wait) {
			return
		}
	}
}

// receive takes one accepted connection past the gate to the engine.
func (d *door) receive(nc net.Conn) {
	limitUnsent(nc)
	c := &conn{Conn: nc, gate: &d.set.gate, from: clientKey(nc.RemoteAddr())}
	if !d.set.gate.admit(c) {
		_ = nc.Close() // refused: nothing was read or written
		return
	}
	e := d.engine.Load()
	for !e.take(c) {
		// It retires: either another has taken its place, or the door is being closed.
		next := d.engine.Load()
		if next == e {
			_ = c.Close()
			return
		}
		e = next
	}
	e.serve(c)
}

// backoff spaces the attempts of an accept loop that fails, and its log lines. It
// needs no clock: the waits it has given add up to less than has passed.
type backoff struct {
	delay time.Duration // the last wait
	quiet time.Duration // waits given since the last report
	said  bool
}

const (
	backoffFirst  = 5 * time.Millisecond
	backoffMost   = time.Second
	backoffReport = time.Second // at most one log line in this time
)

// next is called for each failure: how long to wait, and whether to log it.
func (b *backoff) next() (wait time.Duration, report bool) {
	b.delay = min(max(2*b.delay, backoffFirst), backoffMost)
	report = !b.said || b.quiet >= backoffReport
	if report {
		b.said, b.quiet = true, 0
	}
	b.quiet += b.delay
	return b.delay, report
}

// reset is called for each success. What has been logged stays remembered, so that
// failures in turn with successes do not flood the log.
func (b *backoff) reset() { b.delay = 0 }

// pause waits for d, or less when ctx ends; it reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// listenTCP is the default Options.Listen. A dead peer is noticed after about a
// minute; TCP_NODELAY is Go's default.
func listenTCP(network, addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3,
	}}
	return lc.Listen(context.Background(), network, addr)
}

// privileged reports whether a port needs root; a service name counts as such.
func privileged(port string) bool {
	n, err := strconv.Atoi(port)
	return err != nil || n < 1024
}

// explainBind puts a bind error into words an operator can act on. leaving are the
// doors of ours that the same change would close.
func explainBind(addr string, err error, leaving []*door) error {
	_, port, splitErr := net.SplitHostPort(addr)
	switch {
	case splitErr != nil:
		return fmt.Errorf("listen on %s: not an address; write host:port, [ipv6]:port or :port: %w", addr, err)
	case errors.Is(err, syscall.EADDRINUSE):
		for _, d := range leaving {
			if _, p, e := net.SplitHostPort(d.addr); e == nil && p == port {
				return fmt.Errorf("listen on %s: overlaps %s, which is open until the change succeeds; restart to change it: %w", addr, d.addr, err)
			}
		}
		return fmt.Errorf("listen on %s: the port is in use; `ss -ltnp 'sport = :%s'` shows by whom: stop that, or choose another port: %w", addr, port, err)
	case errors.Is(err, os.ErrPermission) && privileged(port):
		return fmt.Errorf("listen on %s: ports below 1024 are privileged; run as root, give CAP_NET_BIND_SERVICE or listen on :8080: %w", addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this machine has no such address; `ip addr` lists those it has: %w", addr, err)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}
