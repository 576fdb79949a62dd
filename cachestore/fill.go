package cachestore

import (
	"context"
	"io"
	"sync/atomic"

	"perigee/httpcache"
)

// Beginning is what is known of a response when its head has arrived.
type Beginning struct {
	Key    httpcache.Key
	Label  Label
	Stored *httpcache.Stored
	Length int64 // of the body in bytes, -1 if the upstream did not say
	// MaxBytes is the longest representation that is stored, whole or in parts; 0 =
	// the store's own bound, which holds beside it for the bytes that are there.
	MaxBytes int64

	// Born is when the fetch began. The store keeps it with the object and makes
	// nothing of it but the earlier of two.
	Born Birth
	// Marks are the names that a purge can strike the object by. They must not be
	// changed afterwards.
	Marks []Mark
	// Check, if not nil, is asked once, by the goroutine that called Copy, when the
	// last byte has come. False means that the bytes contradict what was said of
	// them: those who read them get them, but they are not stored.
	Check func() bool

	// Size > 0 says that the bytes to come are a part only: Part of a
	// representation of Size bytes (RFC 9111 §3.3). Part must lie within Size, and
	// its length takes the place of Length.
	Size int64
	Part httpcache.ByteRange
	// Base is nil or an object of the same representation, whose parts the new
	// object shows beside its own. One of another representation or size is ignored.
	Base *Object
}

// Fill brings the body of one response, or a part of it, into the store. One
// goroutine writes it, by Copy; any number follow it through readers of its Object.
type Fill struct {
	store    *Store
	object   *Object
	body     *body  // what Copy writes
	part     extent // body at its place in object's row; zero where it is all of object
	check    func() bool
	maxBytes int64
	spillMax int64       // the longest body that the depot takes; 0 = it takes none
	spill    *spilling   // not nil while the body goes to the depot as it arrives
	bare     bool        // its metadata is not reserved, so it is not for memory
	windowed bool        // not going to be stored; only the writer looks at it
	corrupt  bool        // refused by check
	removed  atomic.Bool // asked to be forgotten meanwhile
	unlisted atomic.Bool
	probe    [1]byte // where a byte too many is read to
}

// Begin makes a response visible to Get from now on and returns the fill that must
// bring its body: Copy must be called. Where no tier would keep the response, or
// there is no room for it, it is passed on to those who ask for it now but not
// stored, and Stored on the fill says so.
func (s *Store) Begin(with Beginning) *Fill {
	f := &Fill{store: s, check: with.Check, maxBytes: s.maxBytes}
	if s.depot != nil {
		f.spillMax = s.depot.MaxBytes()
	}
	f.object = &Object{
		key: with.Key, label: with.Label, stored: with.Stored, budget: s.budget,
		born: with.Born, marks: with.Marks,
	}
	if with.Size > 0 && with.Part.Length() < with.Size {
		f.beginPart(with)
	} else {
		f.beginWhole(with)
	}
	s.fills.add(f)
	return f
}

func (f *Fill) beginWhole(with Beginning) {
	length := with.Length
	if with.Size > 0 {
		length = with.Size
	}
	if with.MaxBytes > 0 {
		f.maxBytes, f.spillMax = min(f.maxBytes, with.MaxBytes), min(f.spillMax, with.MaxBytes)
	}
	f.body = newBody(f.store.budget, &f.store.counts, length)
	f.object.body = f.body
	f.object.representation = f.store.nameBody()
	f.object.weigh(0)
	f.prepay(length > f.maxBytes)
}

// prepay reserves the metadata and, where its length is known, the whole body: a
// fill that cannot be stored whole should not push others out for a part of it. What
// is too long for memory, or finds no room there, goes to the depot as it arrives.
func (f *Fill) prepay(tooLarge bool) {
	n := bodyBytes(f.body.want)
	switch {
	case (tooLarge || f.body.want > f.store.ramMax) && f.spillAtOnce():
		return
	case tooLarge:
		f.store.counts.tooLarge.Add(1)
	case f.store.home.Reserve(f.object, f.object.metaBytes+n):
		f.body.hold(n)
		return
	case f.spillAtOnce():
		return
	default:
		f.store.counts.refused.Add(1)
	}
	f.pass()
}

// pass begins a fill as one that is not stored.
func (f *Fill) pass() {
	f.object.metaBytes = 0
	f.openWindow()
}

// bodyBytes is what a body of the given length will take in memory.
func bodyBytes(length int64) int64 {
	if length <= 0 {
		return 0
	}
	whole, rest := length/chunkBytes, length%chunkBytes
	return whole*allocBytes(chunkBytes) + allocBytes(rest)
}

// Object is the response that is arriving.
func (f *Fill) Object() *Object { return f.object }

// Stored tells whether the response is still going to be stored. Only the caller
// of Begin may ask, before Copy.
func (f *Fill) Stored() bool { return !f.windowed }

