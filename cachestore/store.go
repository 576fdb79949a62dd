package cachestore

import (
	"context"
	"errors"
	"iter"
	"math"
	"math/rand/v2"
	"sync/atomic"

	"perigee/httpcache"
)

// Options says what a store is made of.
type Options struct {
	Budget *Budget // of memory: bodies, metadata, windows
	Home   Tier    // where responses live whose bytes have come
	Depot  Depot   // what is beneath Home; nil = nothing
	// MaxBytes is the longest body that is stored, and the most that the parts of one
	// representation may take together; 0 = half of the budget.
	MaxBytes int64
}

// Store is all stored responses of a node: those that are still arriving and those
// that live in its tier. All methods may be called concurrently.
type Store struct {
	budget   *Budget
	home     Tier
	depot    Depot // nil = none
	maxBytes int64
	guard    Guard // nil = everything is valid
	fills    filling
	windows  atomic.Int64
	// representations is the name of a whole body that was given last. The first is
	// drawn by lot: objects in a depot bear names of other processes.
	representations atomic.Uint64
	counts          counts

	// What follows is used only where there is a depot.
	ramMax int64     // the longest body that lives in memory
	turns  turns     // who changes both tiers
	tails  tails     // fills that have come and are being kept
	lifts  liftQueue // what is to be copied up into memory
	// spilling is how many bodies go to the depot as they arrive.
	spilling atomic.Int64
}

// counts is what has happened since the store was opened.
type counts struct {
	stored, refused, tooLarge, failed, detached, removed, corrupt, surplus atomic.Int64

	depotStored, depotRefused, recalled, promoted, spilled, unspilled atomic.Int64
}

// New returns a store over o.Home.
func New(o Options) *Store {
	s := &Store{budget: o.Budget, home: o.Home, depot: o.Depot, maxBytes: o.Budget.Limit() / 2}
	if o.MaxBytes > 0 {
		s.maxBytes = min(s.maxBytes, o.MaxBytes)
	}
	s.representations.Store(rand.Uint64())
	s.ramMax = math.MaxInt64
	if s.depot != nil {
		s.ramMax = min(mostInRAMBytes, max(leastInRAMBytes, o.Budget.Limit()/shareOfRAM))
		s.startLifting()
	}
	return s
}

// nameBody is a new name of a whole body, never 0.
func (s *Store) nameBody() uint64 {
	for {
		if n := s.representations.Add(1); n != 0 {
			return n
		}
	}
}

// Get appends every variant stored under key to buf and returns it, those that are
// still arriving first. What is not valid any more it leaves out. It allocates nothing but what buf needs to grow.
//
// Where there is a depot it waits for a read if that has something that memory does not.
func (s *Store) Get(key httpcache.Key, buf []*Object) []*Object {
	from := len(buf)
	buf = s.fills.get(key, buf)
	home := len(buf)
	buf = s.home.Get(key, buf)
	if s.depot != nil {
		return s.getBelow(key, buf, from, home)
	}
	if s.guard == nil || len(buf) == from {
		return buf
	}
	return s.valid(buf, from)
}

// Peek is Get for who only looks: it appends what is not valid any more too, and
// changes nothing.
func (s *Store) Peek(key httpcache.Key, buf []*Object) []*Object {
	from := len(buf)
	buf = s.fills.get(key, buf)
	home := len(buf)
	buf = s.home.Get(key, buf)
	if s.depot != nil {
		recalled := len(buf)
		buf = s.depot.Recall(key, buf[home:], buf)
		buf = buf[:recalled+len(unlike(buf[recalled:], buf[from:home]))]
		buf = once(buf, from, home)
	}
	return buf
}

// Use tells that o answers a request.
func (s *Store) Use(o *Object) {
	if o.Filling() {
		return
	}
	s.home.Use(o)
	if s.depot != nil {
		s.useBelow(o)
	}
}

// Freshen is FreshenAt for a validation that says nothing of when it began.
func (s *Store) Freshen(old *Object, meta *httpcache.Stored) *Object {
	return s.FreshenAt(old, meta, old.born, nil)
}

