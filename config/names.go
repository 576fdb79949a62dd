package config

import (
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/idna"
)

const (
	maxHostLength  = 253 // RFC 1035 §2.3.4
	maxLabelLength = 63
	maxPort        = 65535
)

// parseHost reads a host name and returns its canonical form: lower case, in ASCII, without a trailing dot; an IPv6 address
// in brackets. It is the form that the caching law gives the Host of a request.
func parseHost(s string) (any, *fault) {
	if bad := notHost(s); bad != nil {
		return nil, bad
	}
	if addr, ok := literal(s); ok {
		return hostOf(addr), nil
	}
	name := strings.TrimSuffix(strings.ToLower(s), ".")
	if !isASCII(name) || strings.Contains(name, "xn--") {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return nil, faultf("for example: www.example.com", "%s is not a host name", quote(s))
		}
		name = ascii
	}
	if !isHostName(name) {
		return nil, faultf("for example: www.example.com", "%s is not a host name", quote(s))
	}
	return name, nil
}

// notHost knows what people write where a host name should be.
func notHost(s string) *fault {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		return faultf(didYouMean(host), "%s is a URL, not a host name", quote(s))
	}
	if strings.Contains(s, "*") {
		return faultf(`name the hosts one by one; "*" alone, as a site's name, is the catch-all`, "%s is a pattern, not a host name", quote(s))
	}
	if host, port, ok := cutPort(s); ok && port != "" {
		return faultf(didYouMean(host), "%s has a port; a site answers on every port that the node listens on", quote(s))
	}
	return nil
}

// cutPort splits "name:8080" and "[::1]:8080"; ok is false where there is no port.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.Contains(s[:i], ":") && !strings.HasSuffix(s[:i], "]") {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// literal is the address that a host is written as: IPv4, or IPv6 with or without its brackets.
func literal(s string) (netip.Addr, bool) {
	inner, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		inner, bracketed = strings.CutSuffix(inner, "]")
		if !bracketed {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(inner)
	return addr, err == nil && addr.Zone() == "" && (addr.Is6() || !bracketed)
}

func hostOf(addr netip.Addr) string {
	if addr.Is6() {
		return "[" + addr.String() + "]"
	}
	return addr.String()
}

func isHostName(name string) bool {
	if name == "" || len(name) > maxHostLength {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return false
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != "" // else it is a broken IPv4 address
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabelLength || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// parseName reads the name of a node, a PoP, a token: what is safe in a field, a file name and a metric label.
func parseName(s string) (any, *fault) {
	ok := s != "" && len(s) <= maxLabelLength && strings.IndexByte("._-", s[0]) < 0
	for _, c := range []byte(s) {
		ok = ok && (c == '.' || c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	}
	if !ok {
		return nil, faultf("use at most 63 letters, digits, dots, dashes and underscores, as in fra-1", "%s is not a name", quote(s))
	}
	return s, nil
}

func parseLabel(s string) (any, *fault) {
	if !isLabel(s) || strings.Contains(s, "_") {
		return nil, faultf("use at most 63 small letters, digits and dashes, as in www", "%s is not a DNS label", quote(s))
	}
	return s, nil
}

func parseEmail(s string) (any, *fault) {
	user, host, ok := strings.Cut(s, "@")
	if _, bad := parseHost(host); !ok || user == "" || strings.ContainsAny(s, " <>") || bad != nil {
		return nil, faultf("for example: ops@example.com", "%s is not an e-mail address", quote(s))
	}
	return s, nil
}

// parseAddress reads an address to listen on. Port 0 lets the system choose.
func parseAddress(s string) (any, *fault) {
	host, port, ok := cutPort(s)
	n, number := digits(port)
	if !ok || !number || n > maxPort || !listenable(host) {
		return nil, faultf(addressHint(s), "%s is not an address to listen on", quote(s))
	}
	return s, nil
}

// listenable reports whether host may stand before the port: nothing, an IP address, a bracketed IPv6 address or a name.
func listenable(host string) bool {
	if host == "" {
		return true
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && addr.Is6()
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return isHostName(strings.ToLower(host))
}

func addressHint(s string) string {
	const form = `for example: ":8080", "127.0.0.1:8080" or "[::1]:8080"`
	if n, ok := digits(s); ok && n <= maxPort {
		return didYouMean(`":` + s + `"`)
	}
	if _, rest, ok := strings.Cut(s, "://"); ok {
		if _, bad := parseAddress(rest); bad == nil {
			return didYouMean(`"` + rest + `"`)
		}
		return form
	}
	if i := strings.LastIndexByte(s, ':'); i > 0 {
		if addr, err := netip.ParseAddr(s[:i]); err == nil && addr.Is6() {
			return didYouMean(`"[` + s[:i] + "]" + s[i:] + `"`)
		}
	}
	switch s {
	case "off", "none", "no", "false", "":
		return "leave the key out to open none"
	}
	return form
}

func parsePeer(s string) (any, *fault) {
	host, port, ok := cutPort(s)
	n, number := digits(port)
	if _, bad := parseHost(host); bad != nil || ok && (!number || n == 0 || n > maxPort) {
		return nil, faultf(`for example: 10.0.0.8 or "10.0.0.9:7946"`, "%s is not a host with or without a port", quote(s))
	}
	return s, nil
}

func parseIP(s string) (any, *fault) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return nil, faultf(`for example: 192.0.2.10 or "2001:db8::10"`, "%s is not an IP address", quote(s))
	}
	return addr.String(), nil
}

func parseCIDR(s string) (any, *fault) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()).String(), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, faultf(`for example: 10.0.0.0/8 or "2001:db8::/32"`, "%s is not a network", quote(s))
	}
	if prefix != prefix.Masked() {
		return nil, faultf(didYouMean(prefix.Masked().String()), "%s has bits behind its mask", quote(s))
	}
	return prefix.String(), nil
}

