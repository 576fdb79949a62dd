package disk

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"syscall"

	"perigee/cachestore"
)

// Room is made by letting whole segments go, the oldest of a log first (S3-FIFO over
// segments). What is new stands in the small log; what of it was asked for is written
// again to the main one when its segment goes, and so is, there, what was asked for
// since. Who comes back soon after it was let go of is written to the main log at
// once. bench/policy has compared this with others; docs/performance.md has the table.

const (
	// keepPercent bounds what of a segment is written again, so that each byte stored
	// costs at most 1/(1-0.22) = 1.28 bytes written.
	keepPercent = 22
	// spareSegments is how many segments' worth of that may be made up for later.
	spareSegments = 4
	// spareRoom is how many segments there is room for when nothing is being made: one
	// for each log.
	spareRoom = int64(logKinds)
	// createTries is how many segments go for a new one where the medium is fuller than
	// it should be.
	createTries = 8
)

// create makes the file of a new segment; where the medium has no room for it the
// oldest go first, whatever they have.
func (v *volume) create(path string) (File, error) {
	if v.w.made++; v.w.made%measureEvery == 0 || v.few() {
		v.measure()
	}
	for try := 0; ; try++ {
		for !v.room(1) {
			if !v.dropOldest() {
				return nil, syscall.ENOSPC
			}
		}
		file, err := v.depot.fs.Create(path, v.segmentBytes)
		if err == nil || !errors.Is(err, syscall.ENOSPC) || try == createTries || !v.dropOldest() {
			return file, err
		}
	}
}

// measureEvery is how many segments are made between two looks at what other files take
// of a folder, if it has more than fewSegments: then looking takes some time.
const (
	measureEvery = 16
	fewSegments  = 1000
)

func (v *volume) few() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.segments[logSmall])+len(v.segments[logMain]) < fewSegments
}

// measure looks at what the files take that are not segments.
func (v *volume) measure() {
	all, err := v.depot.fs.UsedBytes(v.path)
	if err != nil {
		return // what was known last stands
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.others.Store(max(all-v.bytes, 0))
}

// dropOldest lets the oldest segment go, with all that it has.
func (v *volume) dropOldest() bool {
	if v.dropUnread() {
		return true
	}
	s := v.oldest()
	if s == nil {
		return v.overrule(true)
	}
	entries, err := v.entriesOf(s)
	v.w.clearOut(s, entries, err == nil)
	return true
}

// fit lets the oldest segments go until what there is fits the folder, which may have
// been given less than it had at the last start.
func (v *volume) fit() {
	for v.State() == Working && !v.queue.hurried() && !v.room(0) && v.dropOldest() {
	}
}

// makeRoom lets go so many segments that the next one will find room.
func (w *writer) makeRoom() {
	v := w.volume
	v.depot.ghosts.fit(v.depot.index.len())
	for v.State() == Working && !v.room(spareRoom) {
		if v.dropUnread() {
			continue
		}
		s := v.oldest()
		if s == nil {
			if !v.overrule(true) {
				return
			}
			continue
		}
		w.evict(s)
		v.overrule(false)
	}
}

// evict lets s go, and writes again before what of it is asked for.
func (w *writer) evict(s *segment) {
	entries, err := w.volume.entriesOf(s)
	w.keeping = true
	w.logs[logMain].keep(s, entries)
	w.logs[logMain].flush()
	w.keeping = false
	w.clearOut(s, entries, err == nil)
}

// clearOut takes what still stands in s out of the index, and s out of the volume. all
// tells that the entries are all that s has.
func (w *writer) clearOut(s *segment, entries []entry, all bool) {
	d := w.volume.depot
	s.leaving.Store(true)
	if !all {
		for f := range d.index.all {
			if f.at.segment() == s.slot && d.drop(f.name, f.at) {
				d.counts.evicted.Add(1)
			}
		}
	}
	for _, e := range entries {
		switch e.kind {
		case kindObject, kindPiece:
			f, ok := d.index.get(e.name)
			if ok && (f.at == newPlace(s.slot, e.off, e.length) || w.refersTo(f, s)) && d.drop(f.name, f.at) {
				d.ghosts.add(e.name)
				d.counts.evicted.Add(1)
			}
		}
	}
	d.counts.segmentsFreed.Add(1)
	w.volume.retire(s)
}

// refersTo tells whether the object of f has bytes in s.
func (w *writer) refersTo(f found, s *segment) bool {
	if f.flags&flagRefers == 0 {
		return false
	}
	r, err := w.load(f)
	if err != nil {
		return false // it is found out when it is read
	}
	return slices.ContainsFunc(r.Pieces, func(p cachestore.Piece) bool { return standsIn(p, s) })
}

func standsIn(p cachestore.Piece, s *segment) bool {
	b, ok := p.Source.(*body)
	return ok && slices.ContainsFunc(b.all(), func(r run) bool { return r.segment == s })
}

func (w *writer) load(f found) (cachestore.Recollection, error) {
	d := w.volume.depot
	s := d.segments.at(f.at)
	if s == nil {
		return cachestore.Recollection{}, errGoneSegment
	}
	r, err := d.read(d.life, s, f)
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		d.counts.errors.Add(1) // who asks for it will find out more
	}
	return r, err
}

