package disk

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	shardBits   = 8
	indexShards = 1 << shardBits
	// maxHeat is where the heat of an entry stops to rise.
	maxHeat = 3
	// maxIndexVariants is how many variants a tag may have. More would make every
	// look-up of it, and of its neighbours, slow; they are refused.
	maxIndexVariants = 64
	// allBatch is how many entries are copied at a time for those who look at all.
	allBatch = 128
)

// What a place can say: the number of a segment from 1 to maxPlaceSegment, an offset in
// it that is a multiple of placeUnit below maxPlaceOff, and a length of at most maxPlaceLength.
const (
	placeUnit       = 64
	maxPlaceSegment = 1<<24 - 1
	maxPlaceOff     = 1 << 24 * placeUnit
	maxPlaceLength  = 0xffff * placeUnit
)

// place is where a record stands: number of the segment (24 bits), offset / 64 (24
// bits), length / 64 rounded up (16 bits). 0 is no place.
type place uint64

// newPlace is the place of a record of n bytes; 0 if that is not what a place can say.
func newPlace(segment uint32, off, n int64) place {
	if segment == 0 || segment > maxPlaceSegment || off < 0 || off >= maxPlaceOff || off%placeUnit != 0 || n < 0 {
		return 0
	}
	units := uint64(0xffff)
	if n < maxPlaceLength {
		units = uint64(n+placeUnit-1) / placeUnit
	}
	return place(uint64(segment)<<40 | uint64(off/placeUnit)<<16 | units)
}

func (p place) segment() uint32 { return uint32(p >> 40) }

// off is the offset in the segment, in bytes.
func (p place) off() int64 { return int64(p>>16&0xffffff) * placeUnit }

// length is how many bytes the record has at most; one of maxPlaceLength may be longer.
func (p place) length() int64 { return int64(p&0xffff) * placeUnit }

// name is what an object is found by: half of its key, and a hash of its variant. Two
// objects may have the same name; their records tell.
type name struct {
	tag     uint64
	variant uint32
}

// found is an entry of the index, as it was at the moment of looking.
type found struct {
	name
	at    place
	flags uint8
	heat  uint8 // 0 to maxHeat
}

// Flags of an entry.
const (
	flagRefers  = 1 << iota // its bodies stand in other segments than the record
	flagPartial             // it is not a whole representation
)

// indexOptions say what memory an index may have.
type indexOptions struct {
	// Reserve takes n bytes from a budget, or none and tells so; Release gives n back.
	// They are called with a shard locked, and must neither wait nor use the index.
	// nil: no budget.
	Reserve func(n int64) bool
	Release func(n int64)
	// MaxBytes is a bound of the index itself; 0 for none.
	MaxBytes int64
}

// index knows where the record of every object on disk stands. It takes 24 bytes for an
// entry, and with what is empty less than 60 when there are many. It asks for
// memory before it takes any, and refuses what it gets none for. All methods may be
// called concurrently.
type index struct {
	seeds   indexSeeds
	options indexOptions
	entries atomic.Int64
	taken   atomic.Int64 // bytes
	denied  atomic.Int64
	shards  [indexShards]indexShard
}

// indexShard has the entries of one 256th of all hashes. It is two cache lines, so that
// locks do not share one.
type indexShard struct {
	mu     sync.RWMutex // guards table and closed; the heat may change under RLock
	table  indexTable
	closed bool
	_      [56]byte
}

// shardBytes are counted while a shard has entries.
const shardBytes = int64(unsafe.Sizeof(indexShard{}))

func newIndex(o indexOptions) *index {
	return &index{options: o, seeds: indexSeeds{rand.Uint64(), rand.Uint64(), rand.Uint64()}}
}

// locate returns the shard of a tag, and its order there.
func (x *index) locate(tag uint64) (s *indexShard, order uint64) {
	hash := x.seeds.hash(tag)
	return &x.shards[hash>>(64-shardBits)], hash << shardBits
}

// find appends every variant of a tag, in no order, and returns buf.
func (x *index) find(tag uint64, buf []found) []found {
	s, order := x.locate(tag)
	s.mu.RLock()
	buf = s.table.find(order, tag, buf)
	s.mu.RUnlock()
	return buf
}

func (x *index) get(n name) (f found, ok bool) {
	s, order := x.locate(n.tag)
	s.mu.RLock()
	if e := s.table.seek(order, n); e != nil {
		f, ok = e.found(atomic.LoadUint64(&e.word)), true
	}
	s.mu.RUnlock()
	return f, ok
}

// put makes at the place of n, and returns the one before; 0 if n is new, then its heat
// is 0, while it is kept otherwise. Not ok is a refusal, and nothing has changed: no
// memory, too many variants, at is no place, or the index is closed. A name that is there
// is refused for the want of a place only.
func (x *index) put(n name, at place, flags uint8) (old place, ok bool) {
	s, order := x.locate(n.tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.table.seek(order, n); e != nil && at != 0 {
		old = e.at
		e.set(at, flags)
		return old, true
	}
	return 0, x.add(s, order, newSlot(n, at, flags))
}

// swap is put if old is the place of n, or there is no n and old is 0. False means that
// nothing has changed.
func (x *index) swap(n name, old, at place, flags uint8) bool {
	s, order := x.locate(n.tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table.seek(order, n)
	switch {
	case at == 0:
		return false
	case e == nil:
		return old == 0 && x.add(s, order, newSlot(n, at, flags))
	case e.at != old:
		return false
	}
	e.set(at, flags)
	return true
}

// drop forgets n if at is its place, and tells whether it was.
func (x *index) drop(n name, at place) bool {
	s, order := x.locate(n.tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.table.seek(order, n); e == nil || e.at != at {
		return false
	}
	s.table.remove(order, n)
	x.entries.Add(-1)
	x.shrink(s)
	return true
}

// touch makes n hotter by one.
func (x *index) touch(n name) {
	x.warm(n, func(heat uint8) uint8 { return min(heat+1, maxHeat) })
}

// cool makes n colder by one.
func (x *index) cool(n name) {
	x.warm(n, func(heat uint8) uint8 { return max(heat, 1) - 1 })
}

// setHeat makes n as hot as that; maxHeat if it is more.
func (x *index) setHeat(n name, heat uint8) {
	x.warm(n, func(uint8) uint8 { return min(heat, maxHeat) })
}

func (x *index) warm(n name, next func(uint8) uint8) {
	s, order := x.locate(n.tag)
	s.mu.RLock()
	if e := s.table.seek(order, n); e != nil {
		e.warm(next)
	}
	s.mu.RUnlock()
}

// len is how many entries there are.
func (x *index) len() int64 { return x.entries.Load() }

// bytes is what is reserved now.
func (x *index) bytes() int64 { return x.taken.Load() }

// refused is how many new entries have been refused so far.
func (x *index) refused() int64 { return x.denied.Load() }

// all yields every entry that is there all the while, once, and of the others those that
// it meets; as they are a moment before. yield may call any method.
func (x *index) all(yield func(found) bool) {
	buf := make([]found, 0, allBatch+maxIndexVariants)
	for i := range x.shards {
		s := &x.shards[i]
		for from, more := uint64(0), true; more; {
			s.mu.RLock()
			buf, from, more = s.table.batch(&x.seeds, from, allBatch, buf[:0])
			s.mu.RUnlock()
			for _, f := range buf {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// close forgets everything and gives all memory back. What is put from now on is refused.
func (x *index) close() {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		s.closed = true
		x.entries.Add(-int64(s.table.n))
		x.empty(s)
		s.mu.Unlock()
	}
}
