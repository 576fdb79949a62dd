package disk

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
	"perigee/internal/faultfs"
	"perigee/internal/storetest"
)

// The parsers of the format get what a disk may hold: anything. Most of what follows
// gives what was changed its right checksum, since a parser must hold without one too.

const fuzzID = 0x1122334455667788

// memory is a file in memory that cannot be written.
type memory struct{ *bytes.Reader }

func (m memory) Size() (int64, error)             { return m.Reader.Size(), nil }
func (memory) WriteAt([]byte, int64) (int, error) { return 0, io.ErrShortWrite }
func (memory) Truncate(int64) error               { return nil }
func (memory) Sync() error                        { return nil }
func (memory) Close() error                       { return nil }

// putSum makes the last eight bytes of p the checksum of what is before them.
func putSum(p []byte, id uint64, off int64) {
	end := len(p) - 8
	binary.LittleEndian.PutUint64(p[end:], checksum(id, off, p[:end]))
}

func aRecord(h recordHead, off int64, meta, body []byte) []byte {
	h.meta, h.body = int64(len(meta)), int64(len(body))
	h.length = recordHeadBytes + h.meta + blocksBytes(h.body)
	p := make([]byte, aligned(h.length))
	copy(p[recordHeadBytes:], meta)
	h.metaSum = checksum(fuzzID, off, meta)
	h.encode(p, fuzzID, off)
	putBlocks(p[recordHeadBytes+h.meta:h.length], fuzzID, off+recordHeadBytes+h.meta, func(yield func([]byte) bool) { yield(body) })
	return p
}

// aSegment is a segment of a few records of each kind, sealed, and what is in it.
func aSegment() (p []byte, entries []entry) {
	p = make([]byte, segmentHeadBytes)
	segmentHead{id: fuzzID, first: 5, size: 1 << 20, marksKey: 7, volume: 9}.encode(p)
	var births span
	for i, h := range []recordHead{
		{kind: kindObject, flags: flagRefers},
		{kind: kindPiece},
		{kind: kindGrave, until: 7},
		{kind: kindGraves, until: 8},
		{kind: kindObject, flags: flagPartial},
	} {
		h.key, h.number = storetest.Key(i), uint64(i+6)
		h.born = cachestore.Birth{Seq: int64(i) + 1, Local: 10 - int64(i)}
		var meta, body []byte
		switch h.kind {
		case kindObject:
			meta, body = bytes.Repeat([]byte{1, 2, 3}, 100), storetest.Content(i, 70_000)
		case kindPiece:
			body = storetest.Content(i, 300)
		}
		off := int64(len(p))
		p = append(p, aRecord(h, off, meta, body)...)
		decoded, err := decodeRecordHead(p[off:], fuzzID, off)
		if err != nil {
			panic(err)
		}
		entries = append(entries, entryOf(&decoded, off))
		births.last = max(births.last, h.number)
		if h.kind == kindObject || h.kind == kindPiece {
			births.add(h.born, h.number)
		}
	}
	return append(p, foot(fuzzID, int64(len(p)), entries, births)...), entries
}

