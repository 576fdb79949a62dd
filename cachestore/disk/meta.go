package disk

import (
	"encoding/binary"

	"perigee/cachestore"
	"perigee/httpcache"
)

// metaForm is the first byte of metadata.
const metaForm = 1

// maxRuns is how many runs the bodies of one object may be kept in. Each costs some
// 20 bytes of metadata.
const maxRuns = 16 << 10

// placedRun is a run as it is written: its segment goes by its id.
type placedRun struct {
	segment uint64 // 0 stands for the record's own segment, behind its metadata
	off     int64
	bytes   int64
	inline  bool // in the record of another object: of the first block, not of pieces
}

// spot is where r begins as a number: twice the offset of a block and 1, or twice that of
// a record, in units of align.
func (r placedRun) spot() uint64 {
	if r.inline {
		return uint64(r.off)<<1 | 1
	}
	return uint64(r.off/align) << 1
}

func (r *placedRun) stand(spot int64) {
	if r.inline = spot&1 != 0; r.inline {
		r.off = spot >> 1
		return
	}
	r.off = spot >> 1 * align
}

// placedPiece is a piece of an object as it is written.
type placedPiece struct {
	off, end int64
	runs     []placedRun
}

// appendMeta appends what is kept of o beside its key, variant and birth, which stand
// in the record's head.
func appendMeta(buf []byte, o *cachestore.Object, size int64, pieces []placedPiece) []byte {
	buf = append(buf, metaForm)
	label := o.Label()
	buf = appendText(buf, label.Site)
	buf = appendText(buf, label.URL)
	buf = binary.LittleEndian.AppendUint64(buf, o.Representation())
	buf = binary.AppendUvarint(buf, uint64(size))
	marks := o.Marks()
	buf = binary.AppendUvarint(buf, uint64(len(marks)))
	for _, m := range marks {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(m))
	}
	buf = binary.AppendUvarint(buf, uint64(len(pieces)))
	for _, p := range pieces {
		buf = binary.AppendUvarint(buf, uint64(p.off))
		buf = binary.AppendUvarint(buf, uint64(p.end))
		buf = binary.AppendUvarint(buf, uint64(len(p.runs)))
		for _, r := range p.runs {
			buf = binary.LittleEndian.AppendUint64(buf, r.segment)
			buf = binary.AppendUvarint(buf, r.spot())
			buf = binary.AppendUvarint(buf, uint64(r.bytes))
		}
	}
	return httpcache.AppendStored(buf, o.Stored())
}

func appendText(buf []byte, text string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(text))), text...)
}

// meta is metadata that was read.
type meta struct {
	label          cachestore.Label
	representation uint64
	size           int64
	marks          []cachestore.Mark
	pieces         []placedPiece
	stored         *httpcache.Stored
}

// decodeMeta reads what appendMeta wrote. It keeps nothing of p.
func decodeMeta(p []byte) (m meta, err error) {
	r := metaReader{p: p}
	if form := r.bytes(1); r.failed || form[0] != metaForm {
		return m, errDamaged
	}
	m.label.Site = r.text()
	m.label.URL = r.text()
	m.representation = r.fixed()
	m.size = r.number()
	if n := r.count(8); n > 0 {
		m.marks = make([]cachestore.Mark, n)
		for i := range m.marks {
			m.marks[i] = cachestore.Mark(r.fixed())
		}
	}
	m.pieces = r.pieces(m.size)
	if r.failed {
		return m, errDamaged
	}
	if m.stored, err = httpcache.DecodeStored(r.p); err != nil {
		return m, errDamaged
	}
	return m, nil
}

// metaReader takes values off the front of p until one is not there.
type metaReader struct {
	p      []byte
	failed bool
}

func (r *metaReader) bytes(n int64) []byte {
	if r.failed || n < 0 || n > int64(len(r.p)) {
		r.failed = true
		return nil
	}
	p := r.p[:n]
	r.p = r.p[n:]
	return p
}

func (r *metaReader) fixed() uint64 {
	if p := r.bytes(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *metaReader) number() int64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 || v >= 1<<48 {
		r.failed = true
		return 0
	}
	r.bytes(int64(n))
	return int64(v)
}

func (r *metaReader) text() string { return string(r.bytes(r.number())) }

// count is a number of values that take at least the given bytes each.
func (r *metaReader) count(bytes int64) int64 {
	n := r.number()
	if n > int64(len(r.p))/bytes {
		r.failed = true
		return 0
	}
	return n
}

// pieces reads the pieces of a representation of size bytes.
func (r *metaReader) pieces(size int64) []placedPiece {
	pieces := make([]placedPiece, r.count(3))
	for i := range pieces {
		p := &pieces[i]
		p.off, p.end = r.number(), r.number()
		p.runs = make([]placedRun, r.count(10))
		var n int64
		for j := range p.runs {
			p.runs[j].segment = r.fixed()
			p.runs[j].stand(r.number())
			p.runs[j].bytes = r.number()
			if n += p.runs[j].bytes; p.runs[j].bytes == 0 || n > size {
				r.failed = true
				return nil
			}
		}
		if p.end < p.off || p.end > size || n != p.end-p.off {
			r.failed = true
			return nil
		}
	}
	return pieces
}
