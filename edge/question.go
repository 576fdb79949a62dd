package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Question is a request, without content, that an explanation is asked for.
type Question struct {
	Method string // "" = GET
	// URL is absolute; its scheme says whether the request comes over TLS. A fragment
	// counts for nothing, as clients do not send it.
	URL string
	// Header are the request's fields; Host here goes before that of URL.
	Header http.Header
	Client netip.Addr // the connection's other end, zero for unknown
}

// Check says what keeps q from being a request that could come, nil if nothing does.
func (q *Question) Check() error {
	_, err := q.request()
	return err
}

// request is the request as it would come over HTTP/1.1.
func (q *Question) request() (*http.Request, error) {
	scheme, authority, target, err := splitURL(q.URL)
	if err != nil {
		return nil, err
	}
	uri, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, fmt.Errorf("the URL is malformed: %w", err)
	}
	r := &http.Request{
		Method: q.Method, URL: uri, RequestURI: target, Host: authority, Header: make(http.Header, len(q.Header)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}
	switch {
	case r.Method == "":
		r.Method = http.MethodGet
	case !httpguts.ValidHeaderFieldName(r.Method): // both are tokens
		return nil, fmt.Errorf("%.40q is not a method", r.Method)
	case r.Method == http.MethodConnect:
		return nil, errors.New("CONNECT has no target to explain")
	}
	if scheme == "https" {
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	}
	if q.Client.IsValid() {
		r.RemoteAddr = netip.AddrPortFrom(q.Client, 0).String()
	}
	return r, q.fields(r)
}

// fields gives r the fields of the question.
func (q *Question) fields(r *http.Request) error {
	for name, lines := range q.Header {
		for _, line := range lines {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(line) {
				return fmt.Errorf("%.60q is not a field", name+": "+line)
			}
		}
		switch canonical := http.CanonicalHeaderKey(name); canonical {
		case "Host":
			r.Host = strings.Join(lines, ", ")
		case "Transfer-Encoding", "Content-Length", "Trailer":
			return fmt.Errorf("%s speaks of content, and the request explained has none", canonical)
		default:
			r.Header[canonical] = append(r.Header[canonical], lines...)
		}
	}
	return nil
}

// splitURL takes an absolute URL apart as a client does, and changes no character: the
// target goes over the wire as it is spelled.
func splitURL(text string) (scheme, authority, target string, err error) {
	scheme, rest, ok := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return "", "", "", errors.New("the URL is not one that begins with http:// or https://")
	}
	for i := range len(rest) {
		if rest[i] <= ' ' || rest[i] == 0x7f {
			return "", "", "", errors.New("the URL has a space or a control character in it: encode it with %")
		}
	}
	authority, target = rest, "/"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, target = rest[:i], rest[i:]
	}
	switch {
	case authority == "":
		return "", "", "", errors.New("the URL names no host")
	case strings.Contains(authority, "@"):
		return "", "", "", errors.New("the URL holds credentials: give them as a field, Authorization")
	}
	target, _, _ = strings.Cut(target, "#")
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return scheme, authority, target, nil
}
