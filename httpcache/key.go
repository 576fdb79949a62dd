package httpcache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Key is the primary cache key (RFC 9111 §2). Equal targets have equal keys on
// every node and in every version that shares a store.
type Key [16]byte

// String returns the key as 32 lower-case hexadecimal digits.
func (k Key) String() string {
	var buf [2 * len(k)]byte
	hex.Encode(buf[:], k[:])
	return string(buf[:])
}

// Target is a target URI in its normal form, from which the key is made.
type Target struct {
	Scheme string // "http" or "https", as the client spoke to us
	Host   string // canonical host of the site
	Path   string // normalised, escaped, begins with "/"
	Query  string // without "?", as it is keyed and as the origin gets it
	// Facets is what the key holds beside the target URI: an opaque text of the
	// site's key options and rule generation; empty for nothing.
	Facets string
}

// keyBuffer is the length of a target whose key costs no allocation.
const keyBuffer = 1024

// Key returns the primary cache key of the target. It is a truncated SHA-256:
// whoever could find a second preimage could poison the cache, so a faster
// hash without that strength was refused. Each part is preceded by its
// length, hence no two targets have the same preimage. Facets are a part only
// where there are any: what a site without them has stored keeps its key.
func (t Target) Key() Key {
	parts := [...]string{t.Scheme, t.Host, t.Path, t.Query, t.Facets}
	if t.Facets == "" {
		return hashParts(parts[:4])
	}
	return hashParts(parts[:])
}

// GroupKey returns the name under which a cache group of one origin is
// invalidated (RFC 9875 §2). Its preimage has six parts, that of a target four or
// five, so it is never the key of a target.
func GroupKey(scheme, host, group string) Key {
	return hashParts([]string{scheme, host, "", "", "", group})
}

func hashParts(parts []string) Key {
	var stack [keyBuffer]byte
	buf := stack[:0]
	for _, part := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(part)))
		buf = append(buf, part...)
	}
	sum := sha256.Sum256(buf)
	return Key(sum[:len(Key{})])
}
