package httpcache

import (
	"net/netip"
	"strconv"
	"strings"
)

// Limits of a host name (RFC 1035 §2.3.4).
const (
	maxHostBytes  = 253
	maxLabelBytes = 63
)

// CanonicalHost returns the one form of a Host field or authority under which
// sites are matched and responses keyed: lower case, without port and trailing
// dot, an IPv6 literal compressed and in brackets. ok is false for anything
// that is not a host: empty, user information, characters other than letters,
// digits, "-", "_" and ".", empty or overlong labels, bad ports, zones,
// unbracketed IPv6. Names beyond ASCII are expected in their "xn--" form.
// A host that is already canonical costs no allocation.
func CanonicalHost(hostport string) (string, bool) {
	if strings.HasPrefix(hostport, "[") {
		return canonicalIPv6(hostport)
	}
	host, port, hasPort := strings.Cut(hostport, ":")
	if hasPort && !validPort(port) {
		return "", false
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > maxHostBytes {
		return "", false
	}
	label := 0
	for i := range len(host) {
		switch c := host[i]; {
		case c == '.':
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		case !isAlpha(c) && !isDigit(c) && c != '-' && c != '_':
			return "", false
		}
		if label++; label > maxLabelBytes {
			return "", false
		}
	}
	if label == 0 {
		return "", false
	}
	return strings.ToLower(host), true
}

func canonicalIPv6(hostport string) (string, bool) {
	literal, rest, closed := strings.Cut(hostport[1:], "]")
	if !closed || rest != "" && (rest[0] != ':' || !validPort(rest[1:])) {
		return "", false
	}
	addr, err := netip.ParseAddr(literal)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", false
	}
	return "[" + addr.String() + "]", true
}

// validPort accepts what RFC 3986 §3.2.3 lets stand after the colon: nothing,
// or a number that fits.
func validPort(port string) bool {
	for i := range len(port) {
		if !isDigit(port[i]) {
			return false
		}
	}
	if port == "" {
		return true
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}
