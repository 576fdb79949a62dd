package disk

import (
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"

	"perigee/cachestore"
	"perigee/httpcache"
)

// The format of a segment file: a head, records one after the other, and, once it is
// sealed, a foot: a table of its records, and a tail at the very end that says where
// the foot begins. All numbers are little endian. docs/store.md has it in full.
//
// Every checksum is seeded with the segment's random id and the place in the file, so
// that what stands in another file or at another place does not pass.
const (
	formatVersion = 1

	segmentMagic = 0x3153474553475250 // "PRGSEGS1"
	letGoMagic   = 0x31454e4f47475250 // "PRGGONE1"
	recordMagic  = 0x43524750         // "PGRC"
	blockMagic   = 0x4b4c4250         // "PBLK"
	tailMagic    = 0x314c494154475250 // "PRGTAIL1"

	segmentHeadBytes = 128
	recordHeadBytes  = 128
	blockHeadBytes   = 16
	entryBytes       = 32
	tailBytes        = 128

	// align is what the place of each record is a multiple of.
	align = 64
	// blockBytes is how much of a body one checksum covers.
	blockBytes = 64 << 10
	// pieceBytes is how much of a body one record has, unless it is the last.
	pieceBytes = 256 << 10
	// inlineBytes is the longest body that stands in the record of its object.
	inlineBytes = 256 << 10
	// maxMetaBytes is the longest metadata; what has more is not kept.
	maxMetaBytes = 512 << 10
)

// pieceStride is how far apart two whole pieces are that stand one behind the other.
const pieceStride = (recordHeadBytes + pieceBytes/blockBytes*(blockHeadBytes+blockBytes) + align - 1) / align * align

// What is found wrong with a file or a record.
var (
	errVersion  = errors.New("written by another version")
	errDamaged  = errors.New("does not match its checksum")
	errTorn     = errors.New("ends in the middle")
	errNoRecord = errors.New("no record")
)

// mix makes one number of a segment's id, a place in it and a length.
func mix(id uint64, off, n int64) uint64 {
	x := id ^ uint64(off)*0x9e3779b97f4a7c15 ^ uint64(n)*0xc2b2ae3d27d4eb4f
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	return x
}

// checksum is that of bytes which stand at off in the segment of the given id.
func checksum(id uint64, off int64, p []byte) uint64 {
	return xxhash.Sum64(p) ^ mix(id, off, int64(len(p)))
}

func aligned(n int64) int64 { return (n + align - 1) &^ (align - 1) }

// blocksBytes is what a body of n bytes takes in blocks.
func blocksBytes(n int64) int64 { return n + (n+blockBytes-1)/blockBytes*blockHeadBytes }

// logKind is one of the two logs of a volume. What is new goes to the first. What is asked
// for there until its segment is let go is written again to the second, so that what
// is never asked for again pushes little out.
type logKind uint8

const (
	logSmall logKind = iota
	logMain
	logKinds
)

// segmentHead is what stands at the beginning of a segment.
type segmentHead struct {
	id       uint64 // random
	first    uint64 // number that all its records' are above
	size     int64  // of the file while it is written to
	marksKey uint64 // names the key that the marks of its records were made with
	volume   uint64 // random id of the folder
	log      logKind
}

func (h segmentHead) encode(p []byte) {
	clear(p[:segmentHeadBytes])
	binary.LittleEndian.PutUint64(p, segmentMagic)
	binary.LittleEndian.PutUint32(p[8:], formatVersion)
	p[12] = byte(h.log)
	binary.LittleEndian.PutUint64(p[16:], h.id)
	binary.LittleEndian.PutUint64(p[24:], h.first)
	binary.LittleEndian.PutUint64(p[32:], uint64(h.size))
	binary.LittleEndian.PutUint64(p[40:], h.marksKey)
	binary.LittleEndian.PutUint64(p[48:], h.volume)
	seal(p[:segmentHeadBytes])
}

// seal puts the checksum of a head that belongs to no segment yet at its end.
func seal(p []byte) {
	end := len(p) - 8
	binary.LittleEndian.PutUint64(p[end:], checksum(0, 0, p[:end]))
}

func sealed(p []byte) bool {
	end := len(p) - 8
	return binary.LittleEndian.Uint64(p[end:]) == checksum(0, 0, p[:end])
}

func decodeSegmentHead(p []byte) (h segmentHead, err error) {
	if len(p) < segmentHeadBytes || binary.LittleEndian.Uint64(p) != segmentMagic || !sealed(p[:segmentHeadBytes]) {
		return h, errDamaged
	}
	if binary.LittleEndian.Uint32(p[8:]) != formatVersion {
		return h, errVersion
	}
	h.id = binary.LittleEndian.Uint64(p[16:])
	h.first = binary.LittleEndian.Uint64(p[24:])
	h.size = int64(binary.LittleEndian.Uint64(p[32:]))
	h.marksKey = binary.LittleEndian.Uint64(p[40:])
	h.volume = binary.LittleEndian.Uint64(p[48:])
	h.log = logKind(p[12])
	if h.log >= logKinds || h.size < segmentHeadBytes || h.size > maxSegmentBytes {
		return h, errDamaged
	}
	return h, nil
}

// recordKind says what a record is.
type recordKind uint8

const (
	kindObject recordKind = 1 + iota // metadata, and the body unless it stands elsewhere
	kindPiece                        // some of a body
	kindGrave                        // tells that the variant has been removed
	kindGraves                       // tells that all variants of the key have been removed
	kindsEnd
)

