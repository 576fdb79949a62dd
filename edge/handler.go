package edge

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/origin"
)

const (
	// maxRefreshes is how many background refreshes may run at once; a stale
	// response that would want one more is served without.
	maxRefreshes = 256
	// refreshRest is how long after a refresh that brought nothing no other one is made
	// for the same key.
	refreshRest = time.Second
	// unshareableFor is how long a key whose response could not be shared is asked
	// for without waiting for others.
	unshareableFor = 2 * time.Minute
)

// Options says what a handler is made of.
type Options struct {
	Name     string // of this cache in Cache-Status; "" = perigee
	Store    *cachestore.Store
	Ledger   Ledger   // what was purged; the handler becomes the store's guard by it
	Purger   Purger   // takes purges over the sites' listeners; nil = nobody does
	Recorder Recorder // nil = nobody is told
	Log      *slog.Logger
	Limits   Limits
}

// Limits bounds what a request may bring; 0 = no bound.
type Limits struct {
	Fields      int   // field lines
	TargetBytes int   // of the request target
	BodyBytes   int64 // of a request body
	Requests    int   // in flight; beyond it only what is stored is served
	MinRate     int64 // bytes a second of the slowest client
}

// Handler answers requests. It is safe for concurrent use.
type Handler struct {
	name     string
	node     string // of this process in CDN-Loop
	store    *cachestore.Store
	recorder Recorder
	log      *slog.Logger

	sites    atomic.Pointer[Sites]
	limits   atomic.Pointer[Limits]
	draining atomic.Bool
	inFlight atomic.Int64
	panics   atomic.Int64

	flights     origin.Flights[flightKey, *landing]
	unshareable memory[unshared]
	resting     memory[time.Time] // until when nothing is refreshed
	vary        memory[[]string]  // the selecting fields last seen
	searches    memory[learned]   // No-Vary-Search of paths
	searched    atomic.Bool       // there are some
	generations atomic.Int64      // of the rules in searches; the first is drawn by lot
	ledger      Ledger
	purger      Purger
	complaints  complaints
	coders      coders
	refreshes   chan struct{}   // a place for each background refresh
	background  sync.WaitGroup  // fills and refreshes
	life        context.Context // ends when Close gives up waiting for them
	endLife     context.CancelFunc
}

// New returns a handler that knows no site yet: see [Handler.Swap].
func New(o Options) *Handler {
	h := &Handler{
		name: o.Name, store: o.Store, recorder: o.Recorder, log: o.Log,
		refreshes: make(chan struct{}, maxRefreshes), ledger: o.Ledger, purger: o.Purger,
		node: strings.ToLower(rand.Text()[:12]),
	}
	h.flights.Discard = (*landing).dispose
	h.flights.Landed = func(land *landing, waiting int) { land.anchor.expect(waiting) }
	h.flights.Panicked = func(fault *origin.PanicError) {
		h.panics.Add(1)
		h.log.Error("a fetch ended in a panic; please report it", "panic", fault.Value, "stack", string(fault.Stack))
	}
	h.store.Watch(h)
	if h.name == "" {
		h.name = "perigee"
	}
	if h.recorder == nil {
		h.recorder = Recorders(nil)
	}
	h.coders.start()
	// A disk has what other processes stored: no rule learned here may have the name of one of theirs.
	var first [8]byte
	_, _ = rand.Read(first[:]) // it never fails
	h.generations.Store(int64(binary.LittleEndian.Uint64(first[:]) >> 1))
	h.life, h.endLife = context.WithCancel(context.Background())
	h.sites.Store(NewSites(nil))
	h.limits.Store(&o.Limits)
	return h
}

// Swap puts sites and limits in the place of those before. Requests under way keep
// theirs; what is stored stays, but for what only rules allowed to be stored that
// have changed.
func (h *Handler) Swap(sites *Sites, limits Limits) {
	before := h.sites.Swap(sites)
	h.limits.Store(&limits)
	for _, site := range before.All() {
		if now := sites.named(site.Name); now == nil || now.permissions() != site.permissions() {
			h.ledger.Invalidate(h.permissionMark(site))
		}
	}
}

