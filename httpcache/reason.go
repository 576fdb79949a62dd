package httpcache

// Reason says why Decide decided as it did. The zero value is none.
type Reason uint8

const (
	NoReason Reason = iota
	Fresh
	Miss
	VaryMiss             // something is stored for the key, but for other selecting fields
	MethodNotStored      // a method that no stored response answers
	Stale                // past its lifetime
	NoCache              // the response is validated each time
	MustRevalidate       // past its lifetime, and its directives forbid any use as it is
	StaleWhileRevalidate // past its lifetime, served while it is refreshed
	RequestNoCache       // the client wants it validated
	RequestMaxAge        // older than the client takes
	RequestMinFresh      // not fresh for as long as the client wants
	RequestMaxStale      // past its lifetime, and the client takes it
	SoftPurged           // purged, but served once more while it is refreshed
	PartMiss             // a part of the response is stored, and the request wants more of it
	OnlyIfCached         // the client wants no fetch, and nothing stored will do: 504
	reasons
)

// String returns the words of the log, of Cache-Status and of the tests.
func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return [reasons]string{
		NoReason:             "none",
		Fresh:                "fresh",
		Miss:                 "miss",
		VaryMiss:             "vary-miss",
		MethodNotStored:      "method",
		Stale:                "stale",
		NoCache:              "no-cache",
		MustRevalidate:       "must-revalidate",
		StaleWhileRevalidate: "stale-while-revalidate",
		RequestNoCache:       "request-no-cache",
		RequestMaxAge:        "request-max-age",
		RequestMinFresh:      "request-min-fresh",
		RequestMaxStale:      "request-max-stale",
		SoftPurged:           "soft-purged",
		PartMiss:             "part-miss",
		OnlyIfCached:         "only-if-cached",
	}[r]
}

// Forward returns what Cache-Status says of a request that is forwarded for
// this reason (RFC 9211 §2.2); FwdNone for the reasons to serve.
func (r Reason) Forward() Forward {
	switch r {
	case Miss:
		return FwdMiss
	case VaryMiss:
		return FwdVaryMiss
	case MethodNotStored:
		return FwdMethod
	case Stale, NoCache, MustRevalidate, SoftPurged:
		return FwdStale
	case PartMiss:
		return FwdPartial
	case RequestNoCache, RequestMaxAge, RequestMinFresh:
		return FwdRequest
	}
	return FwdNone
}
