package disk

import (
	"sync"
	"sync/atomic"
)

// blockPart is what a caller of get has to do.
type blockPart uint8

const (
	partRefused blockPart = iota // go, with the error
	partHit                      // take the block
	partWaiter                   // wait for it
	partLeader                   // read it
)

// nearBlocks is how far behind the block that is to leave one is looked for whose memory
// has the size that is wanted. Making memory anew costs more than a little disorder.
const nearBlocks = 16

// blockShard is a part of the table of blocks, and a clock's face: who is to leave is
// looked for from the front of its list, and who was asked for since, or is held, goes
// to the end of it instead.
type blockShard struct {
	blocks *blocks
	idle   atomic.Int64 // bytes of blocks that only the table has; may lag

	// mu guards what follows, and the fields of blocks that say so.
	mu     sync.Mutex
	table  map[blockKey]*block
	root   block // of the ring that all blocks in the table are in
	closed bool

	hits, shared, reads, failed, evicted int64
}

func (h *blockShard) init(s *blocks) {
	h.blocks = s
	h.table = make(map[blockKey]*block)
	h.root.prev, h.root.next = &h.root, &h.root
}

// join makes the caller a holder of the block for key, which is a new one that he has
// to fill if there is none.
func (h *blockShard) join(key blockKey) (*block, blockPart, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, partRefused, errBlocksClosed
	}
	b := h.table[key]
	if b == nil {
		b = &block{shard: h, key: key, done: make(chan struct{})}
		b.refs.Store(inTable + 1)
		h.insert(b)
		h.reads++
		return b, partLeader, nil
	}
	if b.refs.Add(1) == inTable+1 {
		h.idle.Add(-b.memory.cost)
	}
	b.touched = true
	if b.settled {
		h.hits++
		return b, partHit, nil
	}
	h.shared++
	return b, partWaiter, nil
}

// held is the block of a key that has been read, retained; nil for none.
func (h *blockShard) held(key blockKey) *block {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.table[key]
	if b == nil || !b.settled || h.closed {
		return nil
	}
	if b.refs.Add(1) == inTable+1 {
		h.idle.Add(-b.memory.cost)
	}
	b.touched = true
	h.hits++
	return b
}

// show puts a block that nobody holds into the table; false if there is one already.
func (h *blockShard) show(key blockKey, m buffer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.table[key] != nil {
		return false
	}
	b := &block{shard: h, key: key, memory: m, settled: true}
	b.refs.Store(inTable)
	h.insert(b)
	h.idle.Add(m.cost)
	return true
}

// settle ends the read of b, which the caller holds, and tells those who wait.
func (b *block) settle(err error) {
	h := b.shard
	h.mu.Lock()
	b.settled, b.err = true, err
	if err != nil {
		h.failed++
		h.detach(b)
	}
	h.mu.Unlock()
	close(b.done)
}

// evict takes a block that nobody holds, and that has not been asked for of late, out
// of the table and returns its memory: that which is next, or one of the class wanted
// which would soon be.
func (h *blockShard) evict(class int) (m buffer, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range 2 * len(h.table) {
		b := h.root.next
		held := b.refs.Load() != inTable
		if !held && !b.touched {
			b = h.near(b, class)
			h.detach(b)
			h.evicted++
			return b.memory, true
		}
		b.touched = b.touched && held
		h.unlink(b)
		h.link(b)
	}
	return buffer{}, false
}

// near is a block of the class not far behind b that may leave as b may, or b.
func (h *blockShard) near(b *block, class int) *block {
	at := b
	for range nearBlocks {
		// Whose memory is not set yet is held.
		if at.refs.Load() == inTable && !at.touched && at.memory.class == class {
			return at
		}
		if at = at.next; at == &h.root {
			break
		}
	}
	return b
}

// dropIdle takes b out of the table if nobody holds it, and tells whether its memory
// is the caller's now.
func (h *blockShard) dropIdle(b *block) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return b.refs.Load() == inTable && h.detach(b)
}

// detach takes b out of the table, if it is there, and tells whether its memory is the
// caller's now because nobody holds it.
func (h *blockShard) detach(b *block) bool {
	if b.next == nil {
		return false
	}
	h.unlink(b)
	delete(h.table, b.key)
	if b.refs.Add(-inTable) != 0 {
		return false
	}
	h.idle.Add(-b.memory.cost)
	return true
}

func (h *blockShard) insert(b *block) {
	h.table[b.key] = b
	h.link(b)
}

// link puts b at the end of the ring.
func (h *blockShard) link(b *block) {
	b.prev, b.next = h.root.prev, &h.root
	b.prev.next, h.root.prev = b, b
}

func (h *blockShard) unlink(b *block) {
	b.prev.next, b.next.prev = b.next, b.prev
	b.prev, b.next = nil, nil
}

// detachIf takes the blocks that match out of the table and returns the memory of
// those that nobody holds. last refuses all that come afterwards.
func (h *blockShard) detachIf(match func(*block) bool, last bool) []buffer {
	h.mu.Lock()
	defer h.mu.Unlock()
	var idle []buffer
	for b := h.root.next; b != &h.root; {
		next := b.next
		if match(b) && h.detach(b) {
			idle = append(idle, b.memory)
		}
		b = next
	}
	h.closed = h.closed || last
	return idle
}

func (h *blockShard) addTo(n *blocksStats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n.Hits += h.hits
	n.Shared += h.shared
	n.Reads += h.reads
	n.Failed += h.failed
	n.Evicted += h.evicted
	n.Blocks += int64(len(h.table))
	n.IdleBytes += h.idle.Load()
}
