package storetest

import (
	"context"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"perigee/cachestore"
	"perigee/httpcache"
)

// Depot is a depot in memory, for tests of what is above one. It writes in a goroutine of
// its own, in order, and can be made to fail. It implements [cachestore.Depot].
//
// A block's memory is overwritten when it is released, so that who uses it afterwards
// reads wrong bytes.
type Depot struct {
	budget *cachestore.Budget
	most   int64 // MaxBytes

	// Pins and Blocks are how many are held now, Touched and Dropped how often objects
	// were touched and spills dropped.
	Pins, Blocks, Touched, Dropped atomic.Int64

	mu       sync.Mutex // guards what follows
	changed  *sync.Cond // whenever what is below has
	records  map[httpcache.Key][]*record
	queue    []*order
	writing  *order
	last     uint64 // Ref
	refusing bool   // everything that is new
	held     bool   // nothing is written
	shared   bool   // Recall gives all the same object
	room     int    // bytes of spills that may wait to be written
	waiting  int    // that do
	closed   bool
	ended    chan struct{}
}

// record is an object that is kept.
type record struct {
	cachestore.Recollection
	variant httpcache.VariantID
	shared  *cachestore.Object
}

// order is something that waits to be written.
type order struct {
	object    *cachestore.Object
	old       *cachestore.Object
	always    bool // whatever old is
	spill     *spill
	data      []byte
	cancelled bool
	done      chan bool
}

const (
	// spillPiece is by how much what a spill has written grows, and blockBytes how much
	// of it can be had at once.
	spillPiece = 100_000
	blockBytes = 30_000
)

// NewDepot returns a depot for bodies of up to most bytes.
func NewDepot(budget *cachestore.Budget, most int64) *Depot {
	d := &Depot{
		budget: budget, most: most, room: math.MaxInt, ended: make(chan struct{}),
		records: make(map[httpcache.Key][]*record),
	}
	d.changed = sync.NewCond(&d.mu)
	go d.run()
	return d
}

func (d *Depot) run() {
	defer close(d.ended)
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		for len(d.queue) == 0 && !d.closed || d.held && !d.closed {
			d.changed.Wait()
		}
		if len(d.queue) == 0 {
			return
		}
		next := d.queue[0]
		d.queue = d.queue[1:]
		d.write(next)
		d.changed.Broadcast()
	}
}

// Hold has nothing be written until Let is called.
func (d *Depot) Hold() { d.set(func() { d.held = true }) }

// Let ends Hold.
func (d *Depot) Let() { d.set(func() { d.held = false }) }

// Refuse has the depot take nothing new, or take it again.
func (d *Depot) Refuse(refuse bool) { d.set(func() { d.refusing = refuse }) }

// Share has Recall give all who ask for a record the same object.
func (d *Depot) Share() { d.set(func() { d.shared = true }) }

// Bound is how many bytes of spills may wait to be written.
func (d *Depot) Bound(n int) { d.set(func() { d.room = n }) }

func (d *Depot) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	d.changed.Broadcast()
}

// Flush returns when nothing waits to be written.
func (d *Depot) Flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.queue) > 0 || d.writing != nil {
		d.changed.Wait()
	}
}

// Queued returns when at least n things wait to be written.
func (d *Depot) Queued(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.queue) < n {
		d.changed.Wait()
	}
}

// Damage has all bytes of what is kept under key not be readable from the offset from in
// each body; Evict lets it go, index and bytes, as if for room.
func (d *Depot) Damage(key httpcache.Key, from int64) {
	d.eachSource(key, func(s *source) { s.bad.Store(from + 1) })
}

// Evict lets go what is kept under key, as if for room.
func (d *Depot) Evict(key httpcache.Key) {
	d.eachSource(key, func(s *source) { s.gone.Store(true) })
	d.set(func() { delete(d.records, key) })
}

func (d *Depot) eachSource(key httpcache.Key, do func(*source)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.records[key] {
		for _, p := range r.Pieces {
			do(p.Source.(*source))
		}
	}
}

// find is the place of o's record, -1 for none. mu is held.
func (d *Depot) find(o *cachestore.Object) int {
	return slices.IndexFunc(d.records[o.Key()], func(r *record) bool { return r.variant == o.Variant() })
}

// isKept tells whether o is what is kept. mu is held.
func (d *Depot) isKept(o *cachestore.Object) bool {
	i := d.find(o)
	return i >= 0 && d.records[o.Key()][i].Ref == o.Ref().Load()
}

// drop takes out the record at i. mu is held.
func (d *Depot) drop(key httpcache.Key, i int) {
	if i >= 0 {
		d.records[key] = slices.Delete(d.records[key], i, i+1)
	}
}

// write writes one order. mu is held, and given free while bodies are looked at.
func (d *Depot) write(next *order) {
	if next.spill != nil {
		d.waiting -= len(next.data)
		next.spill.take(next.data, d.refusing)
		return
	}
	ok := !d.refusing && !next.cancelled
	if ok && !next.always {
		ok = next.old == nil && d.find(next.object) < 0 || next.old != nil && d.isKept(next.old)
	}
	if ok {
		d.writing = next
		d.mu.Unlock()
		made, whole := d.record(next.object)
		d.mu.Lock()
		d.writing = nil
		if ok = whole && !next.cancelled; ok {
			d.last++
			made.Ref = d.last
			d.drop(made.Key, d.find(next.object))
			d.records[made.Key] = append(d.records[made.Key], made)
			next.object.Ref().Store(made.Ref)
		}
	}
	if !ok && next.always && !next.cancelled {
		d.drop(next.object.Key(), d.find(next.object))
	}
	if next.done != nil {
		next.done <- ok
	}
}

