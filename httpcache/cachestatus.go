package httpcache

import (
	"math"
	"strconv"
	"time"
)

// CacheStatus is what we say of a request in Cache-Status (RFC 9211).
type CacheStatus struct {
	Hit       bool
	Fwd       Forward
	FwdStatus int           // status of the origin's answer; 0 = not said
	TTL       time.Duration // said in whole seconds: of what is fresh rounded up, so that with Age it gives the lifetime; of what is stale away from zero
	HasTTL    bool
	Stored    bool
	Collapsed bool
	Detail    string // empty = not said
}

// Forward says why a request went to the origin (RFC 9211 §2.2).
type Forward uint8

const (
	FwdNone Forward = iota // it did not
	FwdBypass
	FwdMethod
	FwdURIMiss
	FwdVaryMiss
	FwdMiss
	FwdRequest
	FwdStale
	FwdPartial
	forwards
)

// String returns the token of RFC 9211.
func (f Forward) String() string {
	if f >= forwards {
		return "unknown"
	}
	return [forwards]string{
		"none", "bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial",
	}[f]
}

// Append writes the list member of the cache called name to dst. A name or
// detail that is no token is written as a string; characters that cannot stand
// in one are left out.
func (c CacheStatus) Append(dst []byte, name string) []byte {
	dst = appendBareItem(dst, name)
	if c.Hit {
		dst = append(dst, "; hit"...)
	}
	if c.Fwd != FwdNone {
		dst = append(append(dst, "; fwd="...), c.Fwd.String()...)
	}
	if c.FwdStatus != 0 {
		dst = strconv.AppendInt(append(dst, "; fwd-status="...), int64(c.FwdStatus), 10)
	}
	if c.HasTTL {
		seconds := int64(math.Ceil(c.TTL.Seconds()))
		if c.TTL < 0 {
			seconds = int64(math.Floor(c.TTL.Seconds()))
		}
		dst = strconv.AppendInt(append(dst, "; ttl="...), seconds, 10)
	}
	if c.Stored {
		dst = append(dst, "; stored"...)
	}
	if c.Collapsed {
		dst = append(dst, "; collapsed"...)
	}
	if c.Detail != "" {
		dst = appendBareItem(append(dst, "; detail="...), c.Detail)
	}
	return dst
}

// appendBareItem writes a token or a string (RFC 9651 §3.3.3, §3.3.4).
func appendBareItem(dst []byte, s string) []byte {
	if isStructuredToken(s) {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			continue
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

func isStructuredToken(s string) bool {
	if s == "" || !isAlpha(s[0]) && s[0] != '*' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isTokenChar(c) && c != ':' && c != '/' {
			return false
		}
	}
	return true
}
