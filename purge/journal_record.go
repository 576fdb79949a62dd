package purge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A record is what one append brought: a head of headBytes (magic, version, a zero,
// length and CRC-32C of the payload, CRC-32C of the head so far), and the payload:
// first and last number, the ID, the count, the entries. All numbers are little-endian.
const (
	recordMagic   = 0x4750
	recordVersion = 1
	headBytes     = 16
	fixedBytes    = 8 + 8 + len(ID{}) // of a payload

	maxRecordBytes = 16 << 20
)

// Flags of an entry in a record.
const (
	flagSoft = 1 << iota
	flagSameSite
	flagSameOrigin // who, from and at are those of the entry before
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errRecord = errors.New("damaged record")
	errNewer  = errors.New("written by a newer version")
)

// prepare copies entries for an append, or says why they cannot be one.
func prepare(id ID, entries []Entry, now func() time.Time) ([]Entry, error) {
	switch {
	case id == ID{}:
		return nil, errors.New("a purge has no id")
	case len(entries) == 0:
		return nil, errors.New("a purge of nothing")
	case len(entries) > MaxBatch:
		return nil, fmt.Errorf("%w: %d entries, %d are the most", ErrTooBig, len(entries), MaxBatch)
	}
	added, bytes := make([]Entry, len(entries)), 0
	var moment time.Time
	for i, e := range entries {
		if err := e.Validate(); err != nil {
			return nil, err
		}
		if e.At.IsZero() {
			if moment.IsZero() {
				moment = now()
			}
			e.At = moment
		}
		e.ID, e.At = id, time.UnixMilli(e.At.UnixMilli()).UTC()
		added[i] = e
		bytes += textBytes(&e)
	}
	if bytes > maxRecordBytes/2 {
		return nil, fmt.Errorf("%w: %d bytes, %d are the most", ErrTooBig, bytes, maxRecordBytes/2)
	}
	return added, nil
}

// number gives entries their numbers from next on, and returns the one after.
func number(entries []Entry, next int64) int64 {
	for i := range entries {
		entries[i].Seq = next + int64(i)
	}
	return next + int64(len(entries))
}

// appendRecord appends the record of entries that have their numbers.
func appendRecord(buf []byte, entries []Entry) []byte {
	start := len(buf)
	buf = append(buf, make([]byte, headBytes)...)
	first, last := entries[0].Seq, entries[len(entries)-1].Seq
	buf = binary.LittleEndian.AppendUint64(buf, uint64(first))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(last))
	buf = append(buf, entries[0].ID[:]...)
	buf = binary.AppendUvarint(buf, uint64(len(entries)))
	before := Entry{Seq: first}
	for i := range entries {
		e := &entries[i]
		buf = appendEntry(buf, e, &before, i == 0)
		before = *e
	}
	sealRecord(buf[start:])
	return buf
}

func appendEntry(buf []byte, e, before *Entry, alone bool) []byte {
	flags := byte(0)
	if e.Soft {
		flags |= flagSoft
	}
	if !alone && e.Site == before.Site {
		flags |= flagSameSite
	}
	if !alone && e.Who == before.Who && e.From == before.From && e.At.Equal(before.At) {
		flags |= flagSameOrigin
	}
	buf = append(buf, flags, byte(e.Kind))
	buf = binary.AppendUvarint(buf, uint64(e.Seq-before.Seq))
	if flags&flagSameSite == 0 {
		buf = appendText(buf, e.Site)
	}
	buf = appendText(buf, e.Value)
	if flags&flagSameOrigin == 0 {
		buf = appendText(buf, e.Who)
		buf = appendText(buf, e.From)
		buf = binary.AppendVarint(buf, e.At.UnixMilli())
	}
	return buf
}

func appendText(buf []byte, text string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(text))), text...)
}

// sealRecord writes the head of a record whose payload is there.
func sealRecord(record []byte) {
	payload := record[headBytes:]
	binary.LittleEndian.PutUint16(record, recordMagic)
	record[2], record[3] = recordVersion, 0
	binary.LittleEndian.PutUint32(record[4:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(record[8:], crc32.Checksum(payload, castagnoli))
	binary.LittleEndian.PutUint32(record[12:], crc32.Checksum(record[:12], castagnoli))
}

// parseHead returns the length and the checksum of the payload.
func parseHead(head []byte) (length int64, sum uint32, err error) {
	switch {
	case binary.LittleEndian.Uint16(head) != recordMagic,
		crc32.Checksum(head[:12], castagnoli) != binary.LittleEndian.Uint32(head[12:]):
		return 0, 0, errRecord
	case head[2] != recordVersion:
		return 0, 0, errNewer
	}
	length = int64(binary.LittleEndian.Uint32(head[4:]))
	if length < int64(fixedBytes) || length > maxRecordBytes {
		return 0, 0, errRecord
	}
	return length, binary.LittleEndian.Uint32(head[8:]), nil
}

// span is what the beginning of a payload says.
type span struct {
	first, last int64
	id          ID
}

func parseSpan(payload []byte) span {
	return span{
		first: int64(binary.LittleEndian.Uint64(payload)), last: int64(binary.LittleEndian.Uint64(payload[8:])),
		id: ID(payload[16:fixedBytes]),
	}
}

// decoder reads payloads. Texts that come again and again are made once.
type decoder struct {
	rest   []byte
	failed bool
	before Entry
}

// entries calls fn for each entry of a payload whose checksum was right.
func (d *decoder) entries(payload []byte, fn func(Entry) error) error {
	s := parseSpan(payload)
	d.rest, d.failed = payload[fixedBytes:], false
	count := d.uvarint()
	d.before.Seq = s.first
	for range count {
		e := d.entry(s.id)
		if d.failed {
			return errRecord
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	if d.before.Seq != s.last || len(d.rest) > 0 || d.failed {
		return errRecord
	}
	return nil
}

func (d *decoder) entry(id ID) Entry {
	flags, kind := d.octet(), d.octet()
	e := Entry{ID: id, Kind: Kind(kind), Soft: flags&flagSoft != 0, Seq: d.before.Seq + int64(d.uvarint())}
	e.Site, e.Who, e.From, e.At = d.before.Site, d.before.Who, d.before.From, d.before.At
	if flags&flagSameSite == 0 {
		e.Site = d.text(e.Site)
	}
	e.Value = d.text("")
	if flags&flagSameOrigin == 0 {
		e.Who, e.From = d.text(e.Who), d.text(e.From)
		e.At = time.UnixMilli(d.varint()).UTC()
	}
	d.failed = d.failed || e.Seq < d.before.Seq
	d.before = e
	return e
}

func (d *decoder) octet() byte {
	if len(d.rest) == 0 {
		d.failed = true
		return 0
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	return v * uint64(d.skip(n))
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	return v * int64(d.skip(n))
}

// skip passes what a number took; 0 = there was none.
func (d *decoder) skip(n int) int {
	if n <= 0 {
		d.failed = true
		d.rest = nil
		return 0
	}
	d.rest = d.rest[n:]
	return 1
}

// text reads a text; one that is like is that one.
func (d *decoder) text(like string) string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.failed = true
		return ""
	}
	raw := d.rest[:n]
	d.rest = d.rest[n:]
	if string(raw) == like {
		return like
	}
	return string(raw)
}
