package edge

import (
	"context"
	"io"
	"net/http"
	"slices"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/origin"
)

// largeBytes is how far ahead of a body that is only passed on a client's range
// may begin; beyond it the range is asked for by itself.
const largeBytes = 4 << 20

// receive decides what becomes of the upstream's response. False means that it is
// a 304, or a part, which does not fit what is held, and that the whole has to be
// fetched.
func (e *errand) receive(land *landing, response *origin.Response, life context.Context) bool {
	meta := httpcache.Response{
		Status: response.Status, Header: response.Header, ContentLength: response.ContentLength,
		RequestTime: response.RequestTime, ResponseTime: response.ResponseTime, Early: e.hints,
	}
	if e.policy.live && blockingPlaylist(e.target.Query) {
		// The upstream held the request until there was something new: that time is no
		// age of the answer, which would else be too old for all who waited for it.
		meta.RequestTime = meta.ResponseTime
	}
	switch {
	case e.validate && response.Status == http.StatusNotModified:
		return e.confirm(land, response, meta)
	case response.Status >= 500 && e.standsIn(httpcache.TroubleStatus5xx):
		_ = response.Body.Close()
		land.object, land.fallback = e.held, true
		return true
	case e.overtaken():
		land.private, land.reason = response, invalidatedReason
		return e.answers(response)
	case e.conditional || e.ranged && response.Status != http.StatusOK:
		// 206, 304, 412, 416, or whatever an application makes of them: an answer to
		// this client's conditions, and not what the page is. A 200 to a range is the
		// whole.
		land.private, land.reason = response, "conditions-sent"
		return true
	case e.req.Method() == http.MethodHead:
		e.tellHeld(meta)
	case e.part != "" && response.Status == http.StatusRequestedRangeNotSatisfiable:
		land.private, land.reason = response, "range-not-satisfiable"
		return e.answers(response)
	case e.part != "" && response.Status >= 400 && !speaksOfAll(response.Status):
		// It may be the range that the upstream does not like: who asks for another, or
		// for none, must not get this.
		land.private, land.reason = response, "range-sent"
		return e.answers(response)
	}
	return e.judge(land, response, meta, life)
}

// answers tells whether a response answers the client's request as it is: the part
// that was missing from what is held, or its absence, does not.
func (e *errand) answers(response *origin.Response) bool {
	switch response.Status {
	case http.StatusPartialContent, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return e.base == nil
	}
	return true
}

// judge stores the response if the law allows it.
func (e *errand) judge(land *landing, response *origin.Response, meta httpcache.Response, life context.Context) bool {
	rules := e.policyFor(meta.Status, meta.Header).rules
	stored, refusal := httpcache.NewStored(rules, e.sharedRequest(), meta)
	if meta.Status == http.StatusPartialContent && e.part == "" {
		refusal = httpcache.RefusedPartial // nobody asked for a part
	}
	if refusal == httpcache.Storable && slices.Contains(stored.Vary(), "x-forwarded-for") {
		// It is for one client's address, which no other has; the law knows just what
		// clients send, and this field is ours.
		e.h.unshareable.set(e.key, unshared{response.ResponseTime.Add(unshareableFor), varyClientReason})
		land.private, land.reason = response, varyClientReason
		return e.answers(response)
	}
	if refusal != httpcache.Storable {
		if !refusal.OfRequest() && speaksOfAll(response.Status) {
			e.h.unshareable.set(e.key, unshared{response.ResponseTime.Add(unshareableFor), refusal.String()})
			if e.held != nil && e.part == "" {
				// Nor is what is held what the page is any more (RFC 9111 §4.3.3): its
				// stale windows would go on for those who come later.
				e.h.store.Remove(e.held.Key())
			}
		}
		land.private, land.reason = response, refusal.String()
		return e.answers(response)
	}
	b := e.beginning(rules, stored, response, meta)
	if e.h.struckSince(e.asked, b.Marks...) {
		// One of its groups was made invalid meanwhile: who asks by now must not get it.
		land.private, land.reason = response, invalidatedReason
		return e.answers(response)
	}
	land.withheld = httpcache.Withheld(rules, meta)
	e.keep(land, b, response, life)
	return true
}

const (
	invalidatedReason = "invalidated"
	varyClientReason  = "vary-client-address"
)