// parseURL reads a URL of one of the schemes: scheme, authority and perhaps a path, nothing else. A "/" at the end is cut.
func parseURL(s string, schemes []string) (any, *fault) {
	example := "for example: " + guessScheme("", schemes) + "://origin.example.com"
	what := quote(s) + " is not a URL that begins with " + enumerate(withSlashes(schemes), "or")
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Scheme == "" || u.Host == "" {
		if !strings.Contains(s, "://") && s != "" {
			if full := guessScheme(s, schemes) + "://" + s; isURL(full, schemes) {
				return nil, faultf(didYouMean(full), "%s", what)
			}
		}
		return nil, faultf(example, "%s", what)
	}
	if !contains(schemes, u.Scheme) {
		hint := example
		if near := nearest(u.Scheme, schemes); near != "" {
			hint = didYouMean(near + strings.TrimPrefix(s, u.Scheme))
		}
		return nil, faultf(hint, "%s", what)
	}
	if bad := extraOfURL(u, s); bad != nil {
		return nil, bad
	}
	host, _, _ := cutPort(u.Host)
	canonical, bad := parseHost(host)
	if n, ok := digits(u.Port()); bad != nil || u.Port() != "" && (!ok || n == 0 || n > maxPort) || strings.HasSuffix(u.Host, ":") {
		return nil, faultf(example, "%s has no valid host and port", quote(s))
	}
	u.Host = strings.Replace(u.Host, host, canonical.(string), 1)
	return strings.TrimRight(u.String(), "/"), nil
}

func isURL(s string, schemes []string) bool {
	_, bad := parseURL(s, schemes)
	return bad == nil
}

// guessScheme is what was most likely meant where only "host:port/path" was given: a bare name on the web is https.
func guessScheme(s string, schemes []string) string {
	if _, _, port := cutPort(cut(s, "/")); !port && contains(schemes, "https") {
		return "https"
	}
	return schemes[0]
}

// extraOfURL refuses what would be silently lost.
func extraOfURL(u *url.URL, s string) *fault {
	switch {
	case u.User != nil:
		return faultf("take the user and password out of the URL", "%s", "the URL holds a user name")
	case u.RawQuery != "" || u.ForceQuery:
		return faultf(didYouMean(cut(s, "?")), "%s has a query", quote(s))
	case u.Fragment != "" || strings.Contains(s, "#"):
		return faultf(didYouMean(cut(s, "#")), "%s has a fragment", quote(s))
	}
	return nil
}

func cut(s, at string) string {
	before, _, _ := strings.Cut(s, at)
	return before
}

func withSlashes(schemes []string) []string {
	out := make([]string, len(schemes))
	for i, s := range schemes {
		out[i] = s + "://"
	}
	return out
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

func parseURLPath(s string) (any, *fault) {
	if !strings.HasPrefix(s, "/") || strings.ContainsAny(s, " #\x00") {
		return nil, faultf("for example: /healthz", "%s is not a URL path", quote(s))
	}
	return s, nil
}

// parseFiles reads a path or a pattern of file names.
func parseFiles(s string) (any, *fault) {
	if s == "" {
		return nil, faultf("for example: sites/*.yaml", "an empty pattern names no file")
	}
	if strings.Contains(s, "**") {
		return nil, faultf(didYouMean(strings.ReplaceAll(s, "**", "*")), `%s: "**" does not reach into folders`, quote(s))
	}
	if _, err := filepath.Match(s, ""); err != nil {
		return nil, faultf(`close every "[" with "]"`, "%s is not a pattern", quote(s))
	}
	return parsePath(s)
}

func parseStatus(s string) (any, *fault) {
	n, ok := digits(s)
	if !ok || n < 200 || n > 599 {
		return nil, faultf("for example: 404", "%s is not a status code from 200 to 599", quote(s))
	}
	return int(n), nil
}

func parseStatusRange(s string) (any, *fault) {
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	a, bad := parseStatus(first)
	b, badToo := parseStatus(last)
	if bad != nil || badToo != nil || a.(int) > b.(int) {
		return nil, faultf("for example: 204 or 200-399", "%s is not a status code or a range of them", quote(s))
	}
	return s, nil
}

// parseFieldName reads the name of a field that a site may change: framing and connection fields are perigee's own.
func parseFieldName(s string) (any, *fault) {
	if !httpguts.ValidHeaderFieldName(s) {
		return nil, faultf("for example: X-Served-By", "%s is not a field name", quote(s))
	}
	name := http.CanonicalHeaderKey(s)
	switch name {
	case "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return nil, faultf("leave it out", "%s belongs to the connection and cannot be changed", name)
	case "Host":
		return nil, faultf("origin.host says which host an upstream is asked for", "Host cannot be changed here")
	}
	return name, nil
}

func parseFieldValue(s string) (any, *fault) {
	if !httpguts.ValidHeaderFieldValue(s) || strings.TrimSpace(s) != s {
		return nil, faultf("take out line breaks, control characters and outer spaces", "%s is not a field value", quote(s))
	}
	return s, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
