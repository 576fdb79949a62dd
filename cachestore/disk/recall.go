package disk

import (
	"context"
	"errors"
	"slices"
	"sync"

	"perigee/cachestore"
	"perigee/httpcache"
)

// wholeReadBytes is the longest record that is read at once, with its body.
const wholeReadBytes = 72 << 10

// recall is a look-up under way, which others wait for.
type recall struct {
	done   chan struct{}      // closed at its end; nil until somebody waits
	object *cachestore.Object // nil for nothing
}

// recalls lets those who want the same record at once have one object.
type recalls struct {
	mu sync.Mutex // guards m
	m  map[place]*recall
}

// Recall implements [cachestore.Depot].
func (d *Depot) Recall(key httpcache.Key, have, buf []*cachestore.Object) []*cachestore.Object {
	var room [4]found
	for _, f := range d.index.find(tagOf(key), room[:0]) {
		if slices.ContainsFunc(have, func(o *cachestore.Object) bool {
			return o.Key() == key && nameOf(key, o.Variant()) == f.name
		}) {
			continue
		}
		if o := d.recall(key, f); o != nil {
			buf = append(buf, o)
		}
	}
	return buf
}

// recall makes the object of a record, once for all who ask meanwhile.
func (d *Depot) recall(key httpcache.Key, f found) *cachestore.Object {
	r := &d.recalls
	r.mu.Lock()
	if under := r.m[f.at]; under != nil {
		if under.done == nil {
			under.done = make(chan struct{})
		}
		done := under.done
		r.mu.Unlock()
		<-done
		if o := under.object; o != nil && o.Key() == key {
			return o
		}
		return nil
	}
	mine := new(recall)
	r.m[f.at] = mine
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.m, f.at)
		r.mu.Unlock()
		if mine.done != nil { // nobody finds it any more
			close(mine.done)
		}
	}()
	mine.object = d.fetch(key, f)
	return mine.object
}

// fetch reads the record of f and makes an object of it; nil if it is not of key, or
// not to be had.
func (d *Depot) fetch(key httpcache.Key, f found) *cachestore.Object {
	s := d.segments.at(f.at)
	if s == nil {
		return nil
	}
	if s.volume.hangs() {
		d.counts.late.Add(1)
		return nil
	}
	ctx := context.Background() // no read takes for ever
	r, err := d.read(ctx, s, f)
	if err == nil {
		if r.Key != key {
			return nil // another key of the same tag
		}
		d.counts.recalled.Add(1)
		return cachestore.Recollect(d.budget, r)
	}
	if now, ok := d.index.get(f.name); !ok || now.at != f.at {
		return nil // it has moved meanwhile
	}
	switch {
	case errors.Is(err, errLate):
		s.volume.failed("read", err)
		d.counts.late.Add(1)
		return nil
	case errors.Is(err, errNotYet), errors.Is(err, errBusy):
		d.counts.late.Add(1)
		return nil
	case errors.Is(err, errBodyGone):
		d.counts.dropped(dropBodyGone)
	default:
		_ = d.readFailed(ctx, s, err)
	}
	d.drop(f.name, f.at)
	return nil
}

var (
	// errBodyGone says that the body has been let go which a record refers to.
	errBodyGone = errors.New("the body has been let go")
	// errNotYet says that the segments of the body have not been looked at yet.
	errNotYet = errors.New("the body has not been found yet")
)

// read reads the record of f from s.
func (d *Depot) read(ctx context.Context, s *segment, f found) (r cachestore.Recollection, err error) {
	p, h, release, err := d.readMeta(ctx, s, f.at)
	if err != nil {
		return r, err
	}
	defer release()
	if h.kind != kindObject || h.name() != f.name {
		return r, errDamaged
	}
	m, err := decodeMeta(p)
	if err != nil {
		return r, err
	}
	if m.stored.Variant() != h.variant {
		return r, errDamaged
	}
	r = cachestore.Recollection{
		Key: h.key, Label: m.label, Stored: m.stored, Born: h.born, Marks: m.marks,
		Representation: m.representation, Size: m.size, Ref: uint64(f.at),
	}
	for _, piece := range m.pieces {
		runs, err := d.resolve(s, f.at, h, piece)
		if err != nil {
			return r, err
		}
		r.Pieces = append(r.Pieces, cachestore.Piece{Off: piece.off, End: piece.end, Source: newSource(d, f.name, f.at, runs)})
	}
	return r, nil
}

// readMeta reads and checks the head and the metadata of a record, and with them the
// whole of a short one. release must be called when p is not needed any more.
func (d *Depot) readMeta(ctx context.Context, s *segment, at place) (p []byte, h recordHead, release func(), err error) {
	if at.length() <= wholeReadBytes {
		held, err := d.readRecord(ctx, s, at)
		if err != nil {
			return nil, h, nil, err
		}
		if h, err = decodeRecordHead(held.bytes(), s.id, at.off()); err != nil {
			held.Release()
			return nil, h, nil, err
		}
		return held.bytes()[recordHeadBytes : recordHeadBytes+h.meta], h, held.Release, nil
	}
	for n := int64(headReadBytes); ; {
		held, err := d.readRaw(ctx, s, at.off(), min(n, at.length()))
		if err != nil {
			return nil, h, nil, err
		}
		h, err = checkMeta(held.bytes(), s.id, at.off())
		if err == nil {
			return held.bytes()[recordHeadBytes : recordHeadBytes+h.meta], h, held.Release, nil
		}
		held.Release()
		if !errors.Is(err, errTorn) || n >= recordHeadBytes+h.meta {
			return nil, h, nil, err
		}
		n = recordHeadBytes + h.meta
	}
}

// readRaw reads n bytes that are checked by who asks for them.
func (d *Depot) readRaw(ctx context.Context, s *segment, off, n int64) (*block, error) {
	return s.volume.blocks.get(ctx, address{s.number, off}, int(n), func(p []byte) error {
		d.counts.readBytes.Add(int64(len(p)))
		return d.files.readAt(s.number, p, off)
	})
}

// headReadBytes is how much of a long record is read to have its metadata.
const headReadBytes = 8 << 10

// readRecord reads and checks all of a short record.
func (d *Depot) readRecord(ctx context.Context, s *segment, at place) (*block, error) {
	if b := s.volume.blocks.kept(address{s.number, at.off()}, int(at.length())); b != nil {
		return b, nil
	}
	return s.volume.blocks.get(ctx, address{s.number, at.off()}, int(at.length()), func(p []byte) error {
		if err := d.files.readAt(s.number, p, at.off()); err != nil {
			return err
		}
		d.counts.readBytes.Add(int64(len(p)))
		_, err := checkRecord(p, s.id, at.off())
		return err
	})
}

// resolve is where the runs of a piece stand.
func (d *Depot) resolve(s *segment, at place, h recordHead, piece placedPiece) ([]run, error) {
	runs := make([]run, len(piece.runs))
	for i, r := range piece.runs {
		if r.segment == 0 {
			if r.bytes != h.body || len(piece.runs) > 1 {
				return nil, errDamaged
			}
			runs[i] = run{segment: s, off: at.off() + recordHeadBytes + h.meta, bytes: r.bytes, inline: true, record: at}
			continue
		}
		in := d.segments.of(r.segment)
		if in == nil {
			if d.loading.Load() {
				return nil, errNotYet
			}
			return nil, errBodyGone
		}
		runs[i] = run{segment: in, off: r.off, bytes: r.bytes, inline: r.inline}
	}
	return runs, nil
}
