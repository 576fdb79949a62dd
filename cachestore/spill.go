package cachestore

import "context"

// A body that is too long to wait in memory until all of it has come goes to the depot
// while it arrives. What has been written leaves memory, and who still needs it reads it
// there. Nobody who reads waits for the disk: where it cannot keep up and a reader waits
// for bytes, the storing ends, and the body becomes a window.

const (
	// shareOfRAM is which part of the budget a body may be that lives in memory, where
	// there is a depot, within the two bounds below.
	shareOfRAM      = 64
	leastInRAMBytes = 256 << 10
	mostInRAMBytes  = 16 << 20
	pendingBytes    = 16 << 20 // of one body that may wait to be written, beside what had come before it spilled
	pendingShare    = 8        // and which part of the budget that is at most
	followBytes     = 1 << 20  // of what has been written that stays for those who follow closely
	mostHandedBytes = 4 << 20  // that a spill has in hand at once, a chunk at least
	handedShare     = 16       // and which part of the budget all of them together: half of what may wait
)

// spilling is what a fill knows of its body's way into the depot.
type spilling struct {
	to      Spill
	source  Source
	handed  int64 // how much of the body has been handed over
	pending int64 // how much of what has come may
	size    int64 // what source had when it was looked at last
	failed  bool  // it takes no more, as it said when it spoke up last
}

// waits is how much has been handed over and had not been written at the last look.
func (s *spilling) waits() int64 { return s.handed - s.size }

// look looks at what has been written, heard when the depot has spoken up. Whether it has
// failed is asked then: growth may have been seen before it was told of.
func (s *spilling) look(heard bool) {
	select {
	case <-s.to.Grown():
		heard = true
	default:
	}
	s.size = s.source.Size()
	s.failed = s.failed || heard && !s.to.Write(nil)
}

// startSpill has the body go to the depot from its beginning on. False means that it
// stays in memory, because there is no depot or it takes nothing now.
func (f *Fill) startSpill() bool {
	if f.spillMax == 0 {
		return false
	}
	s, b := f.store, f.body
	to := s.depot.Spill(f.object)
	if to == nil {
		f.spillMax = 0
		return false
	}
	s.counts.spilled.Add(1)
	s.spilling.Add(1)
	f.spill = &spilling{
		to: to, source: to.Source(), pending: b.written + min(pendingBytes, s.budget.Limit()/pendingShare),
	}
	b.beginSpill(to, f.spill.source)
	return true
}

// spillAtOnce is startSpill for a body of which nothing has come. Its metadata is
// reserved if there is room; else it is not going to be in memory.
func (f *Fill) spillAtOnce() bool {
	if f.body.want > f.spillMax || !f.startSpill() {
		return false
	}
	if f.bare = !f.store.home.Reserve(f.object, f.object.metaBytes); f.bare {
		f.object.metaBytes = 0
	}
	return true
}

// unspill ends the storing of a body that spills.
func (f *Fill) unspill() {
	f.store.counts.unspilled.Add(1)
	f.store.spilling.Add(-1)
	f.spill = nil
}

// ahead is how much of what a spill was handed may wait to be written. Many at once leave
// room for each other, and for what is short; each for one more, since the first have
// their shares before the others come.
func (s *Store) ahead() int64 {
	all := s.budget.Limit() / handedShare
	return max(chunkBytes, min(mostHandedBytes, all/(1+max(s.spilling.Load(), 1))))
}

