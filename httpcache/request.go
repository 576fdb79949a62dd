package httpcache

import (
	"net/http"
	"net/url"
	"strings"
)

// Request is what the law needs of a request, parsed once. It refers to the
// fields of the *http.Request it was made from and reads them later: they must
// not be changed while it is in use. What compares selecting fields writes to it
// (Select, Decide, NewStored, VariantOf, SelectingOf), so one goroutine uses it at
// a time. The zero value is ready for Reset.
type Request struct {
	method    string
	host      string
	scheme    string
	url       *url.URL
	header    http.Header
	directive requestDirectives
	// directed: the client gave at least one directive.
	directed bool
	// retrieves: GET or HEAD, the methods that a stored GET answers.
	retrieves    bool
	authorized   bool
	conditional  bool
	rangeField   string
	connectioned []string               // fields that Connection names; gone for the law
	selected     *Stored                // what Select last chose for it
	hidden       func(name string) bool // see Hide
	normals      normalFields           // what was compared so far
}

// NewRequest returns the parsed form of r.
func NewRequest(r *http.Request) *Request {
	q := new(Request)
	q.Reset(r)
	return q
}

// Reset makes q the parsed form of r. It allows Requests to be pooled;
// Reset(nil) lets go of what q refers to.
func (q *Request) Reset(r *http.Request) {
	*q = Request{}
	if r == nil {
		return
	}
	q.method, q.host, q.url, q.header = r.Method, r.Host, r.URL, r.Header
	if q.method == "" {
		q.method = http.MethodGet
	}
	q.scheme = "http"
	if r.URL != nil && r.URL.Scheme != "" {
		q.scheme = strings.ToLower(r.URL.Scheme)
	}
	if r.TLS != nil {
		q.scheme = "https"
	}
	q.retrieves = q.method == http.MethodGet || q.method == http.MethodHead
	if lines := q.header[ConnectionField]; len(lines) > 0 {
		q.connectioned = connectionOptions(lines)
	}
	q.parseFields()
}

func (q *Request) parseFields() {
	if lines := q.values(CacheControlField); len(lines) > 0 {
		q.directed = true
		q.directive = parseRequestDirectives(lines)
	} else if lines := q.values(pragmaField); len(lines) > 0 {
		// RFC 9111 §5.4: as if Cache-Control: no-cache, but only where that
		// field is absent.
		q.directive = parseRequestDirectives(nil)
		q.directed = listHas(lines, "no-cache")
		q.directive.noCache = q.directed
	}
	q.authorized = len(q.values(authorizationField)) > 0
	if lines := q.values(RangeField); len(lines) == 1 && q.method == http.MethodGet {
		q.rangeField = lines[0]
	}
	q.conditional = len(q.values(ifNoneMatchField)) > 0 || len(q.values(ifModifiedSinceField)) > 0 ||
		len(q.values(ifMatchField)) > 0 || len(q.values(ifUnmodifiedSinceField)) > 0
}

// values returns the lines of a field, its name in canonical form. A field that
// Connection names is hop-by-hop (RFC 9110 §7.6.1): the origin does not get
// it, so the law must not see it either, or a response would be stored under
// selecting values that the origin never saw.
func (q *Request) values(name string) []string {
	if name == hostField {
		if q.host == "" {
			return nil
		}
		return []string{q.host}
	}
	lines := q.header[name]
	if len(lines) == 0 || len(q.connectioned) == 0 {
		return lines
	}
	for _, option := range q.connectioned {
		if strings.EqualFold(option, name) && !neverHopByHop(name) {
			return nil
		}
	}
	return lines
}

// Method returns the request method, "GET" where it was empty.
func (q *Request) Method() string { return q.method }

// Ranged reports whether the request asks for a range that may be honoured: GET
// with exactly one Range field line (RFC 9110 §14.2). Whether it is well
// formed ParseRange says.
func (q *Request) Ranged() bool { return q.rangeField != "" }

// Range returns the Range field, empty where Ranged is false.
func (q *Request) Range() string { return q.rangeField }

// Conditional reports whether the request has a precondition other than
// If-Range.
func (q *Request) Conditional() bool { return q.conditional }

// Authorized reports whether the request carries Authorization.
func (q *Request) Authorized() bool { return q.authorized }

// Directed reports whether the client gave caching directives, in
// Cache-Control or as "Pragma: no-cache".
func (q *Request) Directed() bool { return q.directed }

// NoStore reports whether the client said no-store and the rules obey it.
func (q *Request) NoStore(rules *Rules) bool {
	return rules.HonourRequest && q.directed && q.directive.noStore
}

// listHas reports whether a list has the member, without regard to case.
func listHas(lines []string, want string) bool {
	for _, line := range lines {
		for line != "" {
			var member string
			if member, line = cutMember(line); strings.EqualFold(member, want) {
				return true
			}
		}
	}
	return false
}
