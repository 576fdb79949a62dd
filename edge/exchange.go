package edge

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"perigee/cachestore"
	"perigee/httpcache"
)

// HealthPath is answered for any host, on every listener.
const HealthPath = "/.perigee/health"

// ownPrefix is the part of every site's paths that is ours.
const ownPrefix = "/.perigee/"

// exchange is one request on its way through the edge.
type exchange struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	now    time.Time // of arrival: the instant for which everything is decided
	site   *Site
	policy *policy // of the request
	open   uint64  // the rules that match if the answer does
	final  *policy // of the request and its answer, once that is known
	host   string  // that was asked for, canonical
	naming         // of the target
	req    httpcache.Request

	objects   [4]*cachestore.Object // room for what the store has under key
	reader    cachestore.Reader
	anchor    *anchor             // that waits for this exchange to begin reading
	interim   *interim            // passes interim responses on while the upstream is asked
	hinted    bool                // the client has had an interim response
	values    [valuePlaces]string // room for the values of fields of ours
	agreed    negotiated
	limits    *Limits
	body      *content   // of the request, nil for none
	handedOn  bool       // body belongs to the connection to the upstream
	peer      netip.Addr // the connection's other end
	chain     string     // X-Forwarded-For, as a trusted proxy sent it
	record    Record
	headSent  bool
	pacedAt   time.Time // when the client was given its deadline, zero for none
	pacedFor  int       // bytes that the deadline is for
	wentAlone bool      // a fetch of this request's own was made
	refetched bool      // the whole was fetched because what was stored had gone
}

// serve takes the request through the steps, in order.
func (x *exchange) serve() {
	switch {
	case x.r.URL.Path == HealthPath:
		x.answerHealth()
		return
	case x.r.Method == http.MethodOptions && x.r.RequestURI == "*":
		x.answerServerOptions()
		return
	}
	if fault := x.admit(); fault != nil {
		x.fail(*fault)
		return
	}
	switch x.way() {
	case wayAPI:
		x.answerAPI()
	case wayPurge:
		x.orderPurge()
	case wayNowhere:
		x.fail(noSuchPath)
	case wayRedirect:
		x.redirectToHTTPS()
	case wayPast:
		x.pass()
	default:
		x.fromCache()
	}
}

// way is where a request goes that has been admitted.
type way uint8

const (
	wayCache    way = iota // the cache answers, or asks the upstream
	wayPast                // to the upstream, past the cache
	wayRedirect            // to the same target over TLS
	wayNowhere             // a path of ours that there is not
	wayPurge               // a purge of its own URL
	wayAPI                 // the purge API
)

func (x *exchange) way() way {
	switch {
	case x.site == nil:
		return wayAPI
	case strings.HasPrefix(x.target.Path, ownPrefix):
		return wayNowhere
	case x.r.Method == methodPurge && x.h.purger != nil:
		return wayPurge
	case x.site.RedirectToHTTPS && x.target.Scheme == "http":
		return wayRedirect
	case x.passes():
		return wayPast
	}
	return wayCache
}

var noSuchPath = failure{status: http.StatusNotFound, reason: "no-such-path", text: "There is nothing at this path of perigee's own."}

// admit checks the request against the limits, finds its site and names its
// target. It returns why the request is refused, or nil. One to the purge API has no
// site.
func (x *exchange) admit() *failure {
	limits, sites := x.h.limits.Load(), x.h.sites.Load()
	httpcache.DropConnectionFields(x.r.Header) // nobody from here on gets them
	x.limits = limits
	x.believe(sites)
	if ceiling := overloadCeiling * int64(limits.Requests); ceiling > 0 && x.h.inFlight.Load() > ceiling {
		return &failure{status: http.StatusServiceUnavailable, reason: overloadReason, text: overloadText, retryAfter: "1"}
	}
	if limits.TargetBytes > 0 && len(x.r.RequestURI) > limits.TargetBytes {
		return &failure{status: http.StatusRequestURITooLong, reason: "target-too-long", text: "The request target is longer than this server takes."}
	}
	if limits.Fields > 0 && fieldLines(x.r.Header) > limits.Fields {
		return &failure{status: http.StatusRequestHeaderFieldsTooLarge, reason: "too-many-fields", text: "The request has more header fields than this server takes."}
	}
	if fault := x.loops(); fault != nil {
		return fault
	}
	if fault := x.admitBody(limits.BodyBytes); fault != nil {
		return fault
	}
	host, ok := httpcache.CanonicalHost(x.r.Host)
	if !ok {
		return &failure{status: http.StatusBadRequest, reason: "bad-host", text: "The Host field does not name a host."}
	}
	x.host, x.record.Host = host, host
	if x.h.purger != nil && slices.Contains(sites.apiHosts, host) {
		return nil
	}
	if x.site = sites.Match(host); x.site == nil {
		return &failure{status: http.StatusMisdirectedRequest, reason: "no-such-site", text: "No site named " + host + " is served here. (Operator: a site file with `site: " + host + "` would serve it.)"}
	}
	x.record.Site = x.site.Name
	if x.site.ClearOnly && x.r.TLS != nil {
		return &failure{status: http.StatusMisdirectedRequest, reason: "not-over-tls", text: "This site is served in clear only."}
	}
	return x.aim()
}

