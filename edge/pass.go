package edge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"perigee/httpcache"
	"perigee/origin"
)

// pass sends the request straight to the upstream and its response straight back.
// A response that is no error tells what it made invalid (RFC 9111 §4.4).
func (x *exchange) pass() {
	if x.lastHop() {
		return
	}
	e := errandFor(x, nil, httpcache.Decision{})
	e.forward = x.passForward()
	if x.overloaded() {
		x.shed(e)
		return
	}
	x.handedOn = true
	body, slow := x.uploading()
	if slow != nil {
		defer slow.end()
	}
	body, err := gather(x.r, body)
	if err != nil {
		x.passFailed(e, &origin.Error{Kind: origin.ErrCanceled, Err: err}, slow)
		return
	}
	request := &origin.Request{
		Method: x.r.Method, Path: x.target.Path, Query: x.query, SiteHost: x.site.host(x.host), ClientHost: x.host,
		Header: e.forwardHeader(), Body: body, ContentLength: x.r.ContentLength, Interim: e.heard,
	}
	x.policy.editRequest(request.Header)
	if protocol := x.upgrade(); protocol != "" {
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", protocol)
	}
	x.listen(e)
	e.asked = x.h.ledger.Now()
	life, headCame, end := x.h.detached(x.ctx)
	response, err := x.site.Origin.Fetch(life, request)
	headCame()
	x.hush()
	if err != nil {
		end()
		x.passFailed(e, err, slow)
		return
	}
	x.record.Upstream, x.record.UpstreamTime = response.Upstream, response.ResponseTime.Sub(response.RequestTime)
	overtaken, before := e.overtaken(), x.h.ledger.Now()
	own := x.invalidate(response)
	before.Local += own
	overtaken = overtaken || x.h.ledger.Now() != before // somebody else came in between
	if response.Status == http.StatusSwitchingProtocols {
		defer end()
		x.switchProtocols(response)
		return
	}
	response.Body = &endingBody{ReadCloser: response.Body, end: end}
	if !overtaken && response.Status == http.StatusOK && x.nameAsGet(e) && x.keepPosted(e, response, own, life) {
		return
	}
	x.relay(response, ResultBypass, httpcache.CacheStatus{Fwd: e.forward, FwdStatus: response.Status, Detail: x.passDetail()})
}

// lastHop answers in the upstream's place where an OPTIONS or TRACE was to go no
// further than here, and takes one off the number of hops that are left (RFC 9110
// §7.6.2).
func (x *exchange) lastHop() bool {
	lines := x.r.Header[maxForwards]
	if x.r.Method != http.MethodOptions && x.r.Method != http.MethodTrace || len(lines) != 1 {
		return false
	}
	left, err := strconv.ParseUint(lines[0], 10, 31)
	switch {
	case err != nil:
	case left > 0:
		x.r.Header[maxForwards] = []string{strconv.FormatUint(left-1, 10)}
	case x.r.Method == http.MethodTrace:
		x.fail(failure{status: http.StatusNotImplemented, reason: "last-hop", text: "TRACE ends here, and is not answered."})
		return true
	default:
		x.record.Reason = "last-hop"
		x.answerOptions()
		return true
	}
	return false
}

const maxForwards = "Max-Forwards"

// nameAsGet gives the errand of a POST the names that a GET of the same target has,
// and tells whether all that the response depends on is in them: the upstream got the
// whole request, unlike that of a shared fetch.
func (x *exchange) nameAsGet(e *errand) bool {
	if x.r.Method != http.MethodPost || !keepable(x.r.Header) {
		return false
	}
	get := *x.r
	get.Method = http.MethodGet
	policy, open := x.site.policies.forRequest(&asking{path: x.target.Path, host: x.host, r: &get})
	if policy.bypass || x.policy.bypass {
		return false
	}
	e.policy, e.open = policy, open
	e.facets = x.site.facets(policy, open, x.r.Header, x.countryFor(policy))
	whole := x.target
	whole.Query = x.query
	e.set(x.h, whole, &policy.key.Query)
	return e.target.Query == x.query
}

// keepable tells whether a request that went to the upstream as it is has no field
// that a shared fetch would not have sent, or not so.
func keepable(h http.Header) bool {
	for _, name := range unkeyed {
		if _, sent := h[name]; sent && !strings.HasPrefix(name, "Content-") {
			return false
		}
	}
	encodings := h[httpcache.AcceptEncodingField]
	return len(encodings) == 0 || len(encodings) == 1 && encodings[0] == httpcache.NormalAcceptEncoding(encodings)
}

// keepPosted stores what a POST has made of its own target, if the response says
// that this is what a GET would have from now on (RFC 9110 §9.3.3), and answers.
func (x *exchange) keepPosted(e *errand, response *origin.Response, own int64, life context.Context) bool {
	meta := httpcache.Response{
		Status: response.Status, Header: response.Header, ContentLength: response.ContentLength,
		RequestTime: response.RequestTime, ResponseTime: response.ResponseTime,
	}
	rules := e.policyFor(meta.Status, meta.Header).rules
	stored, refusal := httpcache.NewStored(rules, e.req, meta)
	if refusal != httpcache.Storable || meta.Status == http.StatusPartialContent {
		return false
	}
	if e.asked.Local += own; x.h.struckSince(e.asked, e.marks(stored, rules)...) {
		return false
	}
	land := e.landing()
	land.upstream, land.status = response.Upstream, response.Status
	land.took = response.ResponseTime.Sub(response.RequestTime)
	land.withheld = httpcache.Withheld(rules, meta)
	e.keep(land, e.beginning(rules, stored, response, meta), response, life)
	x.take(land)
	x.deliver(e, land, true)
	return true
}

