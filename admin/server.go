package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/disk"
	"perigee/edge"
	"perigee/edge/listener"
	"perigee/purge"
)

const (
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 64 << 10
	headerTimeout  = 10 * time.Second
	readTimeout    = 30 * time.Second
	writeTimeout   = 5 * time.Minute // a profile may be asked to run for some of it
	idleTimeout    = 75 * time.Second
)

// ErrReloading says that a reload was refused because another one runs.
var ErrReloading = errors.New("a reload is already running")

// Options say what the server shows and whom it lets in. A nil function means that
// there is nothing of the kind: its endpoint or metrics are absent. The functions
// are called by many goroutines at once.
type Options struct {
	Address string // host:port as configured: tells whether a token is required, and which Host is ours
	Token   string // "" = none, which only an address on loopback allows

	Ready  func() error                       // what stands against being sent requests, nil = nothing does
	Reload func(context.Context) ReloadResult // loads the configuration again; never called twice at once

	Explain func(edge.Question) edge.Explanation // what would become of a request

	// Purges answers what is asked of purges. Its paths, and nothing else here, are open
	// to the purge tokens of sites too.
	Purges     *purge.Service
	PurgeStats func() (purge.Stats, *purge.JournalStats) // the journal's are nil where purges are not kept

	// Disk is nil where nothing is kept on disk, and so is Verify, which reads all that
	// is, at most rate bytes a second, 0 for no bound; it is never called twice at once.
	Disk   func() disk.Stats
	Verify func(ctx context.Context, rate int64) (disk.Report, error)

	Store            func() cachestore.Stats
	Listener         func() listener.Stats
	AccessLogDropped func() uint64 // lines
	Panics           func() int64  // requests that ended in one

	Version   string    // of perigee
	GoVersion string    // of the toolchain
	Loaded    time.Time // when the configuration in force was loaded

	ErrorLog *log.Logger // of net/http; nil = nowhere
}

// ReloadResult is what a reload came to. As JSON it is the answer of POST
// /v1/reload.
type ReloadResult struct {
	OK      bool      `json:"ok"`      // the new configuration is in force; otherwise the old one still is
	Changed []string  `json:"changed"` // what differs, in words or names
	Errors  []string  `json:"errors"`  // what is wrong with the new one, one a line
	Message string    `json:"message"` // one sentence for the operator
	At      time.Time `json:"-"`       // when it was done
}

// Server answers the operator. It is safe for concurrent use.
type Server struct {
	options Options
	metrics *Metrics
	gate    gate
	routes  []route
	http    *http.Server

	reloading sync.Mutex // held while a reload runs; taken by TryLock only, so nobody waits for it
	verifying sync.Mutex // the same of a look at the disk

	stopping chan struct{} // closed when the server is to stop
	stop     func()        // closes it, once
}

// New makes a server. It is an error for an address that is not on loopback to have
// no token.
func New(o Options) (*Server, error) {
	gate, err := newGate(o.Address, o.Token)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, gate: gate, stopping: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.stopping) })
	s.metrics, err = newMetrics(&s.options)
	if err != nil {
		return nil, err
	}
	s.routes = s.table()
	errorLog := o.ErrorLog
	if errorLog == nil {
		errorLog = log.New(io.Discard, "", 0)
	}
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          errorLog,
	}
	return s, nil
}

// Metrics are the server's, to be given the record of each request and the names
// of the sites.
func (s *Server) Metrics() *Metrics { return s.metrics }

// Handler is what the server answers with, access control included.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.answer) }

// Serve answers connections from ln until Shutdown or Close, then returns nil. It
// refuses a listener that is reachable from elsewhere although the address said
// loopback and there is no token.
func (s *Server) Serve(ln net.Listener) error {
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok && s.gate.token == nil && !tcp.IP.IsLoopback() {
		ln.Close()
		return fmt.Errorf("admin: %s is not on loopback, which needs a token (listen.admin_token_file)", tcp)
	}
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// Shutdown closes the listeners and waits for running answers until ctx ends. A look at
// the disk, which may take hours, is ended.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	if err := s.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("admin: shut down: %w", err)
	}
	return nil
}

// Close closes the listeners and every connection at once.
func (s *Server) Close() error {
	s.stop()
	if err := s.http.Close(); err != nil {
		return fmt.Errorf("admin: close: %w", err)
	}
	return nil
}

// Reload runs Options.Reload and counts the result. The same door serves POST
// /v1/reload and a signal, so that two never run at once: the second gets
// ErrReloading. The reload is not ended by ctx: half of one helps nobody.
func (s *Server) Reload(ctx context.Context) (ReloadResult, error) {
	if s.options.Reload == nil {
		return ReloadResult{}, errors.New("this node has nothing to reload")
	}
	if !s.reloading.TryLock() {
		return ReloadResult{}, ErrReloading
	}
	defer s.reloading.Unlock()
	result := s.options.Reload(context.WithoutCancel(ctx))
	s.metrics.reloaded(result.OK, result.At)
	return result, nil
}
