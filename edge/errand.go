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
	policy     *policy
	open       uint64 // the rules that match if the response does
	req        *httpcache.Request
	naming     // of the target
	clientHost string
	client     *http.Request // the client's request, only read
	forwarded  string        // X-Forwarded-For
	proto      string        // of the client's request
	forward    httpcache.Forward

	held     *cachestore.Object // the stored response that the request matches, nil for none
	validate bool               // ask whether held is still good
	onError  bool               // held may be served if the upstream fails

	early bool                   // held is still fresh: this is a refresh ahead of time
	part  string                 // the Range to ask for, "" for the whole
	span  httpcache.ByteRange    // what part says, as the flight's name
	base  *cachestore.Object     // of which part is a missing part, nil for none
	tell  func(int, http.Header) // passes interim responses on, nil for nobody
	hints []string               // Link of the Early Hints that came

	conditional, ranged bool             // the client's own conditions, or its range, were sent
	asked               cachestore.Birth // when the upstream was asked
}

// landing is how an errand ended: an object that others may share, or a response
// that is only for the request which led.
type landing struct {
	plainKey httpcache.Key    // of the target that was asked for
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
		h: x.h, site: x.site, policy: x.policy, open: x.open, naming: x.naming, client: x.r, req: httpcache.NewRequest(x.r),
		clientHost: x.host, proto: x.r.Proto, forwarded: x.forwardedFor(), forward: d.Reason.Forward(),
		held: held, validate: held != nil && d.Action != httpcache.Fetch, onError: d.StaleIfError,
		early: d.Action == httpcache.Serve, asked: x.h.ledger.Now(),
	}
	e.req.Hide(x.policy.key.dropped)
	if d.Action == httpcache.Fetch {
		e.aimAtPart(d.Reason == httpcache.PartMiss)
	}
	return e
}

// asGet makes the errand one for the whole, where the client asked by HEAD.
func (e *errand) asGet() {
	if e.req.Method() != http.MethodHead {
		return
	}
	get := *e.client
	get.Method = http.MethodGet
	e.client, e.req = &get, httpcache.NewRequest(&get)
	e.policy, e.open = e.site.policies.forRequest(&asking{path: e.target.Path, host: e.clientHost, r: &get})
	e.req.Hide(e.policy.key.dropped)
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
	if best, ok := selectWhole(e.req, e.stored()); ok {
		d := e.h.decide(e.rulesFor(best.Stored()), e.req, best, clock())
		_, lacking := lackingIn(e.req, best)
		if d.Action == httpcache.Serve && !lacking && (!e.early || best != e.held) {
			land := e.landing()
			land.object, land.found = best, true
			return land, nil
		}
		e.takeUp(best)
	}
	return e.ask(ctx, forAll), nil
}

// stored is what may be stored for the errand's target by now.
func (e *errand) stored() []*cachestore.Object {
	return e.h.find(e.site, &e.naming, nil)
}

// rulesFor is the site's say about a response.
func (e *errand) rulesFor(s *httpcache.Stored) *httpcache.Rules {
	return e.policyFor(s.Status(), s.Header()).rules
}

func (e *errand) policyFor(status int, h http.Header) *policy {
	contentType := ""
	if values := h[httpcache.ContentTypeField]; len(values) > 0 {
		contentType = values[0]
	}
	return e.site.policies.forResponse(e.policy, e.open, status, contentType)
}

func (e *errand) landing() *landing { return &landing{plainKey: e.plainKey} }

// audience is whom a response is asked for.
type audience bool

const (
	forAll audience = true  // the client's conditions and ranges are left out
	forOne audience = false // they are passed on
)