// beginning is what the store has to know of a response that it is to keep.
func (e *errand) beginning(rules *httpcache.Rules, stored *httpcache.Stored, response *origin.Response, meta httpcache.Response) cachestore.Beginning {
	b := cachestore.Beginning{
		Stored: stored, Length: response.ContentLength, MaxBytes: e.site.MaxObjectBytes, Born: e.asked,
		Label: cachestore.Label{Site: e.site.Name, URL: e.url()},
	}
	if meta.Status == http.StatusPartialContent {
		e.joinBase(rules, &b, meta)
	}
	e.learn(b.Stored)
	b.Key, b.Marks = e.key, e.marks(b.Stored, rules)
	if digest := httpcache.NewDigest(meta); digest != nil {
		b.Check = digest.Agrees
		response.Body = &checkedBody{ReadCloser: response.Body, digest: digest}
	}
	return b
}

// checkedBody is a body of which the upstream gave a digest (RFC 9530).
type checkedBody struct {
	io.ReadCloser
	digest *httpcache.Digest
}

// Read implements [io.Reader].
func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	_, _ = b.digest.Write(p[:n])
	return n, err
}

// tellHeld lets a response to HEAD update what is held, or make it invalid (RFC 9111
// §4.3.5).
func (e *errand) tellHeld(head httpcache.Response) {
	if e.held == nil || head.Status != http.StatusOK {
		return
	}
	size, known := e.held.Size()
	if !known {
		size = -1
	}
	rules := e.rulesFor(e.held.Stored())
	switch fresh, ok := httpcache.UpdateByHead(rules, e.held.Stored(), e.req, size, head); {
	case ok:
		e.h.store.FreshenAt(e.held, fresh, e.asked, e.marks(fresh, rules))
	case fresh == nil:
		e.h.store.Remove(e.held.Key())
	}
}

// speaksOfAll tells whether a response with this status, if it may not be stored,
// says so of the resource, and not of one request (its condition, its range, its
// fields) or of a bad moment of the upstream.
func speaksOfAll(status int) bool {
	switch status {
	case http.StatusPartialContent, http.StatusNotModified:
		return false
	case http.StatusNotFound, http.StatusGone, http.StatusUnavailableForLegalReasons:
		return true
	}
	return status >= 200 && status < 400
}

// overtaken tells whether the target was invalidated after the upstream was asked:
// then its answer may be of before.
func (e *errand) overtaken() bool {
	if e.held != nil && e.h.struckSince(e.asked, e.held.Marks()...) {
		return true
	}
	return e.h.struckSince(e.asked, e.targetMarks(e.h, e.site)...)
}

// confirm freshens what is held by a 304, if that speaks of it.
func (e *errand) confirm(land *landing, response *origin.Response, meta httpcache.Response) bool {
	if e.overtaken() {
		return false
	}
	rules := e.rulesFor(e.held.Stored())
	fresh, ok := httpcache.Freshen(rules, e.held.Stored(), e.req, meta)
	if !ok || !httpcache.SameSearch(fresh, e.held.Stored()) {
		return false // what varies otherwise by its query has to be stored under another key
	}
	_ = response.Body.Close()
	land.withheld = httpcache.Withheld(rules, meta)
	land.object, land.revalidated, land.stored = e.h.store.FreshenAt(e.held, fresh, e.asked, e.marks(fresh, rules)), true, true
	return true
}

// keep begins the fill and brings the body in the background.
func (e *errand) keep(land *landing, b cachestore.Beginning, response *origin.Response, life context.Context) {
	h := e.h
	h.vary.set(e.key, b.Stored.Vary())
	fill := h.store.Begin(b)
	land.object, land.stored = fill.Object(), fill.Stored()
	land.anchor = dropAnchor(land.object, b.Part.First)
	switch {
	case b.Stored.Lifetime() <= 0, !land.stored && response.ContentLength > largeBytes:
		// Each request needs a validation of its own; or whoever comes later should be
		// able to ask for a part of what is not stored.
		h.unshareable.set(e.key, unshared{until: response.ResponseTime.Add(unshareableFor)})
	default:
		h.unshareable.forget(e.key)
	}
	h.inBackground(func() {
		defer func() { _ = response.Body.Close() }()
		if err := fill.Copy(life, response.Body); err != nil {
			h.log.Debug("a body did not come whole", "url", e.url(), "upstream", land.upstream, "error", err)
		}
	})
}

// endingBody ends the fetch's context when it is closed.
type endingBody struct {
	io.ReadCloser
	end func()
}

// Close implements [io.Closer].
func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
