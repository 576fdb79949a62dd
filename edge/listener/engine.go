package listener

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"perigee/edge/listener/h1"
)

// engine serves the connections of one door under one set of limits. It is never
// changed: new limits make a new engine, and the old one drains.
type engine struct {
	set    *Set
	secure bool
	limits Limits
	h1     h1.Options
	server *http.Server
	queue  *handoff
	fading atomic.Bool // a new engine has taken its place

	// mu guards the fields below, and begun and cut of each conn taken.
	mu       sync.Mutex
	conns    map[*conn]struct{}
	retiring bool          // takes no more
	draining bool          // the server is shutting down, or about to
	empty    chan struct{} // closed when retiring and without connections
}

// HTTP/2 bounds per connection (RFC 9113 §6.5.2). Frames of 16 KiB and small
// receive windows keep an idle or hostile connection cheap; the windows bound
// uploads only.
const (
	h2Streams       = 100
	h2FrameSize     = 16 << 10
	h2HeaderTable   = 4 << 10
	h2ConnWindow    = 512 << 10
	h2StreamWindow  = 256 << 10
	h2PingAfter     = 30 * time.Second
	h2PingTimeout   = 15 * time.Second
	h2WriteProgress = 60 * time.Second
)

// newEngine starts an engine. The caller holds change, or is Open.
func (s *Set) newEngine(secure bool) *engine {
	e := &engine{
		set:    s,
		secure: secure,
		limits: s.limits,
		queue:  newHandoff(),
		conns:  make(map[*conn]struct{}),
		empty:  make(chan struct{}),
	}
	e.h1 = h1.Options{
		Limits: h1.Limits{
			TargetBytes: e.limits.TargetBytes, FieldBytes: e.limits.FieldBytes, Fields: e.limits.Fields,
		},
		HeaderTime: e.limits.HeaderTime,
		Counts:     &s.counts.badRequests,
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true) // over TLS only; in clear it is another switch, and off
	e.server = &http.Server{
		Handler:                      http.HandlerFunc(e.answer),
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            e.limits.HeaderTime,
		IdleTimeout:                  e.limits.Idle,
		MaxHeaderBytes:               e.limits.FieldBytes,
		ConnState:                    e.observe,
		ErrorLog:                     serverLog(s.log),
		Protocols:                    &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          h2Streams,
			MaxDecoderHeaderTableSize:     h2HeaderTable,
			MaxEncoderHeaderTableSize:     h2HeaderTable,
			MaxReadFrameSize:              h2FrameSize,
			MaxReceiveBufferPerConnection: h2ConnWindow,
			MaxReceiveBufferPerStream:     h2StreamWindow,
			SendPingTimeout:               h2PingAfter,
			PingTimeout:                   h2PingTimeout,
			WriteByteTimeout:              h2WriteProgress,
		},
	}
	if err := e.serveH2(); err != nil {
		// Only settings of ours could be at fault: go on with net/http's own.
		s.log.Error("HTTP/2 is served without counting its frames", "error", err)
	}
	s.mu.Lock()
	s.engines[e] = struct{}{}
	s.mu.Unlock()
	s.tasks.Go(func() { _ = e.server.Serve(e.queue) }) // ends with ErrServerClosed, by drain
	return e
}

// take makes e responsible for c: from here on drain waits for it. It is false when
// e is retiring.
func (e *engine) take(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.retiring {
		return false
	}
	c.engine = e
	e.conns[c] = struct{}{}
	return true
}

// forget is called when c is closed.
func (e *engine) forget(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.conns[c]; !ok {
		return
	}
	delete(e.conns, c)
	if e.retiring && len(e.conns) == 0 {
		close(e.empty)
	}
}

// serve is where an accepted connection becomes a served one. It does not wait for
// the client: a handshake has its own goroutine.
func (e *engine) serve(c *conn) {
	if !e.secure {
		r := h1.New(c, &e.h1)
		c.reader.Store(r)
		e.queue.give(r)
		return
	}
	e.set.tasks.Go(func() {
		t := e.handshake(c)
		if t == nil {
			return
		}
		if t.ConnectionState().NegotiatedProtocol == protocolH2 {
			e.queue.give(t)
			return
		}
		r := h1.NewTLS(t, &e.h1)
		c.reader.Store(r.Conn)
		e.queue.give(r)
	})
}

