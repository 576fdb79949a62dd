package disk

import (
	"errors"
	"path/filepath"

	"perigee/cachestore"
)

const (
	// batchBytes is how much is gathered before it is written.
	batchBytes = 1 << 20
	// longestRecord is what room a record needs at most.
	longestRecord = recordHeadBytes + maxMetaBytes + inlineBytes + (inlineBytes/blockBytes+1)*blockHeadBytes + align
)

// writer is the one who writes to a volume. Only the volume's goroutine uses it.
type writer struct {
	volume  *volume
	logs    [logKinds]appender
	names   map[name]struct{} // of the objects that are gathered
	meta    []byte            // room for metadata
	keeping bool              // what is gathered is written again
	made    int               // segments, and tries to make one
	owed    []*item           // removals that could not be written yet
	ending  bool              // nothing more will come: what is owed is written now or never
	spare   [logKinds]int64   // bytes that might have been written again and were not
}

// appender appends to one log of a volume.
type appender struct {
	*writer
	kind    logKind
	segment *segment // that is being written, nil for none
	file    File
	used    int64 // bytes of the segment that are written
	births  span
	entries []entry // of the segment, those of the batch too

	batch   []byte // gathered, to be written at used
	paid    bool   // its memory is reserved
	waiting []gathered
}

// gathered is a record in the batch.
type gathered struct {
	entry   entry
	item    *item  // that it belongs to
	publish func() // makes it seen, nil for nothing to do
}

// run writes what comes until the queue is closed.
func (v *volume) run() {
	defer close(v.queue.drained)
	w := &v.w
	w.names = make(map[name]struct{})
	v.fit()
	for {
		<-v.queue.wake
		items, last := v.queue.take()
		if len(w.owed) > 0 && v.State() == Working {
			w.pay()
		}
		for _, i := range items {
			w.write(i)
		}
		w.flush()
		if last {
			break
		}
	}
	// Nothing is taken any more, but what came between the last look and the end.
	items, _ := v.queue.take()
	for _, i := range items {
		w.volume.queue.finish(i, false)
	}
	if w.ending = true; !v.queue.hurried() {
		w.pay()
		w.flush()
	}
	v.depot.counts.gravesLost.Add(int64(len(w.owed)))
	for k := range w.logs {
		w.logs[k].sealSegment()
		if w.logs[k].paid {
			v.depot.budget.Release(batchBytes + longestRecord)
		}
	}
}

// write gathers one item.
func (w *writer) write(i *item) {
	v := w.volume
	switch {
	case v.State() == Out || v.queue.hurried():
		w.refuse(i)
	case i.kind == itemGrave || i.kind == itemGraves:
		w.logs[i.log].bury(i)
	case v.queue.isCancelled(i):
		w.refuse(i)
	case i.kind == itemPiece:
		w.logs[i.spill.log].writePiece(i)
	case i.kind == itemPut:
		w.writeObject(i)
	default:
		w.writeIf(i)
	}
}

// writeIf gathers an object only if what it is to replace is what is kept.
func (w *writer) writeIf(i *item) {
	if _, same := w.names[i.name]; same {
		w.flush() // what is kept is in the batch
	}
	d := w.volume.depot
	f, there := d.index.get(i.name)
	if there != (i.old != nil) || there && f.at != d.refOf(i.old) {
		w.volume.queue.finish(i, false)
		return
	}
	w.writeObject(i)
}

// refuse tells that nothing comes of an item.
func (w *writer) refuse(i *item) {
	switch i.kind {
	case itemPiece:
		i.spill.fail()
	case itemGrave, itemGraves:
		w.owe(i)
	}
	w.volume.queue.finish(i, false)
}

// maxOwed is how many removals are kept until the medium takes them.
const maxOwed = 1 << 14

// owe keeps a removal that could not be written, to be tried again: what it is about
// would be back at the next start.
func (w *writer) owe(i *item) {
	if w.volume.State() == Out || w.ending || len(w.owed) >= maxOwed {
		w.volume.depot.counts.gravesLost.Add(1)
		return
	}
	if i.until == 0 {
		i.until = w.number() // what is stored from now on does not count
	}
	w.owed = append(w.owed, i)
}

// pay writes the removals that are owed.
func (w *writer) pay() {
	owed := w.owed
	w.owed = nil
	for _, i := range owed {
		w.logs[i.log].bury(i)
	}
}

