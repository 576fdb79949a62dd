package disk

import (
	"cmp"
	"slices"

	"perigee/cachestore"
)

// written is an object on its way into the log.
type written struct {
	item   *item
	object *cachestore.Object
	born   cachestore.Birth
	pieces []placedPiece
	fresh  []freshBody // bodies that were in memory only
	refers bool        // bytes stand in other records
	inline bool        // the body stands in the object's own record
	from   place       // where it stands now, if it is written again
	heat   uint8       // that it has then
	copy   *body       // of that, the bytes that are to stand inline
}

// freshBody is a body that is written with its object.
type freshBody struct {
	piece cachestore.Piece
	runs  []run // nil for the one that stands inline
}

// writeObject gathers an object: first those of its bytes that are in memory only, as
// pieces if they are many, then the record with its metadata.
func (w *writer) writeObject(i *item) {
	o := i.object
	x := &written{item: i, object: o, born: o.Born()}
	if _, same := w.names[i.name]; same {
		w.flush() // it may be in the batch of the other log
	}
	log := &w.logs[w.volume.logFor(i.name)]
	if !log.place(x) {
		w.refuse(i)
		return
	}
	log.putObject(x)
}

// place finds or makes the places of all bytes of x.
func (w *appender) place(x *written) bool {
	pieces := x.object.Pieces()
	for _, p := range pieces {
		runs, ok := w.placePiece(x, p, len(pieces) == 1)
		if !ok {
			return false
		}
		x.pieces = append(x.pieces, placedPiece{off: p.Off, end: p.End, runs: runs})
	}
	n := 0
	for _, p := range x.pieces {
		n += len(p.runs)
	}
	return n <= maxRuns
}

func (w *appender) placePiece(x *written, p cachestore.Piece, sole bool) ([]placedRun, bool) {
	switch at := p.Source.(type) {
	case *body:
		x.refers = true
		return placed(at.all()), !gone(at.all())
	case nil:
	default:
		return nil, false // of another store
	}
	if x.item.kind == itemFreshen {
		return nil, false // nobody holds its bytes
	}
	n := p.End - p.Off
	if sole && n <= inlineBytes {
		x.inline = true
		x.fresh = append(x.fresh, freshBody{piece: p})
		if n == 0 {
			return nil, true
		}
		return []placedRun{{bytes: n}}, true
	}
	x.refers = true
	runs, ok := w.writePieces(x, p)
	if !ok {
		return nil, false
	}
	x.fresh = append(x.fresh, freshBody{piece: p, runs: runs})
	return placed(runs), true
}

// writePieces gathers the bytes of a body as pieces.
func (w *appender) writePieces(x *written, p cachestore.Piece) (runs []run, ok bool) {
	b := newSource(w.volume.depot, x.item.name, 0, nil)
	var rest []byte // of a piece that is not whole yet
	put := func(data []byte) bool {
		r, ok := w.piece(x.item, x.object, data, nil)
		if ok {
			b.append(r)
		}
		return ok
	}
	for data := range p.Bytes {
		for len(rest) == 0 && len(data) >= pieceBytes {
			if !put(data[:pieceBytes]) {
				return nil, false
			}
			data = data[pieceBytes:]
		}
		for len(data) > 0 {
			n := min(len(data), pieceBytes-len(rest))
			rest = append(rest, data[:n]...)
			if data = data[n:]; len(rest) == pieceBytes {
				if !put(rest) {
					return nil, false
				}
				rest = rest[:0]
			}
		}
	}
	if len(rest) > 0 && !put(rest) {
		return nil, false
	}
	return b.runs, b.Size() == p.End-p.Off
}

func placed(runs []run) []placedRun {
	all := make([]placedRun, len(runs))
	for i, r := range runs {
		all[i] = placedRun{segment: r.segment.id, off: r.off, bytes: r.bytes, inline: r.inline}
	}
	return all
}

// gone tells whether some of runs are not there any more, or not for long.
func gone(runs []run) bool {
	for _, r := range runs {
		if !r.segment.lasting() {
			return true
		}
	}
	return false
}