// aim makes the target URI and the key of the request.
func (x *exchange) aim() *failure {
	path, ok := "/", true
	if escaped := rawPath(x.r); escaped != "" || x.r.Method == http.MethodConnect {
		path, ok = httpcache.NormalPath(escaped)
	}
	if !ok {
		return &failure{status: http.StatusBadRequest, reason: "bad-path", text: "The path of the request is malformed."}
	}
	query, ok := httpcache.NormalQuery(x.r.URL.RawQuery)
	if !ok || x.r.URL.Fragment != "" {
		return &failure{status: http.StatusBadRequest, reason: "bad-query", text: "The query of the request is malformed."}
	}
	x.policy, x.open = x.site.policies.forRequest(&asking{path: path, host: x.host, r: x.r})
	x.name(httpcache.Target{Scheme: x.record.Scheme, Host: x.site.keyHost(x.host), Path: path, Query: query})
	x.record.Path, x.record.Query, x.record.Key = path, x.target.Query, x.key
	x.req.Reset(x.r)
	x.req.Hide(x.policy.key.hides)
	return nil
}

// rawPath is the path as the client spelled it. [url.URL.EscapedPath] respells a
// path that holds a character it does not like, and loses encoded slashes then.
func rawPath(r *http.Request) string {
	if !strings.HasPrefix(r.RequestURI, "/") {
		return r.URL.EscapedPath()
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}

// admitBody refuses a request body that is longer than limit, at once or when it
// turns out to be. The request's own Body stays in its place: net/http looks at it
// to know whether the client waits for 100.
func (x *exchange) admitBody(limit int64) *failure {
	if x.r.ContentLength == 0 || x.r.Body == nil || x.r.Body == http.NoBody {
		return nil
	}
	if limit > 0 && x.r.ContentLength > limit {
		return &failure{status: http.StatusRequestEntityTooLarge, reason: "body-too-large", text: "The request body is larger than this server takes."}
	}
	body := x.r.Body
	if limit > 0 {
		body = &limitedBody{ReadCloser: body, left: limit, limit: limit}
	}
	x.body = &content{ReadCloser: body, want: x.r.ContentLength}
	return nil
}

// passes tells whether the request goes straight to the upstream: what the cache
// could not answer whatever it holds. A body on GET or HEAD does not count: it has
// no meaning (RFC 9110 §9.3.1), is in no key, and so goes no further than here.
func (x *exchange) passes() bool {
	switch {
	case x.r.Method != http.MethodGet && x.r.Method != http.MethodHead:
		x.record.Reason = "method"
	case x.upgrade() != "":
		x.record.Reason = "upgrade"
	case x.policy.bypass:
		x.record.Reason = "bypass-rule"
	default:
		return false
	}
	return true
}

// upgrade is the protocol that the client asks to change to, "" for none. The
// field counts only where Connection lists it (RFC 9110 §7.8). HTTP/2 in clear is
// not passed on: it would be a tunnel to the upstream past everything here.
func (x *exchange) upgrade() string {
	protocol := x.r.Header.Get("Upgrade")
	if protocol == "" || x.r.ProtoMajor != 1 || x.r.ProtoMinor == 0 || strings.Contains(strings.ToLower(protocol), "h2c") ||
		!httpguts.HeaderValuesContainsToken(x.r.Header["Connection"], "upgrade") {
		return ""
	}
	return protocol
}

// look asks the store and the law what may be done now. found is the stored
// response that the decision is about, nil if none matches.
func (x *exchange) look(now time.Time) (found *cachestore.Object, d httpcache.Decision) {
	return x.judge(x.stored(x.objects[:0]), now)
}

// judge asks the law what may be done now with what is stored.
func (x *exchange) judge(objects []*cachestore.Object, now time.Time) (found *cachestore.Object, d httpcache.Decision) {
	if x.key != x.plainKey {
		// What was stored for this very query goes before what counts as equal.
		exact := slices.DeleteFunc(slices.Clone(objects), func(o *cachestore.Object) bool { return o.Key() != x.plainKey })
		if found, d = x.choose(exact, now); found != nil && d.Action == httpcache.Serve {
			return found, d
		}
	}
	return x.choose(objects, now)
}

func (x *exchange) choose(objects []*cachestore.Object, now time.Time) (found *cachestore.Object, d httpcache.Decision) {
	best, ok := selectWhole(&x.req, objects)
	switch {
	case ok:
		d = x.h.decide(x.rulesFor(best), &x.req, best, now)
		if _, lacking := x.lacks(best); lacking && (d.Action == httpcache.Serve || d.Action == httpcache.ServeStale) {
			d.Action, d.Reason, d.StaleIfError = httpcache.Fetch, httpcache.PartMiss, false
		}
		return best, d
	case len(objects) > 0:
		// Stored for other selecting fields: the law names that.
		return nil, httpcache.Decide(x.policy.rules, &x.req, objects[0].Stored(), now)
	}
	return nil, httpcache.Decide(x.policy.rules, &x.req, nil, now)
}

// stored appends every response to buf that is stored under the request's names.
func (x *exchange) stored(buf []*cachestore.Object) []*cachestore.Object {
	return x.h.find(x.site, &x.naming, buf)
}

// rulesFor is the site's say about a stored response.
func (x *exchange) rulesFor(o *cachestore.Object) *httpcache.Rules {
	s := o.Stored()
	return x.answerPolicy(s.Status(), s.Header()).rules
}

// answerPolicy is the policy of the request once its answer is known.
func (x *exchange) answerPolicy(status int, h http.Header) *policy {
	if x.policy == nil || x.open == 0 {
		return x.policy
	}
	return x.site.policies.forResponse(x.policy, x.open, status, h.Get(httpcache.ContentTypeField))
}

// fromCache answers a request that the cache may answer.
func (x *exchange) fromCache() {
	found, d := x.look(x.now)
	x.record.Reason = d.Reason.String()
	switch d.Action {
	case httpcache.Serve:
		if httpcache.EarlyRefresh(x.rulesFor(found), found.Stored(), d, x.seed()) {
			x.refreshLater(found, d)
		}
		x.answer(found, reply{result: ResultHit, status: hitStatus(d, ""), age: d.Age})
	case httpcache.ServeStale:
		x.refreshLater(found, d)
		x.answer(found, reply{result: ResultStale, status: hitStatus(d, d.Reason.String()), age: d.Age})
	case httpcache.Validate, httpcache.Fetch:
		x.fetch(errandFor(x, found, d))
	case httpcache.Refuse:
		x.fail(unanswerable(d))
	}
}

// unanswerable is the answer where the law refuses.
func unanswerable(d httpcache.Decision) failure {
	return failure{status: http.StatusGatewayTimeout, reason: d.Reason.String(), text: "The request asked for a stored response only, and none may be served."}
}

// seed spreads the refreshes of different targets over time.
func (x *exchange) seed() uint64 { return binary.LittleEndian.Uint64(x.key[:]) }

func hitStatus(d httpcache.Decision, detail string) httpcache.CacheStatus {
	return httpcache.CacheStatus{Hit: true, TTL: d.TTL, HasTTL: true, Detail: detail}
}

// redirectToHTTPS sends the client to the same target over TLS, on the standard
// port (RFC 9110 §15.4.9: 308 keeps the method).
func (x *exchange) redirectToHTTPS() {
	x.record.Cache, x.record.Reason = ResultNone, redirectReason
	x.w.Header().Set("Location", x.overTLS())
	x.writeHead(http.StatusPermanentRedirect)
}

const redirectReason = "redirect-to-https"

// overTLS is the target over TLS.
func (x *exchange) overTLS() string {
	location := "https://" + x.host + x.target.Path
	if x.query != "" {
		location += "?" + x.query
	}
	return location
}

// answerHealth tells whoever routes to us whether to go on, and how busy we are.
func (x *exchange) answerHealth() {
	x.record.Path, x.record.Reason = HealthPath, "health"
	status, body := http.StatusOK, "ok\n"
	if x.h.draining.Load() {
		status, body = http.StatusServiceUnavailable, "draining\n"
	}
	x.w.Header()[httpcache.CacheControlField] = noStore
	x.plainText(status, "load="+itoa(x.h.inFlight.Load())+"\n"+body)
}

// answerServerOptions answers for the server as a whole (RFC 9110 §9.3.7).
func (x *exchange) answerServerOptions() {
	x.record.Reason = "options"
	x.answerOptions()
}

func (x *exchange) answerOptions() {
	x.w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	x.w.Header().Set("Content-Length", "0")
	x.writeHead(http.StatusOK)
}

// clientAddr is the address of the connection's other end.
func clientAddr(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap()
}

// fieldLines counts the header fields of a request.
func fieldLines(h http.Header) int {
	n := 0
	for _, values := range h {
		n += len(values)
	}
	return n
}

// tlsVersion names a TLS version without allocating.
func tlsVersion(v uint16) string { return tls.VersionName(v) }
