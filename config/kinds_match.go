package config

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/idna"
)

// The kinds in this file say what of a request or response is looked at: patterns, in which "*" stands for any characters and
// everything else for itself, and names.

// parseGlob reads a pattern of a value.
func parseGlob(s string) (any, *fault) {
	if s == "" || strings.ContainsFunc(s, isControl) {
		return nil, faultf(`"*" stands for any characters, as in pro*`, "%s is not a pattern", quote(s))
	}
	return s, nil
}

// parsePathGlob reads a pattern of paths. A path is compared in its normal form, so a pattern in any other would never match.
func parsePathGlob(s string) (any, *fault) {
	switch {
	case s == "":
		return nil, faultf(`for example: /static/*; "*" is every path`, `"" is not a pattern of paths`)
	case s[0] != '/' && s[0] != '*':
		if _, bad := parsePathGlob("/" + s); bad == nil && !strings.Contains(s, "://") {
			return nil, faultf(didYouMean("/"+s), "%s never matches: every path begins with \"/\"", quote(s))
		}
		return nil, faultf("for example: /static/*", "%s never matches: every path begins with \"/\"", quote(s))
	case strings.ContainsAny(s, "?#"):
		return nil, faultf(didYouMean(s[:strings.IndexAny(s, "?#")])+" match.query looks at the query",
			"%s never matches: the query is no part of the path", quote(s))
	}
	normal, ok := normalPathGlob(s)
	if !ok {
		return nil, faultf("for example: /static/*", "%s is not a pattern of paths", quote(s))
	}
	if normal != s {
		return nil, faultf(didYouMean(normal), "%s never matches: paths are compared in their normal form", quote(s))
	}
	return s, nil
}

// normalPathGlob spells a pattern as the paths that it is compared with are spelt (RFC 3986 §6.2.2): what need not be encoded
// is not, and what must be is, in upper case. ok is false where no spelling could match: control characters, "%" without two
// digits, dot segments.
func normalPathGlob(s string) (normal string, ok bool) {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			decoded, ok := unhexPair(s[i+1:])
			if !ok || decoded == 0 {
				return "", false
			}
			i += 2
			if isUnreserved(decoded) {
				b.WriteByte(decoded)
			} else {
				b.Write([]byte{'%', hex[decoded>>4], hex[decoded&15]})
			}
		case c < ' ' || c == 0x7f:
			return "", false
		case isUnreserved(c) || strings.IndexByte("/:@!$&'()*+,;=", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	for segment := range strings.SplitSeq(b.String(), "/") {
		if segment == "." || segment == ".." {
			return "", false
		}
	}
	return b.String(), true
}

// unhexPair is the byte that the first two digits of s stand for.
func unhexPair(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	hi := strings.IndexByte("0123456789abcdef", lower(s[0]))
	lo := strings.IndexByte("0123456789abcdef", lower(s[1]))
	return byte(hi<<4 | lo), hi >= 0 && lo >= 0
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// isUnreserved is RFC 3986 §2.3.
func isUnreserved(c byte) bool {
	return c >= '0' && c <= '9' || lower(c) >= 'a' && lower(c) <= 'z' || strings.IndexByte("-._~", c) >= 0
}

// parseHostGlob reads a pattern of hosts and returns it in the form that hosts are compared in.
func parseHostGlob(s string) (any, *fault) {
	if !strings.Contains(s, "*") {
		return parseHost(s)
	}
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(s), "."), ".")
	for i, label := range labels {
		if !isASCII(label) && !strings.Contains(label, "*") {
			label, _ = idna.Lookup.ToASCII(label) // "" when it is none
			labels[i] = label
		}
		if !isLabelGlob(label) {
			return nil, faultf(`for example: "*.example.com"`, "%s is not a pattern of host names", quote(s))
		}
	}
	return strings.Join(labels, "."), nil
}