// FreshenAt puts meta in the place of old's metadata, without touching its bytes, and
// returns the object that now stands for both. Where that cannot be kept (no room,
// the body is still arriving or has been let go, or old has left the store or been
// replaced meanwhile) the result serves this request only, and the store is left as
// it was. born is when the validation began. marks are those of meta; they are added to
// those of old, as long as these are not too many.
func (s *Store) FreshenAt(old *Object, meta *httpcache.Stored, born Birth, marks []Mark) *Object {
	if twin := s.twin(old); twin != nil {
		old = twin
	}
	if joined := joinMarks(old.marks, marks); len(joined) <= maxMarks {
		marks = joined
	}
	o := &Object{
		key: old.key, label: old.label, stored: meta, budget: s.budget,
		body: old.body, row: old.row, size: old.size,
		born: born, marks: marks, representation: old.representation,
	}
	o.weigh(len(o.row))
	if old.Filling() || !o.retain() {
		return o
	}
	if s.depot != nil {
		s.freshenBelow(old, o)
		return o
	}
	if !s.home.Reserve(o, o.metaBytes) {
		o.release()
		s.counts.refused.Add(1)
		return o
	}
	if !s.home.Replace(old, o) {
		o.Drop()
		s.counts.refused.Add(1)
	}
	return o
}

// Remove forgets every variant under key, also those still arriving: they go on
// for their readers but are not stored. It returns how many there were.
func (s *Store) Remove(key httpcache.Key) int {
	n := s.fills.forget(key) + s.forget(key)
	s.counts.removed.Add(int64(n))
	return n
}

// forget removes what is stored under key. The depot comes first: what is on its way
// from there into memory asks whether it is still there when it has arrived.
func (s *Store) forget(key httpcache.Key) (n int) {
	if s.depot == nil {
		return s.home.Remove(key)
	}
	var room [4]*Object
	for _, o := range s.home.Get(key, room[:0]) {
		if !s.depot.Current(o) {
			n++ // in memory only
		}
	}
	n += s.depot.Remove(key)
	s.home.Remove(key)
	return n
}

// All yields every stored object, in no order: whole ones and partial ones. What the
// depot has and memory does not it reads on the way.
func (s *Store) All() iter.Seq[*Object] {
	if s.depot == nil {
		return s.home.All()
	}
	return s.allBelow
}

// Stats counts what the store holds and did.
func (s *Store) Stats() Stats {
	st := s.home.Stats()
	st.LimitBytes, st.UsedBytes = s.budget.Limit(), s.budget.Used()
	st.Fills, st.Windows = s.fills.n.Load(), s.windows.Load()
	st.Stored, st.Refused = s.counts.stored.Load(), s.counts.refused.Load()
	st.TooLarge, st.Failed = s.counts.tooLarge.Load(), s.counts.failed.Load()
	st.Detached, st.Removed = s.counts.detached.Load(), s.counts.removed.Load()
	st.Corrupt, st.Surplus = s.counts.corrupt.Load(), s.counts.surplus.Load()
	if s.depot == nil {
		return st
	}
	st.DepotObjects, st.Damaged = s.depot.Objects(), s.budget.damaged.Load()
	st.DepotStored, st.DepotRefused = s.counts.depotStored.Load(), s.counts.depotRefused.Load()
	st.Recalled, st.Promoted = s.counts.recalled.Load(), s.counts.promoted.Load()
	st.Spilled, st.Unspilled = s.counts.spilled.Load(), s.counts.unspilled.Load()
	return st
}

// Oldest is a birth that nothing which is stored has before it, the greatest there can
// be where nothing is; what is still arriving does not count. ok is false while that is
// not known, because what the depot kept has yet to be looked at.
func (s *Store) Oldest() (born Birth, ok bool) {
	born, ok = Birth{Seq: math.MaxInt64, Local: math.MaxInt64}, true
	for o := range s.home.All() {
		born = born.earlier(o.born)
	}
	if s.depot == nil {
		return born, ok
	}
	kept, ok := s.depot.Oldest()
	return born.earlier(kept), ok
}

// Close closes the tiers: the depot writes what waits, as long as ctx lasts. No Copy may
// be under way. What the depot has in hand when ctx has ended, and does not come back
// from, is left behind.
func (s *Store) Close(ctx context.Context) error {
	var err error
	if s.depot != nil {
		waitWithin(ctx, &s.tails.work)
		s.stopLifting(ctx)
		if err = s.depot.Close(ctx); err == nil {
			s.tails.work.Wait() // the depot has come back to all who waited for it
		}
	}
	return errors.Join(err, s.home.Close())
}
