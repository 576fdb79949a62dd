package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// errAdmin is the detail of ErrForbidden.
var errAdmin = errors.New("upstream resolves to perigee's own admin address")

// sessions bounds the TLS sessions remembered per upstream for resumption.
const sessions = 64

// dialFunc has the signature of net.Dialer.DialContext.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer makes connections to one upstream. Its errors are *Error.
type dialer struct {
	upstream     string // URL, for errors
	addr         string // host:port to connect to, whatever name is asked for
	connect, tls time.Duration
	forbidden    func(netip.AddrPort) bool // nil = none
	dial         dialFunc
	tlsConfig    *tls.Config
	dials        atomic.Uint64 // connections attempted
}

func newDialer(o *Options, upstream, addr string) *dialer {
	d := &dialer{
		upstream:  upstream,
		addr:      addr,
		connect:   o.Connect,
		tls:       o.TLS,
		forbidden: o.Forbidden,
		dial:      o.Dial,
		tlsConfig: &tls.Config{
			RootCAs:            o.RootCAs,
			ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
		},
	}
	if d.dial == nil {
		d.dial = (&net.Dialer{ControlContext: d.control}).DialContext
	}
	return d
}

// control looks at each address before it is connected to, so that a forbidden one
// does not even see a SYN, and a name with several addresses can use another.
func (d *dialer) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	return d.allowed(address)
}

func (d *dialer) allowed(address string) error {
	if d.forbidden == nil {
		return nil
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil // not an IP network: nothing of ours listens there
	}
	if d.forbidden(netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())) {
		return d.error(ErrForbidden, errAdmin)
	}
	return nil
}

func (d *dialer) error(kind ErrorKind, err error) *Error {
	return &Error{Kind: kind, Upstream: d.upstream, Err: err}
}

// dialClear connects to the upstream; the address that the transport gives is made
// of the name asked for and only keys its idle connections.
func (d *dialer) dialClear(ctx context.Context, network, _ string) (net.Conn, error) {
	d.dials.Add(1)
	within, cancel := context.WithTimeoutCause(ctx, d.connect, &limitError{"no connection", d.connect})
	defer cancel()
	conn, err := d.dial(within, network, d.addr)
	if err != nil {
		return nil, d.failed(within, dialKind(err), err)
	}
	if err := d.allowed(conn.RemoteAddr().String()); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// dialTLS connects and shakes hands for the name in addr, offering protocols.
func (d *dialer) dialTLS(protocols ...string) dialFunc {
	config := d.tlsConfig.Clone()
	config.NextProtos = protocols
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		name, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, d.error(ErrUnknown, err)
		}
		clear, err := d.dialClear(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		named := config.Clone()
		named.ServerName = name
		conn := tls.Client(clear, named)
		within, cancel := context.WithTimeoutCause(ctx, d.tls, &limitError{"no TLS handshake", d.tls})
		defer cancel()
		if err := conn.HandshakeContext(within); err != nil {
			clear.Close()
			return nil, d.failed(within, handshakeKind(err), err)
		}
		return conn, nil
	}
}

// failed names the error of a dial; where the time was up it says which.
func (d *dialer) failed(within context.Context, kind ErrorKind, err error) *Error {
	var typed *Error
	if errors.As(err, &typed) {
		return typed
	}
	if within.Err() != nil {
		cause := context.Cause(within)
		var limit *limitError
		switch {
		case !errors.As(cause, &limit):
			return ended(within, d.upstream)
		case kind == ErrResolveTimeout || kind == ErrResolve:
			return d.error(ErrResolveTimeout, err)
		}
		return d.error(ErrConnectTimeout, limit)
	}
	return d.error(kind, err)
}