// ask asks the upstream. Until the response's head has come ctx ends it; what
// follows then ends with the body, and at the latest with the handler.
func (e *errand) ask(ctx context.Context, whom audience) *landing {
	life, headCame, end := e.h.detached(ctx)
	e.asked = e.h.ledger.Now()
	e.letGo()
	request := e.request(whom)
	e.ranged = whom == forOne && len(request.Header[httpcache.RangeField]) > 0
	e.conditional = whom == forOne && !e.validate && conditional(request.Header)
	response, err := e.site.Origin.Fetch(life, request)
	headCame()
	if err != nil {
		end()
		return e.failed(err)
	}
	response.Body = &endingBody{ReadCloser: response.Body, end: end}
	land := e.landing()
	land.upstream, land.status = response.Upstream, response.Status
	land.took = response.ResponseTime.Sub(response.RequestTime)
	if e.receive(land, response, life) {
		return land
	}
	// What is held has nothing to do with the answer: the whole, without validators.
	_ = response.Body.Close()
	e.held, e.validate, e.base, e.part = nil, false, nil, ""
	return e.ask(ctx, forAll)
}

// letGo forgets what was held if it was purged since it was found: a 304 to its
// validators would bring it back.
func (e *errand) letGo() {
	if e.held == nil || e.h.verdict(e.held) != cachestore.Gone {
		return
	}
	e.held, e.validate, e.onError, e.early = nil, false, false, false
	if e.base != nil {
		e.base, e.part = nil, ""
	}
}

// detached is the life of a fetch: until headCame is called ctx ends it, and then
// only end does, or the handler's end.
func (h *Handler) detached(ctx context.Context) (life context.Context, headCame, end func()) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	withHandler := context.AfterFunc(h.life, cancel)
	end = func() { withHandler(); cancel() }
	headOnly := context.AfterFunc(ctx, end)
	return life, func() { headOnly() }, end
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
	land := e.landing()
	land.trouble, land.upstream = trouble, trouble.Upstream
	kind := httpcache.TroubleError
	if trouble.Timeout() {
		kind = httpcache.TroubleTimeout
	}
	if e.standsIn(kind) {
		land.object, land.fallback = e.held, true
	}
	return land
}

// standsIn tells whether what is held may be served in the place of an upstream that
// is in this trouble.
func (e *errand) standsIn(kind httpcache.Trouble) bool {
	if e.held == nil || !e.onError || !e.policy.rules.StaleOnTrouble(kind) ||
		e.overtaken() || e.h.verdict(e.held) >= cachestore.Doubtful {
		return false
	}
	_, lacking := lackingIn(e.req, e.held)
	return !lacking
}

// request is what the upstream is asked.
func (e *errand) request(whom audience) *origin.Request {
	h := e.forwardHeader()
	// What is asked for has to be what the key says, whoever it is for.
	encodings := httpcache.NormalAcceptEncoding(h[httpcache.AcceptEncodingField])
	if delete(h, httpcache.AcceptEncodingField); encodings != "" {
		h[httpcache.AcceptEncodingField] = []string{encodings}
	}
	e.policy.key.dropUnkeyed(h)
	if !e.policy.rules.HonourRequest {
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
	if whom == forAll && e.part != "" {
		e.setPart(h)
	}
	e.policy.editRequest(h)
	return &origin.Request{
		Method: e.req.Method(), Path: e.target.Path, Query: e.target.Query,
		SiteHost: e.site.host(e.clientHost), ClientHost: e.clientHost, Header: h, Interim: e.heard,
	}
}

// forwardHeader is the client's header as any upstream may see it: without what a
// client says of itself and its way here, with what we know of both.
func (e *errand) forwardHeader() http.Header {
	h := httpcache.ForwardHeader(e.client.Header)
	dropUntrusted(h)
	h.Set("X-Forwarded-Host", e.site.host(e.clientHost))
	h.Set("X-Forwarded-Proto", e.target.Scheme)
	if e.forwarded != "" {
		h.Set("X-Forwarded-For", e.forwarded)
	}
	for _, each := range e.facets {
		if field, ok := facetFields[each.name]; ok && each.value != "" {
			h[field] = []string{each.value}
		}
	}
	h[httpcache.CDNLoopField] = httpcache.AppendCDNLoop(h[httpcache.CDNLoopField], loopID, e.h.node)
	h[httpcache.SurrogateField] = []string{httpcache.SurrogateCapability}
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
