package httpcache

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ErrMalformed says that a Range field is not of bytes, not well formed, asks for so
// many parts that it is better ignored, or for the end of content that is empty,
// which no Content-Range can say: answer as if it were absent (RFC 9110 §14.2).
var ErrMalformed = errors.New("range malformed")

// ErrUnsatisfiable says that no range of the field lies within the content:
// answer 416 with UnsatisfiedRange.
var ErrUnsatisfiable = errors.New("range not satisfiable")

// Bounds of a Range field: of ranges as written, and of parts to send once
// those that overlap are joined (RFC 9110 §17.15).
const (
	maxRangeSpecs = 128
	maxRangeParts = 16
)

// ByteRange is a range of bytes, both ends included.
type ByteRange struct{ First, Last int64 }

// Length returns the number of bytes in the range.
func (r ByteRange) Length() int64 { return r.Last - r.First + 1 }

// ParseRange returns the ranges that a Range field asks for within content of
// size bytes (RFC 9110 §14.1.2), each clipped to it. Those beyond it are left
// out. Ranges that overlap or touch are joined, and then all are in ascending
// order; otherwise they keep the order in which they were asked for. The error
// is ErrMalformed or ErrUnsatisfiable.
func ParseRange(field string, size int64) ([]ByteRange, error) {
	unit, set, ok := strings.Cut(field, "=")
	if !ok || !strings.EqualFold(trimOWS(unit), "bytes") {
		return nil, ErrMalformed
	}
	var ranges []ByteRange
	specs, ofNothing := 0, false
	for set != "" {
		var spec string
		spec, set, _ = strings.Cut(set, ",")
		if spec = trimOWS(spec); spec == "" {
			continue
		}
		if specs++; specs > maxRangeSpecs {
			return nil, ErrMalformed
		}
		r, ok := parseRangeSpec(spec, size)
		if !ok {
			return nil, ErrMalformed
		}
		if r.First <= r.Last {
			ranges = append(ranges, r)
		}
		// A suffix is satisfiable however short the content is (RFC 9110 §14.1.2).
		ofNothing = ofNothing || size == 0 && spec[0] == '-' && strings.Trim(spec, "-0 \t") != ""
	}
	switch ranges = joinRanges(ranges); {
	case specs == 0 || len(ranges) > maxRangeParts || ofNothing:
		return nil, ErrMalformed
	case len(ranges) == 0:
		return nil, ErrUnsatisfiable
	}
	return ranges, nil
}

// parseRangeSpec reads "first-last", "first-" or "-suffix". A range that cannot
// be satisfied comes back empty: First > Last.
func parseRangeSpec(spec string, size int64) (r ByteRange, ok bool) {
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return r, false
	}
	first, last = trimOWS(first), trimOWS(last)
	if first == "" {
		suffix, ok := parsePosition(last)
		return ByteRange{max(0, size-suffix), size - 1}, ok
	}
	if r.First, ok = parsePosition(first); !ok {
		return r, false
	}
	r.Last = size - 1
	if last == "" {
		return r, true
	}
	end, ok := parsePosition(last)
	if !ok || end < r.First {
		return r, false
	}
	r.Last = min(end, size-1)
	return r, true
}

// parsePosition reads a number of any length; what does not fit is larger than
// any content.
func parsePosition(s string) (int64, bool) {
	var n int64
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		digit := int64(s[i] - '0')
		if n > (math.MaxInt64-digit)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + digit
	}
	return n, s != ""
}

func joinRanges(ranges []ByteRange) []ByteRange {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b ByteRange) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	joined := sorted[:0]
	for _, r := range sorted {
		if n := len(joined); n > 0 && r.First <= joined[n-1].Last+1 {
			joined[n-1].Last = max(joined[n-1].Last, r.Last)
			continue
		}
		joined = append(joined, r)
	}
	if len(joined) == len(ranges) {
		return ranges
	}
	return joined
}

// ContentRange returns the Content-Range of a part of content of size bytes.
func ContentRange(r ByteRange, size int64) string {
	buf := make([]byte, 0, 48)
	buf = append(buf, "bytes "...)
	buf = strconv.AppendInt(buf, r.First, 10)
	buf = append(buf, '-')
	buf = strconv.AppendInt(buf, r.Last, 10)
	buf = append(buf, '/')
	return string(strconv.AppendInt(buf, size, 10))
}

// UnsatisfiedRange returns the Content-Range of a 416 (RFC 9110 §15.5.17).
func UnsatisfiedRange(size int64) string {
	return "bytes */" + strconv.FormatInt(size, 10)
}
