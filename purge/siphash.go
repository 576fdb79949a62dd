package purge

import (
	"encoding/binary"
	"math/bits"
)

// sip is SipHash-2-4 (Aumasson and Bernstein, 2012) over what has been written so
// far. A copy goes on from there: texts with a common beginning hash it once.
type sip struct {
	v0, v1, v2, v3 uint64
	tail           uint64 // the bytes that fill no word yet
	n              uint64 // bytes written
}

func newSip(key [16]byte) sip {
	k0, k1 := binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])
	return sip{
		v0: k0 ^ 0x736f6d6570736575, v1: k1 ^ 0x646f72616e646f6d,
		v2: k0 ^ 0x6c7967656e657261, v3: k1 ^ 0x7465646279746573,
	}
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	return v0, v1, bits.RotateLeft64(v2, 32), v3
}

func (s *sip) word(m uint64) {
	v0, v1, v2, v3 := sipRound(s.v0, s.v1, s.v2, s.v3^m)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	s.v0, s.v1, s.v2, s.v3 = v0^m, v1, v2, v3
}

// bytes writes the n lowest bytes of w, at most 8, the lowest first; those above are 0.
func (s *sip) bytes(w, n uint64) {
	filled := s.n & 7
	s.tail |= w << (8 * filled)
	s.n += n
	if filled+n >= 8 {
		s.word(s.tail)
		s.tail = w >> (64 - 8*filled) // which is 0 where nothing was filled
	}
}

func (s *sip) octet(c byte) { s.bytes(uint64(c), 1) }

func (s *sip) text(p string) {
	for ; len(p) >= 8; p = p[8:] {
		s.bytes(uint64(p[0])|uint64(p[1])<<8|uint64(p[2])<<16|uint64(p[3])<<24|
			uint64(p[4])<<32|uint64(p[5])<<40|uint64(p[6])<<48|uint64(p[7])<<56, 8)
	}
	rest := uint64(0)
	for i := range len(p) {
		rest |= uint64(p[i]) << (8 * i)
	}
	s.bytes(rest, uint64(len(p)))
}

// sized is text after its length: what follows cannot be taken for a part of it.
func (s *sip) sized(p string) {
	s.bytes(uint64(uint32(len(p))), 4)
	s.text(p)
}

// sum is the hash of what was written.
func (s sip) sum() uint64 {
	s.word(s.tail | s.n<<56)
	v0, v1, v2, v3 := s.v0, s.v1, s.v2^0xff, s.v3
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}