// observe follows what the server does with a connection.
func (e *engine) observe(nc net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew, http.StateClosed:
		return
	case http.StateHijacked:
		if r := h1.Of(nc); r != nil {
			r.Hijacked()
		}
		if c, _ := connOf(nc); c != nil {
			e.set.gate.hijack(c)
		}
		return
	case http.StateIdle:
		if r := h1.Of(nc); r != nil {
			r.Idle()
		}
	case http.StateActive:
	}
	c, isH2 := connOf(nc)
	if c == nil {
		return
	}
	e.mu.Lock()
	late := !c.begun && e.draining
	c.begun = true
	e.mu.Unlock()
	// HTTP/2 tells connections of a shutdown that it knows when the shutdown begins.
	// One that starts later would stay until it is cut.
	if late && isH2 {
		_ = nc.Close()
	}
}

// drain stops e: connections without a request are closed, others when their
// response is finished, and when ctx ends, all. It returns when none is left, and
// how many it had to cut. It may be called more than once and concurrently.
func (e *engine) drain(ctx context.Context) (cut int) {
	// A connection whose first request has not arrived whole will not be answered by a
	// server in shutdown, so there is nothing to wait for.
	e.refuse()
	e.mu.Lock()
	e.draining = true
	e.mu.Unlock()
	e.closeConns(func(c *conn) bool { return !c.begun })
	quit, cancel := context.WithCancel(ctx)
	defer cancel()
	var server sync.WaitGroup
	server.Go(func() { _ = e.server.Shutdown(quit) }) // its error is ctx's
	select {
	case <-e.empty:
	case <-ctx.Done():
		cut = e.closeConns(func(*conn) bool { return true })
	}
	cancel()
	server.Wait()
	return cut
}

// fade lets e's connections live on until each ends by itself, or ctx ends. It
// disturbs no client, since a server in shutdown drops requests that just arrive.
func (e *engine) fade(ctx context.Context) {
	e.fading.Store(true)
	e.refuse()
	select {
	case <-e.empty:
	case <-ctx.Done():
	}
	e.drain(ctx)
}

// refuse makes e take no more connections.
func (e *engine) refuse() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.retiring {
		e.retiring = true
		if len(e.conns) == 0 {
			close(e.empty)
		}
	}
}

// answer is the server's handler.
func (e *engine) answer(w http.ResponseWriter, r *http.Request) {
	if e.fading.Load() && r.ProtoMajor == 1 && r.Header.Get("Upgrade") == "" {
		w.Header().Set("Connection", "close")
	}
	if r.ProtoMajor > 1 {
		if reason := checkRequest(r, e.limits); reason != h1.ReasonNone {
			e.set.counts.badRequests.Add(reason)
			// Without a body: the client might hold that back, and the request with it. The
			// connection ends, as it does over HTTP/1.1, so that the next one costs more.
			w.Header().Set("Connection", "close")
			w.WriteHeader(reason.Status())
			return
		}
	}
	e.set.front.ServeHTTP(w, r)
}

// closeConns closes the connections that which names and returns their number.
// which is called under mu.
func (e *engine) closeConns(which func(*conn) bool) int {
	e.mu.Lock()
	var victims []*conn
	for c := range e.conns {
		if !c.cut && which(c) {
			c.cut = true
			victims = append(victims, c)
		}
	}
	e.mu.Unlock()
	for _, c := range victims {
		_ = c.Close()
	}
	return len(victims)
}

// handoff is a net.Listener whose connections are given to it one by one: the way
// into net/http's server for a connection that we have accepted ourselves.
type handoff struct {
	queue chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newHandoff() *handoff {
	return &handoff{queue: make(chan net.Conn), done: make(chan struct{})}
}

// give waits until the server has taken nc. After Close nc is closed instead.
func (h *handoff) give(nc net.Conn) {
	select {
	case h.queue <- nc:
	case <-h.done:
		_ = nc.Close()
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case nc := <-h.queue:
		return nc, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr is asked by nobody but must be there.
func (h *handoff) Addr() net.Addr { return &net.TCPAddr{} }
