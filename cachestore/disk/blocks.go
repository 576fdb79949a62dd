package disk

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"perigee/cachestore"
)

const (
	// maxReads is how many reads of one store go on at once; more wait for a place.
	maxReads = 64
	// blockShards is how many locks the blocks are spread over, a power of two.
	blockShards = 16
	// inTable is the reference that the table has to a block that it shows. It stands
	// above those of holders, so that one atomic number tells who has the block.
	inTable = 1 << 32
)

var (
	// errBlocksClosed is what get returns after close.
	errBlocksClosed = fmt.Errorf("blocks are closed: %w", cachestore.ErrGone)
	// errNoMemory is returned for a read too long to do without the budget, which has
	// nothing left.
	errNoMemory = fmt.Errorf("no memory for the read: %w", cachestore.ErrGone)
	// errReadAborted goes to those who waited for a read that panicked.
	errReadAborted = errors.New("read did not return")
	// errBlockTurn tells those who waited that who was to read has left before the read
	// began: one of them has to. No caller sees it.
	errBlockTurn = errors.New("read has not begun")
)

// address is where a read in the log begins.
type address struct {
	segment uint32
	off     int64
}

// blockKey is what a read is shared by. The length belongs to it, so that nobody is
// given fewer bytes than he asked for.
type blockKey struct {
	address
	n int
}

// shard is the number of the lock that guards k.
func (k blockKey) shard() uint64 {
	h := uint64(k.off)*0x9e3779b97f4a7c15 ^ uint64(k.segment)*0xc2b2ae3d27d4eb4f ^ uint64(k.n)*0xff51afd7ed558ccd
	return h * 0x9e3779b97f4a7c15 >> (64 - bits.TrailingZeros(blockShards))
}

// block is verified bytes of the log in memory, the same for all who read them. It is
// made for one read and never used for another; only its memory is.
type block struct {
	shard *blockShard
	key   blockKey
	// memory is set by who reads, before anybody else may look at it, and never again.
	memory buffer
	// refs is inTable while the table shows the block, plus one for each holder. Who
	// takes it to 0 gives the memory back.
	refs atomic.Int64

	// The shard's lock guards what follows. Once done is closed, err stays as it is.
	prev, next *block
	touched    bool // asked for since the clock's hand last passed
	settled    bool // the read is over
	err        error
	done       chan struct{} // closed when it has been read; nil if it was there at once
}

// bytes are the bytes that were asked for. The caller must hold b, and may use them
// only until he releases it.
func (b *block) bytes() []byte { return b.memory.data[:b.key.n:b.key.n] }

// retain makes one more holder. The caller must be one.
func (b *block) retain() { b.refs.Add(1) }

// Release is called once by each holder. After the last one the memory may be used for
// other bytes. A release too many is counted and does nothing, unless others hold b.
func (b *block) Release() {
	s := b.shard.blocks
	for {
		refs := b.refs.Load()
		if refs%inTable == 0 {
			s.unmatched.Add(1)
			return
		}
		if !b.refs.CompareAndSwap(refs, refs-1) {
			continue
		}
		switch refs - 1 {
		case 0:
			s.recycle(b.memory)
		case inTable:
			b.shard.idle.Add(b.memory.cost)
			if !s.keeps(b.memory) {
				s.drop(b)
			}
		}
		return
	}
}

// blocksOptions says what memory blocks may take. Reserve and Release must be set, and
// may be called concurrently; no lock is held meanwhile.
type blocksOptions struct {
	// Limit is how many bytes idle and busy buffers may take together as of right; 0
	// keeps nothing that nobody holds.
	Limit   int64
	Reserve func(n int64) bool // takes n bytes of the budget, or none
	Release func(n int64)      // gives back what was reserved

	// scribble overwrites memory that is given back, so that a test can show that
	// nobody has it any more.
	scribble bool
}

// blocks is the memory for verified reads: it lets those who want the same bytes share
// one read, keeps what was read of late, and bounds how much is read at once. All
// methods may be called concurrently.
//
// Of memory it takes up to Limit, as it is needed. What is beyond Limit, because
// holders are slow, is reserved too, but given back when the holders leave. Where the
// budget has nothing left, a read gets memory that is not reserved: a client that is
// being answered goes first. Such memory is counted, and goes as soon as nobody holds
// it.
type blocks struct {
	limit   int64
	reserve func(n int64) bool
	release func(n int64)
	debug   bool

	places chan struct{}        // one for each read that goes on
	free   [classes]chan buffer // by size class
	taken  atomic.Int64         // reserved bytes, in use or not
	closed atomic.Bool
	hand   atomic.Uint32 // the shard that had to help out last
	shards [blockShards]blockShard

	grace, graceBytes, unmatched atomic.Int64
}

// blocksStats is what blocks count. Those that end in Bytes and Blocks are of now, the
// others rise.
type blocksStats struct {
	Hits       int64 // answered by what was in memory
	Shared     int64 // waited for a read that was under way
	Reads      int64 // begun
	Failed     int64 // reads that ended in an error
	Evicted    int64 // blocks that left to make room
	Grace      int64 // reads whose memory could not be reserved
	Unmatched  int64 // releases by who held nothing: a fault of ours
	Blocks     int64 // shown, those under way included
	IdleBytes  int64 // of blocks that are kept and nobody holds
	TakenBytes int64 // reserved
	GraceBytes int64 // in use without being reserved
}

