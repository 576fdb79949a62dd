package httpcache

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Freshen returns the stored response as a 304 updates it (RFC 9111 §4.3.4):
// fields replaced by those of the 304, new age and lifetime. req is the request
// that the 304 answers, nil for a plain one. s is not changed; its content stays
// what it was. It is false where the 304 is about another representation, names
// other selecting fields, leaves a response that may not be stored, or answers a
// request whose responses may not be (RFC 9111 §3.5, §5.2.1.5): then the whole
// must be fetched again without conditions.
func Freshen(rules *Rules, s *Stored, req *Request, notModified Response) (*Stored, bool) {
	fresh, why := freshen(rules, s, req, notModified)
	return fresh, why == Storable
}

func freshen(rules *Rules, s *Stored, req *Request, notModified Response) (*Stored, Refusal) {
	if notModified.Status != http.StatusNotModified || !s.confirmedBy(notModified) {
		return nil, RefusedOtherValidator
	}
	return update(rules, s, req, notModified)
}

// update returns s with the fields of a response to req that speaks of it: a 304,
// a further part, the answer to a HEAD (RFC 9111 §3.2). What these fields say is as
// little for others as a whole response to that request would be.
func update(rules *Rules, s *Stored, req *Request, resp Response) (*Stored, Refusal) {
	if req != nil && req.NoStore(rules) {
		return nil, RefusedRequestNoStore
	}
	merged := Response{
		Status:        s.status,
		Header:        s.mergedHeader(resp),
		ContentLength: -1, // the content was accepted before
		RequestTime:   resp.RequestTime,
		ResponseTime:  resp.ResponseTime,
	}
	fresh := &Stored{status: s.status, authorized: s.authorized || req != nil && req.authorized}
	cc, why := fresh.describe(rules, merged)
	if why != Storable {
		return nil, why
	}
	if !slices.Equal(fresh.vary, s.vary) {
		return nil, RefusedChangedVary
	}
	fresh.vary, fresh.varyKeys = s.vary, s.varyKeys
	fresh.selecting, fresh.variant = s.selecting, s.variant
	var all bool
	if fresh.tags, all = parseTags(resp.Header); !all {
		return nil, RefusedTags
	}
	if fresh.tags == nil {
		fresh.tags = s.tags
	}
	if fresh.early = earlyLines(resp.Early); fresh.early == nil {
		fresh.early = s.early
	}
	fresh.contentDate, fresh.arrived = s.contentDate, s.arrived
	fresh.finish(rules, &cc, merged)
	return fresh, Storable
}

// UpdateByHead returns the stored response to GET as a 200 to req, a HEAD of the
// same target, updates it (RFC 9111 §4.3.5). size is the length of its content in
// bytes, -1 unknown; req is nil for a plain one. s is not changed.
//
// Without ok nothing is to be updated. fresh is then nil where the answer is not
// about what is stored, by a validator that both have or by Content-Length, or
// leaves a response that may not be stored: s is to be considered stale. It is s
// itself where the answer is for that client alone (RFC 9111 §3.5, §5.2.1.5) and
// says nothing to others, or has no validator to tell what it is about. With a status other than 200 it says nothing to anyone:
// s and ok.
func UpdateByHead(rules *Rules, s *Stored, req *Request, size int64, head Response) (fresh *Stored, ok bool) {
	if head.Status != http.StatusOK {
		return s, true
	}
	fresh, why := update(rules, s, req, head)
	switch {
	case why == RefusedRequestNoStore, why == RefusedAuthorization && !s.authorized:
		return s, false
	case why != Storable, s.status != http.StatusOK, !s.agreesWith(size, head):
		return nil, false
	case !s.namedBy(head):
		// It contradicts nothing and confirms nothing: whoever asks by HEAD again and
		// again must not keep old content alive.
		return s, false
	}
	return fresh, true
}

// namedBy reports whether a validator of s stands in an answer to HEAD, as it is in s.
// Where s has none its length has to do, which agreesWith has compared.
func (s *Stored) namedBy(resp Response) bool {
	if !s.HasValidator() {
		length, ok := statedLength(resp)
		return ok && length >= 0
	}
	if lines := resp.Header[ETagField]; s.etag != "" && len(lines) == 1 {
		return weakMatch(lines[0], s.etag)
	}
	modified, ok := singleDate(resp.Header[LastModifiedField], resp.ResponseTime)
	return ok && s.lastModified != "" && modified.Equal(s.modified)
}

// agreesWith reports whether the answer to HEAD seems to be about the content of
// s: entity tags, Last-Modified, Content-Encoding match where both have them, and
// Content-Length, where it is given, is that of the content.
func (s *Stored) agreesWith(size int64, head Response) bool {
	if lines := head.Header[ETagField]; s.etag != "" && len(lines) > 0 && (len(lines) > 1 || !weakMatch(lines[0], s.etag)) {
		return false
	}
	modified, ok := singleDate(head.Header[LastModifiedField], head.ResponseTime)
	if ok && s.lastModified != "" && !modified.Equal(s.modified) {
		return false
	}
	mine, theirs := s.header[ContentEncodingField], head.Header[ContentEncodingField]
	if len(mine) > 0 && len(theirs) > 0 && !strings.EqualFold(strings.Join(mine, ","), strings.Join(theirs, ",")) {
		return false
	}
	length, ok := statedLength(head)
	if size < 0 {
		size, _ = statedLength(Response{Header: s.header, ContentLength: -1})
	}
	return ok && (length < 0 || length == size)
}

// confirmedBy reports whether the 304 is about s. Entity tags are compared
// weakly: servers that compress on the fly weaken the tag of a 200 and send the
// strong one in the 304, and the content is not touched either way. A tag that
// s does not have, and without a tag a Last-Modified that differs, are of another
// representation. A malformed tag is none, as it was when s was stored.
func (s *Stored) confirmedBy(notModified Response) bool {
	if lines := notModified.Header[ETagField]; len(lines) > 1 || len(lines) == 1 && validETag(lines[0]) {
		return len(lines) == 1 && weakMatch(lines[0], s.etag)
	}
	modified, ok := singleDate(notModified.Header[LastModifiedField], notModified.ResponseTime)
	return !ok || s.lastModified == "" || modified.Equal(s.modified)
}

// mergedHeader is RFC 9111 §3.2: each field of the 304 replaces that of the
// stored response, apart from those on which the content in store depends. The
// entity tag stays, for it names that content. Content-Type is replaced: only a
// cache that keeps the content in a processed form may refuse that.
func (s *Stored) mergedHeader(notModified Response) http.Header {
	merged := make(http.Header, len(s.header)+len(notModified.Header))
	maps.Copy(merged, s.header)
	maps.Copy(merged, s.unseen)
	// The age of the merged response is that of the 304.
	merged[DateField] = []string{notModified.ResponseTime.UTC().Truncate(time.Second).Format(http.TimeFormat)}
	options := connectionOptions(notModified.Header[ConnectionField])
	for name, lines := range notModified.Header {
		if excepted(name, notModified.Status) || hopByHop(name) || listsField(options, name) {
			continue
		}
		merged[name] = lines
	}
	return merged
}

// excepted reports the fields of a response that never replace stored ones. A
// digest of content is of the content that came with it, and a 304 has none (RFC
// 9530 §2). Content-MD5 is older than that distinction: of a 304 it is about what is
// stored, of a 206 about the part.
func excepted(name string, status int) bool {
	switch name {
	case ContentEncodingField, ContentLengthField, ContentRangeField, ContentDigestField, ETagField:
		return true
	case contentMD5Field:
		return status == http.StatusPartialContent
	}
	return false
}
