package httpcache

// Refusal says why a response is not stored. The zero value means that it may
// be stored.
type Refusal uint8

const (
	Storable              Refusal = iota
	RefusedMethod                 // neither GET nor a POST that may be stored
	RefusedRequestNoStore         // the client said no-store, and the rules obey
	RefusedNotFinal               // 1xx
	RefusedPartial                // 206 that does not say well which part of what it brings
	RefusedNotModified            // 304: a 304 updates, it is not stored
	RefusedNotUnderstood          // must-understand with a status that we do not know
	RefusedNoStore                // no-store
	RefusedPrivate                // private, unqualified
	RefusedAuthorization          // request with Authorization, nothing allows sharing
	RefusedVaryAny                // Vary: *
	RefusedVaryMalformed          // Vary with something that is no field name
	RefusedVaryLong               // Vary with too many names
	RefusedSetCookie              // Set-Cookie, and the rules pass it
	RefusedTooLarge               // Content-Length beyond Rules.MaxBytes
	RefusedStatus                 // status not cacheable by default, nothing explicit
	RefusedNoFreshness            // neither lifetime nor validator
	RefusedNoValidator            // no-cache without a validator
	RefusedStaleOnArrival         // expired already, no validator, no stale use
	RefusedChangedVary            // a 304 names other selecting fields
	RefusedOtherValidator         // a 304, a part or a HEAD is about another representation
	RefusedTags                   // more tags than are kept
	RefusedDeception              // a static file by its path, and something else by its type
	refusals
)

// String returns the words of the log and of Cache-Status, in kebab-case.
func (r Refusal) String() string {
	if r >= refusals {
		return "unknown"
	}
	return [refusals]string{
		Storable:              "storable",
		RefusedMethod:         "method",
		RefusedRequestNoStore: "request-no-store",
		RefusedNotFinal:       "status-not-final",
		RefusedPartial:        "partial-content",
		RefusedNotModified:    "not-modified",
		RefusedNotUnderstood:  "status-not-understood",
		RefusedNoStore:        "no-store",
		RefusedPrivate:        "private",
		RefusedAuthorization:  "authorization",
		RefusedVaryAny:        "vary-any",
		RefusedVaryMalformed:  "vary-malformed",
		RefusedVaryLong:       "vary-too-long",
		RefusedSetCookie:      "set-cookie",
		RefusedTooLarge:       "too-large",
		RefusedStatus:         "status-not-cacheable",
		RefusedNoFreshness:    "no-freshness",
		RefusedNoValidator:    "no-cache-without-validator",
		RefusedStaleOnArrival: "stale-on-arrival",
		RefusedChangedVary:    "vary-changed",
		RefusedOtherValidator: "other-validator",
		RefusedTags:           "too-many-tags",
		RefusedDeception:      "deception",
	}[r]
}

// OfRequest reports whether it was this request, and not the response, that
// kept the response from being stored: another request for the same target may
// well have a response that is. Such a refusal says nothing about the key, or a
// client could keep others from sharing by what it sends.
func (r Refusal) OfRequest() bool {
	return r == RefusedMethod || r == RefusedRequestNoStore || r == RefusedAuthorization
}

// refuse applies RFC 9111 §3 and §3.5 and the rules to everything that does
// not depend on freshness.
func refuse(rules *Rules, cc *responseDirectives, authorized bool, resp Response) Refusal {
	switch {
	case resp.Status < 200:
		return RefusedNotFinal
	case resp.Status == 206:
		return RefusedPartial
	case resp.Status == 304:
		return RefusedNotModified
	case cc.mustUnderstand && !understood(resp.Status):
		return RefusedNotUnderstood
	case cc.noStore && !cc.mustUnderstand:
		// §5.2.2.3: with must-understand no-store is for caches that do not know
		// the directive.
		return RefusedNoStore
	case cc.private:
		return RefusedPrivate
	case authorized && !cc.public && !cc.mustRevalidate && (!cc.sMaxAge.present() || cc.sMaxAgeInvalid):
		return RefusedAuthorization
	case rules.SetCookie == SetCookiePass && len(resp.Header[setCookieField]) > 0 && !cc.withholds("set-cookie"):
		return RefusedSetCookie
	case rules.MaxBytes > 0 && resp.ContentLength > rules.MaxBytes:
		return RefusedTooLarge
	}
	return Storable
}

// withholds reports whether a qualified directive keeps the field out of what
// is stored. The name is lower case.
func (cc *responseDirectives) withholds(name string) bool {
	for _, field := range cc.privateFields {
		if field == name {
			return true
		}
	}
	for _, field := range cc.noCacheFields {
		if field == name {
			return true
		}
	}
	return false
}

// understood reports the final status codes whose caching rules are known here
// (RFC 9110 §15).
func understood(status int) bool {
	switch {
	case 200 <= status && status <= 205, 300 <= status && status <= 303,
		status == 307, status == 308, 400 <= status && status <= 417, status == 421,
		status == 422, status == 426, 500 <= status && status <= 505:
		return true
	}
	switch status {
	case 207, 208, 226, 423, 424, 425, 428, 429, 431, 451, 506, 507, 508, 511:
		return true
	}
	return false
}

// cacheableByDefault reports the status codes that are heuristically cacheable
// (RFC 9110 §15.1).
func cacheableByDefault(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}
