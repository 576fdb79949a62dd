package cachestore

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"perigee/httpcache"
)

// ErrDamaged ends a reader when bytes that a depot had kept do not match their
// checksum or cannot be read: what has not been read yet must be had elsewhere.
var ErrDamaged = errors.New("stored body is damaged")

// Depot is a home beneath memory: a place on disk, whose objects outlive the process.
// What is in it is found by key and variant, at most one object for each, as in a
// [Tier]; but looking at it may wait for a read, and what it shows has its bytes there
// and not in memory.
//
// Its trouble is a miss: no method returns an error, what fails is refused and counted
// by the depot. All methods may be called concurrently.
type Depot interface {
	// Recall appends an object for each variant that is kept under key and is not among
	// have, and returns buf. It waits for a read where there is one, allocates nothing
	// where nothing is missing, and lets those who want the same at once share one read
	// and one object.
	Recall(key httpcache.Key, have, buf []*Object) []*Object
	// Touch tells that o, from memory or from here, is what answers a request.
	Touch(o *Object)
	// MaxBytes is the longest body that is kept; 0 while nothing is taken at all.
	MaxBytes() int64
	// Spill begins to take a body of o, a part of it or all, that is too long to wait in
	// memory until all of it has come; nil if nothing is taken now.
	Spill(o *Object) Spill
	// Put writes o, in the place of what is kept of its key and variant, and returns when
	// a look-up shows it, or false if it is refused; then what was there has left too.
	// Bodies that are here already are not written again. It never waits for room in the
	// queue, only for its turn. o's bodies must be retained until it returns.
	Put(o *Object) bool
	// Replace is Put if old is what is kept, by its Ref, at the moment of writing; an old
	// that is nil stands for nothing. False means that nothing has changed.
	Replace(old, o *Object) bool
	// Freshen is Replace for an o that has the bodies of old, without waiting: should it
	// be refused, what is kept stays as it was. An old that waits to be written counts
	// as kept.
	Freshen(old, o *Object)
	// Discard forgets o, for good, if it is what is kept, and tells whether it was.
	Discard(o *Object) bool
	// Remove forgets every variant under key, for good, and returns how many there were.
	Remove(key httpcache.Key) int
	// All yields every object that can be read, in no order and reading as it goes.
	All() iter.Seq[*Object]
	// Oldest is a birth that nothing which is kept has before it; ok is false while that
	// is not known, because what is kept has yet to be looked at.
	Oldest() (born Birth, ok bool)
	// Current tells whether o is what is kept, or will be once what waits is written.
	Current(o *Object) bool
	// Objects is how many there are.
	Objects() int64
	// Close writes what waits, as long as ctx lasts, and lets everything go.
	Close(ctx context.Context) error
}

// Spill is a body on its way into a depot while it still arrives. One goroutine at a
// time may use it.
type Spill interface {
	// Write hands over the next bytes without waiting. p must not change any more, and
	// is referred to until Source has it. False means that the depot cannot keep up or
	// fails, and nothing more will be taken; what Source has stays readable. To write
	// nothing is to ask.
	Write(p []byte) bool
	// Source is the bytes that have been written. It grows.
	Source() Source
	// Grown has a value whenever Source has grown or the spill has failed.
	Grown() <-chan struct{}
	// End tells that no more will come. It returns when everything is written, and
	// whether it is. A spill that is not ended must be dropped.
	End() bool
	// Drop lets go what was written, unless an object that was Put has it.
	Drop()
}

// Source is the bytes of a body that are in a depot. They never change; they may
// be gone, or turn out damaged.
type Source interface {
	// Size is how many bytes from the beginning can be read.
	Size() int64
	// Block returns verified bytes around the offset off, which must be below Size: the
	// block has the byte at off. It waits for a read, or shares one that is under way.
	// The error is [ErrGone] or [ErrDamaged], or that of ctx.
	Block(ctx context.Context, off int64) (Block, error)
	// Pin keeps the bytes from being let go while they are being read; false if they
	// are gone. Each Pin needs an Unpin. Under need a pin may be overruled: then Block
	// returns ErrGone.
	Pin() bool
	Unpin()
}

// Block is a piece of a body in memory that its holder must release, once, and may
// not use afterwards.
type Block struct {
	Data []byte
	Off  int64 // of its first byte in the body
	Hold Holder
}

// Holder is what a block's memory goes back to.
type Holder interface{ Release() }

// Release gives the memory back.
func (b *Block) Release() {
	if b.Hold != nil {
		b.Hold.Release()
	}
	*b = Block{}
}

// Recollection is what a depot knows of an object.
type Recollection struct {
	Key            httpcache.Key
	Label          Label
	Stored         *httpcache.Stored
	Born           Birth
	Marks          []Mark
	Representation uint64 // 0 where it is not whole
	Size           int64  // of the whole representation
	Pieces         []Piece
	Ref            uint64 // by which the depot knows the record; never 0
}

// Piece is some bytes of a representation that stand in one body, as a depot sees
// them.
type Piece struct {
	Off, End int64  // in the representation, End not included
	Source   Source // nil where the bytes are in memory only

	body *body
}

// Recollect makes an object of what a depot has. It takes nothing of budget; a tier
// that is to have it reserves its metadata first, as for any other.
func Recollect(budget *Budget, r Recollection) *Object {
	o := &Object{
		key: r.Key, label: r.Label, stored: r.Stored, budget: budget,
		born: r.Born, marks: r.Marks, representation: r.Representation, size: r.Size,
	}
	o.ref.Store(r.Ref)
	for _, p := range r.Pieces {
		b := sourcedBody(budget, p.Source, p.End-p.Off)
		if p.Off == 0 && p.End == r.Size && len(r.Pieces) == 1 {
			o.body = b
			break
		}
		o.row = append(o.row, extent{off: p.Off, end: p.End, body: b})
	}
	o.weigh(len(o.row))
	return o
}

// Ref is the depot's name for the record of o; 0 while it has none. Only the depot
// sets it.
func (o *Object) Ref() *atomic.Uint64 { return &o.ref }

// FirstIn tells, once for each epoch, that o has not been asked in it before: a depot
// that counts uses need not look at each.
func (o *Object) FirstIn(epoch uint32) bool {
	seen := o.epoch.Load()
	return seen != epoch && o.epoch.CompareAndSwap(seen, epoch)
}

// Pieces are the bytes that o consists of, by offset. All of them must have come.
func (o *Object) Pieces() []Piece {
	var pieces []Piece
	for _, e := range o.extents() {
		pieces = append(pieces, Piece{Off: e.off, End: e.end, Source: e.body.kept(), body: e.body})
	}
	return pieces
}

// Bytes yields the bytes of a piece that is in memory, in order and in as many slices
// as they lie in. They must be retained meanwhile.
func (p Piece) Bytes(yield func([]byte) bool) { p.body.inMemory(yield) }

// Settle tells where the bytes of a piece can be read from now on, whatever becomes of
// memory. It is called at most once for each.
func (p Piece) Settle(at Source) { p.body.settle(at) }
