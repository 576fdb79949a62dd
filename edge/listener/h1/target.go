package h1

import (
	"bytes"
	"net/netip"
	"strconv"
)

// bytesOrString lets one law serve the bytes of HTTP/1.1 and the strings of later
// versions.
type bytesOrString interface{ ~[]byte | ~string }

// classes of octets
const (
	classToken = 1 << iota // tchar, RFC 9110 §5.6.2
	classValue             // what a field value may have, RFC 9110 §5.5
	classHost              // of a registered name that may be looked up
	classHex
	classTarget // what a request target is let have
)

// classes is the table of all octets. A target may have more than RFC 3986 §3.3
// lets it: browsers leave | { } ^ in queries and clients send UTF-8, which is
// encoded further up. Never what ends or splits it: controls, space, "#".
var classes = func() (t [256]uint8) {
	for c := range 256 {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		if letter || digit || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0 {
			t[c] |= classToken
		}
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= classValue
		}
		if letter || digit || c == '-' || c == '.' || c == '_' || c == '~' {
			t[c] |= classHost
		}
		if digit || c|0x20 >= 'a' && c|0x20 <= 'f' {
			t[c] |= classHex
		}
		if c > ' ' && c != 0x7f && c != '#' {
			t[c] |= classTarget
		}
	}
	return t
}()

// all reports whether every octet of s is of the class.
func all[S bytesOrString](s S, class uint8) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

// ValidToken reports whether s is a token (RFC 9110 §5.6.2).
func ValidToken[S bytesOrString](s S) bool { return len(s) > 0 && all(s, classToken) }

// ValidValue reports whether s has only what a field value may have (RFC 9110
// §5.5): no controls but HTAB. Whitespace around it is for the caller to judge.
func ValidValue[S bytesOrString](s S) bool { return all(s, classValue) }

// ValidPath reports whether s is a target in origin-form (RFC 9112 §3.2.1) without
// a broken percent-encoding in its path.
func ValidPath[S bytesOrString](s S) bool {
	return len(s) > 0 && s[0] == '/' && all(s, classTarget) && escaped(s)
}

// escaped reports whether each "%" before the query begins an encoded octet.
func escaped[S bytesOrString](s S) bool {
	for i := 0; i < len(s) && s[i] != '?'; i++ {
		if s[i] == '%' && (i+2 >= len(s) || classes[s[i+1]]&classes[s[i+2]]&classHex == 0) {
			return false
		}
	}
	return true
}

// ValidHost reports whether s is a host with or without a port as Host and
// :authority have it (RFC 9110 §7.2). It must not be empty, and of reg-name (RFC
// 3986 §3.2.2) only what a name in the DNS can be made of is let in.
func ValidHost[S bytesOrString](s S) bool {
	host, port := 0, -1
	if len(s) > 0 && s[0] == '[' {
		for host < len(s) && s[host] != ']' {
			host++
		}
		if host == len(s) || !validIPv6(s[1:host]) {
			return false
		}
		host++
	} else {
		for host < len(s) && classes[s[host]]&classHost != 0 {
			host++
		}
	}
	if host < len(s) {
		if s[host] != ':' {
			return false
		}
		port = host + 1
	}
	return host > 0 && host <= maxHostBytes && (port < 0 || validPort(s[port:]))
}

// maxHostBytes is what the DNS lets a name have (RFC 1035 §2.3.4), and a dot.
const maxHostBytes = 254

func validIPv6[S bytesOrString](s S) bool {
	a, err := netip.ParseAddr(string(s))
	return err == nil && a.Is6() && a.Zone() == ""
}

func validPort[S bytesOrString](s S) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	if len(s) <= 4 {
		return true
	}
	n, err := strconv.ParseUint(string(s), 10, 16)
	return len(s) <= 5 && err == nil && n > 0
}

// authority is the part of an absolute-form target (RFC 9112 §3.2.2) that names the
// host, as offsets; ok is false if the target is not of that form or has userinfo.
func authority(target []byte) (from, to int, ok bool) {
	switch {
	case len(target) > 7 && foldPrefix(target, "http://"):
		from = 7
	case len(target) > 8 && foldPrefix(target, "https://"):
		from = 8
	default:
		return 0, 0, false
	}
	to = from
	for to < len(target) && target[to] != '/' && target[to] != '?' {
		to++
	}
	rest := target[to:]
	return from, to, ValidHost(target[from:to]) && all(rest, classTarget) && escaped(rest)
}

// foldPrefix reports whether b begins with lower, in any case of letters.
func foldPrefix(b []byte, lower string) bool {
	return len(b) >= len(lower) && equalFold(b[:len(lower)], lower)
}

// equalFold compares in ASCII only: "ſ" is no "s" here.
func equalFold[A, B bytesOrString](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// SameHost reports whether two hosts are written alike, but for the case of letters.
func SameHost(a, b string) bool { return equalFold(a, b) }

// ParseLength reads Content-Length (RFC 9110 §8.6): digits alone, at most 19.
func ParseLength[S bytesOrString](s S) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 19 {
		return 0, false
	}
	var u uint64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		u = u*10 + uint64(s[i]-'0')
	}
	return int64(u), u <= 1<<63-1
}