// keep writes again what of s is asked for, as far as it may: the most wanted first, of
// these the shortest, and what does not fit is passed over.
func (w *appender) keep(s *segment, entries []entry) {
	d := w.volume.depot
	seen := make(map[name]bool)
	var wanted []found
	for _, e := range entries {
		if e.kind != kindObject && e.kind != kindPiece || seen[e.name] {
			continue
		}
		seen[e.name] = true
		f, ok := d.index.get(e.name)
		if !ok || f.heat == 0 || f.at.segment() != s.slot && f.flags&flagRefers == 0 {
			continue
		}
		wanted = append(wanted, f)
	}
	slices.SortStableFunc(wanted, func(a, b found) int {
		return cmp.Or(cmp.Compare(b.heat, a.heat), cmp.Compare(a.at.length(), b.at.length()))
	})
	share := s.bytes.Load() * keepPercent / 100
	room := w.spare[s.log] + share
	for _, f := range wanted {
		if n, ok := w.keepOne(s, f, room); ok {
			room -= n
		}
	}
	w.spare[s.log] = min(room, spareSegments*share)
}

// keepOne writes one object again, with those of its bytes that stand in s, if they are
// not more than room. It returns how many that are.
func (w *appender) keepOne(s *segment, f found, room int64) (n int64, ok bool) {
	d := w.volume.depot
	watch := d.watch.Load()
	var born cachestore.Birth
	if watch != nil {
		born = watch.birth() // before it is judged
	}
	r, err := w.load(f)
	if err != nil {
		return 0, false
	}
	n = f.at.length()
	for _, p := range r.Pieces {
		for _, run := range p.Source.(*body).all() {
			if run.segment == s && run.record == 0 { // else it is counted already
				n += blocksBytes(run.bytes)
			}
		}
	}
	if n > room {
		return 0, false
	}
	o := cachestore.Recollect(d.budget, r)
	if watch != nil {
		switch watch.guard.Verdict(o) {
		case cachestore.Gone:
			return 0, false
		case cachestore.Valid:
		default:
			born = o.Born()
		}
	} else {
		born = o.Born()
	}
	return n, w.again(s, f, o, r, born)
}

// again writes o once more. Bytes that stand elsewhere than in s stay where they are.
func (w *appender) again(s *segment, f found, o *cachestore.Object, r cachestore.Recollection, born cachestore.Birth) bool {
	i := &item{kind: itemPut, name: f.name, object: o}
	x := &written{item: i, object: o, born: born, from: f.at, heat: f.heat}
	for _, p := range r.Pieces {
		from := p.Source.(*body)
		runs := from.all()
		piece := placedPiece{off: p.Off, end: p.End}
		if len(r.Pieces) == 1 && len(runs) <= 1 && from.Size() <= inlineBytes && standsIn(p, s) {
			x.inline, x.copy = true, from
			if from.Size() > 0 {
				piece.runs = []placedRun{{bytes: from.Size()}}
			}
		} else {
			x.refers = true
			moved, ok := w.move(s, i, o, from)
			if !ok {
				return false
			}
			piece.runs = placed(moved)
		}
		x.pieces = append(x.pieces, piece)
	}
	switch {
	case x.refers && elsewhere(r, s): // the rest of it has yet to come this way
	case s.log == logSmall:
		x.heat = 0
	default:
		x.heat--
	}
	w.putObject(x)
	return !i.failed
}

// elsewhere tells whether some of the bytes stand in other segments than s.
func elsewhere(r cachestore.Recollection, s *segment) bool {
	return slices.ContainsFunc(r.Pieces, func(p cachestore.Piece) bool {
		b, ok := p.Source.(*body)
		return ok && slices.ContainsFunc(b.all(), func(r run) bool { return r.segment != s })
	})
}

// move copies those of the runs of a body that stand in s to the end of the log, and
// returns all runs as they are then.
func (w *appender) move(s *segment, i *item, o *cachestore.Object, from *body) ([]run, bool) {
	d := w.volume.depot
	to := newSource(d, i.name, 0, nil)
	at := int64(0)
	for _, r := range from.all() {
		end := at + r.bytes
		if r.segment != s && r.record == 0 {
			to.append(r)
			at = end
			continue
		}
		for at < end {
			data, err := readSome(d.life, from, at, min(pieceBytes, end-at))
			if err != nil {
				return nil, false
			}
			moved, ok := w.piece(i, o, data, nil)
			if !ok {
				return nil, false
			}
			to.append(moved)
			at += int64(len(data))
		}
	}
	return to.all(), true
}

// readSome reads n bytes of a body from off.
func readSome(ctx context.Context, from *body, off, n int64) ([]byte, error) {
	data := make([]byte, 0, n)
	for int64(len(data)) < n {
		block, err := from.Block(ctx, off+int64(len(data)))
		if err != nil {
			return nil, err
		}
		skip := off + int64(len(data)) - block.Off
		data = append(data, block.Data[skip:min(int64(len(block.Data)), skip+n-int64(len(data)))]...)
		block.Release()
	}
	return data, nil
}

// maxMoved is how many moves are remembered.
const maxMoved = 1 << 16

// moves says where records stand now that were written again. An object in memory knows
// the place that its record had when it was read. What is forgotten costs that such an
// object is not taken for what is kept.
type moves struct {
	mu sync.Mutex // guards to
	to map[place]place
}

func (m *moves) add(from, to place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.to == nil || len(m.to) >= maxMoved {
		m.to = make(map[place]place)
	}
	m.to[from] = to
}

// now is where a record stands that stood at p.
func (m *moves) now(p place) place {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range 64 {
		to, ok := m.to[p]
		if !ok {
			break
		}
		p = to
	}
	return p
}

// refOf is where the record of o stands; 0 if it has none.
func (d *Depot) refOf(o *cachestore.Object) place {
	p := place(o.Ref().Load())
	if p == 0 {
		return 0
	}
	return d.moved.now(p)
}
