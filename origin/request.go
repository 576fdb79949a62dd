package origin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Fetcher gets one response. [Pool] is one; so is a peer that is asked in place of
// the upstream, and a test's double.
//
// Fetch takes the request over: its Header may be changed and its Body is closed,
// also when an error is returned, possibly after Fetch has returned. Every error is
// an [*Error]. The caller closes the response's Body; ctx covers the body too: when
// it ends, reading fails.
type Fetcher interface {
	Fetch(ctx context.Context, req *Request) (*Response, error)
}

// Request is what is asked of an upstream.
type Request struct {
	Method     string
	Path       string // escaped, normalised, begins with "/"
	Query      string // without "?"
	SiteHost   string // canonical host of the site
	ClientHost string // the Host that the client sent, canonical form without port

	// Header is the end-to-end fields, and Connection with Upgrade for an upgrade.
	// Other hop-by-hop fields, Host, Expect and Content-Length are left out or
	// written anew. What is not here is not sent: no User-Agent or Accept-Encoding
	// of our own.
	Header http.Header

	Body          io.ReadCloser // nil = none
	ContentLength int64         // of Body: -1 = unknown, 0 = none, Body is then closed unread

	// Interim is told of the interim responses (RFC 9110 §15.2, RFC 8297) but 100 and
	// 101, in the order in which they come, one at a time, before Fetch returns and
	// never after. The header is its own to keep, hop-by-hop fields included. At most
	// 8 are told, those after them are dropped; a [Pool] ends the exchange with
	// ErrMalformed at more than 64, or when their fields are more than 256 KiB in all.
	// If the request is sent again after one was told, those of the second try are
	// dropped. They do not stop the clock: Options.Header bounds the time to the final
	// head. Interim is called in a goroutine on which others' responses may wait, and
	// Fetch waits for it: it must return at once. nil = they are dropped.
	Interim func(status int, header http.Header)
}

// hopByHop are the fields that end here (RFC 9110 §7.6.1), and those that the
// transport writes itself. Expect is answered at our own door (RFC 9110 §10.1.1).
var hopByHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Expect", "Host", "Content-Length",
}

// upgrade reports the protocols that the request asks to change to, "" for none.
func (r *Request) upgrade() string {
	if !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return ""
	}
	return r.Header.Get("Upgrade")
}

// clean prepares the fields for the transport.
func (r *Request) clean(upgrade string) {
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	// gRPC insists on TE: trailers, over HTTP/2, where that is no matter of the hop
	// (RFC 9113 §8.2.2).
	trailers := grpc(r.Header) && httpguts.HeaderValuesContainsToken(r.Header["Te"], "trailers")
	for _, name := range hopByHop {
		delete(r.Header, name)
	}
	if trailers {
		r.Header["Te"] = []string{"trailers"}
	}
	if upgrade != "" {
		r.Header["Connection"] = []string{"Upgrade"}
		r.Header["Upgrade"] = []string{upgrade}
	}
	if _, has := r.Header["User-Agent"]; !has {
		r.Header["User-Agent"] = nil // keeps net/http from sending its own
	}
}

// check refuses what cannot be written on a request line. The edge has normalised
// the target; this is the last look before it becomes bytes on a connection.
func (r *Request) check() error {
	if !strings.HasPrefix(r.Path, "/") {
		return fmt.Errorf("path %q does not begin with a slash", r.Path)
	}
	if !printable(r.Path) || strings.ContainsAny(r.Path, "?#") {
		return fmt.Errorf("path %q holds what a path cannot", r.Path)
	}
	if !printable(r.Query) || strings.Contains(r.Query, "#") {
		return fmt.Errorf("query %q holds what a query cannot", r.Query)
	}
	if r.Method == "" || r.Method == http.MethodConnect || !httpguts.ValidHeaderFieldName(r.Method) {
		return fmt.Errorf("method %q cannot be sent to an upstream", r.Method)
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("field name %q is not a token", name)
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return fmt.Errorf("field %s has a value that cannot be sent", name)
			}
		}
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// target is the URL to ask for, its path and query byte for byte as given.
func target(scheme, authority, path, query string) *url.URL {
	u := &url.URL{Scheme: scheme, Host: authority, RawQuery: query}
	if !strings.HasPrefix(path, "//") {
		u.Opaque = path // written as it is
		return u
	}
	// An opaque part of two slashes would be written in absolute form; a path that
	// begins so goes the way that may escape more than was escaped.
	u.RawPath = path
	u.Path = path
	if plain, err := url.PathUnescape(path); err == nil {
		u.Path = plain
	}
	return u
}

// grpc tells by its content type whether a message is of gRPC or its like, which
// cannot do without trailers.
func grpc(h http.Header) bool { return strings.HasPrefix(h.Get("Content-Type"), "application/grpc") }