// record makes room for a record of n bytes behind what is gathered, and returns it and
// where it will stand; ok is false if there is no room to be had.
func (w *appender) record(n int64) (p []byte, off int64, ok bool) {
	need := aligned(n)
	if len(w.batch) > 0 && int64(len(w.batch))+need > int64(cap(w.batch)) {
		w.flush()
	}
	if !w.fits(need) && !w.turn() || !w.fits(need) && !w.turnOnly() {
		return nil, 0, false
	}
	if w.batch == nil {
		w.paid = w.volume.depot.reserve(batchBytes + longestRecord) // if not, it is there all the same
		w.batch = make([]byte, 0, batchBytes+longestRecord)
	}
	at := int64(len(w.batch))
	w.batch = w.batch[:at+need]
	clear(w.batch[at+n:])
	return w.batch[at : at+n], w.used + at, true
}

// fits tells whether a record of n bytes, and the foot, find room in the segment.
func (w *appender) fits(n int64) bool {
	foot := int64(len(w.entries)+1)*entryBytes + tailBytes
	return w.segment != nil && w.used+int64(len(w.batch))+n+foot <= w.volume.segmentBytes && len(w.entries) < maxEntries
}

// turnOnly is turn where what was written again has filled the new segment. It makes no
// more room than for the next one.
func (w *appender) turnOnly() bool {
	defer func(keeping bool) { w.keeping = keeping }(w.keeping)
	w.keeping = true
	return w.turn()
}

// gather adds the record that was put at off to what is to be shown.
func (w *appender) gather(i *item, h *recordHead, off int64, publish func()) {
	e := entryOf(h, off)
	w.entries = append(w.entries, e)
	if h.kind == kindObject || h.kind == kindPiece {
		w.births.add(h.born, h.number)
	}
	w.births.last = max(w.births.last, h.number)
	w.waiting = append(w.waiting, gathered{entry: e, item: i, publish: publish})
	if h.kind == kindObject {
		w.names[e.name] = struct{}{}
	}
	if len(w.batch) >= batchBytes {
		w.flush()
	}
}

// flush writes what is gathered for both logs.
func (w *writer) flush() {
	for k := range w.logs {
		w.logs[k].flush()
	}
}

// flush writes what is gathered and shows it, or refuses all of it.
func (w *appender) flush() {
	if len(w.batch) == 0 {
		return
	}
	v := w.volume
	waiting := w.waiting
	n, err := w.file.WriteAt(w.batch, w.used)
	if err == nil && n < len(w.batch) {
		err = errTorn
	}
	for _, each := range waiting {
		if each.entry.kind == kindObject {
			delete(w.names, each.entry.name)
		}
	}
	if err != nil {
		w.entries = w.entries[:len(w.entries)-len(waiting)]
		w.batch, w.waiting = w.batch[:0], nil
		v.failed("write", err)
		for _, each := range waiting {
			w.abandon(each)
		}
		w.sealSegment() // what comes later goes elsewhere
		return
	}
	v.worked()
	v.depot.counts.writtenBytes.Add(int64(n))
	w.used += int64(n)
	w.segment.written.Store(w.used)
	births := w.births
	w.segment.births.Store(&births)
	w.batch, w.waiting = w.batch[:0], waiting[:0]
	for i := range waiting {
		publish := waiting[i].publish
		waiting[i] = gathered{}
		if publish != nil {
			publish()
		}
	}
}

// abandon refuses the item of a record that could not be written. Records of one item
// come one behind the other, so its last is that with publish.
func (w *writer) abandon(g gathered) {
	if g.item != nil {
		g.item.failed = true
	}
	if g.publish != nil && g.item != nil {
		w.refuse(g.item)
	}
}

// turn seals the segment and begins another, for which others may have to go.
func (w *appender) turn() bool {
	w.flush()
	w.sealSegment()
	v, d := w.volume, w.volume.depot
	if state := v.State(); state != Working && (state == Out || !w.ending) {
		return false
	}
	first := d.numbers.Add(1)
	s := &segment{volume: v, log: w.kind, id: randomID(), first: first, path: filepath.Join(v.path, segmentName(first))}
	file, err := v.create(s.path)
	if err != nil {
		v.failed("create", err)
		return false
	}
	var head [segmentHeadBytes]byte
	segmentHead{log: w.kind, id: s.id, first: first, size: v.segmentBytes, marksKey: d.marksKey, volume: v.id}.encode(head[:])
	if _, err := file.WriteAt(head[:], 0); err != nil {
		_ = file.Close()
		_ = d.fs.Remove(s.path)
		v.failed("write", err)
		return false
	}
	s.bytes.Store(v.segmentBytes)
	s.written.Store(segmentHeadBytes)
	s.births.Store(&span{})
	w.segment, w.file, w.used, w.births, w.entries = s, file, segmentHeadBytes, span{}, w.entries[:0]
	if !v.admit(s, false) {
		w.segment = nil
		_ = file.Close()
		_ = d.fs.Remove(s.path)
		return false
	}
	d.files.add(s.number, s.path, nil)
	d.counts.segmentsMade.Add(1)
	if !w.keeping {
		w.makeRoom()
	}
	return w.segment != nil
}

