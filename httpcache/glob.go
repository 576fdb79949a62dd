package httpcache

import (
	"bytes"
	"strings"
)

// Glob is a pattern in which "*" stands for any run of characters, "/" included
// and the empty run too, and everything else for itself. It is immutable. The
// zero value matches the empty text alone.
type Glob struct {
	pattern string
	// first must begin the text and last end it; middle are found between them
	// from left to right. Without a "*" the text is first alone.
	first, last string
	middle      []globPart
	starred     bool
}

// globPart is a literal between two "*", as both kinds of text are searched for
// it.
type globPart struct {
	text  string
	bytes []byte
}

// NewGlob returns the pattern. Every text is one.
func NewGlob(pattern string) Glob {
	first, rest, starred := strings.Cut(pattern, "*")
	g := Glob{pattern: pattern, first: first, starred: starred}
	for starred {
		var part string
		var more bool
		if part, rest, more = strings.Cut(rest, "*"); !more {
			g.last = part
			break
		}
		if part != "" {
			g.middle = append(g.middle, globPart{part, []byte(part)})
		}
	}
	return g
}

// String returns the pattern as it was given.
func (g Glob) String() string { return g.pattern }

// Match reports whether the pattern matches the whole of s. The leftmost find
// of each part leaves most to the next, so nothing is ever tried twice: the
// time is linear in s.
func (g Glob) Match(s string) bool {
	if !g.starred {
		return s == g.first
	}
	if len(s) < len(g.first)+len(g.last) || !strings.HasPrefix(s, g.first) || !strings.HasSuffix(s, g.last) {
		return false
	}
	s = s[len(g.first) : len(s)-len(g.last)]
	for _, part := range g.middle {
		i := strings.Index(s, part.text)
		if i < 0 {
			return false
		}
		s = s[i+len(part.text):]
	}
	return true
}

// matchBytes is Match for a text that is no string yet.
func (g Glob) matchBytes(s []byte) bool {
	if !g.starred {
		return string(s) == g.first
	}
	size := len(s) - len(g.last)
	if size < len(g.first) || string(s[:len(g.first)]) != g.first || string(s[size:]) != g.last {
		return false
	}
	s = s[len(g.first):size]
	for _, part := range g.middle {
		i := bytes.Index(s, part.bytes)
		if i < 0 {
			return false
		}
		s = s[i+len(part.bytes):]
	}
	return true
}
