package httpcache

import "unicode/utf8"

// appendCanonical decodes a name or value as forms encode it and encodes it in
// the one canonical way: unreserved characters as they are, a space as "+", all
// else percent-encoded in UTF-8. What is no UTF-8 becomes U+FFFD, one for each
// longest piece that could have begun a character, as browsers do it.
func appendCanonical(dst []byte, encoded string) []byte {
	var partial [utf8.UTFMax]byte // what is read of a character
	n, need := 0, 0
	for i := 0; i < len(encoded); {
		c, next := formByte(encoded, i)
		if n > 0 {
			if !continues(partial[:n], c) {
				dst = append(dst, replacement...)
				n = 0
				continue // c begins something else
			}
			partial[n] = c
			n++
			if n == need {
				for _, b := range partial[:n] {
					dst = append(dst, '%', upperHex[b>>4], upperHex[b&15])
				}
				n = 0
			}
			i = next
			continue
		}
		i = next
		switch need = sequenceLength(c); need {
		case 1:
			dst = appendCanonicalASCII(dst, c)
		case 0:
			dst = append(dst, replacement...)
		default:
			partial[0], n = c, 1
		}
	}
	if n > 0 {
		dst = append(dst, replacement...)
	}
	return dst
}

// replacement is U+FFFD, encoded.
const replacement = "%EF%BF%BD"

func appendCanonicalASCII(dst []byte, c byte) []byte {
	switch {
	case isUnreserved(c):
		return append(dst, c)
	case c == ' ':
		return append(dst, '+')
	}
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}

// sequenceLength returns how many bytes a character has that begins with c; 0
// where none does.
func sequenceLength(c byte) int {
	switch {
	case c < 0x80:
		return 1
	case 0xc2 <= c && c <= 0xdf:
		return 2
	case 0xe0 <= c && c <= 0xef:
		return 3
	case 0xf0 <= c && c <= 0xf4:
		return 4
	}
	return 0
}

// continues reports whether c may follow what is read of a character: no
// overlong form, no surrogate, nothing beyond U+10FFFF.
func continues(partial []byte, c byte) bool {
	low, high := byte(0x80), byte(0xbf)
	if len(partial) == 1 {
		switch partial[0] {
		case 0xe0:
			low = 0xa0
		case 0xed:
			high = 0x9f
		case 0xf0:
			low = 0x90
		case 0xf4:
			high = 0x8f
		}
	}
	return low <= c && c <= high
}
