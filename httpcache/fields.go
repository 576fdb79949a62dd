package httpcache

import (
	"net/http"
	"strings"
)

// hopByHop reports the fields that end at each hop (RFC 9110 §7.6.1), and those
// between a client and a proxy of its own. The name is in canonical form.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding",
		"Upgrade", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info",
		"Http2-Settings":
		return true
	}
	return false
}

// neverHopByHop reports the fields that Connection cannot remove: those that
// frame a message or say where it goes, those that every cache must see (RFC 9110
// §7.6.1 forbids listing them), and CDN-Loop (RFC 8586 §3).
func neverHopByHop(name string) bool {
	switch name {
	case hostField, ContentLengthField, "Transfer-Encoding", ContentTypeField, ContentEncodingField,
		ContentRangeField, CacheControlField, VaryField, DateField, AgeField, ExpiresField, ETagField,
		LastModifiedField, setCookieField, "Cdn-Loop", cdnCacheControlField, perigeeCacheControlField,
		surrogateControlField, "Content-Security-Policy", "Strict-Transport-Security":
		return true
	}
	return false
}

// maxConnectionOptions bounds how many names of one Connection field count.
const maxConnectionOptions = 32

// connectionOptions returns what Connection lists apart from the options that
// are no fields or are hop-by-hop anyway; nil is the usual answer. What is no token
// is no name: were it compared, a letter that folds to one of ASCII would name a
// field here that it does not name elsewhere.
func connectionOptions(lines []string) []string {
	var options []string
	for _, line := range lines {
		for line != "" {
			var option string
			option, line = cutMember(line)
			switch {
			case !isToken(option), strings.EqualFold(option, "close"), strings.EqualFold(option, "keep-alive"),
				strings.EqualFold(option, "upgrade"), strings.EqualFold(option, "te"):
			case len(options) < maxConnectionOptions:
				options = append(options, option)
			}
		}
	}
	return options
}

func listsField(options []string, name string) bool {
	for _, option := range options {
		if strings.EqualFold(option, name) {
			return !neverHopByHop(name)
		}
	}
	return false
}

// DropConnectionFields removes from a request's fields those that Connection names
// (RFC 9110 §7.6.1), so that whatever looks at them sees what the origin will.
// Connection itself and what goes with it stay, Upgrade and TE among them, and so do
// the fields that Connection cannot name. Keys of h are in canonical form. It
// allocates nothing where Connection names no such field.
func DropConnectionFields(h http.Header) {
	for _, option := range connectionOptions(h[ConnectionField]) {
		name := http.CanonicalHeaderKey(option)
		if name != ConnectionField && !neverHopByHop(name) {
			delete(h, name)
		}
	}
}

// ForwardHeader returns the fields of a request that go on to the origin: a
// clone without those of the connection, those that Connection lists, those
// meant for a proxy, and Expect, which we answer ourselves. TE keeps
// "trailers", the one member that is about the message.
func ForwardHeader(h http.Header) http.Header {
	out := endToEnd(h, func(name string) bool { return name == "Expect" })
	if listHas(h[teField], "trailers") {
		out[teField] = []string{"trailers"}
	}
	return out
}

// ResponseHeader returns the fields of a response that is passed on and not
// stored: a clone without those of the connection and without those that are
// meant for caches like ours alone.
func ResponseHeader(h http.Header) http.Header {
	return endToEnd(h, forCachesOnly)
}

// forCachesOnly reports the fields between an origin and caches like ours: tags,
// Surrogate-Control, which each surrogate consumes, and the targeted field of our
// own. CDN-Cache-Control goes on: other CDNs between us and the client may have
// use for it (RFC 9213 §3). The name is in canonical form.
func forCachesOnly(name string) bool {
	return name == perigeeCacheControlField || name == surrogateControlField || tagField(name)
}

// endToEnd clones what outlives the hop and drop does not name. The values of
// all fields share one backing array, each cut off so that appending to one
// never writes into the next.
func endToEnd(h http.Header, drop func(name string) bool) http.Header {
	options := connectionOptions(h[ConnectionField])
	lines := 0
	for _, values := range h {
		lines += len(values)
	}
	out := make(http.Header, len(h))
	backing := make([]string, 0, lines)
	for name, values := range h {
		if hopByHop(name) || listsField(options, name) || drop(name) {
			continue
		}
		start := len(backing)
		backing = append(backing, values...)
		out[name] = backing[start:len(backing):len(backing)]
	}
	return out
}

// ClearConditionals removes preconditions and Range from the fields of a
// request to the origin: a fetch that many share asks for the whole.
func ClearConditionals(h http.Header) {
	for _, name := range [...]string{
		ifMatchField, ifNoneMatchField, ifModifiedSinceField, ifUnmodifiedSinceField,
		ifRangeField, RangeField,
	} {
		delete(h, name)
	}
}

// SetValidators makes the fields of a request to the origin ask whether s is
// still current (RFC 9111 §4.3.1): If-None-Match and If-Modified-Since, as far
// as s has validators. It adds nothing where s has none.
func SetValidators(h http.Header, s *Stored) {
	if s.etag != "" {
		h[ifNoneMatchField] = []string{s.etag}
	}
	if s.lastModified != "" {
		h[ifModifiedSinceField] = []string{s.lastModified}
	}
}