// uploading is the request's body, nil for none, and what watches over its pace, nil
// where nothing does.
func (x *exchange) uploading() (io.ReadCloser, *upload) {
	if x.body == nil {
		return nil, nil
	}
	w, ok := x.w.(deadliner)
	if !ok || x.limits.MinRate <= 0 {
		return x.body, nil
	}
	u := &upload{ReadCloser: x.body, w: w, rate: x.limits.MinRate}
	return u, u
}

func (x *exchange) passForward() httpcache.Forward {
	if x.record.Reason == "method" {
		return httpcache.FwdMethod
	}
	return httpcache.FwdBypass
}

// passDetail is the reason where Cache-Status does not say it already.
func (x *exchange) passDetail() string {
	if x.record.Reason == "method" {
		return ""
	}
	return x.record.Reason
}

// passFailed answers for an upstream that gave no response, or for a client whose
// body turned out to be too large.
func (x *exchange) passFailed(e *errand, err error, body *upload) {
	if body != nil && body.slow.Load() {
		x.fail(failure{status: http.StatusRequestTimeout, reason: "slow-upload", forward: e.forward, text: "The request body came too slowly."})
		return
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		x.fail(failure{status: http.StatusRequestEntityTooLarge, reason: "body-too-large", forward: e.forward, text: "The request body is larger than this server takes."})
		return
	}
	x.upstreamFailed(e, asTrouble(err))
}

// aheadBytes is how much of a request's body is read before the upstream is asked.
const aheadBytes = 64 << 10

// gather reads the beginning of the request's body, all of it if it is short,
// before a connection to the upstream is taken: else clients that send slowly would
// hold all of those. Over HTTP/2 a body of unknown length may be one side of a
// dialogue, and is not waited for.
func gather(r *http.Request, body io.ReadCloser) (io.ReadCloser, error) {
	n := r.ContentLength
	if body == nil || n < 0 && r.ProtoMajor > 1 {
		return body, nil
	}
	if n < 0 || n > aheadBytes {
		n = aheadBytes
	}
	ahead := bufio.NewReaderSize(body, int(n))
	if _, err := ahead.Peek(int(n)); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &aheadBody{Reader: ahead, Closer: body}, nil
}

// aheadBody is a body whose beginning has been read.
type aheadBody struct {
	io.Reader
	io.Closer
}

// invalidate forgets what the response to an unsafe request made invalid: the
// target, what Location and Content-Location name on this site, and groups. It
// returns how many names it struck.
func (x *exchange) invalidate(response *origin.Response) (struck int64) {
	meta := httpcache.Response{Status: response.Status, Header: response.Header}
	others := httpcache.Invalidates(&x.req, meta)
	if len(others) == 0 {
		return 0
	}
	whole := x.target
	whole.Query = x.query
	struck = x.forget(x.site, whole)
	for _, u := range others {
		host, ok := httpcache.CanonicalHost(u.Host)
		path, fine := httpcache.NormalPath(spelled(u))
		query, good := httpcache.NormalQuery(u.RawQuery)
		site := x.h.sites.Load().Match(host)
		if ok && fine && good && site != nil && site.Name == x.site.Name {
			struck += x.forget(site, httpcache.Target{Host: site.keyHost(host), Path: path, Query: query})
		}
	}
	for _, group := range httpcache.GroupInvalidations(&x.req, meta) {
		// Both schemes, as with URLs: sites hold the same pages in clear and over TLS.
		for _, scheme := range [...]string{"http", "https"} {
			x.h.ledger.Invalidate(x.h.ledger.GroupMark(x.site.Name, scheme, x.target.Host, group))
			struck++
		}
	}
	ctx, cancel := context.WithTimeout(x.ctx, writtenWait)
	defer cancel()
	x.h.ledger.Written(ctx)
	return struck
}

// writtenWait is how long, at most, an answer waits for what it made invalid to be
// written: its client may rely on it even if the process is killed the next moment.
const writtenWait = 100 * time.Millisecond

// spelled is a URL's path as it was written: see rawPath.
func spelled(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// switchProtocols joins the client's connection and the upstream's after a 101, until
// either side ends (RFC 9110 §7.8).
func (x *exchange) switchProtocols(response *origin.Response) {
	defer response.Body.Close()
	far, ok := response.Body.(io.ReadWriteCloser)
	hijacker, can := x.w.(http.Hijacker)
	if !ok || !can {
		x.fail(failure{status: http.StatusBadGateway, reason: "upgrade-refused", forward: httpcache.FwdBypass, text: "The protocol of this connection cannot be changed."})
		return
	}
	near, buffered, err := hijacker.Hijack()
	if err != nil {
		x.fail(failure{status: http.StatusInternalServerError, reason: "upgrade-refused", forward: httpcache.FwdBypass, text: "The connection could not be taken over."})
		return
	}
	defer near.Close()
	x.record.Cache, x.record.Tier = ResultBypass, tierOrigin
	x.sent(http.StatusSwitchingProtocols)
	if err := writeSwitch(near, response.Header); err != nil {
		x.record.Reason = "client-left"
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(far, buffered)
		_ = far.Close()
	})
	n, _ := io.Copy(near, far)
	x.record.BodyBytes = n
	_ = near.Close()
	both.Wait()
}

// writeSwitch sends the upstream's 101.
func writeSwitch(w io.Writer, fields http.Header) error {
	h := httpcache.ResponseHeader(fields)
	addVia(h, "HTTP/1.1")
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", fields.Get("Upgrade"))
	head := http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: h}
	return head.Write(w)
}
