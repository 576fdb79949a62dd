package disk

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
)

// headStart is how many of the newest segments of each folder are read before anything
// is served: they have the newest births and the highest numbers.
const headStart = 4

// startLoading reads the newest segments now and the others in the background, the
// newest first. What is stored meanwhile goes before what is found.
func (d *Depot) startLoading() {
	d.graves = newGraves(d.reserve, d.budget.Release)
	d.loading.Store(true)
	d.dropAbsent()
	for _, v := range d.volumes {
		if v.State() == Out {
			continue
		}
		v.unread = v.list()
		v.measure()
		for v.over() && v.dropUnread() {
			continue // it may have had more room, or files be back that a power cut did not let go
		}
		for range headStart {
			if first, ok := v.nextUnread(); ok {
				v.load(first)
			}
		}
	}
	d.loaded.Go(func() {
		d.loadRest()
		d.loadMu.Lock()
		defer d.loadMu.Unlock()
		d.graves.close()
		d.graves = nil
		d.loading.Store(false)
		d.sayComplete()
	})
}

// sayComplete tells of the index that has been loaded, or of what could not be.
func (d *Depot) sayComplete() {
	left := 0
	for _, v := range d.volumes {
		v.mu.Lock()
		left += len(v.unread)
		v.mu.Unlock()
	}
	if left > 0 && d.life.Err() == nil {
		d.log.Warn("some of the disk is not used until the next start: more was removed than there is memory to remember; give store.ram more",
			"segments", left)
	}
	d.log.Info("the disk's index is complete", "objects", d.index.len())
}

// raiseNumbers has no record get a number up to n.
func (d *Depot) raiseNumbers(n uint64) {
	for {
		now := d.numbers.Load()
		if now >= n || d.numbers.CompareAndSwap(now, n) {
			return
		}
	}
}

// loadRest reads all other segments, one of each folder in turn.
func (d *Depot) loadRest() {
	for more := true; more && d.life.Err() == nil && !d.tooManyGraves(); {
		more = false
		for _, v := range d.volumes {
			if first, ok := v.nextUnread(); ok {
				v.load(first)
				more = true
			}
		}
	}
}

// load makes known what is in one segment, or removes its file.
func (v *volume) load(first uint64) {
	d := v.depot
	path := filepath.Join(v.path, segmentName(first))
	s, err := v.openSegment(path, first)
	if err == nil || !isForeign(err) {
		d.raiseNumbers(first + numbersAhead) // the name alone could make them overflow
	}
	if err != nil {
		v.reject(path, err)
		return
	}
	if !v.admit(s, true) {
		v.reject(path, errDamaged)
		return
	}
	v.forgetOther(s.bytes.Load()) // it is counted as a segment now
	d.files.add(s.number, s.path, nil)
	entries, err := v.entriesOf(s)
	if err != nil && !errors.Is(err, errGoneSegment) {
		v.sayDamage(s, err)
	}
	d.install(s, entries)
	if s.leaving.Load() || s.gone.Load() {
		d.uninstall(s, entries) // who let it go may have looked before
	}
}

// uninstall takes what a segment has out of the index.
func (d *Depot) uninstall(s *segment, entries []entry) {
	for _, e := range entries {
		if e.kind == kindObject {
			d.index.drop(e.name, newPlace(s.slot, e.off, e.length))
		}
	}
}

func (d *Depot) tooManyGraves() bool {
	d.loadMu.Lock()
	defer d.loadMu.Unlock()
	return d.graves.full
}

// errMarks says that a segment's marks were made with another key.
var errMarks = errors.New("its responses cannot be purged: they were marked with another key")

// openSegment reads the head of a segment.
func (v *volume) openSegment(path string, first uint64) (*segment, error) {
	file, err := v.depot.fs.Open(path, false)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	h, err := headOf(file)
	if err != nil {
		return nil, err
	}
	switch {
	case h.first != first || h.volume != v.id:
		return nil, errForeign
	case h.marksKey != v.depot.marksKey:
		return nil, errMarks
	}
	n, err := file.Size()
	if err != nil {
		return nil, err
	}
	s := &segment{volume: v, log: h.log, id: h.id, first: first, path: path}
	s.bytes.Store(n)
	s.births.Store(&span{})
	return s, nil
}

// errEmpty says that the process ended when the file had been made and nothing written.
var errEmpty = errors.New("is empty")

// errLetGo says that the process ended while what had been let go of was still read.
var errLetGo = errors.New("has been let go of")

// errForeign says that a file bears the name of a segment that it is not.
var errForeign = errors.New("belongs elsewhere")

