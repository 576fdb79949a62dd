package purge

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// JournalOptions are those of [OpenJournal].
type JournalOptions struct {
	// Dir is the folder that holds the journal and nothing else; it is made if it is
	// not there.
	Dir string
	// Now gives the time of entries, and the first number.
	Now func() time.Time
	// Seen is the highest number that anybody is known to have seen, such as the
	// highest birth of what is stored; 0 = none. A journal that ends before it has lost
	// its end, which it cannot tell by itself.
	Seen int64

	fs fileSystem // nil = the disk
}

// Damage says what was found broken, and what was done about it.
type Damage struct {
	What []string // files and places, for the operator
	// Purged is the number of the entry that purges everything softly: entries may have
	// been lost, and what they struck must not be served unchecked.
	Purged int64
}

func (d *Damage) String() string {
	return fmt.Sprintf("purge log damaged (%s): everything is purged softly", strings.Join(d.What, "; "))
}

// OpenJournal opens the journal of a folder, or begins one. It reads all of it. A tail
// that was never finished, hence never acknowledged, is cut off in silence; any other
// damage is described, and everything purged softly for it. A folder that cannot be
// written is no error, only each append is.
func OpenJournal(o JournalOptions) (*Journal, *Damage, error) {
	j, damage, err := openJournal(o)
	if err != nil {
		return nil, nil, fmt.Errorf("purge log: %w", err)
	}
	return j, damage, nil
}

func openJournal(o JournalOptions) (*Journal, *Damage, error) {
	if o.Now == nil || o.Dir == "" {
		return nil, nil, errors.New("options without folder or clock")
	}
	j := newJournal(o)
	if err := j.fs.MkdirAll(j.dir); err != nil {
		return nil, nil, err
	}
	lock, err := j.fs.Lock(filepath.Join(j.dir, lockName))
	if err != nil {
		return nil, nil, err
	}
	j.lock = lock
	damage, err := j.recover(o.Seen)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	go j.run()
	return j, damage, nil
}

// opening is what is known of a file while the journal is opened.
type opening struct {
	gen    uint64
	file   file
	size   int64
	header header
	bad    string // what is wrong with the header
	short  bool   // there is not even a whole header
}

// recover finds out what the folder holds and makes j ready for appends.
func (j *Journal) recover(seen int64) (*Damage, error) {
	files, err := j.openFiles()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, f := range files {
			_ = f.file.Close()
		}
	}()
	r := recovery{j: j}
	r.judgeHeaders(files)
	for _, f := range files {
		if err := r.read(f); err != nil {
			return nil, fmt.Errorf("%s: %w", segmentName(f.gen), err)
		}
	}
	last := max(r.last, r.base-1)
	if seen > 0 && seen > last {
		r.add("ends at number %d, but %d was given", last, seen)
	}
	j.next = last + 1
	if r.base == 0 || len(r.wrong) > 0 {
		j.next = max(j.next, seen+1, j.now().UnixMilli()<<numberBits)
	}
	for _, each := range r.ids {
		j.ids.add(each.id, each.last)
	}
	j.tail, j.last = newTail(j.next-1), r.last
	var damage *Damage
	if len(r.wrong) > 0 {
		damage = j.owe(r.wrong)
	}
	r.begin()
	return damage, nil
}

// openFiles opens all segments in order, and clears away what was never finished.
func (j *Journal) openFiles() ([]*opening, error) {
	names, err := j.fs.List(j.dir)
	if err != nil {
		return nil, err
	}
	var files []*opening
	slices.Sort(names)
	for _, name := range names {
		if strings.HasSuffix(name, unfinished) {
			_ = j.fs.Remove(filepath.Join(j.dir, name))
		}
		gen, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		f, err := j.openSegment(gen)
		if err != nil {
			for _, other := range files {
				_ = other.file.Close()
			}
			return nil, err
		}
		files = append(files, f)
		j.top = gen
	}
	return files, nil
}

