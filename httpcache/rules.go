package httpcache

import (
	"net/http"
	"time"
)

// SetCookie says what becomes of a response with Set-Cookie.
type SetCookie int

const (
	SetCookiePass  SetCookie = iota // not stored
	SetCookieStrip                  // stored without the field
	SetCookieStore                  // stored with it: every client gets the same cookie
)

// String returns the word of the configuration.
func (c SetCookie) String() string {
	switch c {
	case SetCookiePass:
		return "pass"
	case SetCookieStrip:
		return "strip"
	case SetCookieStore:
		return "store"
	}
	return "unknown"
}

// Trouble is what keeps the origin from answering, as a set of bits.
type Trouble uint8

const (
	TroubleError     Trouble = 1 << iota // no connection, or an answer that is none
	TroubleTimeout                       // no answer in time
	TroubleStatus5xx                     // an answer with a status of 500 to 599

	TroubleNone Trouble = 1 << 7 // none of them, as a set that is not empty
)

// Rules are a site's policy. The zero value obeys the origin's fields alone.
// Rules are shared and must not be changed once in use.
type Rules struct {
	// TTL is the lifetime of each response where HasTTL, of errors (400 and above)
	// only with TTLOfErrors: a month for pages is not meant for the origin's bad
	// moments. It goes before every field and counts as explicit. It replaces the lifetime
	// only: what is stored at all, and what must be validated, the fields still
	// say. Negative counts as 0.
	TTL    time.Duration
	HasTTL bool

	TTLOfErrors bool
	// OverridePrivate and OverrideNoStore do not obey private, in both its forms,
	// and no-store of the origin.
	OverridePrivate bool
	OverrideNoStore bool
	// DeceptionArmor stores no success whose path seems to be of a static file
	// while its media type is of another family: see RefusedDeception.
	DeceptionArmor bool
	// DefaultTTL is the lifetime where the origin gives no explicit one and the
	// status is cacheable by default; it then replaces the heuristic. 0 = only
	// what the fields allow.
	DefaultTTL time.Duration
	// TTLByStatus is the lifetime by status where the origin gives no explicit
	// one; it goes before DefaultTTL. 0 = stale at once.
	TTLByStatus map[int]time.Duration
	// NegativeTTL is the most that a 404 or 410 lives, whoever gives the lifetime,
	// and how long it lives where nothing but a heuristic does. 0 = no such rule.
	// It is for live streams, whose next segment is missing until it is there.
	NegativeTTL time.Duration
	// HonourRequest obeys the client's Cache-Control and Pragma.
	HonourRequest bool
	SetCookie     SetCookie
	// MaxBytes is the largest Content-Length that is stored, of a partial response
	// the largest complete length; 0 = no limit.
	MaxBytes int64
	// StaleWhileRevalidate and StaleIfError are how long past its lifetime a
	// response may be served while it is refreshed, or when that fails. They
	// apply only where the origin does not give the directive of that name,
	// and never against must-revalidate, proxy-revalidate, no-cache, s-maxage.
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration
	// StaleOn are the troubles in which StaleIfError of a Decision counts; 0 = all.
	StaleOn Trouble
}

// StaleOnTrouble reports whether a stale response may stand in when t keeps the
// origin from answering. Whether the response itself allows it the Decision says.
func (r *Rules) StaleOnTrouble(t Trouble) bool {
	return r.StaleOn == 0 || r.StaleOn&t != 0
}

// Response is a response as it came from the origin, without its content.
type Response struct {
	Status        int
	Header        http.Header // read, never written, and not kept
	ContentLength int64       // -1 unknown
	RequestTime   time.Time   // when the request was sent
	ResponseTime  time.Time   // when the header section had arrived
	// Early are the Link field lines of a 103 that came before; nil for none.
	Early []string
}
