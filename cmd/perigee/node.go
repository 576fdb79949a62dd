package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"perigee/admin"
	"perigee/cachestore"
	"perigee/cachestore/disk"
	"perigee/config"
	"perigee/edge"
	"perigee/edge/listener"
)

// drainTime is how long running responses may go on after a signal to stop.
const drainTime = 30 * time.Second

// node is everything that runs in one process.
type node struct {
	load   func() (*config.Node, error) // nil if there is no file
	level  slog.LevelVar
	log    *slog.Logger
	stdout io.Writer
	failed chan error // a part that ended although nobody stopped it

	store      *cachestore.Store
	disk       *disk.Depot // nil: nothing is kept on disk
	purging    *purging
	handler    *edge.Handler
	listeners  *listener.Set
	certs      listener.Certificates
	admin      *admin.Server // nil if the operator's listener is off
	adminAddr  net.Addr
	up         atomic.Bool // the listeners are open
	draining   atomic.Bool
	records    recorder
	lostBefore atomic.Uint64 // lines that access logs dropped which are closed now
	supervisor supervisor
	passed     passedSockets

	// change guards what a reload replaces: one at a time.
	change sync.Mutex
	conf   *config.Node
	served *served
}

// recorder hands records to the access log and the metrics in force.
type recorder struct {
	log     atomic.Pointer[edge.AccessLog]
	metrics *admin.Metrics
}

// Record implements [edge.Recorder].
func (r *recorder) Record(record *edge.Record) {
	if log := r.log.Load(); log != nil {
		log.Record(record)
	}
	if r.metrics != nil {
		r.metrics.Record(record)
	}
}

// start brings a node up: everything that can fail does so before the first
// connection is accepted.
func start(conf *config.Node, load func() (*config.Node, error), stdout, stderr io.Writer) (*node, error) {
	n := &node{load: load, conf: conf, stdout: stdout, failed: make(chan error, 4)}
	n.level.Set(conf.Log.Level)
	n.log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: &n.level}))
	err := n.underSystemd(processEnvironment())
	if err == nil {
		err = n.build()
	}
	if err != nil {
		n.stop(context.Background())
		return nil, err
	}
	go func() {
		if err := n.listeners.Serve(); err != nil && !errors.Is(err, listener.ErrClosed) {
			n.failed <- err
		}
	}()
	return n, nil
}

// build holds off reloads until everything is there: the operator's listener is
// open before the rest.
func (n *node) build() error {
	n.change.Lock()
	defer n.change.Unlock()
	if err := n.openStore(); err != nil {
		return err
	}
	n.handler = edge.New(edge.Options{
		Name: n.conf.Name, Store: n.store, Ledger: n.purging.ledger, Purger: purger{n.purging}, Recorder: &n.records, Log: n.log,
	})
	n.purging.serve(n.conf, n.handler, n.log)
	n.purging.swap(n.conf) // the operator's listener takes orders before the sites are served
	n.purging.keep(n.store, n.log)
	if n.disk != nil {
		n.disk.Watch(n.handler, n.purging.ledger.Now)
	}
	if err := n.openAdmin(); err != nil {
		return err
	}
	next, err := n.prepare(n.conf)
	if err != nil {
		return err
	}
	if err := n.passed.check(n.conf.Listen); err != nil {
		return err
	}
	n.listeners, err = listener.Open(listener.Options{
		HTTP: n.conf.Listen.HTTP, HTTPS: n.conf.Listen.HTTPS, Answerer: n.handler,
		Certificates: n.certs.Get, Limits: listenerLimits(n.conf.Limits), Drain: drainTime, ErrorLog: n.log,
		Listen: n.passed.opener(),
	})
	if err != nil {
		return err
	}
	n.install(n.conf, next)
	n.up.Store(true)
	return nil
}

// openAdmin opens the operator's listener first: its metrics are recorded from the
// first request on, and its address is one that no upstream may have.
func (n *node) openAdmin() error {
	if n.conf.Listen.Admin == "" {
		return nil
	}
	ln, err := net.Listen("tcp", n.conf.Listen.Admin)
	if err != nil {
		return fmt.Errorf("listen.admin: %w (another perigee? choose another address, or off)", err)
	}
	n.adminAddr = ln.Addr()
	o := admin.Options{
		Address: n.conf.Listen.Admin, Token: n.conf.Listen.AdminToken, Version: version, GoVersion: runtime.Version(),
		Loaded: now(), Ready: n.ready, Explain: n.handler.Explain, Store: n.store.Stats, Listener: n.listenerStats,
		AccessLogDropped: n.logDropped, Panics: n.handler.Panics, Purges: n.purging.service, PurgeStats: n.purging.stats,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	if n.disk != nil {
		o.Disk, o.Verify = n.disk.Stats, n.disk.Verify
	}
	if n.load != nil {
		o.Reload = n.tellReload
	}
	if n.admin, err = admin.New(o); err != nil {
		_ = ln.Close()
		return err
	}
	n.records.metrics = n.admin.Metrics()
	go func() {
		if err := n.admin.Serve(ln); err != nil {
			n.failed <- err
		}
	}()
	return nil
}

// ready says what stands against being sent requests.
func (n *node) ready() error {
	switch {
	case n.draining.Load():
		return errors.New("draining: the process is about to stop")
	case !n.up.Load():
		return errors.New("starting")
	}
	return nil
}

func (n *node) listenerStats() listener.Stats {
	if !n.up.Load() {
		return listener.Stats{}
	}
	return n.listeners.Stats()
}

func (n *node) logDropped() uint64 {
	lost := n.lostBefore.Load()
	if log := n.records.log.Load(); log != nil {
		lost += log.Dropped()
	}
	return lost
}

// hangUp answers SIGHUP: the access log's file is opened anew, and the
// configuration read again.
func (n *node) hangUp(ctx context.Context) {
	if log := n.records.log.Load(); log != nil {
		if err := log.Reopen(); err != nil {
			n.log.Error("the access log goes on in its old file", "error", err)
		}
	}
	switch {
	case n.load == nil:
		n.log.Info("nothing to read again: this node was started by flags")
	case n.admin == nil:
		n.tellReload(ctx)
	default:
		// Counted there; of the outcome reload has spoken.
		if _, err := n.admin.Reload(ctx); err != nil {
			n.log.Error("SIGHUP came too early, send it again", "error", err)
		}
	}
}

// stop ends everything, in the order in which nothing is lost: no new connections,
// running responses, fills, the log. When ctx ends what still runs is cut.
func (n *node) stop(ctx context.Context) {
	n.draining.Store(true)
	if n.handler != nil {
		n.handler.Drain()
	}
	if n.listeners != nil {
		if err := n.listeners.Shutdown(ctx); err != nil {
			n.log.Warn("running responses were cut", "error", err)
		}
	}
	if n.handler != nil {
		// Nobody reads any more: what is still being fetched is for nobody.
		now, cancel := context.WithCancel(ctx)
		cancel()
		_ = n.handler.Close(now)
	}
	n.passed.close()
	if n.purging != nil {
		defer n.purging.close()
	}
	if n.admin != nil {
		_ = n.admin.Shutdown(ctx) // a reload that is under way ends first
	}
	n.change.Lock()
	defer n.change.Unlock()
	if n.served != nil {
		n.served.close()
	}
	if n.store != nil {
		_ = n.store.Close(ctx)
	}
	if log := n.records.log.Load(); log != nil {
		_ = log.Close()
	}
}

// now is this package's door to the clock.
func now() time.Time { return time.Now() }
