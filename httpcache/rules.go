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

// Rules are a site's policy. The zero value obeys the origin's fields alone.
// Rules are shared and must not be changed once in use.
type Rules struct {
	// DefaultTTL is the lifetime where the origin gives no explicit one and the
	// status is cacheable by default; it then replaces the heuristic. 0 = only
	// what the fields allow.
	DefaultTTL time.Duration
	// TTLByStatus is the lifetime by status where the origin gives no explicit
	// one; it goes before DefaultTTL. 0 = stale at once.
	TTLByStatus map[int]time.Duration
	// HonourRequest obeys the client's Cache-Control and Pragma.
	HonourRequest bool
	SetCookie     SetCookie
	// MaxBytes is the largest Content-Length that is stored; 0 = no limit.
	MaxBytes int64
	// StaleWhileRevalidate and StaleIfError are how long past its lifetime a
	// response may be served while it is refreshed, or when that fails. They
	// apply only where the origin does not give the directive of that name,
	// and never against must-revalidate, proxy-revalidate, no-cache, s-maxage.
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration
}

// Response is a response as it came from the origin, without its content.
type Response struct {
	Status        int
	Header        http.Header // read, never written, and not kept
	ContentLength int64       // -1 unknown
	RequestTime   time.Time   // when the request was sent
	ResponseTime  time.Time   // when the header section had arrived
}
