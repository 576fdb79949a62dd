package disk

import (
	"encoding/binary"

	"perigee/cachestore"
)

// entry is what the foot of a segment says of one record.
type entry struct {
	name
	number uint64 // of a grave: until
	off    int64
	length int64 // aligned
	kind   recordKind
	flags  uint8
}

// entryOf is the entry of a record that stands at off.
func entryOf(h *recordHead, off int64) entry {
	e := entry{name: h.name(), number: h.number, off: off, length: aligned(h.length), kind: h.kind, flags: h.flags}
	switch h.kind {
	case kindGrave:
		e.number = h.until
	case kindGraves:
		e.number, e.variant = h.until, 0
	}
	return e
}

func (e entry) encode(p []byte) {
	binary.LittleEndian.PutUint64(p, e.tag)
	binary.LittleEndian.PutUint64(p[8:], e.number)
	binary.LittleEndian.PutUint32(p[16:], e.variant)
	binary.LittleEndian.PutUint32(p[20:], uint32(e.off/align))
	binary.LittleEndian.PutUint32(p[24:], uint32(e.length/align))
	p[28], p[29], p[30], p[31] = byte(e.kind), e.flags, 0, 0
}

func decodeEntry(p []byte) (e entry) {
	e.tag = binary.LittleEndian.Uint64(p)
	e.number = binary.LittleEndian.Uint64(p[8:])
	e.variant = binary.LittleEndian.Uint32(p[16:])
	e.off = int64(binary.LittleEndian.Uint32(p[20:])) * align
	e.length = int64(binary.LittleEndian.Uint32(p[24:])) * align
	e.kind, e.flags = recordKind(p[28]), p[29]
	return e
}

// span is the least and the greatest of some births, each of the two numbers for
// itself, and the greatest record number. The zero value spans nothing.
type span struct {
	n        int64 // births in it
	min, max cachestore.Birth
	last     uint64
}

// add extends s by the record of a birth.
func (s *span) add(born cachestore.Birth, number uint64) {
	s.last = max(s.last, number)
	if s.n++; s.n == 1 {
		s.min, s.max = born, born
		return
	}
	s.min.Seq, s.min.Local = min(s.min.Seq, born.Seq), min(s.min.Local, born.Local)
	s.max.Seq, s.max.Local = max(s.max.Seq, born.Seq), max(s.max.Local, born.Local)
}

// tail stands at the very end of a sealed segment.
type tail struct {
	count  int64 // entries of the foot
	off    int64 // where they begin
	births span
	sum    uint64 // of the entries
}

// foot encodes the entries and the tail of a segment from the place off on.
func foot(id uint64, off int64, entries []entry, births span) []byte {
	table := int64(len(entries)) * entryBytes
	p := make([]byte, table+tailBytes)
	for i, e := range entries {
		e.encode(p[i*entryBytes:])
	}
	t := p[table:]
	binary.LittleEndian.PutUint64(t, tailMagic)
	binary.LittleEndian.PutUint64(t[8:], uint64(len(entries)))
	binary.LittleEndian.PutUint64(t[16:], uint64(off))
	binary.LittleEndian.PutUint64(t[24:], uint64(births.n))
	binary.LittleEndian.PutUint64(t[32:], uint64(births.min.Seq))
	binary.LittleEndian.PutUint64(t[40:], uint64(births.min.Local))
	binary.LittleEndian.PutUint64(t[48:], uint64(births.max.Seq))
	binary.LittleEndian.PutUint64(t[56:], uint64(births.max.Local))
	binary.LittleEndian.PutUint64(t[64:], births.last)
	binary.LittleEndian.PutUint64(t[72:], checksum(id, off, p[:table]))
	binary.LittleEndian.PutUint64(t[tailBytes-8:], checksum(id, off+table, t[:tailBytes-8]))
	return p
}

// decodeTail reads the tail that stands at off.
func decodeTail(p []byte, id uint64, off int64) (t tail, err error) {
	if len(p) != tailBytes || binary.LittleEndian.Uint64(p) != tailMagic ||
		binary.LittleEndian.Uint64(p[tailBytes-8:]) != checksum(id, off, p[:tailBytes-8]) {
		return t, errDamaged
	}
	t.count = int64(binary.LittleEndian.Uint64(p[8:]))
	t.off = int64(binary.LittleEndian.Uint64(p[16:]))
	t.births.n = int64(binary.LittleEndian.Uint64(p[24:]))
	t.births.min.Seq = int64(binary.LittleEndian.Uint64(p[32:]))
	t.births.min.Local = int64(binary.LittleEndian.Uint64(p[40:]))
	t.births.max.Seq = int64(binary.LittleEndian.Uint64(p[48:]))
	t.births.max.Local = int64(binary.LittleEndian.Uint64(p[56:]))
	t.births.last = binary.LittleEndian.Uint64(p[64:])
	t.sum = binary.LittleEndian.Uint64(p[72:])
	if t.off < segmentHeadBytes || t.count < 0 || t.count > off/entryBytes || t.off != off-t.count*entryBytes {
		return t, errDamaged
	}
	return t, nil
}

// decodeEntries reads the table that t tells of, the last record first.
func (t tail) decodeEntries(p []byte, id uint64) ([]entry, error) {
	if int64(len(p)) != t.count*entryBytes || checksum(id, t.off, p) != t.sum {
		return nil, errDamaged
	}
	entries := make([]entry, t.count)
	for i := range entries {
		e := decodeEntry(p[i*entryBytes:])
		if e.kind == 0 || e.kind >= kindsEnd || e.off < segmentHeadBytes || e.length < recordHeadBytes || e.off+e.length > t.off {
			return nil, errDamaged
		}
		entries[len(entries)-1-i] = e
	}
	return entries, nil
}
