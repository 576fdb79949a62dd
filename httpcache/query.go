package httpcache

import (
	"slices"
	"strings"
)

// QueryRule says which parameters of a query belong to the key, and in what
// order. It is shared and must not be changed once in use. Nil and the zero
// value leave every query as it is.
type QueryRule struct {
	// Include, unless empty, are the names that stay; all others are taken out.
	Include []Glob
	// Exclude are the names that are taken out, included or not.
	Exclude []Glob
	// Sort orders the parameters by name; those of one name keep their order.
	Sort bool
	// Ignore takes out the whole query.
	Ignore bool
}

// Reduce returns the query as it is keyed and as the origin gets it. Parameters
// are what stands between "&"; their names are compared percent-decoded, "+" as
// a space, and what stays is kept byte for byte. A rule that is not zero also
// takes out empty members ("a&&b"), which hold no parameter and would only make
// more keys. Where nothing changes the query itself is returned, without
// allocation unless an encoded name is longer than nameBuffer. Reducing twice is
// reducing once.
func (r *QueryRule) Reduce(query string) string {
	switch {
	case r == nil || query == "":
		return query
	case r.Ignore:
		return ""
	case len(r.Include) == 0 && len(r.Exclude) == 0 && !r.Sort:
		return query
	case r.keepsAll(query):
		return query
	}
	members := make([]string, 0, strings.Count(query, "&")+1)
	for rest, more := query, true; more; {
		var member string
		if member, rest, more = strings.Cut(rest, "&"); r.keeps(member) {
			members = append(members, member)
		}
	}
	if r.Sort {
		slices.SortStableFunc(members, compareNames)
	}
	return strings.Join(members, "&")
}

// keepsAll reports whether the query is reduced already.
func (r *QueryRule) keepsAll(query string) bool {
	previous := ""
	for rest, more := query, true; more; {
		var member string
		member, rest, more = strings.Cut(rest, "&")
		if !r.keeps(member) || r.Sort && compareNames(previous, member) > 0 {
			return false
		}
		previous = member
	}
	return true
}

// nameBuffer is the length of an encoded name whose decoding costs no allocation.
const nameBuffer = 256

// keeps reports whether a member stays. An empty one has no parameter to keep.
func (r *QueryRule) keeps(member string) bool {
	if member == "" {
		return false
	}
	name, _, _ := strings.Cut(member, "=")
	if strings.IndexByte(name, '%') < 0 && strings.IndexByte(name, '+') < 0 {
		return (len(r.Include) == 0 || anyMatches(r.Include, name)) && !anyMatches(r.Exclude, name)
	}
	var stack [nameBuffer]byte
	decoded := stack[:0]
	for i := 0; i < len(name); {
		var c byte
		c, i = formByte(name, i)
		decoded = append(decoded, c)
	}
	return (len(r.Include) == 0 || anyMatchesBytes(r.Include, decoded)) && !anyMatchesBytes(r.Exclude, decoded)
}

func anyMatches(globs []Glob, name string) bool {
	for i := range globs {
		if globs[i].Match(name) {
			return true
		}
	}
	return false
}

func anyMatchesBytes(globs []Glob, name []byte) bool {
	for i := range globs {
		if globs[i].matchBytes(name) {
			return true
		}
	}
	return false
}

// compareNames orders two members by their decoded names, byte by byte.
func compareNames(a, b string) int {
	i, j := 0, 0
	for {
		endA, endB := i == len(a) || a[i] == '=', j == len(b) || b[j] == '='
		switch {
		case endA && endB:
			return 0
		case endA:
			return -1
		case endB:
			return 1
		}
		var c, d byte
		c, i = formByte(a, i)
		d, j = formByte(b, j)
		if c != d {
			return int(c) - int(d)
		}
	}
}

// formByte decodes the byte at i of a name or value as forms encode it: "+" is a
// space, and a "%" that no two hexadecimal digits follow is itself. next is
// where the following one begins.
func formByte(s string, i int) (c byte, next int) {
	switch c = s[i]; {
	case c == '+':
		return ' ', i + 1
	case c == '%' && i+2 < len(s):
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi <= 15 && lo <= 15 {
			return hi<<4 | lo, i + 3
		}
	}
	return c, i + 1
}