// Sites is the snapshot in force.
func (h *Handler) Sites() *Sites { return h.sites.Load() }

// Drain makes the health answer 503, so that whoever routes here goes elsewhere.
func (h *Handler) Drain() { h.draining.Store(true) }

// Panics counts the requests that ended in one.
func (h *Handler) Panics() int64 { return h.panics.Load() }

// InFlight is how many requests are being answered.
func (h *Handler) InFlight() int64 { return h.inFlight.Load() }

// Close waits for fetches, fills and background refreshes until ctx ends, then
// ends them. No request may be under way.
func (h *Handler) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.flights.Close() // first: a flight may begin a fill
		h.background.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	h.endLife()
	<-done
	return ctx.Err()
}

// inBackground runs a task that no request waits for. A panic costs that task only.
func (h *Handler) inBackground(task func()) {
	h.background.Go(func() {
		defer func() {
			if fault := recover(); fault != nil {
				h.panics.Add(1)
				h.log.Error("a background task ended in a panic; please report it", "panic", fault, "stack", string(debug.Stack()))
			}
		}()
		task()
	})
}

// ServeHTTP answers one request: docs/life-of-a-request.md follows it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r, time.Now())
	defer h.end(x)
	x.serve()
}

// begin gathers what is known of a request before anything is decided.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, now time.Time) *exchange {
	h.inFlight.Add(1)
	x := exchanges.Get().(*exchange)
	x.w = w
	x.arrive(h, r, now)
	return x
}

// arrive is the part of begin that an exchange without a client has too.
func (x *exchange) arrive(h *Handler, r *http.Request, now time.Time) {
	x.h, x.r, x.ctx, x.now = h, r, r.Context(), now
	x.record = Record{
		Time: now, Client: clientAddr(r), Method: r.Method, Scheme: "http", Proto: r.Proto,
		UserAgent: r.UserAgent(), Referer: r.Referer(), RequestID: r.Header.Get("X-Request-Id"),
	}
	if r.TLS != nil {
		x.record.Scheme, x.record.TLS = "https", tlsVersion(r.TLS.Version)
	}
}

// end writes the record and, if the response could not be finished, cuts it where
// the client can see that it was cut. A panic costs its own request only.
func (h *Handler) end(x *exchange) {
	if fault := recover(); fault != nil {
		x.survive(fault)
	}
	x.weigh()
	x.hush()
	x.endPacing()
	h.inFlight.Add(-1)
	x.record.Duration = time.Since(x.record.Time)
	h.recorder.Record(&x.record)
	aborted := x.record.Aborted
	*x = exchange{}
	exchanges.Put(x)
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// exchanges are used again: nothing that outlives a request holds one. An errand
// has copies of what it needs, and net/http copies the response's fields when the
// head is written.
var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// survive answers for a panic: 500 if nothing has been sent, else a cut.
func (x *exchange) survive(fault any) {
	if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		x.record.Aborted = true
		return
	}
	x.h.panics.Add(1)
	x.h.log.Error("a request ended in a panic; please report it",
		"method", x.r.Method, "host", x.r.Host, "path", x.r.URL.Path, "panic", fault, "stack", string(debug.Stack()))
	if x.headSent {
		x.record.Aborted = true
		return
	}
	x.fail(internalFault)
}

// sent notes that the response head is on its way.
func (x *exchange) sent(status int) {
	x.headSent = true
	x.record.Status = status
	x.record.FirstByte = time.Since(x.record.Time)
}

// clock is the time now, for what takes longer than a request's first look.
func clock() time.Time { return time.Now() }

// unshared says that a key is asked for without waiting for others.
type unshared struct {
	until time.Time
	// reason is why its last response was not stored, in the words of the log; empty
	// where it was, but for no other request than its own.
	reason string
}

// flightKey names what is fetched once for many: the variant of a key as far as
// its selecting fields are known, and the part of it, if the upstream is known to
// give parts.
type flightKey struct {
	key     httpcache.Key
	variant httpcache.VariantID
	part    httpcache.ByteRange
}
