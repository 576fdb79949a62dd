package memnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
)

// Listener is a [net.Listener] of a [Network].
type Listener struct {
	network *Network
	addr    netip.AddrPort
	queue   chan *Conn
	closed  chan struct{}
	once    sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Accept waits for the next connection. After Close it returns an error that is
// [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	}
}

// Close stops listening. Connections that nobody accepted are reset, those that
// were accepted live on.
func (l *Listener) Close() error {
	err := l.opError("close", net.ErrClosed)
	l.once.Do(func() {
		err = nil
		close(l.closed)
		l.network.mu.Lock()
		delete(l.network.listeners, l.addr)
		l.network.mu.Unlock()
		l.resetQueued()
	})
	return err
}

func (l *Listener) resetQueued() {
	for {
		select {
		case c := <-l.queue:
			c.Reset()
		default:
			return
		}
	}
}

// Addr is the address listened on, always IP:port.
func (l *Listener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(l.addr)
}

// DialContext connects to this listener from 192.0.2.1, whatever addr says: for a
// client that has one server to talk to.
func (l *Listener) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	return l.network.DialContext(ctx, network, l.addr.String())
}

// connect queues one end of a new connection and returns the other.
func (l *Listener) connect(ctx context.Context, network string, local netip.AddrPort) (net.Conn, error) {
	ours, theirs := pair(local, l.addr)
	select {
	case <-l.closed:
	case <-ctx.Done():
		return nil, dialError(network, l.addr, ctx.Err())
	case l.queue <- theirs:
		select {
		case <-l.closed: // Close may have emptied the queue before we filled it
			l.resetQueued()
		default:
		}
		return ours, nil
	}
	return nil, dialError(network, l.addr, os.NewSyscallError("connect", syscall.ECONNREFUSED))
}

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.Addr(), Err: err}
}
