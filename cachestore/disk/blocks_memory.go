package disk

import "fmt"

const (
	// maxFree is how many buffers of a size class wait to be used again.
	maxFree = maxReads
	// maxGraceBytes is the longest read that is given memory which is not reserved.
	maxGraceBytes = 4 << 20
	// maxBlockBytes is the longest read.
	maxBlockBytes = 1 << 30
	// ownBytes is what a block and its place in the table take beside its buffer.
	ownBytes = 256
	// pageBytes is what the runtime rounds large slices up to.
	pageBytes = 8 << 10
	// measured is the class of buffers that are made for one read.
	measured = -1
)

// The size classes: metadata, small objects, and a full block of a body (64 KiB) with
// its headers. The runtime hands out each of them without waste.
const (
	smallBytes  = 4 << 10
	mediumBytes = 16 << 10
	largeBytes  = 72 << 10

	classes = 3
)

// buffer is memory for one block.
type buffer struct {
	data     []byte
	cost     int64 // bytes to be reserved for it, those of its block included
	class    int   // an index of the free lists, or measured
	reserved bool
}

// sizeOf says how long a buffer for n bytes is, and of which class.
func sizeOf(n int) (size, class int) {
	switch {
	case n <= smallBytes:
		return smallBytes, 0
	case n <= mediumBytes:
		return mediumBytes, 1
	case n <= largeBytes:
		return largeBytes, 2
	}
	return (n + pageBytes - 1) &^ (pageBytes - 1), measured
}

// take returns memory for n bytes: as of right, from the budget beyond that, or in the
// end from neither.
func (s *blocks) take(n int, home *blockShard) (buffer, error) {
	if n < 0 || n > maxBlockBytes {
		return buffer{}, fmt.Errorf("read of %d bytes at once", n)
	}
	if m, ok := s.takeOwn(n, home); ok {
		return m, nil
	}
	m := bufferFor(n)
	if m.reserved = s.reserve(m.cost); m.reserved {
		s.taken.Add(m.cost)
	} else if n > maxGraceBytes {
		return buffer{}, errNoMemory
	} else {
		s.grace.Add(1)
		s.graceBytes.Add(m.cost)
	}
	size, _ := sizeOf(n)
	m.data = make([]byte, size)
	return m, nil
}

// bufferFor is a buffer for n bytes that has no memory yet.
func bufferFor(n int) buffer {
	size, class := sizeOf(n)
	return buffer{cost: int64(size) + ownBytes, class: class}
}

// takeOwn returns memory for n bytes within the limit: what is free, then what may
// still be reserved, then that of blocks which have to leave for it.
func (s *blocks) takeOwn(n int, home *blockShard) (buffer, bool) {
	m := bufferFor(n)
	if m.cost > s.limit {
		return buffer{}, false
	}
	if m.class != measured {
		select {
		case m = <-s.free[m.class]:
			return m, true
		default:
		}
	}
	for !s.grow(m.cost) {
		old, ok := s.evict(home, m.class)
		if !ok {
			return buffer{}, false
		}
		if old.class == m.class && m.class != measured && old.reserved {
			return old, true
		}
		s.discard(old)
	}
	size, _ := sizeOf(n)
	m.data, m.reserved = make([]byte, size), true
	return m, true
}

// grow reserves n bytes within the limit.
func (s *blocks) grow(n int64) bool {
	for {
		taken := s.taken.Load()
		if taken+n > s.limit {
			return false
		}
		if s.taken.CompareAndSwap(taken, taken+n) {
			break
		}
	}
	if s.reserve(n) {
		return true
	}
	s.taken.Add(-n)
	return false
}

// evict returns memory that is of no use where it is: free buffers of whatever class,
// then those of blocks that nobody holds. They leave where the new block is to be, if
// possible: as many come to each shard as go, and the shards stay of a size.
func (s *blocks) evict(home *blockShard, class int) (buffer, bool) {
	for _, free := range s.free {
		select {
		case m := <-free:
			return m, true
		default:
		}
	}
	h, next := home, s.hand.Add(1)
	for i := range uint32(blockShards + 1) {
		if h.idle.Load() > 0 {
			if m, ok := h.evict(class); ok {
				s.spoil(m)
				return m, true
			}
		}
		h = &s.shards[(next+i)%blockShards]
	}
	return buffer{}, false
}

// keeps tells whether a block with this memory may stay when nobody holds it.
func (s *blocks) keeps(m buffer) bool {
	if m.class == measured && m.cost > s.limit/8 {
		return false // a single one would drive out too much
	}
	return m.reserved && s.taken.Load() <= s.limit
}

// drop takes b out of the table unless somebody has come to hold it.
func (s *blocks) drop(b *block) {
	if b.shard.dropIdle(b) {
		s.recycle(b.memory)
	}
}

// recycle is where memory goes that nobody has any more: to the next read, or back.
func (s *blocks) recycle(m buffer) {
	if m.data == nil {
		return // nothing was read
	}
	s.spoil(m)
	if m.class != measured && m.reserved && s.taken.Load() <= s.limit {
		select {
		case s.free[m.class] <- m:
			if s.closed.Load() {
				s.discardFree()
			}
			return
		default:
		}
	}
	s.discard(m)
}

// discard leaves memory to the garbage collector.
func (s *blocks) discard(m buffer) {
	if !m.reserved {
		s.graceBytes.Add(-m.cost)
		return
	}
	s.taken.Add(-m.cost)
	s.release(m.cost)
}

// discardFree gives back the buffers that no block has.
func (s *blocks) discardFree() {
	for _, free := range s.free {
		for {
			select {
			case m := <-free:
				s.discard(m)
				continue
			default:
			}
			break
		}
	}
}

// detachAll takes the blocks that match out of the table.
func (s *blocks) detachAll(match func(*block) bool, last bool) {
	for i := range s.shards {
		for _, m := range s.shards[i].detachIf(match, last) {
			s.recycle(m)
		}
	}
}

// spoil makes the bytes of m useless where a test wants it.
func (s *blocks) spoil(m buffer) {
	if !s.debug {
		return
	}
	for i := range min(64, len(m.data)) {
		m.data[i] = 0xdb
	}
	for n := 64; n < len(m.data); {
		n += copy(m.data[n:], m.data[:n])
	}
}
