package memnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// backlog bounds the connections that were dialled and not yet accepted on one
// listener; beyond it a dialler waits.
const backlog = 128

// The addresses handed out: hosts that have only a name get theirs from 10.0.0.0/8,
// diallers that ask for none dial from client.
var (
	firstHost = netip.AddrFrom4([4]byte{10, 0, 0, 1})
	client    = netip.AddrFrom4([4]byte{192, 0, 2, 1})
)

const (
	firstListenPort = 20000
	firstDialPort   = 32768
)

// Network is a set of hosts that can reach each other. Create it with [New]. Its
// methods may be called by many goroutines at once.
type Network struct {
	mu        sync.Mutex // guards what follows
	names     map[string]netip.Addr
	listeners map[netip.AddrPort]*Listener
	holes     map[netip.AddrPort]bool
	nextHost  netip.Addr
	nextPort  uint16 // for listeners that ask for port 0
	nextDial  uint16 // for diallers
}

// New makes a network without hosts.
func New() *Network {
	return &Network{
		names:     make(map[string]netip.Addr),
		listeners: make(map[netip.AddrPort]*Listener),
		holes:     make(map[netip.AddrPort]bool),
		nextHost:  firstHost,
		nextPort:  firstListenPort,
		nextDial:  firstDialPort,
	}
}

// Listen makes a listener in a network of its own; see [Network.Listen].
func Listen(addr string) *Listener {
	return New().Listen(addr)
}

// Listen opens addr, "host:port", where host is an IP address or any name. A name
// gets an address of its own when it is first used and keeps it, so that
// [Listener.Addr] and the RemoteAddr of connections are always IP:port. Port 0
// takes a free one. Listen panics if addr is malformed or in use: in a test that
// is a mistake in the test.
func (n *Network) Listen(addr string) *Listener {
	host, port, err := split(addr)
	if err != nil {
		panic("memnet: listen " + addr + ": " + err.Error())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == 0 {
		port = n.nextPort
		n.nextPort++
	}
	at := netip.AddrPortFrom(n.nameLocked(host), port)
	if n.listeners[at] != nil {
		panic("memnet: listen " + addr + ": address in use")
	}
	l := &Listener{
		network: n,
		addr:    at,
		queue:   make(chan *Conn, backlog),
		closed:  make(chan struct{}),
	}
	n.listeners[at] = l
	return l
}

// Addr is the address of the host called name, which is made known if it was not.
func (n *Network) Addr(name string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nameLocked(name)
}

// Blackhole makes dialling addr ("host:port") wait until the dialler gives up, as
// if the host dropped its packets.
func (n *Network) Blackhole(addr string) {
	host, port, err := split(addr)
	if err != nil {
		panic("memnet: blackhole " + addr + ": " + err.Error())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holes[netip.AddrPortFrom(n.nameLocked(host), port)] = true
}

// nameLocked finds the address of host and gives it one if it has none.
func (n *Network) nameLocked(host string) netip.Addr {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap()
	}
	ip, known := n.names[host]
	if !known {
		ip = n.nextHost
		n.nextHost = ip.Next()
		n.names[host] = ip
	}
	return ip
}

// DialContext connects to addr from 192.0.2.1; its signature is that of
// [net.Dialer.DialContext]. Only the TCP networks are known. An unknown name gives a
// [*net.DNSError], a host without a listener on that port ECONNREFUSED.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.dial(ctx, client, network, addr)
}

// DialerFrom gives a dial function whose connections come from the address ip.
func (n *Network) DialerFrom(ip netip.Addr) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return n.dial(ctx, ip, network, addr)
	}
}

func (n *Network) dial(ctx context.Context, from netip.Addr, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	host, port, err := split(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	ip, err := n.lookup(host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	to := netip.AddrPortFrom(ip, port)

	n.mu.Lock()
	l, hole := n.listeners[to], n.holes[to]
	local := netip.AddrPortFrom(from, n.nextDial)
	n.nextDial++
	if n.nextDial == 0 {
		n.nextDial = firstDialPort
	}
	n.mu.Unlock()

	if hole {
		<-ctx.Done()
		return nil, dialError(network, to, ctx.Err())
	}
	if l == nil {
		return nil, dialError(network, to, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return l.connect(ctx, network, local)
}

func (n *Network) lookup(host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if ip, known := n.names[host]; known {
		return ip, nil
	}
	return netip.Addr{}, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func split(addr string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if host == "" {
		host = "127.0.0.1"
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q: %w", text, err)
	}
	return host, uint16(number), nil
}

// dialError is what net.Dialer returns; a context's error becomes a timeout where
// it is one, as there.
func dialError(network string, to netip.AddrPort, err error) error {
	return &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
}