func isForeign(err error) bool {
	return errors.Is(err, errDamaged) || errors.Is(err, errForeign) || errors.Is(err, errVersion)
}

// reject drops a file that is no segment of this folder, and counts why.
func (v *volume) reject(path string, err error) {
	d := v.depot
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case errors.Is(err, errLetGo):
		_ = d.fs.Remove(path)
		return
	case errors.Is(err, errEmpty):
		d.counts.dropped(dropTorn)
		_ = d.fs.Remove(path)
		return
	case errors.Is(err, errMarks):
		d.counts.dropped(dropMarks)
	case isForeign(err):
		d.counts.dropped(dropForeign)
	default:
		d.counts.dropped(dropUnreadable)
		v.failed("open", err)
		return
	}
	d.log.Warn("a file of the store is dropped", "file", path, "error", err)
	if err := d.fs.Remove(path); err != nil {
		v.failed("remove", err)
	}
}

// entriesOf is the records of a segment that is not being written, the newest first: from
// its foot or, where it was not sealed or the foot is damaged, from the records
// themselves; then it is sealed, but not where it cannot be read to its end: that may go
// another time. With an error there may be more than is returned.
func (v *volume) entriesOf(s *segment) ([]entry, error) {
	file, err := v.depot.fs.Open(s.path, false)
	if err != nil && s.gone.Load() {
		return nil, errGoneSegment // who makes room was faster
	}
	if err != nil {
		v.failed("open", err)
		return nil, err
	}
	defer file.Close()
	entries, births, err := readFoot(s.id, file)
	if err == nil {
		s.births.Store(&births)
		return entries, nil
	}
	if !errors.Is(err, errDamaged) && !errors.Is(err, errTorn) {
		v.depot.counts.errors.Add(1) // the records may be read all the same
	}
	entries, births, end, damaged, unread := scan(s.id, file)
	s.births.Store(&births)
	if unread != nil {
		v.depot.counts.dropped(dropUnreadable)
		v.failed("read", unread)
		slices.Reverse(entries)
		return entries, unread
	}
	entries, end, torn := dropTail(s.id, file, entries, end)
	v.depot.counts.drops[dropTorn].Add(int64(torn))
	v.closeLog(s, entries, births, end)
	slices.Reverse(entries)
	if damaged == 0 {
		return entries, nil // the process ended before it could seal it
	}
	v.depot.counts.drops[dropTorn].Add(int64(damaged))
	return entries, err
}

// closeLog seals a segment of an earlier process, so that it is read at once next time
// and takes no more than it needs.
func (v *volume) closeLog(s *segment, entries []entry, births span, end int64) {
	file, err := v.depot.fs.Open(s.path, true)
	if err != nil && s.gone.Load() {
		return
	}
	if err != nil {
		v.failed("open", err)
		return
	}
	defer file.Close()
	if err := v.seal(s, file, end, entries, births); err != nil {
		v.failed("seal", err)
	}
}

// readFoot reads the table of a sealed segment.
func readFoot(id uint64, file File) (entries []entry, births span, err error) {
	size, err := file.Size()
	if err != nil || size < segmentHeadBytes+tailBytes {
		return nil, births, errTorn
	}
	p := make([]byte, tailBytes)
	if err := readFull(file, p, size-tailBytes); err != nil {
		return nil, births, err
	}
	t, err := decodeTail(p, id, size-tailBytes)
	if err != nil {
		return nil, births, err
	}
	p = make([]byte, t.count*entryBytes)
	if err := readFull(file, p, t.off); err != nil {
		return nil, births, err
	}
	entries, err = t.decodeEntries(p, id)
	return entries, t.births, err
}

func readFull(file File, p []byte, off int64) error {
	n, err := file.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return errTorn
	}
	return err
}

// scan finds the records of a segment that has no foot, in the order of the file, and
// where the last one ends. Where something else stands it looks for the next record;
// damaged is how many such places there are before the last record. The error is that of
// the file system which kept it from looking further.
func scan(id uint64, file File) (entries []entry, births span, end int64, damaged int, err error) {
	size, err := file.Size()
	if err != nil {
		return nil, births, segmentHeadBytes, 0, err
	}
	const window = 1 << 20
	p := make([]byte, window)
	at, from, have := int64(segmentHeadBytes), int64(0), int64(0)
	end = segmentHeadBytes
	skipping, holes := false, 0
	for at+recordHeadBytes <= size {
		if at < from || at+recordHeadBytes > from+have {
			n, err := file.ReadAt(p, at)
			if n < recordHeadBytes {
				if err != nil && !errors.Is(err, io.EOF) {
					return entries, births, end, damaged, err
				}
				break
			}
			from, have = at, int64(n)
		}
		h, err := decodeRecordHead(p[at-from:have], id, at)
		if err != nil || at+h.length > size {
			if !skipping {
				skipping = true
				holes++
			}
			at += align
			continue
		}
		damaged, skipping = damaged+holes, false
		holes = 0
		entries = append(entries, entryOf(&h, at))
		births.last = max(births.last, h.number)
		if h.kind == kindObject || h.kind == kindPiece {
			births.add(h.born, h.number)
		}
		at += aligned(h.length)
		end = at
		if len(entries) >= 2*maxEntries {
			break
		}
	}
	return entries, births, end, damaged, nil
}