// putObject gathers the record of x, whose bytes have their places.
func (w *appender) putObject(x *written) {
	o := x.object
	size, known := o.Size()
	meta := appendMeta(w.meta[:0], o, size, x.pieces)
	w.meta = nil // others may be written before the record has its place
	defer func() { w.meta = meta }()
	h := recordHead{kind: kindObject, meta: int64(len(meta)), key: o.Key(), variant: o.Variant(), born: x.born}
	if x.inline {
		h.body = x.pieces[0].end - x.pieces[0].off
	}
	if x.refers {
		h.flags |= flagRefers
	}
	if o.Partial() {
		h.flags |= flagPartial
	}
	h.length = recordHeadBytes + h.meta + blocksBytes(h.body)
	if !known || h.meta > maxMetaBytes {
		w.refuse(x.item)
		return
	}
	p, off, ok := w.record(h.length)
	if !ok || x.item.failed {
		w.refuse(x.item)
		return
	}
	s := w.segment
	h.number = w.number()
	copy(p[recordHeadBytes:], meta)
	h.metaSum = checksum(s.id, off, meta)
	h.encode(p, s.id, off)
	if h.body > 0 {
		body := recordHeadBytes + h.meta
		if !w.putInline(x, p[body:], off+body) {
			w.batch = w.batch[:int64(len(w.batch))-aligned(h.length)]
			w.refuse(x.item)
			return
		}
	}
	w.count(&h)
	w.gather(x.item, &h, off, func() { w.show(x, s, h, off) })
}

// putInline writes the blocks of a body that stands in its object's record.
func (w *appender) putInline(x *written, p []byte, off int64) bool {
	if x.copy == nil {
		putBlocks(p, w.segment.id, off, x.fresh[0].piece.Bytes)
		return true
	}
	data, err := readSome(w.volume.depot.life, x.copy, 0, x.copy.Size())
	if err == nil {
		putBlocks(p, w.segment.id, off, func(yield func([]byte) bool) { yield(data) })
	}
	return err == nil
}

// show makes an object seen whose record has been written.
func (w *appender) show(x *written, s *segment, h recordHead, off int64) {
	d, v := w.volume.depot, w.volume
	at := newPlace(s.slot, off, aligned(h.length))
	if v.queue.isCancelled(x.item) {
		v.queue.finish(x.item, false)
		return
	}
	if x.from != 0 {
		if d.index.swap(x.item.name, x.from, at, h.flags) {
			d.moved.add(x.from, at)
			d.index.setHeat(x.item.name, x.heat)
			d.counts.readmitted.Add(1)
		}
		v.queue.finish(x.item, true)
		return
	}
	x.object.Ref().Store(uint64(at))
	old, ok := d.index.put(x.item.name, at, h.flags)
	if !ok && d.thinOut(x.item.name.tag) {
		old, ok = d.index.put(x.item.name, at, h.flags)
	}
	if !ok {
		x.object.Ref().Store(0)
		// The record stands there all the same, and the next start would find it.
		v.queue.bury(&item{kind: itemGrave, name: x.item.name, key: h.key, variant: h.variant, log: w.kind, until: h.number + 1})
		w.refuse(x.item)
		return
	}
	if v.queue.isCancelled(x.item) && d.index.drop(x.item.name, at) {
		v.queue.finish(x.item, false) // just now
		return
	}
	w.settle(x, s, at, h, off)
	if x.item.kind == itemFreshen {
		d.counts.freshened.Add(1)
	} else {
		d.counts.stored.Add(1)
	}
	if before := d.segments.at(old); before != nil && (before.volume != v || before.log != w.kind) {
		// It may outlive the one that took its place.
		before.volume.queue.bury(&item{kind: itemGrave, name: x.item.name, key: h.key, variant: h.variant, log: before.log, until: h.number})
	}
	v.queue.finish(x.item, true)
}

// thinOut has the least wanted variant of a key leave that has as many as the index
// takes, and tells whether there was one.
func (d *Depot) thinOut(tag uint64) bool {
	var room [maxIndexVariants]found
	all := d.index.find(tag, room[:0])
	if len(all) < maxIndexVariants {
		return false
	}
	least := slices.MinFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.heat, b.heat), cmp.Compare(a.at, b.at))
	})
	d.counts.evicted.Add(1)
	return d.drop(least.name, least.at)
}

// settle tells the bodies that were in memory only where they stand.
func (w *appender) settle(x *written, s *segment, at place, h recordHead, off int64) {
	for _, b := range x.fresh {
		runs := b.runs
		if runs == nil && h.body > 0 {
			runs = []run{{segment: s, off: off + recordHeadBytes + h.meta, bytes: h.body, inline: true, record: at}}
		}
		b.piece.Settle(newSource(w.volume.depot, x.item.name, at, runs))
	}
}
