package listener

import (
	"net/http"
	"strings"

	"perigee/edge/listener/h1"
)

// checkRequest judges a request of HTTP/2 or later as package h1 judges those of
// HTTP/1.1 (RFC 9113 §8, RFC 9114 §4): it is h1.ReasonNone for a good one. What
// net/http finds out by itself is judged again, since another engine may not. A
// :scheme of http is nobody's business: whether a request came over TLS says r.TLS.
//
// That the content is as long as Content-Length says is net/http's to follow, except
// that there is none at all.
func checkRequest(r *http.Request, l Limits) h1.Reason {
	switch {
	case !h1.ValidToken(r.Method):
		return h1.ReasonRequestLine
	case r.Method == http.MethodConnect:
		return h1.ReasonMethod
	case len(r.RequestURI) > l.TargetBytes:
		return h1.ReasonTargetLength
	case !h1.ValidPath(r.RequestURI) && !(r.RequestURI == "*" && r.Method == http.MethodOptions):
		return h1.ReasonTarget
	case !h1.ValidHost(r.Host):
		return h1.ReasonHost
	}
	for _, host := range r.Header["Host"] {
		if !h1.SameHost(host, r.Host) {
			return h1.ReasonHost
		}
	}
	if reason := checkLength(r); reason != h1.ReasonNone {
		return reason
	}
	return checkFields(r.Header, l)
}

// checkLength finds a Content-Length that is malformed, repeated, or unlike a body
// that the end of the header section has already ended.
func checkLength(r *http.Request) h1.Reason {
	lengths := r.Header["Content-Length"]
	if len(lengths) == 0 {
		return h1.ReasonNone
	}
	n, ok := h1.ParseLength(lengths[0])
	if !ok || len(lengths) > 1 || n != r.ContentLength {
		return h1.ReasonContentLength
	}
	return h1.ReasonNone
}

func checkFields(header http.Header, l Limits) h1.Reason {
	lines := 0
	for name, values := range header {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
			return h1.ReasonConnection
		case "Te":
			for _, value := range values {
				if value != "trailers" {
					return h1.ReasonConnection
				}
			}
		case "Cookie":
			if crumbs(values) > maxCrumbs {
				return h1.ReasonFields
			}
		}
		if !h1.ValidToken(name) {
			return h1.ReasonField
		}
		for _, value := range values {
			if !h1.ValidValue(value) || value != strings.Trim(value, " \t") {
				return h1.ReasonField
			}
		}
		lines += len(values)
	}
	if lines > l.Fields {
		return h1.ReasonFields
	}
	return h1.ReasonNone
}

// maxCrumbs is how many pieces the cookies of a request may come in. Each costs the
// sender a byte, and us some sixty.
const maxCrumbs = 256

// crumbs counts the pieces that cookies may have come in (RFC 9113 §8.2.3), which
// net/http has joined.
func crumbs(cookies []string) int {
	n := len(cookies)
	for _, cookie := range cookies {
		n += strings.Count(cookie, "; ")
	}
	return n
}
