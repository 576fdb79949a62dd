package edge

import (
	"context"
	"io"
	"net/http"
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
	header     http.Header        // of the client's request, only read
	client     string             // address, for X-Forwarded-For
	proto      string             // of the client's request
	stale      *cachestore.Object // to be validated, nil for none
	onError    bool               // stale may be served if the upstream fails
	age        time.Duration      // of stale
	ttl        time.Duration      // of stale
	forward    httpcache.Forward  // why the upstream is asked
}

// largeBytes is the length from which a body that is not stored is too long to be
// fetched whole for a client that wants a part.
const largeBytes = 4 << 20

// landing is how an errand ended: an object that others may share, or a response
// that is only for the request which led.
type landing struct {
	private     *origin.Response // for the leader only, who must close it
	object      *cachestore.Object
	anchor      *anchor     // keeps the first bytes of object, if it is not stored, until all who wait read it
	withheld    http.Header // fields of the response that only its leader may have
	found       bool        // object was in the store already when the flight began
	stored      bool        // object is kept beyond those who ask for it now
	revalidated bool        // object is the stale one, confirmed
	fallback    bool        // object is the stale one, because the upstream failed
	refusal     httpcache.Refusal

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

// errandFor is the errand of an exchange whose request the law answered with d.
func errandFor(x *exchange, stale *cachestore.Object, d httpcache.Decision, forward httpcache.Forward) *errand {
	e := &errand{
		h: x.h, site: x.site, req: httpcache.NewRequest(x.r), target: x.target, key: x.key,
		clientHost: x.host, header: x.r.Header, proto: x.r.Proto, forward: forward,
		stale: stale, onError: d.StaleIfError, age: d.Age, ttl: d.TTL,
	}
	if x.record.Client.IsValid() {
		e.client = x.record.Client.String()
	}
	return e
}

// flight names the flight that e may share.
func (e *errand) flight() flightKey {
	names, _ := e.h.vary.get(e.key)
	return flightKey{key: e.key, variant: httpcache.VariantOf(names, e.req)}
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
	return e.ask(ctx, true), nil
}

// ask asks the upstream. shared says that the response should suit everybody: then
// the client's conditions and ranges are left out.
func (e *errand) ask(ctx context.Context, shared bool) *landing {
	// The response outlives ctx: a fill goes on when those who asked have left.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	headOnly := context.AfterFunc(ctx, end)
	response, err := e.site.Origin.Fetch(life, e.request(shared))
	headOnly()
	if err != nil {
		end()
		return e.failed(err)
	}
	response.Body = &endingBody{ReadCloser: response.Body, end: end}
	land := &landing{upstream: response.Upstream, status: response.Status, took: response.ResponseTime.Sub(response.RequestTime)}
	e.receive(land, response, life, end)
	return land
}

// receive decides what becomes of the upstream's response.
func (e *errand) receive(land *landing, response *origin.Response, life context.Context, end context.CancelFunc) {
	meta := httpcache.Response{
		Status: response.Status, Header: response.Header, ContentLength: response.ContentLength,
		RequestTime: response.RequestTime, ResponseTime: response.ResponseTime,
	}
	switch {
	case e.stale != nil && response.Status == http.StatusNotModified:
		_ = response.Body.Close()
		if !e.confirm(land, meta) {
			// The 304 speaks of something else than what is stored.
			e.stale = nil
			*land = *e.ask(context.WithoutCancel(life), true)
		}
		return
	case e.stale != nil && e.onError && response.Status >= 500:
		_ = response.Body.Close()
		land.object, land.fallback = e.stale, true
		return
	}
	stored, refusal := httpcache.NewStored(e.site.Rules, e.req, meta)
	if refusal != 0 {
		land.refusal = refusal
		if !refusal.OfRequest() && e.speaksOfAll(response.Status) {
			e.h.unshareable.set(e.key, response.ResponseTime.Add(unshareableFor))
		}
		land.private = response
		return
	}
	land.withheld = httpcache.Withheld(e.site.Rules, meta)
	e.store(land, stored, response, life, end)
}

// speaksOfAll tells whether a response that may not be stored says something of
// the resource, and not just of this request's method, condition or range, or of a
// bad moment of the upstream.
func (e *errand) speaksOfAll(status int) bool {
	return e.req.Method() == http.MethodGet && status != http.StatusPartialContent &&
		status != http.StatusNotModified && status < 500
}

// confirm freshens the stale response by a 304. False means that the 304 does not
// speak of it, and the whole has to be fetched.
func (e *errand) confirm(land *landing, meta httpcache.Response) bool {
	fresh, ok := httpcache.Freshen(e.site.Rules, e.stale.Stored(), meta)
	if !ok {
		return false
	}
	land.object, land.revalidated, land.stored = e.h.store.Freshen(e.stale, fresh), true, true
	return true
}

// store begins the fill and brings the body in the background.
func (e *errand) store(land *landing, stored *httpcache.Stored, response *origin.Response, life context.Context, end context.CancelFunc) {
	e.h.vary.set(e.key, stored.Vary())
	if stored.Lifetime() > 0 {
		e.h.unshareable.forget(e.key)
	} else {
		// Kept, but each request needs a validation of its own.
		e.h.unshareable.set(e.key, response.ResponseTime.Add(unshareableFor))
	}
	fill := e.h.store.Begin(cachestore.Beginning{
		Key: e.key, Stored: stored, Length: response.ContentLength, MaxBytes: e.site.MaxObjectBytes,
		Label: cachestore.Label{Site: e.site.Name, URL: e.url()},
	})
	land.object, land.stored = fill.Object(), fill.Stored()
	if !land.stored {
		land.anchor = dropAnchor(land.object)
	}
	if !land.stored && response.ContentLength > largeBytes {
		// Whoever comes later should be able to ask for a part of it.
		e.h.unshareable.set(e.key, response.ResponseTime.Add(unshareableFor))
	}
	e.h.background.Go(func() {
		stop := context.AfterFunc(e.h.life, end)
		defer stop()
		defer end()
		err := fill.Copy(life, response.Body)
		_ = response.Body.Close()
		if err != nil {
			e.h.log.Debug("a body did not come whole", "url", e.url(), "upstream", land.upstream, "error", err)
		}
	})
}

// failed turns an error of the upstream into a landing: the stale response where
// it may be served, else the trouble.
func (e *errand) failed(err error) *landing {
	trouble := asTrouble(err)
	if e.stale != nil && e.onError {
		return &landing{object: e.stale, fallback: true, trouble: trouble, upstream: trouble.Upstream}
	}
	return &landing{trouble: trouble, upstream: trouble.Upstream}
}

// request is what the upstream is asked.
func (e *errand) request(shared bool) *origin.Request {
	h := e.forwardHeader()
	method := e.req.Method()
	if shared {
		httpcache.ClearConditionals(h)
		encodings := httpcache.NormalAcceptEncoding(e.header["Accept-Encoding"])
		if h.Del("Accept-Encoding"); encodings != "" {
			h.Set("Accept-Encoding", encodings)
		}
	}
	if e.stale != nil {
		httpcache.ClearConditionals(h)
		httpcache.SetValidators(h, e.stale.Stored())
		method = http.MethodGet
	}
	return &origin.Request{
		Method: method, Path: e.target.Path, Query: e.target.Query,
		SiteHost: e.target.Host, ClientHost: e.clientHost, Header: h,
	}
}

// forwardHeader is the client's header as the upstream may see it.
func (e *errand) forwardHeader() http.Header {
	h := httpcache.ForwardHeader(e.header)
	// What a client says of itself here is not to be believed.
	h.Del("Forwarded")
	h.Del("X-Real-Ip")
	h.Set("X-Forwarded-Host", e.target.Host)
	h.Set("X-Forwarded-Proto", e.target.Scheme)
	if h.Del("X-Forwarded-For"); e.client != "" {
		h.Set("X-Forwarded-For", e.client)
	}
	addVia(h, e.proto)
	e.site.Request.apply(h)
	return h
}

// endingBody ends the fetch's context when it is closed.
type endingBody struct {
	io.ReadCloser
	end context.CancelFunc
}

func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// url is the target URI, for people.
func (e *errand) url() string {
	u := e.target.Scheme + "://" + e.target.Host + e.target.Path
	if e.target.Query != "" {
		u += "?" + e.target.Query
	}
	return u
}
