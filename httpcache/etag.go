package httpcache

import "strings"

const weakPrefix = "W/"

// validETag reports whether s is one entity-tag (RFC 9110 §8.8.3).
func validETag(s string) bool {
	tag, rest, ok := cutETag(s)
	return ok && rest == "" && len(tag) == len(s)
}

// cutETag reads the entity-tag at the start of s. Quotes in it are not escaped:
// an entity-tag is no quoted string, and may contain commas and backslashes.
func cutETag(s string) (tag, rest string, ok bool) {
	start := 0
	if strings.HasPrefix(s, weakPrefix) {
		start = len(weakPrefix)
	}
	if len(s) <= start || s[start] != '"' {
		return "", "", false
	}
	for i := start + 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[:i+1], s[i+1:], true
		case c < 0x21 || c == 0x7f:
			return "", "", false
		}
	}
	return "", "", false
}

// listsETag reports whether a list of entity-tags has one that same accepts, or
// is "*". Reading stops at the first thing that is no entity-tag.
func listsETag(lines []string, same func(tag string) bool) bool {
	for _, line := range lines {
		line = trimOWS(line)
		if line == "*" {
			return true
		}
		for line != "" {
			if line[0] == ',' || line[0] == ' ' || line[0] == '\t' {
				line = line[1:]
				continue
			}
			tag, rest, ok := cutETag(line)
			if !ok {
				break
			}
			if same(tag) {
				return true
			}
			if line = trimOWS(rest); line != "" && line[0] != ',' {
				break
			}
		}
	}
	return false
}

// weakMatch and strongMatch are the comparisons of RFC 9110 §8.8.3.2. An empty
// tag matches nothing.
func weakMatch(a, b string) bool {
	return a != "" && strings.TrimPrefix(a, weakPrefix) == strings.TrimPrefix(b, weakPrefix)
}

func strongMatch(a, b string) bool {
	return a != "" && a == b && !strings.HasPrefix(a, weakPrefix)
}
