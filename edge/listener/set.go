package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// ErrClosed is returned by a Set's methods once Shutdown has been called.
var ErrClosed = errors.New("listener: shut down")

// Answerer is what this package asks of an edge: an answer to each request. It is
// called concurrently, once per request, and keeps neither argument after it
// returns. What arrives is well formed: the target is in origin-form or, on HTTP/1,
// absolute-form that agrees with Host, or is OPTIONS *; there is one Host, but on
// HTTP/1.0, where it may lack. Every method arrives but CONNECT. r.TLS is nil exactly on a clear address;
// r.Context ends when the client is gone or the connection is cut. w implements
// http.Flusher, and on HTTP/1.1 http.Hijacker; a hijacked connection stays counted
// and is cut at shutdown like any other. A panic costs that response and is logged.
type Answerer interface {
	http.Handler
}

// Limits bound what clients may hold. All may change while serving, see
// [Set.SetLimits].
type Limits struct {
	Connections      int           // open at once, all addresses together; 0 = no limit
	ConnectionsPerIP int           // open at once per client address, an IPv6 client being its /64; 0 = no limit
	HeaderTime       time.Duration // for a TLS handshake, and again for a request's header section; 0 = 15 s
	MinRate          int64         // bytes a second that a client has to take while it is sent something; 0 = no limit
	Idle             time.Duration // a kept-alive connection without a request; 0 = 75 s
	FieldBytes       int           // request line and field lines together; 0 = 64 KiB
	TargetBytes      int           // of a request target; 0 = 64 KiB
	Fields           int           // field lines of a request; 0 = 1000
}

// The bounds of a zero field in Limits: a server without them can be held by
// clients that send a byte a minute.
const (
	defaultHeaderTime = 15 * time.Second
	defaultIdle       = 75 * time.Second
	defaultFieldBytes = 64 << 10
	defaultTargetSize = 64 << 10
	defaultFields     = 1000
)

func (l Limits) withDefaults() Limits {
	if l.HeaderTime <= 0 {
		l.HeaderTime = defaultHeaderTime
	}
	if l.Idle <= 0 {
		l.Idle = defaultIdle
	}
	if l.FieldBytes <= 0 {
		l.FieldBytes = defaultFieldBytes
	}
	if l.TargetBytes <= 0 {
		l.TargetBytes = defaultTargetSize
	}
	if l.Fields <= 0 {
		l.Fields = defaultFields
	}
	return l
}

// sameEngine reports whether a server made for l serves m's limits as well.
func (l Limits) sameEngine(m Limits) bool {
	l.Connections, l.ConnectionsPerIP = m.Connections, m.ConnectionsPerIP
	return l == m
}

// Options say what a Set listens on and who answers. They are copied by Open.
type Options struct {
	// HTTP and HTTPS are addresses as net.Listen takes them: ":80", "[::1]:8080",
	// "192.0.2.1:0". Each may be empty.
	HTTP, HTTPS []string
	// Answerer must not be nil.
	Answerer Answerer
	// Certificates is asked once per full TLS handshake and must be quick: it reads a
	// snapshot (see [Certificates.Get]). nil, nil means that there is none for that
	// name; the client gets the alert unrecognized_name. May be nil without HTTPS.
	Certificates func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Limits       Limits
	// Drain bounds how long running responses of an address that Rebind removed, and
	// of Run's shutdown, may go on. 0 = 30 s.
	Drain time.Duration
	// ErrorLog gets what clients caused at debug, trouble of ours above. nil = nowhere.
	ErrorLog *slog.Logger
	// Listen binds; nil = TCP with keep-alive probes after 15 s. Tests give in-memory
	// listeners.
	Listen func(network, addr string) (net.Listener, error)
}

const (
	defaultDrain = 30 * time.Second
	// cutGrace is how long Shutdown waits for handlers whose connections it has cut.
	cutGrace = 5 * time.Second
)

// Set is the listening half of a node: addresses, their connections and engines.
// It comes from Open; all methods may be called concurrently.
type Set struct {
	options Options
	log     *slog.Logger
	tls     *tls.Config // one for all addresses, so that session tickets are good on each
	front   *front
	gate    gate
	counts  counts

	started chan struct{} // closed by Serve: accept loops wait for it
	closing chan struct{} // closed by Shutdown's first step
	life    context.Context
	end     context.CancelFunc // ends drains in the background
	tasks   sync.WaitGroup     // accept loops, servers, handshakes, drains
	ended   chan struct{}      // closed when Shutdown is through

	// change admits one Rebind, SetLimits, Serve or first step of Shutdown at a time.
	// It is held over binding, which waits for nobody.
	change  sync.Mutex
	serving bool
	closed  bool
	limits  Limits

	// mu guards what Addrs, Stats and Shutdown read of a change. Writers hold change too.
	mu      sync.Mutex
	doors   []*door
	engines map[*engine]struct{} // those that serve and those that drain
}

