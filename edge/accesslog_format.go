package edge

import (
	"strconv"
	"time"
	"unicode/utf8"

	"perigee/httpcache"
)

const (
	hexDigits        = "0123456789abcdef"
	jsonTimeLayout   = "2006-01-02T15:04:05.000Z07:00"
	commonTimeLayout = "02/Jan/2006:15:04:05 -0700"
)

// appendJSON appends r as one line of JSON. Fields that say nothing are left out,
// so that a hit is a short line.
func appendJSON(dst []byte, r *Record) []byte {
	dst = append(dst, `{"ts":"`...)
	dst = r.Time.UTC().AppendFormat(dst, jsonTimeLayout)
	dst = append(dst, '"')
	dst = appendJSONField(dst, "site", r.Site)
	if r.Client.IsValid() {
		dst = append(dst, `,"client_ip":"`...)
		dst = r.Client.WithZone("").AppendTo(dst) // a zone is a name of this machine, and free text
		dst = append(dst, '"')
	}
	dst = appendJSONField(dst, "method", r.Method)
	dst = appendJSONField(dst, "scheme", r.Scheme)
	dst = appendJSONField(dst, "host", r.Host)
	dst = appendJSONField(dst, "path", r.Path)
	dst = appendJSONField(dst, "query", r.Query)
	dst = appendJSONField(dst, "proto", r.Proto)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, `,"bytes":`...)
	dst = strconv.AppendInt(dst, r.BodyBytes, 10)
	dst = append(dst, `,"dur_ms":`...)
	dst = appendMillis(dst, r.Duration)
	if r.FirstByte > 0 {
		dst = append(dst, `,"ttfb_ms":`...)
		dst = appendMillis(dst, r.FirstByte)
	}
	dst = appendJSONField(dst, "encoding", r.Encoding)
	dst = appendJSONTrue(dst, "aborted", r.Aborted)
	dst = appendJSONCache(dst, r)
	dst = appendJSONUpstream(dst, r)
	dst = appendJSONField(dst, "tls", r.TLS)
	dst = appendJSONField(dst, "ua", r.UserAgent)
	dst = appendJSONField(dst, "referer", r.Referer)
	dst = appendJSONField(dst, "request_id", r.RequestID)
	return append(dst, '}', '\n')
}

// appendJSONCache appends what the cache did.
func appendJSONCache(dst []byte, r *Record) []byte {
	dst = append(dst, `,"cache":"`...)
	dst = appendLower(dst, r.Cache.String())
	dst = append(dst, '"')
	dst = appendJSONField(dst, "cache_reason", r.Reason)
	if r.Key != (httpcache.Key{}) {
		dst = append(dst, `,"key_hash":"`...)
		for _, b := range r.Key {
			dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
		}
		dst = append(dst, '"')
	}
	dst = appendJSONField(dst, "tier", r.Tier)
	dst = appendJSONTrue(dst, "collapsed", r.Collapsed)
	return appendJSONTrue(dst, "stored", r.Stored)
}

// appendJSONUpstream appends what the upstream did.
func appendJSONUpstream(dst []byte, r *Record) []byte {
	dst = appendJSONField(dst, "origin", r.Upstream)
	if r.UpstreamTime > 0 {
		dst = append(dst, `,"origin_ms":`...)
		dst = appendMillis(dst, r.UpstreamTime)
	}
	if r.UpstreamStatus != 0 {
		dst = append(dst, `,"origin_status":`...)
		dst = strconv.AppendInt(dst, int64(r.UpstreamStatus), 10)
	}
	return appendJSONField(dst, "origin_error", r.UpstreamError)
}

// appendJSONField appends ,"name":"value", or nothing for an empty value.
func appendJSONField(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':', '"')
	dst = appendJSONText(dst, value)
	return append(dst, '"')
}

// appendJSONTrue appends ,"name":true, or nothing for false.
func appendJSONTrue(dst []byte, name string, value bool) []byte {
	if !value {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	return append(dst, `":true`...)
}

// appendJSONText appends s as the inside of a JSON string (RFC 8259 §7). Beyond
// what JSON asks for it escapes what a terminal obeys (DEL, C1 controls) and what
// some readers take for a line end (U+2028, U+2029). Bytes that are no UTF-8
// become U+FFFD.
func appendJSONText(dst []byte, s string) []byte {
	plain := 0 // s[plain:i] needs nothing done
	for i := 0; i < len(s); {
		b := s[i]
		if b >= ' ' && b < 0x7f && b != '"' && b != '\\' {
			i++
			continue
		}
		width, r := 1, rune(b)
		if b >= utf8.RuneSelf {
			r, width = utf8.DecodeRuneInString(s[i:])
			if !escapedRune(r, width) {
				i += width
				continue
			}
		}
		dst = append(dst, s[plain:i]...)
		if r == '"' || r == '\\' {
			dst = append(dst, '\\', byte(r))
		} else {
			dst = append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		}
		i += width
		plain = i
	}
	return append(dst, s[plain:]...)
}

// escapedRune reports whether a rune outside ASCII, decoded from width bytes, is
// written as \uXXXX.
func escapedRune(r rune, width int) bool {
	broken := r == utf8.RuneError && width == 1
	return broken || r < 0xa0 || r == '\u2028' || r == '\u2029'
}

// appendMillis appends d in milliseconds with three decimals.
func appendMillis(dst []byte, d time.Duration) []byte {
	micros := max(d, 0).Microseconds()
	dst = strconv.AppendInt(dst, micros/1000, 10)
	rest := micros % 1000
	return append(dst, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}

// appendLower appends s, which is ASCII, in lower case.
func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		b := s[i]
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

// appendCombined appends r as a line of NCSA combined:
//
//	client - - [time] "METHOD target proto" status bytes "referer" "user agent"
func appendCombined(dst []byte, r *Record) []byte {
	if r.Client.IsValid() {
		dst = r.Client.WithZone("").AppendTo(dst)
	} else {
		dst = append(dst, '-')
	}
	dst = append(dst, " - - ["...)
	dst = r.Time.UTC().AppendFormat(dst, commonTimeLayout)
	dst = append(dst, `] "`...)
	dst = appendCombinedText(dst, r.Method, true)
	dst = append(dst, ' ')
	dst = appendCombinedText(dst, r.Path, true)
	if r.Query != "" {
		dst = append(dst, '?')
		dst = appendCombinedText(dst, r.Query, true)
	}
	dst = append(dst, ' ')
	dst = appendCombinedText(dst, r.Proto, true)
	dst = append(dst, `" `...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, r.BodyBytes, 10)
	dst = append(dst, ` "`...)
	dst = appendCombinedText(dst, r.Referer, false)
	dst = append(dst, `" "`...)
	dst = appendCombinedText(dst, r.UserAgent, false)
	return append(dst, '"', '\n')
}

// appendCombinedText appends s for a place between quotes, "-" if it is empty.
// Quotes, backslashes and all that is not printable ASCII are escaped, in a word
// spaces too, so that no value can end its place, its line, or begin another.
func appendCombinedText(dst []byte, s string, word bool) []byte {
	if s == "" {
		return append(dst, '-')
	}
	for i := range len(s) {
		b := s[i]
		switch {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b < ' ' || b >= 0x7f || b == ' ' && word:
			dst = append(dst, '\\', 'x', hexDigits[b>>4], hexDigits[b&15])
		default:
			dst = append(dst, b)
		}
	}
	return dst
}
