package testorigin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
)

// Fill writes to p the bytes of the body of seed from offset on.
func Fill(p []byte, seed uint64, offset int64) {
	var word [8]byte
	for len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], mix(seed+uint64(offset/8)*0x9e3779b97f4a7c15))
		n := copy(p, word[offset%8:])
		p = p[n:]
		offset += int64(n)
	}
}

// mix is the output function of splitmix64: a word of the body depends on its place
// alone, so that a range can be made without what is before it.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Body is the first size bytes of the body of seed.
func Body(seed uint64, size int64) []byte {
	p := make([]byte, size)
	Fill(p, seed, 0)
	return p
}

// Reader reads the body of seed between the offsets from and to.
func Reader(seed uint64, from, to int64) io.Reader {
	return &reader{seed: seed, at: from, end: to}
}

type reader struct {
	seed    uint64
	at, end int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.at >= r.end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.end-r.at)]
	Fill(p, r.seed, r.at)
	r.at += int64(len(p))
	return len(p), nil
}

// Sum is the SHA-256 of the body of seed and size, in hex.
func Sum(seed uint64, size int64) string {
	sum, _, _ := SumOf(Reader(seed, 0, size)) // its reads cannot fail
	return sum
}

// SumOf reads r to its end and gives the SHA-256 of it, in hex, and its size.
func SumOf(r io.Reader) (sum string, size int64, err error) {
	h := sha256.New()
	size, err = io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// The values of Answer.Digest.
const (
	digestGood = "good"
	digestBad  = "bad"
)

// reprDigest is the value of Repr-Digest (RFC 9530 §3) for a body, or where good is
// false for that body and one byte more.
func reprDigest(body io.Reader, good bool) string {
	h := sha256.New()
	io.Copy(h, body) // neither can fail
	if !good {
		h.Write([]byte{0})
	}
	return "sha-256=:" + base64.StdEncoding.EncodeToString(h.Sum(nil)) + ":"
}

// Seed is the seed of answers that name none: made of path and entity tag, so that
// another version has another body.
func Seed(path, etag string) uint64 {
	sum := sha256.Sum256([]byte(path + "\x00" + etag))
	return binary.LittleEndian.Uint64(sum[:])
}
