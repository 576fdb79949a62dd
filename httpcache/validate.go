package httpcache

import (
	"net/http"
	"time"
)

// Freshen returns the stored response as a 304 updates it (RFC 9111 §4.3.4):
// fields replaced by those of the 304, new age and lifetime. s is not changed;
// its content stays what it was. It is false where the 304 is about another
// representation, names other selecting fields, or leaves a response that may
// not be stored: then the whole must be fetched again without conditions.
func Freshen(rules *Rules, s *Stored, notModified Response) (*Stored, bool) {
	fresh, why := freshen(rules, s, notModified)
	return fresh, why == Storable
}

func freshen(rules *Rules, s *Stored, notModified Response) (*Stored, Refusal) {
	if notModified.Status != http.StatusNotModified || !s.confirmedBy(notModified) {
		return nil, RefusedOtherValidator
	}
	merged := Response{
		Status:        s.status,
		Header:        s.mergedHeader(notModified),
		ContentLength: -1, // the content was accepted before
		RequestTime:   notModified.RequestTime,
		ResponseTime:  notModified.ResponseTime,
	}
	fresh := &Stored{status: s.status, authorized: s.authorized}
	cc, why := fresh.describe(rules, merged)
	if why != Storable {
		return nil, why
	}
	if !sameNames(fresh.vary, s.vary) {
		return nil, RefusedChangedVary
	}
	fresh.vary, fresh.varyKeys = s.vary, s.varyKeys
	fresh.selecting, fresh.variant = s.selecting, s.variant
	if fresh.tags = parseTags(notModified.Header); fresh.tags == nil {
		fresh.tags = s.tags
	}
	fresh.finish(rules, &cc, merged)
	return fresh, Storable
}

// confirmedBy reports whether the 304 is about s. Entity tags are compared
// weakly: servers that compress on the fly weaken the tag of a 200 and send the
// strong one in the 304, and the content is not touched either way. A tag that
// s does not have, and a Last-Modified that differs, are of another
// representation. A malformed tag is none, as it was when s was stored.
func (s *Stored) confirmedBy(notModified Response) bool {
	if lines := notModified.Header[ETagField]; len(lines) > 1 || len(lines) == 1 && validETag(lines[0]) {
		return len(lines) == 1 && weakMatch(lines[0], s.etag)
	}
	modified, ok := singleDate(notModified.Header[LastModifiedField], notModified.ResponseTime)
	return !ok || s.etag != "" || s.lastModified == "" || modified.Equal(s.modified)
}

// mergedHeader is RFC 9111 §3.2: each field of the 304 replaces that of the
// stored response, apart from those on which the content in store depends. The
// entity tag stays, for it names that content. Content-Type is replaced: only a
// cache that keeps the content in a processed form may refuse that.
func (s *Stored) mergedHeader(notModified Response) http.Header {
	merged := make(http.Header, len(s.header)+len(notModified.Header))
	for name, lines := range s.header {
		merged[name] = lines
	}
	// The age of the merged response is that of the 304.
	merged[DateField] = []string{notModified.ResponseTime.UTC().Truncate(time.Second).Format(http.TimeFormat)}
	options := connectionOptions(notModified.Header[ConnectionField])
	for name, lines := range notModified.Header {
		if excepted(name) || hopByHop(name) || listsField(options, name) {
			continue
		}
		merged[name] = lines
	}
	return merged
}

// excepted reports the fields of a 304 that never replace stored ones.
func excepted(name string) bool {
	switch name {
	case ContentEncodingField, ContentLengthField, ContentRangeField, ETagField:
		return true
	}
	return false
}
