package disk

import (
	"context"
	"sync"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

const (
	// minQueueBytes is what may wait to be written whatever the memory budget is.
	minQueueBytes = 4 << 20
	// maxGraves is how many removals may wait to be written. They are let in when all
	// else is refused; beyond it the disk hangs, and they are lost, and counted.
	maxGraves = 1 << 16
)

// hangTime is how long one write may take at the end before the disk is left to itself.
const hangTime = 5 * time.Second

type itemKind uint8

const (
	itemPut     itemKind = iota
	itemReplace          // only if old is what is kept
	itemFreshen          // the same, with the bodies of old
	itemPiece            // of a spill
	itemGrave            // a variant has been removed
	itemGraves           // all variants of a key have been removed
)

// item is something that waits to be written.
type item struct {
	kind    itemKind
	name    name
	object  *cachestore.Object
	old     *cachestore.Object
	key     httpcache.Key       // of a grave
	variant httpcache.VariantID // of a grave
	log     logKind             // of a grave
	until   uint64              // of a grave: as in its record; 0 = all up to now
	spill   *spill
	data    []byte // of a piece
	bytes   int64  // that it keeps in memory

	done chan bool // has room for what became of it; nil if nobody asks

	failed bool // some of it could not be written; for the writer alone

	// The queue's mutex guards this.
	cancelled bool
}

// queue is what waits to be written to one folder, in order.
type queue struct {
	depot *Depot
	wake  chan struct{} // has a value when there is something to do

	mu      sync.Mutex // guards all that follows
	items   []*item
	pending map[name][]*item // of the items, and of what is just being written, those with an object
	graves  int
	closed  bool
	drained chan struct{} // closed when the writer has ended
	until   context.Context
}

func newQueue(d *Depot) *queue {
	return &queue{depot: d, wake: make(chan struct{}, 1), pending: make(map[name][]*item), drained: make(chan struct{})}
}

// add appends i, or refuses it because too much waits.
func (q *queue) add(i *item) bool {
	d := q.depot
	if d.queued.Add(i.bytes) > d.queueLimit {
		d.queued.Add(-i.bytes)
		d.counts.full.Add(1)
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		d.queued.Add(-i.bytes)
		return false
	}
	q.items = append(q.items, i)
	if i.object != nil {
		q.pending[i.name] = append(q.pending[i.name], i)
	}
	q.rouse()
	return true
}

// graveOf is a removal of records with a lower number than until, for each of the logs;
// 0 = of all that are written before it.
func graveOf(kind itemKind, n name, key httpcache.Key, variant httpcache.VariantID, until uint64) []*item {
	var all []*item
	for log := range logKinds {
		all = append(all, &item{kind: kind, name: n, key: key, variant: variant, log: log, until: until})
	}
	return all
}

// bury appends removals.
func (q *queue) bury(graves ...*item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.graves >= maxGraves || q.closed {
		q.depot.counts.gravesLost.Add(1)
		return
	}
	q.graves += len(graves)
	q.items = append(q.items, graves...)
	q.rouse()
}

func (q *queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns everything that waits, and whether the writer is to end when that is
// written.
func (q *queue) take() (items []*item, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items, q.items = q.items, nil
	q.graves = 0
	return items, q.closed
}

// finish tells what became of an item.
func (q *queue) finish(i *item, ok bool) {
	q.depot.queued.Add(-i.bytes)
	q.mu.Lock()
	if i.object != nil {
		rest := q.pending[i.name][:0:0]
		for _, each := range q.pending[i.name] {
			if each != i {
				rest = append(rest, each)
			}
		}
		if len(rest) == 0 {
			delete(q.pending, i.name)
		} else {
			q.pending[i.name] = rest
		}
	}
	q.mu.Unlock()
	if i.done != nil {
		i.done <- ok
	}
}

// last is the object of a name that waits and was not cancelled, the latest of them.
func (q *queue) last(n name) (o *cachestore.Object, waits bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.pending[n]
	for i := len(all) - 1; i >= 0; i-- {
		if !all[i].cancelled {
			return all[i].object, true
		}
	}
	return nil, false
}

// has tells whether anything of a name waits, cancelled or not: its record may be
// written.
func (q *queue) has(n name) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pending[n]) > 0
}

func (q *queue) hasTag(tag uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n := range q.pending {
		if n.tag == tag {
			return true
		}
	}
	return false
}

// cancel has what waits for o not be shown, and tells whether anything did.
func (q *queue) cancel(n name, o *cachestore.Object) (any bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, i := range q.pending[n] {
		if i.object == o && !i.cancelled {
			i.cancelled, any = true, true
		}
	}
	if any && !q.closed && q.graves < maxGraves {
		q.graves += int(logKinds)
		q.items = append(q.items, graveOf(itemGrave, n, o.Key(), o.Variant(), 0)...)
		q.rouse()
	}
	return any
}

// cancelTag has nothing that waits under a tag be shown.
func (q *queue) cancelTag(tag uint64) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for each, items := range q.pending {
		if each.tag != tag {
			continue
		}
		for _, i := range items {
			if !i.cancelled {
				i.cancelled = true
				n++
			}
		}
	}
	return n
}

func (q *queue) isCancelled(i *item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return i.cancelled
}

// close takes nothing more and returns when all that waits is written. When ctx ends the
// rest is refused; false if not even that comes to an end, because the disk hangs.
func (q *queue) close(ctx context.Context) bool {
	q.mu.Lock()
	q.closed, q.until = true, ctx
	q.rouse()
	q.mu.Unlock()
	select {
	case <-q.drained:
		return true
	case <-ctx.Done():
	}
	last := time.NewTimer(hangTime)
	defer last.Stop()
	select {
	case <-q.drained:
		return true
	case <-last.C:
		return false
	}
}

// hurried tells that what still waits is not to be written any more.
func (q *queue) hurried() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.until != nil && q.until.Err() != nil
}
