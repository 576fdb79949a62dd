package httpcache

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
)

// VariantID tells the variants of a key apart. It is a hash of the names and
// normal values of the selecting fields, 0 without any. Who can make two
// variants collide makes them displace each other and no more: Select compares
// the values themselves.
type VariantID uint64

// maxVary bounds the selecting fields of a response.
const maxVary = 32

// varyNames returns the selecting fields, sorted, lower case, each once.
func varyNames(lines []string) ([]string, Refusal) {
	var names []string
	for _, line := range lines {
		for line != "" {
			var name string
			name, line = cutMember(line)
			switch {
			case name == "":
				continue
			case name == "*":
				return nil, RefusedVaryAny
			case !isToken(name):
				return nil, RefusedVaryMalformed
			case len(names) == maxVary:
				return nil, RefusedVaryLong
			}
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), Storable
}

func canonicalNames(names []string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = http.CanonicalHeaderKey(name)
	}
	return keys
}

// noValue is the normal value of a field that the request does not have. No
// field value contains NUL.
const noValue = "\x00"

func selectingValues(keys []string, req *Request) []string {
	values := make([]string, len(keys))
	for i, key := range keys {
		values[i] = req.normal(key).value
	}
	return values
}

// normalValue brings the lines of a selecting field into one form (RFC 9111
// §4.1): lines joined, whitespace around commas of lists made uniform, what is
// without case in lower case, Accept-Encoding reduced to what matters,
// Accept-Language ordered by weight.
func normalValue(key string, lines []string) string {
	if key == AcceptEncodingField {
		return NormalAcceptEncoding(lines)
	}
	if len(lines) == 0 {
		return noValue
	}
	joined := lines[0]
	if len(lines) > 1 {
		joined = strings.Join(lines, ", ")
	}
	switch key {
	case "User-Agent", "Cookie", "Referer", "Authorization", "If-Modified-Since", "If-Unmodified-Since":
		return trimOWS(joined) // commas and spaces of these are their own
	case acceptLanguageField:
		return normalLanguages(lowerASCII(joined))
	case "Accept-Charset":
		joined = lowerASCII(joined)
	}
	return normalList(joined)
}

// normalList writes a list with ", " between members and without empty ones.
// A list that is so already is returned as it is.
func normalList(list string) string {
	if strings.IndexByte(list, ',') < 0 {
		return trimOWS(list)
	}
	out := make([]byte, 0, len(list)+8)
	for rest := list; rest != ""; {
		var member string
		if member, rest = cutMember(rest); member == "" {
			continue
		}
		if len(out) > 0 {
			out = append(out, ", "...)
		}
		out = append(out, member...)
	}
	if string(out) == list {
		return list
	}
	return string(out)
}

// fit says how well a stored response suits the selecting fields of a request; the
// greater suits better.
type fit uint8

const (
	unfit    fit = iota
	forAll       // it has no selecting fields
	inChoice     // it is in the language that the request wants before all others
	exact        // it was stored for these very fields (RFC 9111 §4.1)
)

// fit compares the request's selecting fields with those that s was stored for.
func (s *Stored) fit(req *Request) fit {
	if len(s.vary) == 0 {
		return forAll
	}
	best := exact
	for i, key := range s.varyKeys {
		field := req.normals.find(key)
		if field == nil {
			lines := req.selectingLines(key)
			if len(lines) == 1 && lines[0] == s.selecting[i] {
				continue // already in normal form, the usual case
			}
			normal := req.normalise(key, lines)
			field = &normal
		}
		switch {
		case field.value == s.selecting[i]:
		case s.prefers(field.language):
			best = inChoice
		default:
			return unfit
		}
	}
	return best
}

func (s *Stored) matches(req *Request) bool { return s.fit(req) != unfit }

// VariantOf returns the VariantID that a response to req would have if it had
// the given selecting fields, sorted and in lower case as Stored.Vary returns
// them.
func VariantOf(vary []string, req *Request) VariantID {
	if len(vary) == 0 {
		return 0
	}
	return variantHash(vary, selectingValues(canonicalNames(vary), req))
}

func variantHash(names, values []string) VariantID {
	var stack [512]byte
	buf := stack[:0]
	for i, name := range names {
		for _, part := range [...]string{name, values[i]} {
			buf = binary.AppendUvarint(buf, uint64(len(part)))
			buf = append(buf, part...)
		}
	}
	sum := sha256.Sum256(buf)
	return VariantID(binary.BigEndian.Uint64(sum[:]))
}

// Select returns the variant that answers the request: before all one that was
// stored for its very selecting fields, then one in the language that it wants
// first, then one that has none, which some resources send only to those who express
// no preference; and the most recent by Date, then by arrival, where several do (RFC
// 9111 §4.1). ok is false where none does. req remembers the choice, so that Decide
// does not compare again.
func Select[T interface{ Stored() *Stored }](req *Request, variants []T) (best T, ok bool) {
	var chosen *Stored
	suits := unfit
	for _, v := range variants {
		s := v.Stored()
		if s == nil || suits == exact && !s.newerThan(chosen) {
			continue
		}
		f := s.fit(req)
		if f != unfit && (chosen == nil || s.goesBefore(chosen, f, suits)) {
			best, chosen, suits = v, s, f
		}
	}
	req.selected = chosen
	return best, chosen != nil
}

// goesBefore tells which of two that match is used, how well they fit given.
func (s *Stored) goesBefore(other *Stored, mine, theirs fit) bool {
	switch {
	case mine == theirs:
		return s.newerThan(other)
	case mine == forAll:
		return s.follows(other)
	case theirs == forAll:
		return !other.follows(s)
	}
	return mine > theirs
}

// follows reports whether s is newer than other and came once other was stale: the
// resource may no longer vary. Were other preferred for ever, each request that it
// matches would ask the origin again.
func (s *Stored) follows(other *Stored) bool {
	return s.newerThan(other) && s.arrived.Sub(other.responseTime) >= other.lifetime-other.initialAge
}

func (s *Stored) newerThan(other *Stored) bool {
	if s.date.Equal(other.date) {
		return s.responseTime.After(other.responseTime)
	}
	return s.date.After(other.date)
}