func (j *Journal) openSegment(gen uint64) (*opening, error) {
	f, err := j.fs.Open(filepath.Join(j.dir, segmentName(gen)))
	if err != nil {
		return nil, err
	}
	o := &opening{gen: gen, file: f}
	if err := o.readHeader(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return o, nil
}

func (o *opening) readHeader() (err error) {
	if o.size, err = o.file.Size(); err != nil {
		return err
	}
	raw := make([]byte, segmentBytes)
	if n, err := o.file.ReadAt(raw, 0); n < segmentBytes {
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		o.short = true
		return nil
	}
	o.header, err = parseHeader(raw)
	switch {
	case errors.Is(err, errNewer):
		return err
	case err != nil && len(strings.Trim(string(raw), "\x00")) == 0 && o.size == segmentBytes:
		o.short = true // it had grown, and its bytes never came
	case err != nil:
		o.bad = "bad header"
	case o.header.gen != o.gen:
		o.bad = "header of another file"
	}
	return nil
}

// known is an append of which there is a record.
type known struct {
	id   ID
	last int64
}

// recovery gathers what the segments say.
type recovery struct {
	j        *Journal
	replaced uint64           // generations up to it do not count
	settled  uint64           // nor does damage up to it
	trusted  map[uint64]int64 // how much of a segment is durable, where others say so
	base     int64            // highest number that a header begins with
	last     int64            // number of the last entry
	ids      []known          // the last ones
	newest   file             // that has entries, nil = none
	empty    []uint64         // segments that have none
	wrong    []string
}

func (r *recovery) add(format string, args ...any) {
	if len(r.wrong) < maxTrouble {
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
	}
}

// judgeHeaders finds what segments say of others, and whether one is missing.
func (r *recovery) judgeHeaders(files []*opening) {
	r.trusted = make(map[uint64]int64)
	there := make(map[uint64]bool)
	for _, f := range files {
		there[f.gen] = true
		h := &f.header
		r.replaced, r.settled, r.base = max(r.replaced, h.replaces), max(r.settled, h.settled), max(r.base, h.base)
		if h.prev > 0 {
			r.trusted[h.prev] = h.prevSize
		}
		if h.whole > 0 {
			r.trusted[f.gen] = h.whole
		}
	}
	for _, f := range files {
		if prev := f.header.prev; prev > max(r.replaced, r.settled) && !there[prev] {
			r.add("%s is missing", segmentName(prev))
		}
	}
}

// read takes in one segment.
func (r *recovery) read(f *opening) error {
	j := r.j
	size, named := r.trusted[f.gen]
	switch {
	case f.gen <= r.replaced:
		_ = j.fs.Remove(filepath.Join(j.dir, segmentName(f.gen)))
		return nil
	case f.short && !named: // it was not begun, so nothing was acknowledged from it
		_ = j.fs.Remove(filepath.Join(j.dir, segmentName(f.gen)))
		return nil
	}
	s := segment{gen: f.gen, size: f.size, damaged: f.gen <= r.settled}
	if named {
		s.size = min(size, f.size)
	}
	s.settle(&f.header)
	var found trouble
	if f.bad != "" || f.short {
		found.add("%s", cmpOr(f.bad, "no header"))
	}
	if f.size < size {
		found.add("%d of %d bytes are there", f.size, size)
	}
	t, err := r.scan(f.file, &s)
	if err != nil {
		return err
	}
	found.wrong = append(found.wrong, t.wrong...)
	if t.torn && named {
		found.add("a record is cut off after byte %d", t.end)
	}
	if len(found.wrong) > 0 && !s.damaged {
		s.damaged = true
		r.add("%s: %s", segmentName(f.gen), strings.Join(found.wrong, ", "))
	}
	if t.torn && !s.damaged {
		s.size = t.end
	}
	if s.entries == 0 && !s.damaged {
		r.empty = append(r.empty, f.gen)
		return nil
	}
	r.last = max(r.last, s.last)
	r.newest, j.prev, j.prevSize = f.file, s.gen, s.size
	j.segments = append(j.segments, s)
	return nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// scan reads the records of a segment.
func (r *recovery) scan(f io.ReaderAt, s *segment) (trouble, error) {
	if s.size < segmentBytes {
		return trouble{}, nil
	}
	var back bool
	t, err := scan(f, segmentBytes, s.size, func(payload []byte) error {
		p := parseSpan(payload)
		if p.first <= max(r.last, s.last) || p.last < p.first {
			back = true
			return nil
		}
		s.note(p.first, p.last, entriesOf(payload))
		if len(r.ids) >= 2*maxIDs {
			r.ids = slices.Delete(r.ids, 0, maxIDs)
		}
		r.ids = append(r.ids, known{p.id, p.last})
		return nil
	})
	if back {
		t.add("numbers go back")
	}
	return t, err
}

// owe has everything purged softly for damage. The entry counts at once; a new segment
// makes it durable, now or, if the disk refuses, before the first append that succeeds.
func (j *Journal) owe(wrong []string) *Damage {
	now := j.now().UnixMilli()
	e := settledEntry(j.next, now)
	j.owed = &e
	j.settled = j.top
	j.next++
	j.last = e.Seq
	j.tail.add([]Entry{e})
	return &Damage{What: wrong, Purged: e.Seq}
}

// settledEntry is the entry that damage costs.
func settledEntry(seq, unixMilli int64) Entry {
	return Entry{Seq: seq, Kind: KindEverything, Soft: true, Who: "perigee", At: time.UnixMilli(unixMilli).UTC()}
}

// begin makes a segment for what comes. A file that another process wrote to is not
// written to again: whether its last bytes are durable is known to nobody. They are
// made so as far as can be, since the numbers in them may have been seen. Without
// success the next append tries again.
func (r *recovery) begin() {
	j := r.j
	if r.newest != nil {
		_ = r.newest.Sync()
	}
	if err := j.create(); err != nil {
		j.note(err)
		return
	}
	for _, gen := range r.empty {
		_ = j.fs.Remove(filepath.Join(j.dir, segmentName(gen)))
	}
}
