package httpcache

import (
	"net/http"
	"net/url"
	"strings"
)

// Invalidates returns the URIs whose stored responses the answer to a request
// makes invalid (RFC 9111 §4.4): after a 2xx or 3xx to a method that is not
// known to be safe the target URI, and what Location and Content-Location name
// on the same origin. All are absolute, without fragment, the target first;
// nil where there is nothing to do.
func Invalidates(req *Request, resp Response) []*url.URL {
	if safeMethod(req.method) || resp.Status < 200 || resp.Status > 399 || req.url == nil {
		return nil
	}
	target := req.targetURI()
	uris := []*url.URL{target}
	for _, name := range [...]string{locationField, ContentLocationField} {
		lines := resp.Header[name]
		if len(lines) != 1 {
			continue
		}
		uri, err := target.Parse(trimOWS(lines[0]))
		if err != nil || !sameOrigin(uri, target) {
			continue
		}
		uri.Fragment, uri.RawFragment = "", ""
		if uri.Path == "" {
			uri.Path = "/"
		}
		known := false
		for _, other := range uris {
			known = known || other.String() == uri.String()
		}
		if !known {
			uris = append(uris, uri)
		}
	}
	return uris
}

// targetURI is the target of the request in absolute form (RFC 9110 §7.1).
func (q *Request) targetURI() *url.URL {
	uri := *q.url
	uri.Scheme, uri.User, uri.Fragment, uri.RawFragment = q.scheme, nil, "", ""
	if q.host != "" {
		uri.Host = q.host
	}
	return &uri
}

// safeMethod reports the methods that are known to change nothing (RFC 9110
// §9.2.1 and the registry of methods).
func safeMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		"PROPFIND", "REPORT", "SEARCH", "QUERY":
		return true
	}
	return false
}

// sameOrigin compares scheme, host and port (RFC 9110 §4.3.1).
func sameOrigin(a, b *url.URL) bool {
	hostA, okA := CanonicalHost(a.Host)
	hostB, okB := CanonicalHost(b.Host)
	return okA && okB && hostA == hostB && strings.EqualFold(a.Scheme, b.Scheme) && port(a) == port(b)
}

func port(uri *url.URL) string {
	if p := uri.Port(); p != "" {
		return p
	}
	if strings.EqualFold(uri.Scheme, "https") {
		return "443"
	}
	return "80"
}
