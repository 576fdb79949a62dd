package purge

import "encoding/binary"

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

func (s *sip) round() {
	s.v0 += s.v1
	s.v1 = s.v1<<13 | s.v1>>51
	s.v1 ^= s.v0
	s.v0 = s.v0<<32 | s.v0>>32
	s.v2 += s.v3
	s.v3 = s.v3<<16 | s.v3>>48
	s.v3 ^= s.v2
	s.v0 += s.v3
	s.v3 = s.v3<<21 | s.v3>>43
	s.v3 ^= s.v0
	s.v2 += s.v1
	s.v1 = s.v1<<17 | s.v1>>47
	s.v1 ^= s.v2
	s.v2 = s.v2<<32 | s.v2>>32
}

func (s *sip) word(m uint64) {
	s.v3 ^= m
	s.round()
	s.round()
	s.v0 ^= m
}

func (s *sip) octet(c byte) {
	s.tail |= uint64(c) << (8 * (s.n & 7))
	if s.n++; s.n&7 == 0 {
		s.word(s.tail)
		s.tail = 0
	}
}

func (s *sip) text(p string) {
	for len(p) > 0 && s.n&7 != 0 {
		s.octet(p[0])
		p = p[1:]
	}
	for ; len(p) >= 8; p = p[8:] {
		s.word(uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
			uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56)
		s.n += 8
	}
	for i := range len(p) {
		s.octet(p[i])
	}
}

// sized is text after its length: what follows cannot be taken for a part of it.
func (s *sip) sized(p string) {
	for shift := 0; shift < 32; shift += 8 {
		s.octet(byte(len(p) >> shift))
	}
	s.text(p)
}

// sum is the hash of what was written.
func (s sip) sum() uint64 {
	s.word(s.tail | s.n<<56)
	s.v2 ^= 0xff
	for range 4 {
		s.round()
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}
