package httpcache

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// PartOf reads which part of which complete length a 206 brings (RFC 9110
// §15.3.7.1). ok is false for anything but one well-formed Content-Range of
// bytes with a known complete length that agrees with Content-Length, where
// there is one: such a response may be passed on, and never be stored.
func PartOf(resp Response) (r ByteRange, size int64, ok bool) {
	lines := resp.Header[ContentRangeField]
	if resp.Status != http.StatusPartialContent || len(lines) != 1 || ofManyParts(resp.Header) {
		return r, 0, false
	}
	if r, size, ok = parseContentRange(lines[0]); !ok {
		return ByteRange{}, 0, false
	}
	if length, ok := statedLength(resp); !ok || length >= 0 && length != r.Length() {
		return ByteRange{}, 0, false
	}
	return r, size, true
}

// parseContentRange reads "bytes first-last/size" (RFC 9110 §14.4).
func parseContentRange(field string) (r ByteRange, size int64, ok bool) {
	unit, rest, found := strings.Cut(trimOWS(field), " ")
	if !found || !strings.EqualFold(unit, "bytes") {
		return r, 0, false
	}
	span, complete, found := strings.Cut(rest, "/")
	if !found {
		return r, 0, false
	}
	first, last, found := strings.Cut(span, "-")
	if !found {
		return r, 0, false
	}
	var okFirst, okLast, okSize bool
	r.First, okFirst = parsePosition(first)
	r.Last, okLast = parsePosition(last)
	size, okSize = parsePosition(complete)
	// parsePosition gives the largest number for what does not fit; no content is
	// that long.
	ok = okFirst && okLast && okSize && size < math.MaxInt64 && r.First <= r.Last && r.Last < size
	return r, size, ok
}

// ofManyParts reports a multipart/byteranges, in which each part has a range of
// its own.
func ofManyParts(h http.Header) bool {
	for _, line := range h[ContentTypeField] {
		if strings.HasPrefix(strings.ToLower(trimOWS(line)), "multipart/byteranges") {
			return true
		}
	}
	return false
}

// statedLength returns what Content-Length says, -1 for nothing. ok is false
// where it is malformed or said in two ways.
func statedLength(resp Response) (length int64, ok bool) {
	lines := resp.Header[ContentLengthField]
	if len(lines) == 0 {
		return max(resp.ContentLength, -1), true
	}
	length, ok = parsePosition(trimOWS(lines[0]))
	if !ok || len(lines) > 1 || resp.ContentLength >= 0 && resp.ContentLength != length {
		return -1, false
	}
	return length, true
}

// complete returns a 206 as the complete response of which it brings a part
// (RFC 9111 §3.3), of the given length. A request with If-Range may be answered
// without the fields that its client has already (RFC 9110 §15.3.7): from such
// an answer no complete response can be made.
func complete(req *Request, resp Response) (Response, Refusal) {
	_, size, ok := PartOf(resp)
	if !ok || req.method != http.MethodGet || len(req.values(ifRangeField)) > 0 {
		return resp, RefusedPartial
	}
	header := make(http.Header, len(resp.Header))
	for name, lines := range resp.Header {
		if name != ContentRangeField && name != ContentLengthField && !digestsContent(name) {
			header[name] = lines
		}
	}
	resp.Status, resp.Header, resp.ContentLength = http.StatusOK, header, size
	return resp, Storable
}

// Combine returns the stored response after part, a further 206 to req, arrived
// (RFC 9111 §3.4): fields replaced by those of part, new age and lifetime. req is
// nil for a plain one. s is not changed. It is nil and RefusedOtherValidator where
// the two do not have the same strong validator: then their contents must not be
// joined. That the complete length is the same is for the caller to see.
func Combine(rules *Rules, s *Stored, req *Request, part Response) (*Stored, Refusal) {
	if _, _, ok := PartOf(part); !ok {
		return nil, RefusedPartial
	}
	date, sent := singleDate(part.Header[DateField], part.ResponseTime)
	if !sent {
		date = time.Time{}
	}
	mine, ok := strongValidator(s.header, s.responseTime, s.contentDate)
	theirs, also := strongValidator(part.Header, part.ResponseTime, date)
	if !ok || !also || mine != theirs {
		return nil, RefusedOtherValidator
	}
	return update(rules, s, req, part)
}
