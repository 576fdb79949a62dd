package edge

import (
	"context"
	"net/http"
	"strings"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/origin"
)

// errand is what one goes to the upstream for. It stands on its own, apart from
// the exchange that it was made for, because the client may leave while others
// wait for its outcome.
type errand struct {
	h          *Handler
	site       *Site
	req        *httpcache.Request
	target     httpcache.Target
	key        httpcache.Key
	clientHost string
	header     http.Header // of the client's request, only read
	forwarded  string      // X-Forwarded-For
	proto      string      // of the client's request
	forward    httpcache.Forward

	held     *cachestore.Object // the stored response that the request matches, nil for none
	validate bool               // ask whether held is still good
	onError  bool               // held may be served if the upstream fails

	conditional, ranged bool  // the client's own conditions, or its range, were sent
	asked               int64 // the invalidations there had been when the upstream was asked
}

// landing is how an errand ended: an object that others may share, or a response
// that is only for the request which led.
type landing struct {
	private  *origin.Response // for the leader only, who must close it
	reason   string           // why it is not stored
	object   *cachestore.Object
	anchor   *anchor     // keeps the first bytes of object until all who wait read it
	withheld http.Header // fields of the response that only its leader may have

	found       bool // object was in the store already when the flight began
	stored      bool // object is kept beyond those who ask for it now
	revalidated bool // object is the one held, confirmed
	fallback    bool // object is the one held, because the upstream failed

	upstream string
	status   int           // the upstream's, 0 if it gave none
	took     time.Duration // until its response head
	trouble  *origin.Error // why there is no object and no response
}

// dispose closes what only the leader could have taken, when nobody does.
func (l *landing) dispose() {
	if l.private != nil {
		_ = l.private.Body.Close()
	}
}

// errandFor is the errand of an exchange whose request the law answered with d,
// about held.
func errandFor(x *exchange, held *cachestore.Object, d httpcache.Decision) *errand {
	e := &errand{
		h: x.h, site: x.site, target: x.target, key: x.key,
		clientHost: x.host, header: x.r.Header, proto: x.r.Proto, forwarded: x.forwardedFor(), forward: d.Reason.Forward(),
		held: held, validate: held != nil && d.Action != httpcache.Fetch, onError: d.StaleIfError,
	}
	r := x.r
	if e.validate && r.Method == http.MethodHead {
		// A validation asks by GET: what it brings, if not a 304, is the whole.
		r = r.WithContext(x.ctx)
		r.Method = http.MethodGet
	}
	e.req = httpcache.NewRequest(r)
	return e
}

// flight names the flight that a request may share, as far as its selecting fields
// are known.
func (h *Handler) flight(key httpcache.Key, req *httpcache.Request) flightKey {
	names, _ := h.vary.get(key)
	return flightKey{key: key, variant: httpcache.VariantOf(names, req)}
}

// lead is what one errand does for all who wait: it looks in the store again,
// since the response may have come between the look before and the flight, and
// asks the upstream only then.
func (e *errand) lead(ctx context.Context) (*landing, error) {
	objects := e.h.store.Get(e.key, nil)
	if best, ok := httpcache.Select(e.req, objects); ok {
		d := httpcache.Decide(e.site.Rules, e.req, best.Stored(), clock())
		if d.Action == httpcache.Serve {
			return &landing{object: best, found: true}, nil
		}
	}
	return e.ask(ctx, forAll), nil
}

// audience is whom a response is asked for.
type audience bool

const (
	forAll audience = true  // the client's conditions and ranges are left out
	forOne audience = false // they are passed on
)

// ask asks the upstream. Until the response's head has come ctx ends it; what
// follows then ends with the body, and at the latest with the handler.
func (e *errand) ask(ctx context.Context, whom audience) *landing {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	withHandler := context.AfterFunc(e.h.life, cancel)
	end := func() { withHandler(); cancel() }
	headOnly := context.AfterFunc(ctx, end)
	e.asked = e.h.moments.Load()
	request := e.request(whom)
	e.ranged = len(request.Header["Range"]) > 0
	e.conditional = !e.validate && conditional(request.Header)
	response, err := e.site.Origin.Fetch(life, request)
	headOnly()
	if err != nil {
		end()
		return e.failed(err)
	}
	response.Body = &endingBody{ReadCloser: response.Body, end: end}
	land := &landing{upstream: response.Upstream, status: response.Status, took: response.ResponseTime.Sub(response.RequestTime)}
	if e.receive(land, response, life) {
		return land
	}
	// What is held has nothing to do with the answer: the whole, without validators.
	_ = response.Body.Close()
	e.held, e.validate = nil, false
	return e.ask(ctx, forAll)
}

// conditional tells whether a request has preconditions (RFC 9110 §13.1).
func conditional(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "If-") {
			return true
		}
	}
	return false
}

// failed turns an error of the upstream into a landing: the stale response where
// it may be served, else the trouble.
func (e *errand) failed(err error) *landing {
	trouble := asTrouble(err)
	land := &landing{trouble: trouble, upstream: trouble.Upstream}
	if e.held != nil && e.onError {
		land.object, land.fallback = e.held, true
	}
	return land
}

// request is what the upstream is asked.
func (e *errand) request(whom audience) *origin.Request {
	h := e.forwardHeader()
	method := e.req.Method()
	// What is asked for has to be what the key says, whoever it is for.
	encodings := httpcache.NormalAcceptEncoding(h["Accept-Encoding"])
	if h.Del("Accept-Encoding"); encodings != "" {
		h.Set("Accept-Encoding", encodings)
	}
	dropUnkeyed(h)
	if !e.site.Rules.HonourRequest {
		// Where clients cannot empty this cache, they cannot empty those behind it either.
		h.Del(httpcache.CacheControlField)
		h.Del("Pragma")
	}
	if whom == forAll || e.validate {
		httpcache.ClearConditionals(h)
	}
	if e.validate {
		httpcache.SetValidators(h, e.held.Stored())
	}
	e.site.Request.apply(h)
	return &origin.Request{
		Method: method, Path: e.target.Path, Query: e.target.Query,
		SiteHost: e.site.host(e.clientHost), ClientHost: e.clientHost, Header: h,
	}
}

// forwardHeader is the client's header as any upstream may see it: without what a
// client says of itself and its way here, with what we know of both.
func (e *errand) forwardHeader() http.Header {
	h := httpcache.ForwardHeader(e.header)
	dropUntrusted(h)
	h.Set("X-Forwarded-Host", e.site.host(e.clientHost))
	h.Set("X-Forwarded-Proto", e.target.Scheme)
	if e.forwarded != "" {
		h.Set("X-Forwarded-For", e.forwarded)
	}
	addVia(h, e.proto)
	return h
}

// url is the target URI, for people.
func (e *errand) url() string {
	u := e.target.Scheme + "://" + e.target.Host + e.target.Path
	if e.target.Query != "" {
		u += "?" + e.target.Query
	}
	return u
}
