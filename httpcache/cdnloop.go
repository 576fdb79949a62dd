package httpcache

import (
	"iter"
	"strings"
)

// CDNLoop reads the field by which CDNs know a request that comes back (RFC 8586).
// own is how many members carry our id with the parameter node=<node>, layers how
// many carry the id at all. Ids are compared without regard to case; node is
// not. A member counts however malformed its parameters are, since a loop must
// not go unseen. The time is linear in the field, and nothing is allocated but
// for a node with escaped characters.
func CDNLoop(lines []string, id, node string) (own, layers int) {
	for _, line := range lines {
		for info := range quotedParts(line, ',') {
			ours, first := false, true
			for part := range quotedParts(info, ';') {
				part = trimOWS(part)
				if first {
					if first = false; !strings.EqualFold(part, id) {
						break
					}
					layers++
					continue
				}
				name, value, _ := strings.Cut(part, "=")
				text, _, _ := unquote(value)
				ours = ours || strings.EqualFold(name, cdnLoopNode) && text == node
			}
			if ours {
				own++
			}
		}
	}
	return own, layers
}

// cdnLoopNode is the parameter that tells the nodes of one CDN apart.
const cdnLoopNode = "node"

// AppendCDNLoop returns the lines with one more that names us. lines is not
// changed. A node that is no token is written as a quoted string.
func AppendCDNLoop(lines []string, id, node string) []string {
	member := append(make([]byte, 0, len(id)+len(node)+16), id...)
	member = append(member, "; "+cdnLoopNode+"="...)
	if isToken(node) {
		member = append(member, node...)
	} else {
		member = appendQuoted(member, node)
	}
	return append(append(make([]string, 0, len(lines)+1), lines...), string(member))
}

// appendQuoted writes a quoted string (RFC 9110 §5.6.4); what cannot stand in one
// is left out.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' && c != '\t' || c == 0x7f:
			continue
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// quotedParts splits a text at each sep that is in no quoted string. A quote that
// nothing closes is an ordinary character, and so is each after it: whoever
// joined lines must not have hidden one behind another's open quote.
func quotedParts(s string, sep byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		start, plain := 0, false
		for i := 0; i < len(s); i++ {
			switch c := s[i]; {
			case c == sep:
				if !yield(s[start:i]) {
					return
				}
				start = i + 1
			case c == '"' && !plain:
				if end := closingQuote(s, i+1); end < 0 {
					plain = true
				} else {
					i = end
				}
			}
		}
		yield(s[start:])
	}
}

// closingQuote returns where the quoted string ends whose text begins at i; -1
// where it has no end.
func closingQuote(s string, i int) int {
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}
