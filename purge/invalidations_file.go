package purge

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"

	"perigee/cachestore"
)

// The file of invalidations is a header and records, all little-endian:
//
//	header  0 magic  8 version  12 sum of what is before  16 id  24 MarksID
//	        32 moment  40 floor  48 zero  52 sum of all before
//	record  0 moment  8 mark, 0 = a floor  16 sum  20 zero
//
// The sum of a record is also of the file's id and the record's place, so that what
// another file left on the disk is not taken for it.
const (
	struckMagic    = "perigeeI"
	struckVersion  = 1
	struckHeader   = 56
	struckBytes    = 24
	struckPerWrite = 4096
)

// struckFile is what the header says.
type struckFile struct {
	id     uint64 // random, of this file
	key    uint64 // MarksID
	moment int64  // nothing was born above it when the file was begun
	floor  int64  // what was born before is in doubt
}

func (h *struckFile) append(buf []byte) []byte {
	start := len(buf)
	buf = append(buf, struckMagic...)
	buf = binary.LittleEndian.AppendUint32(buf, struckVersion)
	buf = binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
	for _, n := range [...]uint64{h.id, h.key, uint64(h.moment), uint64(h.floor)} {
		buf = binary.LittleEndian.AppendUint64(buf, n)
	}
	buf = binary.LittleEndian.AppendUint32(buf, 0)
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
}

// parseStruckHeader fails with errNewer for a version that is not ours, with errRecord
// for damage. Only the beginning of another version is looked at.
func parseStruckHeader(raw []byte) (h struckFile, err error) {
	le := binary.LittleEndian
	switch {
	case len(raw) < 16 || string(raw[:8]) != struckMagic || crc32.Checksum(raw[:12], castagnoli) != le.Uint32(raw[12:]):
		return h, errRecord
	case le.Uint32(raw[8:]) != struckVersion:
		return h, fmt.Errorf("version %d, this is %d: %w", le.Uint32(raw[8:]), struckVersion, errNewer)
	case len(raw) < struckHeader || crc32.Checksum(raw[:52], castagnoli) != le.Uint32(raw[52:]):
		return h, errRecord
	}
	h = struckFile{id: le.Uint64(raw[16:]), key: le.Uint64(raw[24:]), moment: int64(le.Uint64(raw[32:])), floor: int64(le.Uint64(raw[40:]))}
	if h.moment < 0 || h.floor < 0 {
		return h, errRecord
	}
	return h, nil
}

// appendStruck appends the record of s for a place in a file.
func appendStruck(buf []byte, s struck, id uint64, at int64) []byte {
	start := len(buf)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(s.moment))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(s.mark))
	buf = binary.LittleEndian.AppendUint32(buf, struckSum(buf[start:], id, at))
	return binary.LittleEndian.AppendUint32(buf, 0)
}

func parseStruck(raw []byte, id uint64, at int64) (s struck, ok bool) {
	s.moment = int64(binary.LittleEndian.Uint64(raw))
	s.mark = cachestore.Mark(binary.LittleEndian.Uint64(raw[8:]))
	rest := binary.LittleEndian.Uint64(raw[16:]) // the sum, and zeros
	return s, s.moment > 0 && rest == uint64(struckSum(raw[:16], id, at))
}

func struckSum(record []byte, id uint64, at int64) uint32 {
	const odd = 0x9e3779b97f4a7c15 // spreads the place over the upper half
	return crc32.Checksum(record, castagnoli) ^ uint32((id^uint64(at))*odd>>32)
}

// load takes in what the file says. why tells what is missing; silent, that there is
// nothing that it was missing from. The error is another version's. A record that was
// cut off is what a killed process had in hand; any other damage lost something.
func (f *Invalidations) load() (why string, silent bool, err error) {
	in, err := f.fs.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no file", true, nil
	} else if err != nil {
		return err.Error(), false, nil
	}
	defer in.Close()
	size, err := in.Size()
	if err != nil {
		return err.Error(), false, nil
	}
	raw := make([]byte, struckHeader)
	n, err := in.ReadAt(raw, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error(), false, nil
	}
	h, err := parseStruckHeader(raw[:n])
	switch {
	case errors.Is(err, errNewer):
		return "", false, err
	case err != nil:
		return "bad header", false, nil
	case h.key != f.key:
		return "made with another key", true, nil
	}
	f.known, f.floor = h.moment, h.floor
	return f.loadRecords(in, h.id, size), false, nil
}

// loadRecords takes in the records, and says what is wrong with them.
func (f *Invalidations) loadRecords(in io.ReaderAt, id uint64, size int64) (why string) {
	buf := make([]byte, struckPerWrite*struckBytes)
	for at := int64(struckHeader); at+struckBytes <= size; {
		piece := buf[:min(int64(len(buf)), (size-at)/struckBytes*struckBytes)]
		if _, err := in.ReadAt(piece, at); err != nil && !errors.Is(err, io.EOF) {
			return err.Error()
		}
		for ; len(piece) > 0; piece, at = piece[struckBytes:], at+struckBytes {
			s, ok := parseStruck(piece[:struckBytes], id, at)
			switch {
			case !ok && why == "":
				why = fmt.Sprintf("no good record at byte %d", at)
			case ok:
				f.take(s)
			}
		}
	}
	return why
}

// take adds a record to what was found.
func (f *Invalidations) take(s struck) {
	f.known = max(f.known, s.moment)
	if s.mark == 0 {
		f.floor = max(f.floor, s.moment)
		return
	}
	if f.found.full() {
		f.found = f.found.after(0, 2*f.found.live)
	}
	if before, _ := f.found.find(s.mark); before < s.moment {
		f.found.strike(s.mark, s.moment, false)
	}
}

// view is all that a file has to say at one moment. Marks that are struck meanwhile
// may be among its own or not.
type view struct {
	moment, floor int64
	marks         *table
}

// openFile is a file that is being written to.
type openFile struct {
	file    file // nil = there is none
	id      uint64
	size    int64
	records int
}

// result is a file that was written, or that one was synced, or the error.
type result struct {
	openFile
	err error
}

// rewrite makes a new file beside that which is there, durable but for its name.
func (f *Invalidations) rewrite(v view) (r result) {
	name := f.path + unfinished
	_ = f.fs.Remove(name) // another process left it
	out, err := f.fs.Create(name)
	if err != nil {
		return result{err: err}
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	r.openFile = openFile{file: out, id: binary.LittleEndian.Uint64(random[:])}
	h := struckFile{id: r.id, key: f.key, moment: v.moment, floor: v.floor}
	buf := h.append(make([]byte, 0, struckPerWrite*struckBytes))
	flush := func() {
		if r.err == nil {
			_, r.err = out.WriteAt(buf, r.size)
		}
		r.size += int64(len(buf))
		buf = buf[:0]
	}
	v.marks.needed(func(m cachestore.Mark, moment, _ int64) {
		buf = appendStruck(buf, struck{moment, m}, r.id, r.size+int64(len(buf)))
		r.records++
		if len(buf)+struckBytes > cap(buf) {
			flush()
		}
	})
	flush()
	if r.err == nil {
		r.err = out.Sync()
	}
	if r.err != nil {
		r.err = errors.Join(r.err, out.Close())
		_ = f.fs.Remove(name)
	}
	return r
}

// syncName makes the name of the file durable.
func (f *Invalidations) syncName() error { return f.fs.SyncDir(filepath.Dir(f.path)) }