// newBlocks takes no memory yet.
func newBlocks(o blocksOptions) (*blocks, error) {
	if o.Limit < 0 || o.Reserve == nil || o.Release == nil {
		return nil, fmt.Errorf("blocks of %d bytes: a limit of 0 or more, Reserve and Release are needed", o.Limit)
	}
	s := &blocks{
		limit: o.Limit, reserve: o.Reserve, release: o.Release, debug: o.scribble,
		places: make(chan struct{}, maxReads),
	}
	for i := range s.free {
		s.free[i] = make(chan buffer, maxFree)
	}
	for i := range s.shards {
		s.shards[i].init(s)
	}
	return s, nil
}

// kept returns a block that is here already, retained for the caller, nil if it is not.
// Who asks it before get makes no closure for nothing.
func (s *blocks) kept(at address, n int) *block {
	key := blockKey{at, n}
	return s.shards[key.shard()].held(key)
}

// get returns n bytes of the log that read has filled and verified, retained for the
// caller. One caller reads for all who ask for the same while it is under way, and for
// those who come while the block is held or kept. Who waits leaves with the error of
// his ctx; a read that has begun goes on. The error of read goes to all who waited,
// and nothing is kept. read must not keep p.
func (s *blocks) get(ctx context.Context, at address, n int, read func(p []byte) error) (*block, error) {
	key := blockKey{at, n}
	shard := &s.shards[key.shard()]
	for {
		b, part, err := shard.join(key)
		switch part {
		case partHit:
			return b, nil
		case partRefused:
			return nil, err
		case partLeader:
			// By itself, so that nobody has to wait for a disk that hangs.
			b.retain()
			go s.lead(ctx, b, read)
		case partWaiter:
		}
		if err = b.wait(ctx); err == nil {
			return b, nil
		}
		b.Release()
		if !errors.Is(err, errBlockTurn) {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err // it was the caller who should have read
		}
	}
}

// readPatience is how long one read may take. Beyond it the disk hangs for who waits: the
// bytes are had elsewhere.
const readPatience = 3 * time.Second

// errLate says that a read took longer than readPatience.
var errLate = errors.New("the disk does not answer")

// wait returns how the read of b ended, the error of ctx, or errLate.
func (b *block) wait(ctx context.Context) error {
	late := time.NewTimer(readPatience)
	defer late.Stop()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errLate
	}
}

// lead fills b and releases it. Whatever happens, those who wait for b are told.
func (s *blocks) lead(ctx context.Context, b *block, read func(p []byte) error) {
	if err := s.place(ctx); err != nil {
		if !errors.Is(err, errBusy) {
			err = errBlockTurn
		}
		b.settle(err)
		b.Release()
		return
	}
	err := errReadAborted
	defer func() {
		_ = recover() // a read that panics costs those who wait for it, and nobody else
		b.settle(err)
		b.Release()
		<-s.places // last: see close
	}()
	m, failed := s.take(b.key.n, b.shard)
	if failed == nil {
		b.memory = m
		failed = read(b.bytes())
	}
	err = failed
}

// place waits until one more read may begin.
func (s *blocks) place(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.places <- struct{}{}:
		return nil
	default:
	}
	late := time.NewTimer(placePatience)
	defer late.Stop()
	select {
	case s.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errBusy
	}
}

// placePatience is how long a read waits for its turn.
const placePatience = 2 * time.Second

// errBusy says that a read has waited for its turn for placePatience.
var errBusy = errors.New("the disk is busy")

// put keeps a copy of data as if it had been read, if there is memory as of right. It
// does not wait.
func (s *blocks) put(at address, data []byte) {
	key := blockKey{at, len(data)}
	shard := &s.shards[key.shard()]
	m, ok := s.takeOwn(len(data), shard)
	if !ok {
		return
	}
	copy(m.data, data)
	if !s.keeps(m) || !shard.show(key, m) {
		s.recycle(m)
	}
}

// forget makes sure that no block of a segment is handed out any more, those under way
// included. Who holds one goes on, and who waits for one gets it.
func (s *blocks) forget(segment uint32) {
	s.detachAll(func(b *block) bool { return b.key.segment == segment }, false)
}

// close gives back the memory that nobody holds, and the rest as it is released. What
// is asked for afterwards is refused. It waits for reads that are under way, but not for
// ever.
func (s *blocks) close() {
	s.closed.Store(true)
	late := time.NewTimer(readPatience)
	defer late.Stop()
	for hangs, i := false, 0; i < maxReads && !hangs; i++ {
		select {
		case s.places <- struct{}{}:
		case <-late.C:
			hangs = true
		}
	}
	s.detachAll(func(*block) bool { return true }, true)
	s.discardFree()
}

func (s *blocks) stats() blocksStats {
	n := blocksStats{
		Grace: s.grace.Load(), Unmatched: s.unmatched.Load(),
		TakenBytes: s.taken.Load(), GraceBytes: s.graceBytes.Load(),
	}
	for i := range s.shards {
		s.shards[i].addTo(&n)
	}
	return n
}