// Open binds every address or none. Connections wait in the kernel's queue until
// Serve. Errors say what the operator can do.
func Open(o Options) (*Set, error) {
	if o.Answerer == nil {
		return nil, errors.New("listener: no Answerer")
	}
	if o.Listen == nil {
		o.Listen = listenTCP
	}
	if o.ErrorLog == nil {
		o.ErrorLog = slog.New(slog.DiscardHandler)
	}
	if o.Drain <= 0 {
		o.Drain = defaultDrain
	}
	s := &Set{
		options: o,
		log:     o.ErrorLog,
		front:   newFront(o.Answerer),
		started: make(chan struct{}),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
		limits:  o.Limits.withDefaults(),
		engines: make(map[*engine]struct{}),
	}
	s.tls = s.tlsConfig()
	s.gate.setLimits(s.limits)
	wants, err := s.wants(o.HTTP, o.HTTPS)
	if err != nil {
		return nil, err
	}
	doors, err := s.bind(wants, nil)
	if err != nil {
		return nil, err
	}
	s.life, s.end = context.WithCancel(context.Background())
	for i, d := range doors {
		s.open(d, wants[i].secure)
	}
	s.doors = doors
	return s, nil
}

// Serve accepts and serves until Shutdown is through, then returns nil. It returns
// ErrClosed when Shutdown came first, and an error when it is called twice.
func (s *Set) Serve() error {
	s.change.Lock()
	if s.closed {
		s.change.Unlock()
		return ErrClosed
	}
	if s.serving {
		s.change.Unlock()
		return errors.New("listener: Serve called twice")
	}
	s.serving = true
	close(s.started)
	s.change.Unlock()
	<-s.ended
	return nil
}

// Run is Serve until ctx ends, then Shutdown within Options.Drain, whose error it
// returns.
func (s *Set) Run(ctx context.Context) error {
	var stop sync.WaitGroup
	var shut error
	served := make(chan struct{})
	stop.Go(func() {
		select {
		case <-ctx.Done():
			bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Drain)
			defer cancel()
			shut = s.Shutdown(bound)
		case <-served:
		}
	})
	err := s.Serve()
	close(served)
	stop.Wait()
	return errors.Join(err, shut)
}

// Addrs are the addresses bound now, in the order they were asked for, with the
// port the system chose where 0 was asked.
func (s *Set) Addrs() (http, https []net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.doors {
		if d.secure() {
			https = append(https, d.listener.Addr())
		} else {
			http = append(http, d.listener.Addr())
		}
	}
	return http, https
}

// Shutdown stops accepting, lets running responses finish until ctx ends, and then
// closes every connection that is left, hijacked ones included; those count as
// running until they are closed. HTTP/2 clients are told by GOAWAY. A request whose
// header section has not arrived whole gets no answer. It returns when
// every goroutine of the Set is gone and no Answerer runs; an error says how many
// connections were cut, or that an Answerer ignored the end of its request for
// 5 s longer. Later calls wait for the first and return ErrClosed.
func (s *Set) Shutdown(ctx context.Context) error {
	s.change.Lock()
	if s.closed {
		s.change.Unlock()
		<-s.ended
		return ErrClosed
	}
	s.closed = true
	close(s.closing)
	s.change.Unlock()

	s.mu.Lock()
	doors, engines := s.doors, make([]*engine, 0, len(s.engines))
	for e := range s.engines {
		engines = append(engines, e)
	}
	s.mu.Unlock()
	for _, d := range doors {
		d.close()
	}
	cut := drainAll(ctx, engines)
	s.end()
	s.tasks.Wait()
	defer close(s.ended)

	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutGrace)
	defer cancel()
	if left := s.front.wait(grace); left > 0 {
		return fmt.Errorf("shut down: %d connections cut, %d requests do not end", cut, left)
	}
	if cut > 0 {
		return fmt.Errorf("shut down: %d connections cut that were still busy: %w", cut, context.Cause(ctx))
	}
	return nil
}

func drainAll(ctx context.Context, engines []*engine) (cut int) {
	cuts := make([]int, len(engines))
	var all sync.WaitGroup
	for i, e := range engines {
		all.Go(func() { cuts[i] = e.drain(ctx) })
	}
	all.Wait()
	for _, n := range cuts {
		cut += n
	}
	return cut
}