// sealSegment writes the foot of the segment and gives back what it did not use.
func (w *appender) sealSegment() {
	if w.segment == nil {
		return
	}
	v, s, file := w.volume, w.segment, w.file
	w.segment, w.file = nil, nil
	if err := v.seal(s, file, w.used, w.entries, w.births); err != nil {
		_ = file.Close()
		v.failed("seal", err)
		return
	}
	v.makeDurable(file)
}

// makeDurable has a sealed file outlive a power cut, soon, and closes it. Who writes does
// not wait: what is lost then is found out by its checksums.
func (v *volume) makeDurable(file File) {
	v.syncs.Add(1)
	v.depot.work.Go(func() {
		defer v.syncs.Add(-1)
		err := error(nil)
		if v.syncs.Load() <= maxSyncs {
			err = file.Sync()
		}
		if err = errors.Join(err, file.Close()); err != nil {
			v.failed("sync", err)
		}
	})
}

// maxSyncs is how many segments may be on their way to the medium at once. Beyond it the
// kernel writes them when it likes.
const maxSyncs = 4

// seal makes the foot of a segment whose records end at used.
func (v *volume) seal(s *segment, file File, used int64, entries []entry, births span) error {
	p := foot(s.id, used, entries, births)
	if _, err := file.WriteAt(p, used); err != nil {
		return err
	}
	end := used + int64(len(p))
	if err := file.Truncate(end); err != nil {
		return err
	}
	v.resize(s, end)
	v.depot.counts.writtenBytes.Add(int64(len(p)))
	return nil
}

// number is the next record's.
func (w *writer) number() uint64 { return w.volume.depot.numbers.Add(1) }

// bury writes down that something has been removed.
func (w *appender) bury(i *item) {
	h := recordHead{kind: kindGrave, length: recordHeadBytes, key: i.key, variant: i.variant}
	if i.kind == itemGraves {
		h.kind = kindGraves
	}
	p, off, ok := w.record(h.length)
	if !ok {
		w.refuse(i)
		return
	}
	h.number, h.until = w.number(), i.until
	if h.until == 0 {
		h.until = h.number
	}
	h.encode(p, w.segment.id, off)
	w.gather(i, &h, off, func() { w.volume.queue.finish(i, true) })
}

// writePiece gathers a piece of a spill.
func (w *appender) writePiece(i *item) {
	if i.spill.hasFailed() {
		w.refuse(i)
		return
	}
	_, ok := w.piece(i, i.spill.object, i.data, func(r run) {
		i.spill.take(r)
		w.volume.queue.finish(i, true)
	})
	if !ok {
		w.refuse(i)
	}
}

// piece gathers some of a body of o as a record of its own, and says where it will
// stand; shown is called when it stands there.
func (w *appender) piece(i *item, o *cachestore.Object, data []byte, shown func(run)) (r run, ok bool) {
	h := recordHead{
		kind: kindPiece, body: int64(len(data)), key: o.Key(), variant: o.Variant(), born: o.Born(),
		length: recordHeadBytes + blocksBytes(int64(len(data))),
	}
	p, off, ok := w.record(h.length)
	if !ok {
		return run{}, false
	}
	h.number = w.number()
	h.encode(p, w.segment.id, off)
	putBlocks(p[recordHeadBytes:], w.segment.id, off+recordHeadBytes, func(yield func([]byte) bool) { yield(data) })
	r = run{segment: w.segment, off: off, bytes: h.body}
	var publish func()
	if shown != nil {
		publish = func() { shown(r) }
	}
	w.count(&h)
	w.gather(i, &h, off, publish)
	return r, true
}

// count adds a record to what was written for the first time, or again.
func (w *writer) count(h *recordHead) {
	if w.keeping {
		w.volume.depot.counts.readmittedBytes.Add(aligned(h.length))
		return
	}
	w.volume.depot.counts.storedBytes.Add(aligned(h.length))
}

// putBlocks writes a body in blocks that begin at off in the segment.
func putBlocks(p []byte, id uint64, off int64, body func(yield func([]byte) bool)) {
	at, fill := int64(0), int64(blockHeadBytes) // of the block, and in it
	for data := range body {
		for len(data) > 0 {
			n := copy(p[at+fill:min(at+blockHeadBytes+blockBytes, int64(len(p)))], data)
			data = data[n:]
			if fill += int64(n); fill == blockHeadBytes+blockBytes {
				putBlockHead(p[at:at+fill], id, off+at)
				at, fill = at+fill, blockHeadBytes
			}
		}
	}
	if fill > blockHeadBytes {
		putBlockHead(p[at:at+fill], id, off+at)
	}
}
