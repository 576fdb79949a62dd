package purge

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

const (
	// appendTimeout is how long the log may take. Whoever ordered need not stay: half
	// an order helps nobody.
	appendTimeout = 30 * time.Second
	// countTimeout is how long a dry run counts.
	countTimeout = 1500 * time.Millisecond
	// maxCounts is how many dry runs count at once; further ones are refused.
	maxCounts = 4
)

// Names normalises a URL as the keys of stored responses are: host2 is the host under
// which the site stores it, path2 its normal path, query2 its query without what the
// key leaves out. host is canonical and of the site; path is escaped and begins with
// "/"; query has no "?". An error is fit for the client. It is called by many
// goroutines at once.
type Names interface {
	Target(site, scheme, host, path, query string) (host2, path2, query2 string, err error)
}

// Forms is what Names may also implement, where a URL's response may be stored in more
// forms than that of Target. It takes what Target takes and returns every normalised
// query under which the response may be stored, and every class of URLs that
// No-Vary-Search makes equal to it, as in [cachestore.Subject], "" for none. For the site "*" the
// host may be "*": then a class is one that bears no host.
type Forms interface {
	Forms(site, scheme, host, path, query string) (queries, classes []string)
}

// Count counts the stored responses of a site that bear one of the marks, until stop;
// atLeast says that it stopped before the end.
type Count func(site string, marks []cachestore.Mark, stop time.Time) (n int, atLeast bool)

// ServiceOptions are what a Service is made of.
type ServiceOptions struct {
	Log    Log
	Ledger *Ledger
	Names  Names
	Count  Count            // nil = dry runs are refused
	Now    func() time.Time // called by many goroutines at once
	Audit  *slog.Logger     // nil = nothing is logged
	Edge   string           // this node's name in receipts
}

// SiteOptions are a site as the API sees it.
type SiteOptions struct {
	Name   string
	IDs    []string // further names of it in the API
	Hosts  []string // canonical: its name and its aliases; of the site "*" they do not count
	Tokens []Token
}

// Service takes purge orders: it judges who asks and what for, appends to the log,
// sees that the ledger has applied it, and hands back a receipt. Make it with [NewService];
// its methods may be called concurrently.
type Service struct {
	options ServiceOptions
	salt    []byte
	current atomic.Pointer[snapshot]
	swap    sync.Mutex // one Swap at a time
	audit   *audit
	history *history
	once    *repeats
	counts  chan struct{} // a place for each dry run
}

// snapshot is all sites at one moment; it is immutable.
type snapshot struct {
	sites  map[string]*siteState // by name
	byName map[string]*siteState // by name and by id; names go first
	byHost map[string]*siteState
	keys   *keyring
}

type siteState struct {
	name   string
	hosts  []string // [anyHost] for the site that takes every host
	tokens int
}

// NewService makes a service without sites. [Service.Run] is to run as long as it is used.
func NewService(o ServiceOptions) *Service {
	if o.Audit == nil {
		o.Audit = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		options: o, salt: make([]byte, 32), audit: newAudit(o.Audit), history: newHistory(maxHistory, o.Edge), once: newRepeats(maxRepeats),
		counts: make(chan struct{}, maxCounts),
	}
	_, _ = rand.Read(s.salt) // never fails
	s.Swap(nil)
	return s
}

// Swap replaces all sites. Orders under way end with those that they began with.
func (s *Service) Swap(sites []SiteOptions) {
	s.swap.Lock()
	defer s.swap.Unlock()
	next := &snapshot{
		sites: make(map[string]*siteState), byName: make(map[string]*siteState), byHost: make(map[string]*siteState),
		keys: &keyring{salt: s.salt, byDigest: make(map[digest][]*credential)},
	}
	var old *keyring
	if before := s.current.Load(); before != nil {
		old = before.keys
	}
	for _, o := range sites {
		if next.sites[o.Name] != nil {
			continue
		}
		site := &siteState{name: o.Name, hosts: append([]string(nil), o.Hosts...)}
		if o.Name == catchAll {
			site.hosts = []string{anyHost}
		}
		for _, host := range site.hosts {
			if next.byHost[host] == nil {
				next.byHost[host] = site
			}
		}
		site.tokens = next.keys.add(o.Name, o.Tokens, old)
		next.sites[o.Name], next.byName[o.Name] = site, site
	}
	for _, o := range sites {
		for _, id := range o.IDs {
			if next.byName[id] == nil {
				next.byName[id] = next.sites[o.Name]
			}
		}
	}
	s.current.Store(next)
}

// serves tells whether a host is one of the site's. The site "*" has those that no
// other site has.
func (n *snapshot) serves(site *siteState, host string) bool {
	owner := n.byHost[host]
	return owner == site || owner == nil && site.name == catchAll
}

