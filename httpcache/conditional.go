package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// Outcome is what the preconditions and Range of a request make of a stored
// response.
type Outcome uint8

const (
	Whole              Outcome = iota // the response as it is stored
	Ranges                            // the parts that Range asks for: see ParseRange
	NotModified                       // 304 with the fields of NotModifiedHeader
	PreconditionFailed                // 412
	outcomes
)

// String returns the word of the log and of the tests.
func (o Outcome) String() string {
	if o >= outcomes {
		return "unknown"
	}
	return [outcomes]string{"whole", "ranges", "not-modified", "precondition-failed"}[o]
}

// Evaluate applies the preconditions of a GET or HEAD to a stored response that
// is about to be served, in the order of RFC 9110 §13.2.2, and then If-Range
// and Range. Where the response is no success preconditions are ignored
// (§13.2.1).
//
// A cache may ignore If-Match and If-Unmodified-Since (RFC 9110 §13.1.1, §13.1.4). They
// are applied because clients join the parts of a download with them: to
// ignore them would let two versions mix.
func Evaluate(req *Request, s *Stored) Outcome {
	if s.status < 200 || s.status > 299 || !req.conditional && req.rangeField == "" {
		return Whole
	}
	if lines := req.values(ifMatchField); len(lines) > 0 {
		if !listsETag(lines, func(tag string) bool { return strongMatch(tag, s.etag) }) {
			return PreconditionFailed
		}
	} else if since, ok := singleDate(req.values(ifUnmodifiedSinceField), s.responseTime); ok {
		if s.lastModified != "" && s.modified.After(since) {
			return PreconditionFailed
		}
	}
	if lines := req.values(ifNoneMatchField); len(lines) > 0 {
		if listsETag(lines, func(tag string) bool { return weakMatch(tag, s.etag) }) {
			return NotModified
		}
	} else if since, ok := singleDate(req.values(ifModifiedSinceField), s.responseTime); ok {
		if !s.modifiedOrDate().After(since) {
			return NotModified
		}
	}
	if req.rangeField != "" && s.status == http.StatusOK && s.rangeHolds(req) {
		return Ranges
	}
	return Whole
}

// modifiedOrDate is the instant that If-Modified-Since is compared with: Date
// stands in for a missing Last-Modified (RFC 9111 §4.3.2).
func (s *Stored) modifiedOrDate() time.Time {
	if s.lastModified != "" {
		return s.modified
	}
	return s.date
}

// strongDate is how much older than Date a Last-Modified must be to count as a
// strong validator (RFC 9110 §8.8.2.2).
const strongDate = time.Second

// rangeHolds evaluates If-Range (RFC 9110 §13.1.5). Only a strong comparison
// will do: parts of two representations must never be joined.
func (s *Stored) rangeHolds(req *Request) bool {
	lines := req.values(ifRangeField)
	if len(lines) == 0 {
		return true
	}
	if len(lines) > 1 {
		return false
	}
	field := trimOWS(lines[0])
	if strings.HasPrefix(field, `"`) || strings.HasPrefix(field, weakPrefix) {
		return strongMatch(field, s.etag)
	}
	since, ok := parseDate(field, s.responseTime)
	return ok && s.lastModified != "" && since.Equal(s.modified) && strongAt(s.modified, s.contentDate)
}

// NotModifiedHeader returns the fields of a 304 for a stored response (RFC 9110
// §15.4.5): all that it has but those that describe its content, and
// Last-Modified only where there is no entity tag. The map is new, its values
// are shared.
func NotModifiedHeader(s *Stored) http.Header {
	out := make(http.Header, len(s.header))
	for name, lines := range s.header {
		if describesContent(name) || name == LastModifiedField && s.etag != "" {
			continue
		}
		out[name] = lines
	}
	return out
}

// describesContent reports representation metadata that a 304 leaves out.
func describesContent(name string) bool {
	switch name {
	case ContentEncodingField, ContentLengthField, ContentRangeField, ContentTypeField, AcceptRangesField,
		"Content-Language", ReprDigestField, "Digest", "Content-Disposition":
		return true
	}
	return digestsContent(name)
}
