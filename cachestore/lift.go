package cachestore

import (
	"context"
	"math/rand/v2"
	"sync"
)

// What is found in the depot is offered to memory: metadata and short bodies at once,
// longer ones by a worker, when they answer requests. Memory may refuse; then the depot
// serves them.

const (
	// liftNowBytes is the longest body that is copied into memory by who looks it up.
	liftNowBytes = 64 << 10
	// liftsWaiting is how many longer ones may wait to be copied. Beyond it they stay
	// where they are.
	liftsWaiting = 64
)

// liftQueue is what waits to be copied into memory, and who copies it.
type liftQueue struct {
	waiting chan *Object
	end     context.CancelFunc
	work    sync.WaitGroup
}

func (s *Store) startLifting() {
	ctx, end := context.WithCancel(context.Background())
	s.lifts.waiting, s.lifts.end = make(chan *Object, liftsWaiting), end
	s.lifts.work.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case o := <-s.lifts.waiting:
				s.lift(ctx, o)
			}
		}
	})
}

// stopLifting ends the copying. A read that hangs is not waited for beyond ctx.
func (s *Store) stopLifting(ctx context.Context) {
	s.lifts.end()
	waitWithin(ctx, &s.lifts.work)
}

// offer offers memory those of objects, from the given index on, that have just been
// recalled, each once: many may have the same. Of those whose bytes come up at once the
// copies take their places.
func (s *Store) offer(objects []*Object, from int) []*Object {
	kept := objects[:from]
	for _, o := range objects[from:] {
		if o.offered.Swap(true) || !o.lean() || !s.worthOffering(o) {
			kept = append(kept, o)
			continue
		}
		if !o.Partial() && o.leanBytes() <= liftNowBytes {
			if up := s.lift(context.Background(), o); up != nil {
				kept = append(kept, up)
				continue
			}
		} else {
			s.enterLean(o)
		}
		if o.sound() {
			kept = append(kept, o)
		} else {
			s.depot.Discard(o)
		}
	}
	return kept
}

// offersInFull is how many look-ups it takes, on average, until memory that is full is
// asked to let others leave for something. What is asked for often comes up soon all the
// same, and the others do not pay for being weighed: that costs more than the read.
const offersInFull = 8

// worthOffering tells whether o is to be offered now.
func (s *Store) worthOffering(o *Object) bool {
	need := o.metaBytes
	if n := o.leanBytes(); n <= liftNowBytes {
		need += n
	}
	return s.hasRoom(need)
}

// hasRoom tells whether n bytes are free, and now and then that they are.
func (s *Store) hasRoom(n int64) bool {
	return s.budget.Used()+n < s.budget.Limit() || rand.Uint32N(offersInFull) == 0
}

// leanBytes is how many bytes of o's bodies are not in memory.
func (o *Object) leanBytes() (n int64) {
	for b := range o.bodies {
		if b.lean.Load() {
			n += b.written
		}
	}
	return n
}

// useBelow is Use for the depot. What is asked for again and again is to be in memory: it
// is tried at each power of two of its uses, since memory may refuse for long.
func (s *Store) useBelow(o *Object) {
	s.depot.Touch(o)
	if !o.lean() || o.Partial() || o.leanBytes() > s.ramMax {
		return
	}
	if n := o.lifted.Add(1); n&(n-1) != 0 || !s.hasRoom(o.leanBytes()) {
		return
	}
	select {
	case s.lifts.waiting <- o:
	default:
	}
}

// enter puts o into memory, for which its metadata is reserved and its bodies are held,
// where there is nothing of its key and variant. False means that the caller still owns
// that. An o that the depot does not have any more does not stay.
func (s *Store) enter(o *Object) bool {
	if !s.turns.try(o.key) {
		return false // something newer is about to come
	}
	defer s.turns.give(o.key)
	return s.place(o)
}

// place is enter for who has the turn.
func (s *Store) place(o *Object) bool {
	// Between the two steps it may be removed or purged, and must not be seen after that.
	o.unproven.Store(true)
	if !s.home.Replace(nil, o) {
		o.unproven.Store(false)
		return false
	}
	if s.depot.Current(o) {
		o.unproven.Store(false)
	} else {
		s.home.Discard(o)
	}
	return true
}

// enterLean puts the metadata of o into memory, if there is room.
func (s *Store) enterLean(o *Object) {
	switch {
	case !o.retain():
	case !s.home.Reserve(o, o.metaBytes):
		o.release()
	case !s.enter(o):
		o.Drop()
	}
}

// lift makes an object of o whose bytes are in memory, puts it there, in the place of o
// or of nothing, and returns it; nil if there is no room, the bytes cannot be read, or o
// is not what is stored any more.
func (s *Store) lift(ctx context.Context, o *Object) *Object {
	up, rising, ok := o.rise()
	need := up.metaBytes
	for _, each := range rising {
		need += bodyBytes(each.from.written)
	}
	if !ok || !s.home.Reserve(up, need) {
		up.release()
		return nil
	}
	for _, each := range rising {
		each.to.hold(bodyBytes(each.from.written))
	}
	for _, each := range rising {
		if !each.copy(ctx) {
			up.Drop()
			return nil
		}
	}
	if !s.home.Replace(o, up) && !s.enter(up) {
		up.Drop()
		return nil
	}
	if !s.depot.Current(up) {
		s.home.Discard(up)
		return nil
	}
	s.counts.promoted.Add(1)
	return up
}

// rising is a body whose bytes are to be copied into memory.
type rising struct{ from, to *body }

// rise is an object like o with bodies that are in memory or, of those named, will be. It
// holds them, also where ok is false because one of o's is gone.
func (o *Object) rise() (up *Object, bodies []rising, ok bool) {
	up = &Object{
		key: o.key, label: o.label, stored: o.stored, budget: o.budget, size: o.size,
		born: o.born, marks: o.marks, representation: o.representation,
	}
	up.ref.Store(o.ref.Load())
	up.checked.Store(o.checked.Load())
	up.weigh(len(o.row))
	raise := func(b *body) *body {
		if b.lean.Load() {
			to := newBody(b.budget, nil, b.written)
			bodies = append(bodies, rising{b, to})
			return to
		}
		if b.retain() {
			return b
		}
		return nil
	}
	if o.body != nil {
		up.body = raise(o.body)
		return up, bodies, up.body != nil
	}
	for _, e := range o.row {
		b := raise(e.body)
		if b == nil {
			return up, bodies, false
		}
		up.row = append(up.row, extent{off: e.off, end: e.end, body: b})
	}
	return up, bodies, true
}

// copy brings the bytes into memory, for which they are reserved, and tells whether all
// of them could be read.
func (r rising) copy(ctx context.Context) bool {
	at := r.from.kept()
	c := cursor{body: r.from, end: r.from.written}
	if at == nil || !r.from.retain() {
		return false
	}
	defer c.close()
	for !c.spent() {
		into := r.to.addChunk(min(chunkBytes, c.end-c.off), 0)
		for len(into) > 0 {
			piece, err := c.nextFrom(ctx, at)
			if err != nil {
				return false
			}
			n := copy(into, piece)
			c.off -= int64(len(piece) - n) // the rest is for the next chunk
			into = into[n:]
			r.to.advance(n)
		}
	}
	r.to.settle(at)
	r.to.finish(nil)
	return true
}