// dropTail takes the records off the end of what was scanned that were being written when
// the process ended: their heads are there, but not all behind them.
func dropTail(id uint64, file File, entries []entry, end int64) (_ []entry, _ int64, torn int) {
	last := end
	for i := len(entries) - 1; i >= 0 && entries[i].off > last-batchBytes-longestRecord; i-- {
		e := entries[i]
		p := make([]byte, e.length)
		if readFull(file, p, e.off) == nil {
			if _, err := checkRecord(p, id, e.off); err == nil {
				continue
			}
		}
		entries = slices.Delete(entries, i, i+1)
		torn++
		if e.off+e.length == end {
			end = e.off
		}
	}
	return entries, end, torn
}

// install puts the objects of a segment, the newest record first, into the index, unless
// something newer is there or they have been removed.
func (d *Depot) install(s *segment, entries []entry) {
	d.loadMu.Lock()
	defer d.loadMu.Unlock()
	for _, e := range entries {
		d.raiseNumbers(e.number)
		switch e.kind {
		case kindGrave:
			d.graves.add(nameIn{s.volume, s.log, e.name}, e.number)
			d.dropOlder(s.volume, e.name, e.number)
		case kindGraves:
			d.graves.addAll(tagIn{s.volume, s.log, e.tag}, e.number)
			var room [4]found
			for _, f := range d.index.find(e.tag, room[:0]) {
				d.dropOlder(s.volume, f.name, e.number)
			}
		case kindObject:
			until, lasting := d.graves.cover(s, e.name)
			switch {
			case until <= e.number:
				d.installOne(s, e)
			case lasting <= e.number:
				d.buryFound(s, newPlace(s.slot, e.off, e.length), until)
			}
		}
	}
}

func (d *Depot) installOne(s *segment, e entry) {
	at := newPlace(s.slot, e.off, e.length)
	if d.index.swap(e.name, 0, at, e.flags) {
		d.counts.found.Add(1)
		return
	}
	f, ok := d.index.get(e.name)
	if !ok {
		return // no memory
	}
	other := d.segments.at(f.at)
	if other == nil || other.volume == s.volume && other.log == s.log {
		return // what was found first is newer
	}
	// Logs do not have an order among them: the record itself says. The older one is buried,
	// since it may outlive the other: the process ended before that was done.
	h, err := d.headAt(other, f.at)
	if err != nil {
		return
	}
	older, until := s, h.number
	if h.number < e.number {
		older, until = other, e.number
		d.index.swap(e.name, f.at, at, e.flags)
	}
	older.volume.queue.bury(&item{kind: itemGrave, name: e.name, key: h.key, variant: h.variant, log: older.log, until: until})
}

// buryFound writes down in the log of s that the record at a place has been removed: what
// says so stands in another log, and may go before it.
func (d *Depot) buryFound(s *segment, at place, until uint64) {
	if h, err := d.headAt(s, at); err == nil {
		s.volume.queue.bury(&item{kind: itemGrave, name: h.name(), key: h.key, variant: h.variant, log: s.log, until: until})
	}
}

// dropOlder takes a name out of the index whose record in the folder v has a lower number:
// it was found in another log before.
func (d *Depot) dropOlder(v *volume, n name, number uint64) {
	f, ok := d.index.get(n)
	if !ok {
		return
	}
	if s := d.segments.at(f.at); s != nil && s.volume == v {
		if h, err := d.headAt(s, f.at); err == nil && h.number < number {
			d.index.drop(n, f.at)
			d.buryFound(s, f.at, number)
		}
	}
}

// headAt reads the head of the record at a place.
func (d *Depot) headAt(s *segment, at place) (recordHead, error) {
	var p [recordHeadBytes]byte
	if err := d.files.readAt(s.number, p[:], at.off()); err != nil {
		return recordHead{}, err
	}
	return decodeRecordHead(p[:], s.id, at.off())
}
