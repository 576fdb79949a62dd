package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// NewStored decides whether the response to req may be stored (RFC 9111 §3).
// It returns the stored form, or nil and why not. Nothing of resp is changed;
// its field values are shared, not its maps and slices.
//
// A 206 is stored as the complete response that it brings a part of, with status
// 200 and without Content-Range and Content-Length; PartOf says where its content
// belongs, and the caller must put it there. A success of POST that gives its own
// target URI as Content-Location and its lifetime is stored as if GET had
// asked (RFC 9110 §9.3.3).
func NewStored(rules *Rules, req *Request, resp Response) (*Stored, Refusal) {
	if req.method != http.MethodGet && !req.posts(resp) {
		return nil, RefusedMethod
	}
	if req.NoStore(rules) {
		return nil, RefusedRequestNoStore
	}
	if resp.Status == http.StatusPartialContent {
		var why Refusal
		if resp, why = complete(req, resp); why != Storable {
			return nil, why
		}
	}
	s := &Stored{status: resp.Status, authorized: req.authorized}
	cc, why := s.describe(rules, resp)
	switch {
	case why != Storable:
		return nil, why
	case req.method == http.MethodPost && !cc.givesLifetime(resp.Header):
		return nil, RefusedMethod
	case rules.DeceptionArmor && deceptive(req.url, resp):
		return nil, RefusedDeception
	}
	if len(s.vary) > 0 {
		s.varyKeys = canonicalNames(s.vary)
		s.selecting = selectingValues(s.varyKeys, req)
		s.variant = variantHash(s.vary, s.selecting)
	}
	var all bool
	if s.tags, all = parseTags(resp.Header); !all {
		return nil, RefusedTags // a purge by one that is not kept would miss it
	}
	s.early = earlyLines(resp.Early)
	s.finish(rules, &cc, resp)
	return s, Storable
}

// posts reports whether the request is a POST whose response says that it is what
// GET of the same target would bring (RFC 9110 §9.3.3, §8.7).
func (q *Request) posts(resp Response) bool {
	lines := resp.Header[ContentLocationField]
	if q.method != http.MethodPost || q.url == nil || len(lines) != 1 ||
		resp.Status < 200 || resp.Status > 299 || resp.Status == http.StatusPartialContent {
		return false
	}
	target := q.targetURI()
	uri, err := target.Parse(trimOWS(lines[0]))
	if err != nil || uri.Fragment != "" || uri.User != nil || !sameOrigin(uri, target) || uri.RawQuery != target.RawQuery {
		return false
	}
	path, ok := NormalPath(uri.EscapedPath())
	wanted, also := NormalPath(target.EscapedPath())
	return ok && also && path == wanted
}

// describe fills in everything that decides about storing.
func (s *Stored) describe(rules *Rules, resp Response) (responseDirectives, Refusal) {
	cc := governing(rules, resp.Header)
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
	if t.dated {
		s.contentDate = t.date
	}
	s.ageValue, s.responseDelay = t.ageValue, t.delay
	s.source, s.bySMaxage = life.source, cc.sMaxAge.present()
	s.responseTime = resp.ResponseTime.Round(0)
	s.arrived = s.responseTime
	s.setValidators(resp)
	s.noCache, s.noTransform = cc.noCache, cc.noTransform
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
		return name == AgeField || forCachesOnly(name) ||
			name == setCookieField && rules.SetCookie == SetCookieStrip ||
			cc.qualifies() && cc.withholds(strings.ToLower(name))
	})
	if date := resp.Header[DateField]; len(date) != 1 || !validDate(date[0], resp.ResponseTime) {
		// RFC 9110 §6.6.1: who receives a response without Date adds one.
		s.header[DateField] = []string{s.date.Format(http.TimeFormat)}
	}
	for _, name := range [...]string{perigeeCacheControlField, surrogateControlField} {
		if lines := resp.Header[name]; len(lines) > 0 {
			if s.unseen == nil {
				s.unseen = make(http.Header)
			}
			s.unseen[name] = slices.Clone(lines)
		}
	}
	s.language = s.ownLanguage()
	s.groups = parseGroups(resp.Header[cacheGroupsField])
	s.sizeBytes = s.estimate()
}

// givesLifetime reports whether the response itself says how long it is fresh; a
// rule for its path was not written with what POST answers in mind.
func (cc *responseDirectives) givesLifetime(h http.Header) bool {
	return cc.sMaxAge.present() || cc.maxAge.present() || cc.target == SourceNone && len(h[ExpiresField]) > 0
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
	storedBytes     = 576
	fieldBytes      = 64
	stringHeadBytes = 16
)

func (s *Stored) estimate() int64 {
	size := storedBytes
	for _, fields := range [...]http.Header{s.header, s.unseen} {
		for name, lines := range fields {
			size += fieldBytes + len(name)
			for _, line := range lines {
				size += stringHeadBytes + len(line)
			}
		}
	}
	for _, list := range [...][]string{s.vary, s.varyKeys, s.selecting, s.tags, s.groups, s.early} {
		for _, text := range list {
			size += stringHeadBytes + len(text)
		}
	}
	return int64(size)
}