// siteOf returns the site that serves a host, nil for none.
func (n *snapshot) siteOf(host string) *siteState {
	canonical, ok := httpcache.CanonicalHost(host)
	if !ok {
		return nil
	}
	if site := n.byHost[canonical]; site != nil {
		return site
	}
	return n.byHost[anyHost]
}

// Purge carries out an order of somebody who may do everything: it is the door for
// code. The error is a *Refusal, and then nothing was purged, with one exception: a
// 503 whose reason says that the outcome is unknown.
func (s *Service) Purge(ctx context.Context, o Order) (Receipt, error) {
	receipt, refusal := s.purge(ctx, Operator(o.Who), o)
	if refusal != nil {
		return Receipt{}, refusal
	}
	return receipt, nil
}

// purge is the way of every order: who, what, the log, the ledger, the receipt.
func (s *Service) purge(ctx context.Context, caller Caller, o Order) (receipt Receipt, refusal *Refusal) {
	began := s.options.Now()
	defer func() { s.audit.ordered(began, caller, &o, receipt, refusal) }()
	state := s.current.Load()
	site, refusal := state.permitted(caller, o.Site)
	if refusal != nil {
		return Receipt{}, refusal
	}
	o.Site = site.name
	token, refusal := caller.pick(site.name, &o)
	if refusal != nil {
		return Receipt{}, refusal
	}
	entries, refusal := s.compile(state, site, &o)
	if refusal != nil {
		return Receipt{}, refusal
	}
	if refusal = token.take(o.items(), began); refusal != nil {
		return Receipt{}, refusal
	}
	if o.DryRun {
		return s.dryRun(site.name, entries)
	}
	if o.Key == "" {
		return s.carryOut(ctx, &o, entries, NewID())
	}
	return s.onceOnly(ctx, caller, &o, entries)
}

// permitted finds a site that the caller may purge. Whoever has no token of a site
// does not learn whether there is one.
func (n *snapshot) permitted(caller Caller, name string) (*siteState, *Refusal) {
	site := n.byName[name]
	switch {
	case caller.Admin && site == nil:
		return nil, refuse(http.StatusNotFound, "there is no site %s", clip(name))
	case site == nil || !caller.Sees(site.name):
		return nil, refuse(http.StatusForbidden, "the token is not of this site")
	}
	return site, nil
}

// dryRun counts what would be purged.
func (s *Service) dryRun(site string, entries []Entry) (Receipt, *Refusal) {
	if s.options.Count == nil {
		return Receipt{}, refuse(http.StatusNotImplemented, "this node has nothing to count")
	}
	select {
	case s.counts <- struct{}{}:
		defer func() { <-s.counts }()
	default:
		refusal := refuse(http.StatusTooManyRequests, "%d dry runs are counting already", maxCounts)
		refusal.RetryAfter = countTimeout
		return Receipt{}, refusal
	}
	marks := make([]cachestore.Mark, 0, len(entries))
	for _, e := range entries {
		marks = append(marks, s.options.Ledger.MarkOf(e.Site, e.Kind, e.Value))
	}
	n, atLeast := s.options.Count(site, marks, s.options.Now().Add(countTimeout))
	return Receipt{State: StateDryRun, Count: &n, AtLeast: atLeast}, nil
}

// carryOut appends the entries to the log and returns when the ledger has applied
// them.
func (s *Service) carryOut(ctx context.Context, o *Order, entries []Entry, id ID) (Receipt, *Refusal) {
	began := s.options.Now()
	for i := range entries {
		entries[i].At = began.Truncate(time.Millisecond).UTC()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	last, err := s.options.Log.Append(ctx, id, entries)
	if err == nil {
		err = s.options.Ledger.Wait(ctx, last)
	}
	if err != nil {
		return Receipt{}, s.unlogged(err)
	}
	took := s.options.Now().Sub(began).Milliseconds()
	receipt := Receipt{ID: id.String(), State: StateComplete, Edges: []Ack{{Name: s.options.Edge, AckedMS: &took}}}
	s.history.ordered(id, entries, receipt)
	return receipt, nil
}

// unlogged says what an error of the log means for who ordered.
func (s *Service) unlogged(err error) *Refusal {
	if errors.Is(err, ErrTooBig) {
		return refuse(http.StatusRequestEntityTooLarge, "the order is too big; nothing was purged; send several orders")
	}
	refusal := refuse(http.StatusServiceUnavailable, "%v", err)
	switch {
	case errors.Is(err, ErrBusy):
		refusal.Reason = "the purge log is busy: nothing was purged; try again"
	case errors.Is(err, context.DeadlineExceeded):
		refusal.Reason = "the purge log did not answer in time: whether it was purged is unknown; try again"
	}
	refusal.RetryAfter = time.Second
	return refusal
}
