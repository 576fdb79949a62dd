package purge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// A segment is one file of the journal: a header, then records. Its generation is its
// name. One segment is written to, the others stay as they are.
const (
	segmentMagic   = "perigeeP"
	segmentVersion = 1
	segmentBytes   = 88 // of the header
	segmentSuffix  = ".purge"
	unfinished     = ".tmp"
	lockName       = "purge.lock"

	readBytes = 256 << 10
)

// header is what a segment says of itself and of those before it. What it says of
// them is how far they can be trusted: a file that failed once is not written to
// again, and what it may hold beyond is not an entry.
type header struct {
	gen  uint64
	base int64 // the number after the last one that was given before

	prev     uint64 // the segment that was written to before, 0 = none
	prevSize int64  // how many of its bytes are durable

	replaces uint64 // the generations up to it are in here, as far as they still count
	whole    int64  // size of the file where it was written in one go, else 0

	// settled: for the damage of the generations up to it everything was purged softly,
	// with the number settledAt and at that moment.
	settled     uint64
	settledAt   int64
	settledTime int64 // Unix milliseconds
}

func (h *header) append(buf []byte) []byte {
	start := len(buf)
	buf = append(buf, segmentMagic...)
	buf = binary.LittleEndian.AppendUint32(buf, segmentVersion)
	for _, n := range [...]uint64{
		h.gen, uint64(h.base), h.prev, uint64(h.prevSize), h.replaces, uint64(h.whole), h.settled, uint64(h.settledAt), uint64(h.settledTime),
	} {
		buf = binary.LittleEndian.AppendUint64(buf, n)
	}
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
}

func parseHeader(raw []byte) (h header, err error) {
	const sum = segmentBytes - 4
	if string(raw[:8]) != segmentMagic || crc32.Checksum(raw[:sum], castagnoli) != binary.LittleEndian.Uint32(raw[sum:]) {
		return header{}, errRecord
	}
	if binary.LittleEndian.Uint32(raw[8:]) != segmentVersion {
		return header{}, errNewer
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(raw[12+8*i:]) }
	return header{
		gen: at(0), base: int64(at(1)), prev: at(2), prevSize: int64(at(3)), replaces: at(4), whole: int64(at(5)),
		settled: at(6), settledAt: int64(at(7)), settledTime: int64(at(8)),
	}, nil
}

func segmentName(gen uint64) string { return fmt.Sprintf("%016x%s", gen, segmentSuffix) }

func parseSegmentName(name string) (gen uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	gen, err := strconv.ParseUint(digits, 16, 64)
	return gen, err == nil && segmentName(gen) == name
}

// segment is a file as those who read it need it.
type segment struct {
	gen   uint64
	size  int64 // of what is durable
	first int64 // number of the first entry, 0 = none
	last  int64 // of the last
	// settled is the purge that the header stands for; its Seq is 0 where there is none.
	settled Entry
	// damaged parts are passed over: everything was purged for them.
	damaged bool
	entries int
}

// note extends s by a record.
func (s *segment) note(first, last int64, entries int) {
	if s.first == 0 {
		s.first = first
	}
	s.last = last
	s.entries += entries
}

// settle takes in the purge that the header stands for.
func (s *segment) settle(h *header) {
	if h.settledAt > 0 {
		s.settled = settledEntry(h.settledAt, h.settledTime)
		s.note(h.settledAt, h.settledAt, 1)
	}
}

// trouble is what a scan finds in a file.
type trouble struct {
	end   int64    // where the last good record ends
	torn  bool     // the last record was never finished
	wrong []string // damage, with its place
}

// maxTrouble bounds the places of damage that are told.
const maxTrouble = 8

func (t *trouble) add(format string, args ...any) {
	if len(t.wrong) < maxTrouble {
		t.wrong = append(t.wrong, fmt.Sprintf(format, args...))
	}
}

// scan calls visit with the payload of each good record between two offsets of f. The
// payload is good until visit returns. The error is that of reading, or visit's.
func scan(f io.ReaderAt, from, to int64, visit func(payload []byte) error) (t trouble, err error) {
	t.end = from
	in := bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), readBytes)
	var buf []byte
	for off := from; off < to; {
		length, err := readRecord(in, to-off, &buf)
		switch {
		case errors.Is(err, errTorn):
			t.torn = true
			return t, nil
		case errors.Is(err, errRecord):
			// The length is not believed either: what it spans may hold good ones.
			next, blank, err := resume(f, off, to)
			if err != nil || blank {
				t.torn = blank
				return t, err
			}
			t.add("no good record at byte %d", off)
			off = next
			in.Reset(io.NewSectionReader(f, off, to-off))
			continue
		case err != nil:
			return t, err
		}
		if err := visit(buf[:length]); err != nil {
			return t, err
		}
		off += headBytes + length
		t.end = off
	}
	return t, nil
}

// errTorn is that of a record whose end is not there.
var errTorn = errors.New("cut off")

// readRecord reads a record of which at most left bytes are there, its payload to buf.
func readRecord(in io.Reader, left int64, buf *[]byte) (length int64, err error) {
	if left < headBytes {
		return 0, errTorn
	}
	var head [headBytes]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, err
	}
	length, sum, err := parseHead(head[:])
	switch {
	case err != nil:
		return 0, err
	case length > left-headBytes:
		return 0, errTorn
	case int64(len(*buf)) < length:
		*buf = make([]byte, 2*length)
	}
	payload := (*buf)[:length]
	if _, err := io.ReadFull(in, payload); err != nil {
		return 0, err
	}
	if crc32.Checksum(payload, castagnoli) != sum {
		return 0, errRecord
	}
	return length, nil
}

// resume seeks the next good record after one that is none, in ever larger pieces, so
// that it costs what it passes over. blank tells that there are only zeros: the file
// had grown and its bytes never came.
func resume(f io.ReaderAt, off, to int64) (next int64, blank bool, err error) {
	for size := int64(readBytes); ; size *= 2 {
		piece := make([]byte, min(size, to-off))
		if _, err := f.ReadAt(piece, off); err != nil && !errors.Is(err, io.EOF) {
			return 0, false, err
		}
		for i := 1; i+headBytes <= len(piece); i++ {
			length, sum, err := parseHead(piece[i:][:headBytes])
			if err != nil || length > int64(len(piece)-i-headBytes) {
				continue
			}
			if crc32.Checksum(piece[i+headBytes:][:length], castagnoli) == sum {
				return off + int64(i), false, nil
			}
		}
		if int64(len(piece)) == to-off {
			return to, len(bytes.TrimLeft(piece, "\x00")) == 0, nil
		}
	}
}

// read calls fn for the entries of a segment from the number next on. It fails with
// fs.ErrNotExist where the segment was replaced meanwhile.
func (j *Journal) read(s segment, next int64, fn func(Entry) error) (err error) {
	f, err := j.fs.Open(filepath.Join(j.dir, segmentName(s.gen)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s.settled.Seq > 0 && s.settled.Seq >= next {
		if err := fn(s.settled); err != nil {
			return err
		}
	}
	var d decoder
	last := int64(0)
	t, err := scan(f, segmentBytes, s.size, func(payload []byte) error {
		if p := parseSpan(payload); p.last < next || p.first <= last && s.damaged {
			return nil
		}
		return d.entries(payload, func(e Entry) error {
			last = e.Seq
			if e.Seq < next {
				return nil
			}
			return fn(e)
		})
	})
	if err == nil && !s.damaged && (t.torn || len(t.wrong) > 0) {
		err = fmt.Errorf("%s: %w after byte %d", segmentName(s.gen), errRecord, t.end)
	}
	return err
}