// spillSpace is memory for the bytes that come next; nil if the body is not going to be
// stored.
func (f *Fill) spillSpace(ctx context.Context) ([]byte, error) {
	b, p := f.body, f.spill
	if b.written >= f.spillMax {
		f.store.counts.tooLarge.Add(1)
		f.unspill()
		return nil, nil
	}
	for heard := false; ; {
		if p.look(heard); !f.handOver(b.written) {
			break
		}
		n := b.nextChunkBytes()
		b.shed(p.size, followBytes)
		if b.written-p.size+n <= p.pending {
			cost := allocBytes(n)
			if f.reserveChunk(cost) || b.shed(p.size, 0) && f.reserveChunk(cost) {
				b.hold(cost)
				return b.addChunk(n, cost), nil
			}
		}
		if p.waits() < chunkBytes {
			break // that much a depot may hold back until more comes
		}
		eager := b.whenNeeded()
		if eager == nil {
			break
		}
		heard = false
		select {
		case <-p.to.Grown():
			heard = true
		case <-eager:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	f.unspill()
	return nil, nil
}

// reserveChunk takes bytes that are free, or has others leave for them.
func (f *Fill) reserveChunk(n int64) bool {
	return f.store.budget.Reserve(n) || f.store.home.Reserve(f.object, n)
}

// handOver gives the depot what has come, in whole chunks but for the last, as far as it
// may have in hand. False means that it takes no more.
func (f *Fill) handOver(arrived int64) bool {
	b, p := f.body, f.spill
	ahead := f.store.ahead()
	for !p.failed && p.handed < arrived && p.waits() < ahead {
		// Only this goroutine adds chunks and takes them out.
		c := b.find(p.handed)
		end := min(c.off+int64(len(c.data)), arrived)
		if end < c.off+int64(len(c.data)) && !b.done {
			return true
		}
		if !p.to.Write(c.data[: end-c.off : end-c.off]) {
			return false
		}
		p.handed = end
	}
	return !p.failed
}

// endSpill waits until all of a body that has come is in the depot, and tells whether it
// is. Nobody who reads the body waits for it.
func (f *Fill) endSpill() bool {
	b, p := f.body, f.spill
	for p.look(false); p.handed < b.written; p.look(true) {
		if !f.handOver(b.written) {
			f.unspill()
			return false
		}
		b.shed(p.size, followBytes)
		if p.handed < b.written {
			<-p.to.Grown()
		}
	}
	if !p.to.End() || p.source.Size() != b.written {
		f.unspill()
		return false
	}
	b.settleSpill()
	return true
}

// beginSpill lets readers read what leaves memory from at. Each chunk has its own
// reservation from now on.
func (b *body) beginSpill(to Spill, at Source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spill, b.spilled = to, at
	b.itemise()
}

// itemise gives back what is reserved for bytes to come, and books the rest chunk by
// chunk. The mutex is held.
func (b *body) itemise() {
	var held int64
	for _, c := range b.chunks {
		c.reserved = min(allocBytes(int64(len(c.data))), b.reserved-held)
		held += c.reserved
	}
	b.budget.Release(b.reserved - held)
	b.reserved = held
}

// shed lets go the chunks at the front that end before size, but keeps about the given
// number of bytes of them, and tells whether there were any.
func (b *body) shed(size, keep int64) (any bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.chunks) > 0 {
		c := b.chunks[0]
		end := c.off + int64(len(c.data))
		if end > size || size-c.off <= keep {
			break
		}
		b.dropFirst()
		any = true
	}
	return any
}

// dropFirst takes out the first chunk. Where a reader still has it, what is reserved is
// given back when that goes on. The mutex is held.
func (b *body) dropFirst() {
	c := b.chunks[0]
	b.chunks[0] = nil
	b.chunks = b.chunks[1:]
	b.reserved -= c.reserved
	if c.left = c.pins > 0; !c.left {
		b.budget.Release(c.reserved)
	}
}

// whenNeeded is a channel that tells when a reader waits for bytes; nil if one does. It
// may tell so for nothing.
func (b *body) whenNeeded() chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range b.readers {
		if r.waiting && r.off >= b.written {
			return nil
		}
	}
	if b.drained == nil {
		b.drained = make(chan struct{})
	}
	return b.drained
}

// settleSpill makes a body that has come, and been written, one that is in the depot
// alone.
func (b *body) settleSpill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.chunks) > 0 {
		b.dropFirst()
	}
	b.chunks = nil
	b.settle(b.spilled)
	b.lean.Store(true)
	b.sealed.Store(true)
	b.wakeReaders()
}

// keepSpill leaves what was written to the depot, which has an object made of it.
func (b *body) keepSpill() {
	b.mu.Lock()
	b.spill = nil
	b.mu.Unlock()
}
