package httpcache

// NormalPath returns the normal form of an escaped path, the one that is
// matched, keyed and sent to the origin (RFC 3986 §6.2.2): dot segments
// removed also when spelled "%2e", percent-encodings of unreserved characters
// decoded, hexadecimal digits upper case, and characters that may not stand in
// a path encoded. Encoded delimiters such as "%2F" keep their meaning and stay;
// so do duplicate slashes. ok is false when the path does not begin with "/"
// or has a malformed percent-encoding, a control character, a space, "?", "#"
// or an encoded NUL. A path in normal form is returned as it is, without
// allocation.
func NormalPath(escaped string) (string, bool) {
	if escaped == "" || escaped[0] != '/' {
		return "", false
	}
	for i := range len(escaped) {
		c := escaped[i]
		if !isPathChar(c) || c == '.' && escaped[i-1] == '/' {
			return rewritePath(escaped)
		}
	}
	return escaped, true
}

// NormalQuery returns the form of a query that is keyed and sent to the origin.
// Unlike a path it is left as it is, since only the origin knows what its
// characters mean, but for bytes beyond ASCII, which are encoded. ok is false for
// control characters, spaces and "#", which no query may hold.
func NormalQuery(raw string) (string, bool) {
	beyond := 0
	for i := range len(raw) {
		switch c := raw[i]; {
		case c <= ' ' || c == 0x7f || c == '#':
			return "", false
		case c > 0x7f:
			beyond++
		}
	}
	if beyond == 0 {
		return raw, true
	}
	out := make([]byte, 0, len(raw)+2*beyond)
	for i := range len(raw) {
		if c := raw[i]; c > 0x7f {
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out), true
}

func rewritePath(escaped string) (string, bool) {
	decoded, ok := decodeUnreserved(escaped)
	if !ok {
		return "", false
	}
	return string(removeDotSegments(decoded)), true
}

const upperHex = "0123456789ABCDEF"

// decodeUnreserved brings each character into its one spelling.
func decodeUnreserved(escaped string) ([]byte, bool) {
	out := make([]byte, 0, len(escaped)+8)
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		switch {
		case c == '%':
			if i+2 >= len(escaped) {
				return nil, false
			}
			hi, lo := unhex(escaped[i+1]), unhex(escaped[i+2])
			if hi > 15 || lo > 15 || hi|lo == 0 {
				return nil, false
			}
			i += 2
			c = hi<<4 | lo
			if isUnreserved(c) {
				out = append(out, c)
			} else {
				out = append(out, '%', upperHex[hi], upperHex[lo])
			}
		case isPathChar(c):
			out = append(out, c)
		case c <= ' ' || c == 0x7f || c == '?' || c == '#':
			return nil, false
		default:
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return out, true
}

// removeDotSegments is RFC 3986 §5.2.4 for a path that begins with "/". It
// works in place: what is written never overtakes what is read.
func removeDotSegments(path []byte) []byte {
	out := path[:0]
	for i := 0; i < len(path); {
		// path[i] is the slash before a segment.
		end := i + 1
		for end < len(path) && path[end] != '/' {
			end++
		}
		last := end == len(path)
		switch segment := path[i+1 : end]; string(segment) {
		case ".":
			if last {
				out = append(out, '/')
			}
		case "..":
			for len(out) > 0 {
				c := out[len(out)-1]
				out = out[:len(out)-1]
				if c == '/' {
					break
				}
			}
			if last {
				out = append(out, '/')
			}
		default:
			out = append(out, path[i:end]...)
		}
		i = end
	}
	return out
}

// isPathChar reports what may stand unencoded in a path (RFC 3986 §3.3).
func isPathChar(c byte) bool {
	if isUnreserved(c) {
		return true
	}
	switch c {
	case '/', ':', '@', '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '=':
		return true
	}
	return false
}

func isUnreserved(c byte) bool {
	return isAlpha(c) || isDigit(c) || c == '-' || c == '.' || c == '_' || c == '~'
}