// recordHead is what stands at the beginning of a record.
type recordHead struct {
	kind    recordKind
	flags   uint8 // as in the index
	length  int64 // of the record, with its head, not aligned
	meta    int64 // bytes of metadata behind the head
	body    int64 // bytes of the body behind that, without the heads of its blocks
	key     httpcache.Key
	variant httpcache.VariantID
	number  uint64
	born    cachestore.Birth
	metaSum uint64
	until   uint64 // of a grave: records with a lower number do not count any more
}

func (h *recordHead) name() name { return nameOf(h.key, h.variant) }

// encode writes the head of a record that stands at off in the segment.
func (h *recordHead) encode(p []byte, id uint64, off int64) {
	clear(p[:recordHeadBytes])
	binary.LittleEndian.PutUint32(p, recordMagic)
	p[4], p[5] = byte(h.kind), h.flags
	binary.LittleEndian.PutUint32(p[8:], uint32(h.length))
	binary.LittleEndian.PutUint32(p[12:], uint32(h.meta))
	binary.LittleEndian.PutUint32(p[16:], uint32(h.body))
	copy(p[24:40], h.key[:])
	binary.LittleEndian.PutUint64(p[40:], uint64(h.variant))
	binary.LittleEndian.PutUint64(p[48:], h.number)
	binary.LittleEndian.PutUint64(p[56:], uint64(h.born.Seq))
	binary.LittleEndian.PutUint64(p[64:], uint64(h.born.Local))
	binary.LittleEndian.PutUint64(p[72:], h.metaSum)
	binary.LittleEndian.PutUint64(p[80:], h.until)
	binary.LittleEndian.PutUint64(p[recordHeadBytes-8:], checksum(id, off, p[:recordHeadBytes-8]))
}

func decodeRecordHead(p []byte, id uint64, off int64) (h recordHead, err error) {
	switch {
	case len(p) < recordHeadBytes:
		return h, errTorn
	case binary.LittleEndian.Uint32(p) != recordMagic:
		return h, errNoRecord
	case binary.LittleEndian.Uint64(p[recordHeadBytes-8:]) != checksum(id, off, p[:recordHeadBytes-8]):
		return h, errDamaged
	}
	h.kind, h.flags = recordKind(p[4]), p[5]
	h.length = int64(binary.LittleEndian.Uint32(p[8:]))
	h.meta = int64(binary.LittleEndian.Uint32(p[12:]))
	h.body = int64(binary.LittleEndian.Uint32(p[16:]))
	copy(h.key[:], p[24:40])
	h.variant = httpcache.VariantID(binary.LittleEndian.Uint64(p[40:]))
	h.number = binary.LittleEndian.Uint64(p[48:])
	h.born.Seq = int64(binary.LittleEndian.Uint64(p[56:]))
	h.born.Local = int64(binary.LittleEndian.Uint64(p[64:]))
	h.metaSum = binary.LittleEndian.Uint64(p[72:])
	h.until = binary.LittleEndian.Uint64(p[80:])
	if h.kind == 0 || h.kind >= kindsEnd || h.meta > maxMetaBytes || h.body > inlineBytes ||
		h.length != recordHeadBytes+h.meta+blocksBytes(h.body) {
		return h, errDamaged
	}
	return h, nil
}

// putBlockHead writes the head of a block whose bytes stand behind it, at off in the
// segment.
func putBlockHead(p []byte, id uint64, off int64) {
	data := p[blockHeadBytes:]
	binary.LittleEndian.PutUint32(p, blockMagic)
	binary.LittleEndian.PutUint32(p[4:], uint32(len(data)))
	binary.LittleEndian.PutUint64(p[8:], checksum(id, off, data))
}

// checkBlock checks a block, with its head, that stands at off in the segment.
func checkBlock(p []byte, id uint64, off int64) error {
	if len(p) < blockHeadBytes || binary.LittleEndian.Uint32(p) != blockMagic ||
		int(binary.LittleEndian.Uint32(p[4:])) != len(p)-blockHeadBytes ||
		binary.LittleEndian.Uint64(p[8:]) != checksum(id, off, p[blockHeadBytes:]) {
		return errDamaged
	}
	return nil
}

// checkBlocks checks all blocks of a body of n bytes, the first of which stands at off
// in the segment.
func checkBlocks(p []byte, id uint64, off, n int64) error {
	for at := int64(0); n > 0; {
		length := min(n, blockBytes) + blockHeadBytes
		if err := checkBlock(p[at:at+length], id, off+at); err != nil {
			return err
		}
		at += length
		n -= length - blockHeadBytes
	}
	return nil
}

// checkRecord checks all of the record that p begins with, which stands at off in the
// segment.
func checkRecord(p []byte, id uint64, off int64) (h recordHead, err error) {
	if h, err = checkMeta(p, id, off); err != nil {
		return h, err
	}
	if int64(len(p)) < h.length {
		return h, errTorn
	}
	body := recordHeadBytes + h.meta
	return h, checkBlocks(p[body:h.length], id, off+body, h.body)
}

// checkMeta checks the head and the metadata of the record that p begins with.
func checkMeta(p []byte, id uint64, off int64) (h recordHead, err error) {
	if h, err = decodeRecordHead(p, id, off); err != nil {
		return h, err
	}
	if int64(len(p)) < recordHeadBytes+h.meta {
		return h, errTorn
	}
	if h.meta > 0 && checksum(id, off, p[recordHeadBytes:recordHeadBytes+h.meta]) != h.metaSum {
		return h, errDamaged
	}
	return h, nil
}

// nameOf is the index's name of an object.
func nameOf(key httpcache.Key, variant httpcache.VariantID) name {
	return name{tag: tagOf(key), variant: uint32(variant) ^ uint32(variant>>32)}
}

func tagOf(key httpcache.Key) uint64 { return binary.LittleEndian.Uint64(key[:]) }
