package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Stored is a response that may be stored, without its content: what clients
// see of it and what the law remembers of it. It is immutable and may be used
// by any number of goroutines.
type Stored struct {
	status       int
	header       http.Header
	etag         string // "" where it is missing or malformed
	lastModified string // "" where it is missing or malformed
	modified     time.Time
	date         time.Time
	responseTime time.Time
	initialAge   time.Duration
	lifetime     time.Duration
	// plainUntil is the instant until which Decide says Serve to a plain request;
	// zero where it never does.
	plainUntil time.Time

	staleWhileRevalidate, staleIfError delta

	vary      []string // selecting fields, sorted, lower case
	varyKeys  []string // the same names in canonical form
	selecting []string // their normal values
	variant   VariantID
	tags      []string
	sizeBytes int64

	noCache bool
	// revalidate: must-revalidate or proxy-revalidate.
	revalidate bool
	// strict: a directive forbids any use once stale (RFC 9111 §4.2.4).
	strict     bool
	authorized bool
}

// NewStored decides whether the response to req may be stored (RFC 9111 §3).
// It returns the stored form, or nil and why not. Nothing of resp is changed;
// its field values are shared, not its maps and slices.
func NewStored(rules *Rules, req *Request, resp Response) (*Stored, Refusal) {
	if req.method != http.MethodGet {
		return nil, RefusedMethod
	}
	if req.NoStore(rules) {
		return nil, RefusedRequestNoStore
	}
	s := &Stored{status: resp.Status, authorized: req.authorized}
	cc, why := s.describe(rules, resp)
	if why != Storable {
		return nil, why
	}
	if len(s.vary) > 0 {
		s.varyKeys = canonicalNames(s.vary)
		s.selecting = selectingValues(s.varyKeys, req)
		s.variant = variantHash(s.vary, s.selecting)
	}
	s.tags = parseTags(resp.Header)
	s.finish(rules, &cc, resp)
	return s, Storable
}

// describe fills in everything that decides about storing.
func (s *Stored) describe(rules *Rules, resp Response) (responseDirectives, Refusal) {
	cc := parseResponseDirectives(resp.Header[CacheControlField])
	if why := refuse(rules, &cc, s.authorized, resp); why != Storable {
		return cc, why
	}
	var why Refusal
	if s.vary, why = varyNames(resp.Header[VaryField]); why != Storable {
		return cc, why
	}
	t := newTiming(resp)
	life := newLifetime(rules, &cc, resp, t)
	if !life.explicit && !cc.public && !cacheableByDefault(s.status) {
		return cc, RefusedStatus
	}
	s.date, s.initialAge, s.lifetime = t.date, t.initialAge, life.length
	s.responseTime = resp.ResponseTime.Round(0)
	s.setValidators(resp)
	s.noCache = cc.noCache
	s.revalidate = cc.mustRevalidate || cc.proxyRevalidate
	s.strict = s.revalidate || cc.noCache || cc.sMaxAge.present()
	s.staleWhileRevalidate, s.staleIfError = cc.staleWhileRevalidate, cc.staleIfError
	if !s.noCache && s.lifetime > s.initialAge {
		s.plainUntil = s.responseTime.Add(s.lifetime - s.initialAge)
	}
	if !s.HasValidator() {
		return cc, s.useless(rules, life)
	}
	return cc, Storable
}

// useless says why a response without validator would never be served.
func (s *Stored) useless(rules *Rules, life lifetime) Refusal {
	switch {
	case !life.known:
		return RefusedNoFreshness
	case s.noCache:
		return RefusedNoValidator
	case !s.plainUntil.IsZero():
		return Storable
	case !s.strict && (rules.HonourRequest || s.staleFor(rules.StaleIfError, s.staleIfError) > 0 ||
		s.staleFor(rules.StaleWhileRevalidate, s.staleWhileRevalidate) > 0):
		return Storable
	}
	return RefusedStaleOnArrival
}

// staleFor returns how long past its lifetime the response may be used: what
// the origin's directive says, else the rule, and nothing where a directive
// forbids it (RFC 9111 §4.2.4, RFC 5861).
func (s *Stored) staleFor(rule time.Duration, given delta) time.Duration {
	switch {
	case s.strict:
		return 0
	case given.present():
		return given.duration()
	}
	return rule
}

func (s *Stored) setValidators(resp Response) {
	if lines := resp.Header[ETagField]; len(lines) == 1 && validETag(lines[0]) {
		s.etag = lines[0]
	}
	if modified, ok := singleDate(resp.Header[LastModifiedField], resp.ResponseTime); ok {
		s.lastModified, s.modified = resp.Header[LastModifiedField][0], modified
	}
}

// finish makes the header for clients and the size, once storing is decided.
func (s *Stored) finish(rules *Rules, cc *responseDirectives, resp Response) {
	s.header = endToEnd(resp.Header, func(name string) bool {
		return name == AgeField || tagField(name) ||
			name == setCookieField && rules.SetCookie == SetCookieStrip ||
			cc.qualifies() && cc.withholds(strings.ToLower(name))
	})
	if date := resp.Header[DateField]; len(date) != 1 || !validDate(date[0], resp.ResponseTime) {
		// RFC 9110 §6.6.1: who receives a response without Date adds one.
		s.header[DateField] = []string{s.date.Format(http.TimeFormat)}
	}
	s.sizeBytes = s.estimate()
}

func (cc *responseDirectives) qualifies() bool {
	return len(cc.privateFields) > 0 || len(cc.noCacheFields) > 0
}

func validDate(s string, received time.Time) bool {
	_, ok := parseDate(s, received)
	return ok
}

// Costs in memory, rounded up: of a Stored itself, of a map entry with its
// slice header, of a string header.
const (
	storedBytes     = 480
	fieldBytes      = 64
	stringHeadBytes = 16
)

func (s *Stored) estimate() int64 {
	size := storedBytes
	for name, lines := range s.header {
		size += fieldBytes + len(name)
		for _, line := range lines {
			size += stringHeadBytes + len(line)
		}
	}
	for _, list := range [...][]string{s.vary, s.varyKeys, s.selecting, s.tags} {
		for _, text := range list {
			size += stringHeadBytes + len(text)
		}
	}
	return int64(size)
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
// VariantOf(s.Vary(), req) for each request that s answers.
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

func sameNames(a, b []string) bool { return slices.Equal(a, b) }