func TestFootAndScanAgree(t *testing.T) {
	t.Parallel()
	p, want := aSegment()
	fromFoot, births, err := readFoot(fuzzID, memory{bytes.NewReader(p)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got := fromFoot[len(want)-1-i]; got != want[i] {
			t.Errorf("entry %d of the foot is %+v, want %+v", i, got, want[i])
		}
	}
	scanned, scannedBirths, end, damaged, err := scan(fuzzID, memory{bytes.NewReader(p)})
	if err != nil || damaged != 0 || end != int64(len(p))-tailBytes-int64(len(want))*entryBytes || len(scanned) != len(want) {
		t.Errorf("a scan finds %d records up to %d, %d damaged places", len(scanned), end, damaged)
	}
	for i := range min(len(want), len(scanned)) {
		if scanned[i] != want[i] {
			t.Errorf("entry %d of a scan is %+v, want %+v", i, scanned[i], want[i])
		}
	}
	if diff := cmp.Diff(births, scannedBirths, cmp.AllowUnexported(span{})); diff != "" {
		t.Errorf("births (-foot +scan):\n%s", diff)
	}
}

// No byte of a head, of metadata or of a block can be another and pass.
func TestEveryByteIsChecked(t *testing.T) {
	t.Parallel()
	body := storetest.Content(1, 100)
	p := aRecord(recordHead{kind: kindObject, key: storetest.Key(1)}, 64, []byte("metadata"), body)
	length := recordHeadBytes + len("metadata") + blockHeadBytes + len(body)
	if _, err := checkRecord(p, fuzzID, 64); err != nil {
		t.Fatal(err)
	}
	for i := range length {
		for bit := range 8 {
			p[i] ^= 1 << bit
			if _, err := checkRecord(p, fuzzID, 64); err == nil {
				t.Errorf("bit %d of byte %d may be another", bit, i)
			}
			p[i] ^= 1 << bit
		}
	}
	if _, err := checkRecord(p, fuzzID+1, 64); err == nil {
		t.Error("a record passes in another segment")
	}
	if _, err := checkRecord(p, fuzzID, 128); err == nil {
		t.Error("a record passes at another place")
	}
	for n := range p[:length] {
		if _, err := checkRecord(p[:n:n], fuzzID, 64); err == nil {
			t.Errorf("the first %d bytes of a record pass", n)
		}
	}
}

func FuzzRecordHead(f *testing.F) {
	p := aRecord(recordHead{kind: kindObject, number: 3, key: storetest.Key(1)}, 64, []byte("metadata"), []byte("body"))
	f.Add(p, true)
	f.Add(p, false)
	f.Add(aRecord(recordHead{kind: kindGraves, until: 4}, 64, nil, nil), true)
	long := bytes.Clone(p)
	binary.LittleEndian.PutUint32(long[8:], 1<<31)
	f.Add(long, true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, p []byte, right bool) {
		if p = bytes.Clone(p); right && len(p) >= recordHeadBytes {
			putSum(p[:recordHeadBytes], fuzzID, 64)
		}
		h, err := decodeRecordHead(p, fuzzID, 64)
		if err != nil {
			return
		}
		if h.length < recordHeadBytes || aligned(h.length) > longestRecord {
			t.Errorf("a record of %d bytes, more than there is room for", h.length)
		}
		again := make([]byte, recordHeadBytes)
		h.encode(again, fuzzID, 64)
		if got, err := decodeRecordHead(again, fuzzID, 64); err != nil || got != h {
			t.Errorf("%+v is %+v, %v after it was written again", h, got, err)
		}
		_, _ = checkRecord(p, fuzzID, 64)
	})
}

func FuzzSegmentHead(f *testing.F) {
	p, _ := aSegment()
	f.Add(p[:segmentHeadBytes], true)
	f.Add(p[:segmentHeadBytes], false)
	f.Add(p[:100], false)
	f.Fuzz(func(t *testing.T, p []byte, right bool) {
		if p = bytes.Clone(p); right && len(p) >= segmentHeadBytes {
			seal(p[:segmentHeadBytes])
		}
		h, err := decodeSegmentHead(p)
		if err != nil {
			return
		}
		again := make([]byte, segmentHeadBytes)
		h.encode(again)
		if got, err := decodeSegmentHead(again); err != nil || got != h {
			t.Errorf("%+v is %+v, %v after it was written again", h, got, err)
		}
	})
}

// FuzzFoot reads the foot of a file whose end is p; with right its checksums are.
func FuzzFoot(f *testing.F) {
	p, _ := aSegment()
	table := len(p) - tailBytes - 5*entryBytes
	f.Add(p[table:], int64(table), true)
	f.Add(p[table:], int64(table), false)
	f.Add(p[len(p)-tailBytes:], int64(table), true)
	huge := bytes.Clone(p[len(p)-tailBytes:])
	binary.LittleEndian.PutUint64(huge[8:], 1<<59)
	binary.LittleEndian.PutUint64(huge[16:], 4096)
	binary.LittleEndian.PutUint64(huge[72:], checksum(fuzzID, 4096, nil))
	f.Add(huge, int64(4096), true)
	f.Fuzz(func(t *testing.T, end []byte, at int64, right bool) {
		if len(end) < tailBytes || at < segmentHeadBytes || at > 1<<20 {
			return
		}
		file := append(make([]byte, at), end...)
		tailAt := len(file) - tailBytes
		if right {
			if off := binary.LittleEndian.Uint64(file[tailAt+16:]); off >= segmentHeadBytes && off <= uint64(tailAt) {
				binary.LittleEndian.PutUint64(file[tailAt+72:], checksum(fuzzID, int64(off), file[off:tailAt]))
			}
			putSum(file[tailAt:], fuzzID, int64(tailAt))
		}
		entries, _, err := readFoot(fuzzID, memory{bytes.NewReader(file)})
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.off < segmentHeadBytes || e.length <= 0 || e.off+e.length > int64(tailAt) {
				t.Errorf("%+v is not in a file of %d bytes", e, len(file))
			}
			if at := newPlace(1, e.off, e.length); at.off() != e.off { // it panics if it is none
				t.Errorf("%+v is at %d", e, at.off())
			}
		}
	})
}