// isLabelGlob reports whether a label can be one of a host name, whatever its "*" stand for.
func isLabelGlob(s string) bool {
	for _, c := range []byte(s) {
		if c != '*' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= maxLabelLength
}

// parseMediaGlob reads a pattern of media types and returns it in lower case.
func parseMediaGlob(s string) (any, *fault) {
	plain := strings.TrimSpace(cut(s, ";"))
	kind, sub, slash := strings.Cut(strings.ToLower(plain), "/")
	switch {
	case plain != s && plain != "":
		return nil, faultf(didYouMean(plain), "%s: parameters of media types are not looked at", quote(s))
	case httpguts.ValidHeaderFieldName(kind) && !slash && !strings.Contains(s, "*"):
		return nil, faultf(didYouMean("*/"+kind), "%s never matches: media types are like text/html", quote(s))
	case !httpguts.ValidHeaderFieldName(kind) || slash && !httpguts.ValidHeaderFieldName(sub):
		return nil, faultf(`for example: text/*; "*" stands for any characters`, "%s is not a pattern of media types", quote(s))
	}
	return strings.ToLower(s), nil
}

// parseParam reads the name of a parameter of a query. Names are compared decoded, so an encoded one would never match.
func parseParam(s string) (any, *fault) {
	if plain, err := url.PathUnescape(s); err == nil && plain != s && utf8.ValidString(plain) {
		return nil, faultf(didYouMean(quote(plain)), "%s never matches: names are compared decoded", quote(s))
	}
	if bare := cut(strings.TrimLeft(s, "?&"), "="); bare != s && bare != "" && !strings.ContainsAny(bare, "?&#") {
		return nil, faultf(didYouMean(bare), "%s is more than the name of a parameter", quote(s))
	}
	if s == "" || strings.ContainsAny(s, "&=#") || strings.ContainsFunc(s, isControl) {
		return nil, faultf("for example: utm_source", "%s is not the name of a parameter", quote(s))
	}
	return s, nil
}

// parseParamGlob reads a pattern of such names.
func parseParamGlob(s string) (any, *fault) { return parseParam(s) }

// parseCookie reads the name of a cookie (RFC 6265 §4.1.1).
func parseCookie(s string) (any, *fault) {
	if !httpguts.ValidHeaderFieldName(s) {
		hint := "for example: session"
		if name := cut(s, "="); name != s && httpguts.ValidHeaderFieldName(name) {
			hint = didYouMean(name)
		}
		return nil, faultf(hint, "%s is not the name of a cookie", quote(s))
	}
	return s, nil
}

// parseMethod reads a method. Methods are case-sensitive (RFC 9110 §9.1), and none that is in use has small letters.
func parseMethod(s string) (any, *fault) {
	upper := strings.ToUpper(s)
	switch {
	case !httpguts.ValidHeaderFieldName(s):
		return nil, faultf("for example: GET", "%s is not a method", quote(s))
	case upper != s:
		return nil, faultf(didYouMean(upper), "%s never matches: methods are written in capitals", quote(s))
	}
	return s, nil
}

// parseMatchField reads the name of a request field that a rule looks at.
func parseMatchField(s string) (any, *fault) {
	if !httpguts.ValidHeaderFieldName(s) {
		return nil, faultf("for example: X-Plan", "%s is not a field name", quote(s))
	}
	name := http.CanonicalHeaderKey(s)
	switch name {
	case "Host":
		return nil, faultf("match.host looks at the host", "Host cannot be matched here")
	case "Cookie":
		return nil, faultf("match.cookie looks at single cookies", "Cookie cannot be matched here")
	}
	return name, nil
}

// parseKeyField reads the name of a request field that is part of a key. What would make a key for each client or each
// request, or would hide a stored response from the requests that it answers, is refused with the way that there is instead.
func parseKeyField(s string) (any, *fault) {
	if !httpguts.ValidHeaderFieldName(s) {
		return nil, faultf("for example: X-Tenant", "%s is not a field name", quote(s))
	}
	name := http.CanonicalHeaderKey(s)
	switch name {
	case "Host":
		return nil, faultf("leave it out", "Host is part of every key")
	case "Cookie":
		return nil, faultf("name single ones under cookies", "Cookie in a key makes a key of its own for nearly every client")
	case "Authorization", "Proxy-Authorization":
		return nil, faultf("to keep such requests apart, write a rule with bypass: true and match: {header: "+name+"}",
			"%s in a key would store what belongs to one client", name)
	case "Accept-Encoding":
		return nil, faultf("leave it out; Vary and compress see to it",
			"Accept-Encoding in a key would store one response many times over, once for each way to write it")
	case "Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range":
		return nil, faultf("leave it out", "%s asks for a part or a state of a stored response, and tells no two of them apart", name)
	case "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return nil, faultf("leave it out", "%s belongs to the connection", name)
	}
	if strings.Contains(name, "_") || strings.HasPrefix(name, "X-Forwarded") || strings.HasPrefix(name, "X-Perigee-") ||
		name == "Forwarded" || name == "X-Real-Ip" {
		return nil, faultf("leave it out; country and device are keys of their own",
			"%s does not reach the origin: a client could claim anything in it", name)
	}
	return name, nil
}