// record copies what is to be kept of o; false if its bytes are not to be had.
func (d *Depot) record(o *cachestore.Object) (*record, bool) {
	size, _ := o.Size()
	r := &record{variant: o.Variant(), Recollection: cachestore.Recollection{
		Key: o.Key(), Label: o.Label(), Stored: o.Stored(), Born: o.Born(), Marks: o.Marks(),
		Representation: o.Representation(), Size: size,
	}}
	for _, p := range o.Pieces() {
		if p.Source == nil {
			s := &source{depot: d}
			for data := range p.Bytes {
				s.data = append(s.data, data...)
			}
			p.Source = s
			p.Settle(s)
		}
		s := p.Source.(*source)
		if s.Size() != p.End-p.Off || s.gone.Load() {
			return nil, false
		}
		r.Pieces = append(r.Pieces, cachestore.Piece{Off: p.Off, End: p.End, Source: s})
	}
	return r, true
}

// add queues an order; false if nothing is taken any more.
func (d *Depot) add(next *order) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.queue = append(d.queue, next)
	d.changed.Broadcast()
	return true
}

// Recall implements [cachestore.Depot].
func (d *Depot) Recall(key httpcache.Key, have, buf []*cachestore.Object) []*cachestore.Object {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.records[key] {
		known := false
		for _, o := range have {
			known = known || o.Variant() == r.variant
		}
		if !known {
			buf = append(buf, d.recollect(r))
		}
	}
	return buf
}

func (d *Depot) recollect(r *record) *cachestore.Object {
	if r.shared == nil || !d.shared {
		r.shared = cachestore.Recollect(d.budget, r.Recollection)
	}
	return r.shared
}

// Touch implements [cachestore.Depot].
func (d *Depot) Touch(*cachestore.Object) { d.Touched.Add(1) }

// MaxBytes implements [cachestore.Depot].
func (d *Depot) MaxBytes() int64 { return d.most }

// Put implements [cachestore.Depot].
func (d *Depot) Put(o *cachestore.Object) bool {
	next := &order{object: o, always: true, done: make(chan bool, 1)}
	return d.add(next) && <-next.done
}

// Replace implements [cachestore.Depot].
func (d *Depot) Replace(old, o *cachestore.Object) bool {
	next := &order{object: o, old: old, done: make(chan bool, 1)}
	return d.add(next) && <-next.done
}

// Freshen implements [cachestore.Depot].
func (d *Depot) Freshen(old, o *cachestore.Object) { d.add(&order{object: o, old: old}) }

// pending are the orders that wait or are being written for what has o's key, and its
// variant if same. mu is held.
func (d *Depot) pending(key httpcache.Key, variant httpcache.VariantID, same bool) (all []*order) {
	for _, each := range append([]*order{d.writing}, d.queue...) {
		if each != nil && each.object != nil && !each.cancelled && each.object.Key() == key &&
			(!same || each.object.Variant() == variant) {
			all = append(all, each)
		}
	}
	return all
}

// Current implements [cachestore.Depot].
func (d *Depot) Current(o *cachestore.Object) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := d.isKept(o)
	for _, each := range d.pending(o.Key(), o.Variant(), true) {
		kept = each.object == o
	}
	return kept
}

// Discard implements [cachestore.Depot].
func (d *Depot) Discard(o *cachestore.Object) (was bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, each := range d.pending(o.Key(), o.Variant(), true) {
		if each.object == o {
			each.cancelled, was = true, true
		}
	}
	if d.isKept(o) {
		d.drop(o.Key(), d.find(o))
		was = true
	}
	return was
}

// Remove implements [cachestore.Depot].
func (d *Depot) Remove(key httpcache.Key) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.records[key])
	for _, each := range d.pending(key, 0, false) {
		each.cancelled = true
		n++
	}
	delete(d.records, key)
	return n
}

// All implements [cachestore.Depot].
func (d *Depot) All() iter.Seq[*cachestore.Object] {
	return func(yield func(*cachestore.Object) bool) {
		d.mu.Lock()
		var all []*cachestore.Object
		for _, records := range d.records {
			for _, r := range records {
				all = append(all, d.recollect(r))
			}
		}
		d.mu.Unlock()
		for _, o := range all {
			if !yield(o) {
				return
			}
		}
	}
}

// Oldest implements [cachestore.Depot].
func (d *Depot) Oldest() (born cachestore.Birth, ok bool) {
	born = cachestore.Birth{Seq: math.MaxInt64, Local: math.MaxInt64}
	for o := range d.All() {
		born.Seq, born.Local = min(born.Seq, o.Born().Seq), min(born.Local, o.Born().Local)
	}
	return born, true
}

// Objects implements [cachestore.Depot].
func (d *Depot) Objects() (n int64) {
	for range d.All() {
		n++
	}
	return n
}

// Close implements [cachestore.Depot].
func (d *Depot) Close(context.Context) error {
	d.set(func() { d.closed = true })
	<-d.ended
	return nil
}