// Copy reads the body from r to its end and then commits it, or ends the fill with
// the error that r or ctx gave; the readers see that error too. It returns nil if
// the body came whole, whether or not it could be stored. Where there is a depot that
// may take its time; when ctx ends meanwhile, Copy returns, and the store goes on.
//
// Should r panic, the fill ends with errBroken before the panic goes on.
func (f *Fill) Copy(ctx context.Context, r io.Reader) error {
	err := errBroken
	defer func() {
		if err != nil {
			f.unlist() // before a reader sees the error and somebody asks again
		}
		f.body.finish(err)
		if err == nil && f.store.depot != nil && !f.windowed {
			f.store.tails.follow(ctx, func() { f.end(nil) })
			return
		}
		f.end(err)
	}()
	ended := f.copy(ctx, r)
	if ended == nil {
		f.judge()
	}
	err = ended
	return err
}

// judge asks the check about a body that has come to its end. What it refuses is
// out of sight before a reader sees that end.
func (f *Fill) judge() {
	if f.check != nil && !f.check() {
		f.corrupt = true
		f.store.counts.corrupt.Add(1)
		f.unlist()
	}
}

func (f *Fill) copy(ctx context.Context, r io.Reader) error {
	b := f.body
	for idle := 0; idle < 100; {
		buf, err := f.space(ctx)
		if err != nil {
			return err
		}
		n, err := r.Read(buf)
		if b.want >= 0 && b.written+int64(n) > b.want {
			return ErrTruncated
		}
		if idle++; n > 0 {
			b.advance(n)
			idle = 0
		}
		if err == io.EOF {
			if b.want >= 0 && b.written != b.want {
				return ErrTruncated
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// space is memory for the bytes that come next. It waits for slow readers if the
// body is not stored.
func (f *Fill) space(ctx context.Context) ([]byte, error) {
	b := f.body
	if b.written == b.want {
		return f.probe[:], nil
	}
	if tail := b.tail(); len(tail) > 0 {
		return tail, nil
	}
	if !f.windowed {
		n := b.nextChunkBytes()
		if f.spill == nil && (b.want >= 0 || f.extend(n)) {
			return b.addChunk(n, 0), nil
		}
		if f.spill != nil {
			if buf, err := f.spillSpace(ctx); buf != nil || err != nil {
				return buf, err
			}
		}
		f.openWindow()
	}
	reserve := func(n int64) bool { return f.store.home.Reserve(f.object, n) }
	size, reserved, err := b.windowRoom(ctx, b.nextChunkBytes(), reserve, f.unlist)
	if err != nil {
		return nil, err
	}
	return b.addChunk(size, reserved), nil
}

// extend reserves n bytes more for a body of unknown length, or has it spill. False
// means that it has done neither, or that the body spills now.
func (f *Fill) extend(n int64) bool {
	tooLarge := f.body.written+n > f.maxBytes && f.body.written+1 > f.maxBytes
	if (tooLarge || f.body.written >= f.store.ramMax) && f.startSpill() {
		return false
	}
	if tooLarge {
		f.store.counts.tooLarge.Add(1)
		return false
	}
	if !f.store.home.Reserve(f.object, allocBytes(n)) {
		if !f.startSpill() {
			f.store.counts.refused.Add(1)
		}
		return false
	}
	f.body.hold(allocBytes(n))
	return true
}

// openWindow ends the storing and goes on for those who read.
func (f *Fill) openWindow() {
	f.windowed = true
	f.store.windows.Add(1)
	f.body.openWindow()
}

// unlist takes the object out of sight.
func (f *Fill) unlist() {
	if !f.unlisted.Swap(true) {
		f.store.fills.remove(f)
	}
}

// end hands what came whole to the tier that is its home. The filling list shows
// the object until the tier does, so that nobody misses it in between.
func (f *Fill) end(err error) {
	s := f.store
	var kept *Object // what it is stored as
	owned := false   // by the tier: what the fill's object holds is not ours any more
	switch {
	case f.windowed:
		s.windows.Add(-1)
	case err != nil:
		s.counts.failed.Add(1)
	case f.removed.Load() || f.corrupt:
	case s.gone(f.object):
		s.counts.removed.Add(1)
	case f.spill != nil && !f.endSpill():
	case s.depot != nil:
		kept, owned = f.keepBelow()
	case f.object.body == nil:
		kept = f.keepPart() // in an object made anew
	default:
		if owned = s.home.Put(f.object); owned {
			kept = f.object
		} else {
			s.counts.refused.Add(1)
		}
	}
	f.unlist()
	if f.spill != nil {
		s.spilling.Add(-1)
	}
	if !owned {
		f.object.Drop()
	}
	if kept == nil {
		return
	}
	s.counts.stored.Add(1)
	// Remove marks fills first and asks the tiers second; so whichever of the two
	// came too early for the other sees it here or there.
	switch {
	case f.removed.Load():
		s.forget(f.object.key)
	case s.depot != nil && s.gone(kept): // the disk took its time
		s.discard(kept)
	}
}
