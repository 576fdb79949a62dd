package edge

import (
	"context"
	"io"
	"net/http"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/origin"
)

// largeBytes is how far ahead of a body that is only passed on a client's range
// may begin; beyond it the range is asked for by itself.
const largeBytes = 4 << 20

// receive decides what becomes of the upstream's response. False means that it is
// a 304 which does not speak of what is held, and that the whole has to be fetched.
func (e *errand) receive(land *landing, response *origin.Response, life context.Context) bool {
	meta := httpcache.Response{
		Status: response.Status, Header: response.Header, ContentLength: response.ContentLength,
		RequestTime: response.RequestTime, ResponseTime: response.ResponseTime,
	}
	switch {
	case e.validate && response.Status == http.StatusNotModified:
		return e.confirm(land, response, meta)
	case e.held != nil && e.onError && response.Status >= 500:
		_ = response.Body.Close()
		land.object, land.fallback = e.held, true
		return true
	case e.overtaken():
		land.private, land.reason = response, "invalidated"
		return true
	case e.conditional || e.ranged && response.Status != http.StatusOK:
		// 206, 304, 412, 416, or whatever an application makes of them: an answer to
		// this client's conditions, and not what the page is. A 200 to a range is the
		// whole.
		land.private, land.reason = response, "conditions-sent"
		return true
	}
	stored, refusal := httpcache.NewStored(e.site.Rules, e.req, meta)
	if refusal != httpcache.Storable {
		if !refusal.OfRequest() && speaksOfAll(response.Status) {
			e.h.unshareable.set(e.key, response.ResponseTime.Add(unshareableFor))
		}
		land.private, land.reason = response, refusal.String()
		return true
	}
	land.withheld = httpcache.Withheld(e.site.Rules, meta)
	e.keep(land, stored, response, life)
	return true
}

// speaksOfAll tells whether a response with this status, if it may not be stored,
// says so of the resource, and not of one request (its condition, its range, its
// fields) or of a bad moment of the upstream.
func speaksOfAll(status int) bool {
	switch status {
	case http.StatusPartialContent, http.StatusNotModified:
		return false
	case http.StatusNotFound, http.StatusGone:
		return true
	}
	return status >= 200 && status < 400
}

// overtaken tells whether the key was invalidated after the upstream was asked:
// then its answer may be of before.
func (e *errand) overtaken() bool {
	when, ok := e.h.invalidated.get(e.key)
	return ok && when > e.asked
}

// confirm freshens what is held by a 304, if that speaks of it.
func (e *errand) confirm(land *landing, response *origin.Response, meta httpcache.Response) bool {
	if e.overtaken() {
		return false
	}
	fresh, ok := httpcache.Freshen(e.site.Rules, e.held.Stored(), meta)
	if !ok {
		return false
	}
	_ = response.Body.Close()
	land.object, land.revalidated, land.stored = e.h.store.Freshen(e.held, fresh), true, true
	return true
}

// keep begins the fill and brings the body in the background.
func (e *errand) keep(land *landing, stored *httpcache.Stored, response *origin.Response, life context.Context) {
	h := e.h
	h.vary.set(e.key, stored.Vary())
	fill := h.store.Begin(cachestore.Beginning{
		Key: e.key, Stored: stored, Length: response.ContentLength, MaxBytes: e.site.MaxObjectBytes,
		Label: cachestore.Label{Site: e.site.Name, URL: e.url()},
	})
	land.object, land.stored = fill.Object(), fill.Stored()
	land.anchor = dropAnchor(land.object)
	switch {
	case stored.Lifetime() <= 0, !land.stored && response.ContentLength > largeBytes:
		// Each request needs a validation of its own; or whoever comes later should be
		// able to ask for a part of what is not stored.
		h.unshareable.set(e.key, response.ResponseTime.Add(unshareableFor))
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
