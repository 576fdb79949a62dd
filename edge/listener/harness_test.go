package listener

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// memory is a network of in-memory listeners: address → listener. Its Listen is for
// Options, its dial for clients.
type memory struct {
	mu    sync.Mutex
	ports map[string]*memListener
	fail  map[string]error // what Listen says to an address
}

func newMemory() *memory {
	return &memory{ports: make(map[string]*memListener), fail: make(map[string]error)}
}

func (m *memory) Listen(_, addr string) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail[addr]; err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	if m.ports[addr] != nil {
		return nil, fmt.Errorf("memory: %s is taken", addr)
	}
	l := &memListener{m: m, addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
	m.ports[addr] = l
	return l, nil
}

func (m *memory) listener(addr string) *memListener {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ports[addr]
}

// dial connects to addr as if from the address from.
func (m *memory) dial(addr, from string) (net.Conn, error) {
	l := m.listener(addr)
	if l == nil {
		return nil, fmt.Errorf("memory: nobody listens on %s", addr)
	}
	client, server := net.Pipe()
	select {
	case l.conns <- &memConn{server, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}:
		return client, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) dialContext(_ context.Context, _, addr string) (net.Conn, error) {
	if m.listener(addr) == nil {
		addr = addr[strings.LastIndexByte(addr, ':'):] // bound to every host
	}
	return m.dial(addr, "192.0.2.1:1000")
}

// eager gives a connection that always reads, as a kernel does. Over a bare pipe two
// sides that write at once would wait for each other.
func eager(c net.Conn) net.Conn {
	e := &eagerConn{Conn: c, chunks: make(chan []byte, 64)}
	go func() {
		defer close(e.chunks)
		for {
			buf := make([]byte, 4<<10)
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			e.chunks <- buf[:n]
		}
	}()
	return e
}

type eagerConn struct {
	net.Conn
	chunks chan []byte
	rest   []byte
}

func (e *eagerConn) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		var ok bool
		if e.rest, ok = <-e.chunks; !ok {
			return 0, io.EOF
		}
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

type memConn struct {
	net.Conn
	remote net.Addr
}

func (c *memConn) RemoteAddr() net.Addr { return c.remote }

type memListener struct {
	m     *memory
	addr  string
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}

	mu    sync.Mutex
	errs  error // what Accept says while it is not nil
	tries int
}

func (l *memListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	err := l.errs
	l.tries++
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		delete(l.m.ports, l.addr)
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return &net.TCPAddr{} }

// logged collects log lines.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) count(sub string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), sub)
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start opens and serves a Set. stop, which runs at the test's end at the latest,
// shuts it down and checks that Serve returns.
func start(t testing.TB, o Options) (s *Set, stop func()) {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = s.Shutdown(ctx) // a test that cares calls it first
			if err := <-served; err != nil && err != ErrClosed {
				t.Errorf("Serve = %v, want nil", err)
			}
		})
	}
	t.Cleanup(stop)
	return s, stop
}

func hello(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s tls=%t", r.Proto, r.Host, r.TLS != nil)
}

func selfSigned(t testing.TB, names ...string) *tls.Certificate {
	t.Helper()
	c, err := SelfSigned(names, time.Now())
	if err != nil {
		t.Fatalf("SelfSigned(%q): %v", names, err)
	}
	return &c
}

// trusting is a client configuration that trusts exactly these certificates.
func trusting(certs ...*tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c.Leaf)
	}
	return &tls.Config{RootCAs: pool}
}

func only(c *tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }
}

// client gives an http.Client whose connections end with the test.
func client(t testing.TB, tr *http.Transport) *http.Client {
	t.Helper()
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(t testing.TB, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: reading the body: %v", url, err)
	}
	return resp, string(body)
}

// ask writes a raw request and reads one response from a connection that may stay.
func ask(t testing.TB, c net.Conn, br *bufio.Reader, raw string) *http.Response {
	t.Helper()
	go func() { _, _ = io.WriteString(c, raw) }() // a pipe's write waits for its reader
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("%q: reading the response: %v", raw, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%q: reading the body: %v", raw, err)
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

const plainGet = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
