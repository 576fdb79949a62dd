package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// Stored is a response that may be stored, without its content: what clients
// see of it and what the law remembers of it. It is immutable and may be used
// by any number of goroutines.
type Stored struct {
	status       int
	header       http.Header
	unseen       http.Header // what governs and clients do not get; nil for nothing
	etag         string      // "" where it is missing or malformed
	lastModified string      // "" where it is missing or malformed
	modified     time.Time
	date         time.Time
	// contentDate is the origin's Date of the response that brought the content,
	// zero where that had none: a 304 brings a later Date and no content, and a
	// Last-Modified that was weak does not become strong by time passing.
	contentDate  time.Time
	arrived      time.Time // when what brought the content arrived
	responseTime time.Time
	initialAge   time.Duration
	lifetime     time.Duration
	// plainUntil is the instant until which Decide says Serve to a plain request;
	// zero where it never does.
	plainUntil time.Time
	// ageValue and responseDelay made initialAge, for Reckoning.
	ageValue, responseDelay time.Duration

	staleWhileRevalidate, staleIfError delta

	vary      []string // selecting fields, sorted, lower case
	varyKeys  []string // the same names in canonical form
	selecting []string // their normal values
	language  string   // see ownLanguage
	variant   VariantID
	tags      []string
	groups    []string
	early     []string
	sizeBytes int64

	noCache bool
	// revalidate: must-revalidate or proxy-revalidate.
	revalidate bool
	// strict: a directive forbids any use once stale (RFC 9111 §4.2.4).
	strict      bool
	authorized  bool
	noTransform bool
	source      Source
	bySMaxage   bool // the directive of source was s-maxage
}

// Status returns the status code of the response.
func (s *Stored) Status() int { return s.status }

// Header returns the fields for clients: without those of the connection, Age,
// tag fields and what a qualified private or no-cache withholds, with Date. It
// is shared and must not be written to.
func (s *Stored) Header() http.Header { return s.header }

// ETag returns the entity tag as the origin wrote it, empty where it is missing
// or malformed.
func (s *Stored) ETag() string { return s.etag }

// LastModified returns the field as the origin wrote it, empty where it is
// missing or no date.
func (s *Stored) LastModified() string { return s.lastModified }

// StrongValidator returns the strong entity tag, or empty: only with one may
// parts of the content be combined (RFC 9110 §8.8.1).
func (s *Stored) StrongValidator() string {
	if strings.HasPrefix(s.etag, weakPrefix) {
		return ""
	}
	return s.etag
}

// HasValidator reports whether the response can be validated.
func (s *Stored) HasValidator() bool { return s.etag != "" || s.lastModified != "" }

// Vary returns the names of the selecting fields, sorted and in lower case; nil
// where there are none. It must not be written to.
func (s *Stored) Vary() []string { return s.vary }

// Variant identifies the response among those of its key: equal to
// VariantOf(s.Vary(), req) for each request with the selecting fields that s was
// stored for.
func (s *Stored) Variant() VariantID { return s.variant }

// Tags returns the tags by which the response may be purged, each once. It must
// not be written to.
func (s *Stored) Tags() []string { return s.tags }

// Age returns the current age (RFC 9111 §4.2.3). A clock that went backwards
// makes no response younger than it arrived.
func (s *Stored) Age(now time.Time) time.Duration {
	resident := min(max(0, now.Sub(s.responseTime)), maxDuration)
	return min(s.initialAge+resident, maxDuration)
}

// Lifetime returns the freshness lifetime, counted from age zero; 0 where the
// response is never fresh or no lifetime is known.
func (s *Stored) Lifetime() time.Duration { return s.lifetime }

// Date returns when the origin made the response, or when it arrived where the
// origin does not say.
func (s *Stored) Date() time.Time { return s.date }

// ResponseTime returns when the response, or what freshened it, arrived.
func (s *Stored) ResponseTime() time.Time { return s.responseTime }

// SizeBytes returns a fair estimate of the memory that s takes.
func (s *Stored) SizeBytes() int64 { return s.sizeBytes }

// Groups returns the cache groups that the response belongs to (RFC 9875), each
// once. It must not be written to.
func (s *Stored) Groups() []string { return s.groups }

// Early returns the Link field lines of the 103 that came before the response,
// so that a hit can have one too. It must not be written to.
func (s *Stored) Early() []string { return s.early }

// Transformable reports whether the content may be sent in another coding: no
// no-transform in Cache-Control nor in the field that took its place (RFC 9111
// §5.2.2.6).
func (s *Stored) Transformable() bool { return !s.noTransform }

// validator is what names a representation for sure: a strong entity tag, or a
// Last-Modified in seconds of Unix time.
type validator struct {
	etag     string
	modified int64
}

// strongValidator returns the strong validator among the fields; Last-Modified
// counts only where there is no entity tag and it is older than date, the origin's
// for the content (RFC 9110 §8.8.2.2); zero where it gave none.
func strongValidator(h http.Header, received, date time.Time) (v validator, ok bool) {
	if lines := h[ETagField]; len(lines) > 0 {
		if len(lines) > 1 || !validETag(lines[0]) || strings.HasPrefix(lines[0], weakPrefix) {
			return validator{}, false
		}
		return validator{etag: lines[0]}, true
	}
	modified, ok := singleDate(h[LastModifiedField], received)
	if !ok || !strongAt(modified, date) {
		return validator{}, false
	}
	return validator{modified: modified.Unix()}, true
}

// strongAt reports whether a Last-Modified counts as a strong validator of content
// that the origin sent at date; zero is no date.
func strongAt(modified, date time.Time) bool {
	return !date.IsZero() && date.Sub(modified) >= strongDate
}

// SameRepresentation reports whether both are the same representation by a
// strong validator (RFC 9110 §8.8.1), so that parts of their contents may be
// joined. Without one it is false.
func (s *Stored) SameRepresentation(other *Stored) bool {
	mine, ok := strongValidator(s.header, s.responseTime, s.contentDate)
	theirs, also := strongValidator(other.header, other.responseTime, other.contentDate)
	return ok && also && mine == theirs
}
