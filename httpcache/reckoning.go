package httpcache

import (
	"net/http"
	"strconv"
	"time"
)

// Source says what gave a stored response its lifetime. The zero value is
// nothing.
type Source uint8

const (
	SourceNone             Source = iota
	SourceRule                    // Rules.TTL
	SourcePerigeeTargeted         // Perigee-CDN-Cache-Control
	SourceTargeted                // CDN-Cache-Control
	SourceSurrogateControl        // Surrogate-Control
	SourceSMaxage                 // s-maxage of Cache-Control
	SourceMaxAge                  // max-age of Cache-Control
	SourceExpires                 // Expires
	SourceStatusRule              // Rules.TTLByStatus
	SourceDefaultTTL              // Rules.DefaultTTL
	SourceHeuristic               // a part of the time since Last-Modified
	SourceNegativeTTL             // Rules.NegativeTTL
	sources
)

// String returns the words of the log and of the tests.
func (s Source) String() string {
	if s >= sources {
		return "unknown"
	}
	return [sources]string{
		SourceNone:             "none",
		SourceRule:             "rule",
		SourcePerigeeTargeted:  "perigee-cdn-cache-control",
		SourceTargeted:         "cdn-cache-control",
		SourceSurrogateControl: "surrogate-control",
		SourceSMaxage:          "s-maxage",
		SourceMaxAge:           "max-age",
		SourceExpires:          "expires",
		SourceStatusRule:       "status-rule",
		SourceDefaultTTL:       "default-ttl",
		SourceHeuristic:        "heuristic",
		SourceNegativeTTL:      "negative-ttl",
	}[s]
}

// Reckoning is how the age and the lifetime of a stored response came about, for
// whoever asks why. The initial age is the larger of ApparentAge and AgeValue
// plus ResponseDelay (RFC 9111 §4.2.3).
type Reckoning struct {
	Source Source
	// Directive is what gave the lifetime, as it was understood: "s-maxage=60",
	// "Expires: Sun, 01 Mar 2026 12:00:00 GMT"; empty for a rule of the site.
	Directive string

	Lifetime      time.Duration
	InitialAge    time.Duration
	ApparentAge   time.Duration
	AgeValue      time.Duration // of the Age field, 0 without
	ResponseDelay time.Duration // between request and response

	NoCache        bool
	MustRevalidate bool // or proxy-revalidate

	// StaleWhileRevalidate and StaleIfError are as the origin gave them, -1 where it
	// did not.
	StaleWhileRevalidate, StaleIfError time.Duration
}

// Reckoning returns how age and lifetime came about.
func (s *Stored) Reckoning() Reckoning {
	return Reckoning{
		Source:               s.source,
		Directive:            s.directiveText(),
		Lifetime:             s.lifetime,
		InitialAge:           s.initialAge,
		ApparentAge:          apparentAge(s.responseTime, s.date, s.responseDelay),
		AgeValue:             s.ageValue,
		ResponseDelay:        s.responseDelay,
		NoCache:              s.noCache,
		MustRevalidate:       s.revalidate,
		StaleWhileRevalidate: s.staleWhileRevalidate.orAbsent(),
		StaleIfError:         s.staleIfError.orAbsent(),
	}
}

// orAbsent is the duration, or -1.
func (d delta) orAbsent() time.Duration {
	if !d.present() {
		return -1
	}
	return d.duration()
}

// directiveText says again what gave the lifetime. It is made when asked for,
// not kept: a Stored stays small.
func (s *Stored) directiveText() string {
	switch s.source {
	case SourceSMaxage, SourceMaxAge, SourcePerigeeTargeted, SourceTargeted, SourceSurrogateControl:
		name := "max-age="
		if s.bySMaxage {
			name = "s-maxage="
		}
		return name + strconv.FormatInt(int64(s.lifetime/time.Second), 10)
	case SourceExpires:
		return fieldText(s.header, ExpiresField)
	case SourceHeuristic:
		return fieldText(s.header, LastModifiedField)
	}
	return ""
}

// fieldText returns the first line of a field with its name, empty for none.
func fieldText(h http.Header, name string) string {
	if lines := h[name]; len(lines) > 0 {
		return name + ": " + lines[0]
	}
	return ""
}
