package httpcache

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Lacking returns what of want is not in have, in ascending order; nil where
// nothing is. have is sorted and disjoint. A range with First > Last is empty.
func Lacking(have []ByteRange, want ByteRange) []ByteRange {
	var lacking []ByteRange
	for _, r := range have {
		if want.First > want.Last || r.First > want.Last {
			break
		}
		if r.Last < want.First || r.First > r.Last {
			continue
		}
		if r.First > want.First {
			lacking = append(lacking, ByteRange{want.First, r.First - 1})
		}
		if r.Last >= want.Last {
			return lacking
		}
		want.First = r.Last + 1
	}
	if want.First <= want.Last {
		lacking = append(lacking, want)
	}
	return lacking
}

// Covers reports whether all of want is in have, which is sorted and disjoint.
func Covers(have []ByteRange, want ByteRange) bool {
	for _, r := range have {
		if want.First > want.Last || r.First > want.First {
			break
		}
		if r.Last >= want.Last {
			return true
		}
		if r.Last >= want.First {
			want.First = r.Last + 1
		}
	}
	return want.First > want.Last
}

// Merge returns have with r added: sorted, disjoint, ranges that overlap or touch
// joined. have is sorted and disjoint and is not changed.
func Merge(have []ByteRange, r ByteRange) []ByteRange {
	if r.First > r.Last {
		return slices.Clone(have)
	}
	merged := make([]ByteRange, 0, len(have)+1)
	for i, h := range have {
		switch {
		case before(h, r):
			merged = append(merged, h)
		case before(r, h):
			return append(append(merged, r), have[i:]...)
		default:
			r = ByteRange{min(r.First, h.First), max(r.Last, h.Last)}
		}
	}
	return append(merged, r)
}

// before reports whether a ends so far before b that a byte is between them.
func before(a, b ByteRange) bool { return a.Last < math.MaxInt64 && a.Last+1 < b.First }

// Wanted returns which bytes of a stored representation of size bytes the answer
// to a request needs (RFC 9111 §3.3, RFC 9110 §13.2.2, §14.2): the parts that Range
// asks for, or the whole; neither for HEAD, for a 304, 412 or 416. With a size
// that is not known (negative) nobody can say which bytes a range is: whole.
func Wanted(req *Request, s *Stored, size int64) (parts []ByteRange, whole bool) {
	if req.method == http.MethodHead {
		return nil, false
	}
	switch Evaluate(req, s) {
	case NotModified, PreconditionFailed:
		return nil, false
	case Ranges:
		if size < 0 {
			return nil, true
		}
		parts, err := ParseRange(req.rangeField, size)
		return parts, errors.Is(err, ErrMalformed)
	}
	return nil, true
}

// RequestRange reads a Range field that is to be sent on: ok only if it is exactly
// one well-formed range of bytes (RFC 9110 §14.1.2). An open range has Last -1. A
// suffix range has its length as Last, and First 0.
func RequestRange(field string) (r ByteRange, suffix, ok bool) {
	unit, set, ok := strings.Cut(field, "=")
	if !ok || !strings.EqualFold(trimOWS(unit), "bytes") {
		return ByteRange{}, false, false
	}
	spec := ""
	for set != "" {
		var next string
		next, set, _ = strings.Cut(set, ",")
		if next = trimOWS(next); next == "" {
			continue
		}
		if spec != "" {
			return ByteRange{}, false, false
		}
		spec = next
	}
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return ByteRange{}, false, false
	}
	return requestRange(trimOWS(first), trimOWS(last))
}

func requestRange(first, last string) (r ByteRange, suffix, ok bool) {
	if first == "" {
		r.Last, ok = parsePosition(last)
		return r, ok, ok
	}
	if r.First, ok = parsePosition(first); !ok {
		return ByteRange{}, false, false
	}
	if last == "" {
		r.Last = -1
		return r, false, true
	}
	if r.Last, ok = parsePosition(last); !ok || r.Last < r.First {
		return ByteRange{}, false, false
	}
	return r, false, true
}

// RangeValue returns the Range field that asks for r: to the end of the content
// where r.Last is negative.
func RangeValue(r ByteRange) string {
	buf := append(make([]byte, 0, 48), "bytes="...)
	buf = append(strconv.AppendInt(buf, r.First, 10), '-')
	if r.Last >= 0 {
		buf = strconv.AppendInt(buf, r.Last, 10)
	}
	return string(buf)
}