func FuzzMeta(f *testing.F) {
	b := newBare(f, testSize)
	for _, v := range []version{versionOf(1, 1, 0), versionOf(2, 2, 100), versionOf(3, 3, 700_000)} {
		o := b.mustPut(v)
		f.Add(appendMeta(nil, o, int64(v.size), []placedPiece{{end: int64(v.size)}}))
		f.Add(appendMeta(nil, o, int64(v.size), []placedPiece{{end: int64(v.size), runs: []placedRun{{bytes: int64(v.size)}}}}))
		f.Add(appendMeta(nil, o, int64(v.size), []placedPiece{{end: 30, runs: []placedRun{
			{segment: 7, off: 640, bytes: 10}, {segment: 8, off: 1001, bytes: 20, inline: true},
		}}}))
	}
	b.end()
	f.Add([]byte{})
	f.Add([]byte{metaForm, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := decodeMeta(p)
		if err != nil {
			return
		}
		if len(m.marks) > len(p)/8 || len(m.pieces) > len(p)/3 {
			t.Errorf("%d marks and %d pieces in %d bytes", len(m.marks), len(m.pieces), len(p))
		}
		for _, piece := range m.pieces {
			var n int64
			for _, r := range piece.runs {
				if n += r.bytes; r.off < 0 || r.bytes <= 0 {
					t.Errorf("a run %+v", r)
				}
			}
			if piece.off < 0 || piece.end > m.size || n != piece.end-piece.off {
				t.Errorf("%+v of %d bytes", piece, m.size)
			}
		}
	})
}

// FuzzScan looks for records in a file of which some is overwritten.
func FuzzScan(f *testing.F) {
	p, _ := aSegment()
	f.Add(uint32(0), []byte{})
	f.Add(uint32(segmentHeadBytes), []byte("x"))
	f.Add(uint32(segmentHeadBytes), make([]byte, 4000))
	f.Add(uint32(len(p)-10), make([]byte, 4000))
	f.Add(uint32(len(p)), bytes.Repeat([]byte{'P', 'G', 'R', 'C'}, 1000))
	f.Fuzz(func(t *testing.T, at uint32, with []byte) {
		if int(at) > len(p) || len(with) > 1<<20 {
			return
		}
		file := append(bytes.Clone(p[:at]), with...)
		if len(file) < len(p) {
			file = append(file, p[len(file):]...)
		}
		entries, births, end, _, _ := scan(fuzzID, memory{bytes.NewReader(file)})
		before := int64(segmentHeadBytes)
		for _, e := range entries {
			if e.off < before || e.off%align != 0 || e.off+e.length > aligned(int64(len(file))) {
				t.Errorf("a record at %d of %d bytes, in a file of %d, after %d", e.off, e.length, len(file), before)
			}
			before = e.off + e.length
		}
		if end != before {
			t.Errorf("the records end at %d, not %d", end, before)
		}
		if int(births.n) > len(entries) {
			t.Errorf("%d births of %d records", births.n, len(entries))
		}
	})
}

// FuzzMain opens a folder whose name file is p.
func FuzzMain(f *testing.F) {
	v := &volume{path: "/", depot: &Depot{}}
	named := func(p []byte) FS {
		fs := faultfs.New(0)
		if err := fs.Write("/"+mainName, p); err != nil {
			f.Fatal(err)
		}
		return faulty{fs}
	}
	v.depot.fs = faulty{faultfs.New(0)}
	v.id = 77
	if err := v.writeMain(); err != nil {
		f.Fatal(err)
	}
	p, err := v.depot.fs.(faulty).Read("/" + mainName)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p, true)
	f.Add(p[:50], false)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, p []byte, right bool) {
		if p = bytes.Clone(p); right && len(p) >= mainBytes {
			seal(p[:mainBytes])
		}
		v := &volume{path: "/", depot: &Depot{fs: named(p)}}
		id, err := v.readMain()
		if err == nil && id != binary.LittleEndian.Uint64(p[16:]) {
			t.Errorf("id %d of %x", id, p)
		}
	})
}
