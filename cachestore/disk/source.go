package disk

import (
	"context"
	"errors"
	"io"
	"slices"
	"sort"
	"sync"

	"perigee/cachestore"
)

// run is bytes of a body that stand in one segment: in one record, or in whole pieces
// one behind the other, the last of which may be shorter.
type run struct {
	segment *segment
	off     int64 // of the first block, or, of pieces, of the first record
	bytes   int64 // of the body
	inline  bool  // the blocks stand one behind the other, in the record of an object
	record  place // that record, if it is known; else 0
}

// block is where the block with the byte at x of the run stands, how long it is with
// its head, and at which byte of the run it begins.
func (r run) block(x int64) (off, n, begin int64) {
	begin = x / blockBytes * blockBytes
	n = min(blockBytes, r.bytes-begin) + blockHeadBytes
	if r.inline {
		return r.off + begin/blockBytes*(blockBytes+blockHeadBytes), n, begin
	}
	piece, within := begin/pieceBytes, begin%pieceBytes
	return r.off + piece*pieceStride + recordHeadBytes + within/blockBytes*(blockBytes+blockHeadBytes), n, begin
}

// follows tells whether a piece that stands at off in s goes on where r ends.
func (r run) follows(s *segment, off int64) bool {
	return !r.inline && r.segment == s && r.bytes%pieceBytes == 0 && r.off+r.bytes/pieceBytes*pieceStride == off
}

// body is the bytes of a representation, or of a part of it, in the log. It implements
// [cachestore.Source].
type body struct {
	depot *Depot
	name  name  // of the object that it was read or written with
	at    place // where that stood then; 0 for none yet

	mu    sync.RWMutex // guards what follows; it only grows
	runs  []run
	ends  []int64    // of each run in the body
	pins  []*segment // those that are pinned, each once
	users int        // Pins that have not been undone
}

// newSource is a body in runs, of the object of a name whose record stands at a place.
func newSource(d *Depot, n name, at place, runs []run) *body {
	b := &body{depot: d, name: n, at: at}
	for _, r := range runs {
		b.append(r)
	}
	return b
}

// append adds bytes at the end.
func (b *body) append(r run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	end := r.bytes
	if n := len(b.ends); n > 0 {
		end += b.ends[n-1]
	}
	if n := len(b.runs); n > 0 && !r.inline && b.runs[n-1].follows(r.segment, r.off) {
		b.runs[n-1].bytes += r.bytes
		b.ends[n-1] = end
		return
	}
	b.runs, b.ends = append(b.runs, r), append(b.ends, end)
	if b.users > 0 && !slices.Contains(b.pins, r.segment) && r.segment.pin() {
		b.pins = append(b.pins, r.segment)
	}
}

// Size implements [cachestore.Source].
func (b *body) Size() int64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if len(b.ends) == 0 {
		return 0
	}
	return b.ends[len(b.ends)-1]
}

// all is a copy of b's runs.
func (b *body) all() []run {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Clone(b.runs)
}

// find is the run that has the byte at off, and where in the body it begins.
func (b *body) find(off int64) (r run, begin int64, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	i := sort.Search(len(b.ends), func(i int) bool { return b.ends[i] > off })
	if i == len(b.ends) {
		return run{}, 0, false
	}
	return b.runs[i], b.ends[i] - b.runs[i].bytes, true
}

// Block implements [cachestore.Source].
func (b *body) Block(ctx context.Context, off int64) (cachestore.Block, error) {
	r, base, ok := b.find(off)
	if !ok || r.segment.gone.Load() {
		return cachestore.Block{}, cachestore.ErrGone
	}
	d := b.depot
	at, n, begin := r.block(off - base)
	if r.record != 0 && r.record.length() <= wholeReadBytes {
		held, err := d.readRecord(ctx, r.segment, r.record)
		if err != nil {
			return cachestore.Block{}, b.failed(ctx, r.segment, err)
		}
		from := at - r.record.off() + blockHeadBytes
		return cachestore.Block{Data: held.bytes()[from : from+n-blockHeadBytes], Off: base + begin, Hold: held}, nil
	}
	held, err := r.segment.volume.blocks.get(ctx, address{r.segment.number, at}, int(n), func(p []byte) error {
		if err := d.files.readAt(r.segment.number, p, at); err != nil {
			return err
		}
		return checkBlock(p, r.segment.id, at)
	})
	if err != nil {
		return cachestore.Block{}, b.failed(ctx, r.segment, err)
	}
	d.counts.readBytes.Add(n)
	return cachestore.Block{Data: held.bytes()[blockHeadBytes:], Off: base + begin, Hold: held}, nil
}

// failed says what is wrong with a read, and drops the object: who asks for it next
// should get all of it from the upstream.
func (b *body) failed(ctx context.Context, s *segment, err error) error {
	why := b.depot.readFailed(ctx, s, err)
	if b.at != 0 && errors.Is(why, cachestore.ErrDamaged) {
		b.depot.drop(b.name, b.depot.moved.now(b.at))
	}
	return why
}

// readFailed counts what is wrong with a read and says it in the words of the store.
func (d *Depot) readFailed(ctx context.Context, s *segment, err error) error {
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return context.Cause(ctx)
	case s.gone.Load(), errors.Is(err, cachestore.ErrGone), errors.Is(err, errReadAborted):
		return cachestore.ErrGone
	case errors.Is(err, errBusy):
		d.counts.late.Add(1)
	case errors.Is(err, errDamaged), errors.Is(err, errTorn), errors.Is(err, errNoRecord), errors.Is(err, io.ErrUnexpectedEOF):
		d.counts.dropped(dropChecksum)
		s.volume.sayDamage(s, err)
	default:
		d.counts.dropped(dropUnreadable)
		s.volume.failed("read", err)
	}
	return cachestore.ErrDamaged
}

// Pin implements [cachestore.Source].
func (b *body) Pin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users++; b.users > 1 {
		return true
	}
	for _, r := range b.runs {
		if slices.Contains(b.pins, r.segment) {
			continue
		}
		if !r.segment.pin() {
			b.users--
			b.unpinAll()
			return false
		}
		b.pins = append(b.pins, r.segment)
	}
	return true
}

// Unpin implements [cachestore.Source].
func (b *body) Unpin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users--; b.users == 0 {
		b.unpinAll()
	}
}

func (b *body) unpinAll() {
	for _, s := range b.pins {
		s.unpin()
	}
	b.pins = b.pins[:0]
}
