package edge

import (
	"context"
	"net/http"
	"strings"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/origin"
)

// answerCoded sends o in the coding that was negotiated. False means that o has to be
// sent as it is, because its coded form is not there and cannot be made now.
func (x *exchange) answerCoded(o *cachestore.Object, re reply) bool {
	coding := x.agreed.coding
	if coding == Identity {
		return false
	}
	coded := x.openCoded(o)
	head := x.r.Method == http.MethodHead
	if coded == nil && !head {
		return false
	}
	if coded != nil {
		defer x.reader.Close()
	}
	x.weigh()
	x.hint(o.Stored().Early())
	x.head(o.Stored().Header(), re)
	h := x.w.Header()
	x.markCoded(h, coding)
	x.record.Tier = tierOf(o)
	if coded != nil {
		x.h.store.Use(coded)
		x.record.Tier = tierOf(coded)
		if size, ok := coded.Size(); ok {
			h[httpcache.ContentLengthField] = x.value(valueLength, itoa(size))
		}
	}
	x.writeHead(http.StatusOK)
	if head {
		return true
	}
	if err := x.copyFrom(&x.reader); err != nil {
		// Who fell out of a window cannot go on by a range either: the upstream has no
		// such bytes.
		x.cut(err)
	}
	return true
}

// openCoded finds the form of o in the coding that was negotiated, or begins to make it, and opens x's reader on
// it. It returns nil where neither can be done; for HEAD nothing is begun.
func (x *exchange) openCoded(o *cachestore.Object) *cachestore.Object {
	key := x.agreed.key
	if coded := x.findCoded(key); coded != nil || x.r.Method == http.MethodHead {
		return coded
	}
	// Under the lock nobody else begins the same, so it is made once for all who ask.
	lock := x.h.coders.lock(key)
	lock.Lock()
	defer lock.Unlock()
	if coded := x.findCoded(key); coded != nil {
		return coded
	}
	if x.h.coders.isVain(key, x.now) {
		return nil
	}
	return x.beginCoded(o)
}

// findCoded opens x's reader on the coded body that is stored under key.
func (x *exchange) findCoded(key httpcache.Key) *cachestore.Object {
	for _, each := range x.h.store.Get(key, x.objects[:0]) {
		if each.OpenContext(x.ctx, &x.reader, 0, -1) == nil {
			return each
		}
	}
	return nil
}

// beginCoded begins to make the coded form of o, in the background and for all who
// want it from now on, and opens x's reader on it. The new object has its metadata only
// to be weighed and told apart by: freshness, conditions and fields are always those of
// o, so that a 304 that freshens o is enough for both.
func (x *exchange) beginCoded(o *cachestore.Object) *cachestore.Object {
	h := x.h
	body := wholeBody
	if o.Filling() {
		body = arrivingBody
	}
	one := h.coders.take(x.agreed.coding, body)
	if one == nil {
		return nil
	}
	from, err := o.Open(0, -1)
	if err != nil {
		h.coders.put(one)
		return nil
	}
	fill := h.store.Begin(cachestore.Beginning{
		Key: x.agreed.key, Label: o.Label(), Stored: o.Stored(), Length: -1, MaxBytes: x.site.MaxObjectBytes,
		Born: o.Born(), Marks: o.Marks(),
	})
	coded := fill.Object()
	err = coded.OpenInto(&x.reader, 0, -1) // before the first byte, or a window would end unread
	h.inBackground(func() {
		defer from.Close()
		h.fillCoded(fill, o, &codedBody{ctx: h.life, from: storedSource{from}, coder: one, turns: h.coders.turns})
	})
	if err != nil {
		return nil
	}
	return coded
}

// fillCoded makes the coded form of o. What cannot be coded, becomes hardly smaller, or
// is not kept is remembered: it is sent as it is for a while.
func (h *Handler) fillCoded(fill *cachestore.Fill, o *cachestore.Object, body *codedBody) {
	key := fill.Object().Key()
	whole, vain := false, false
	body.ended = func(in, out int64) {
		whole = true
		if out > in-in/gainPart {
			vain = true
			h.coders.vain.set(key, clock().Add(vainFor)) // before it is out of sight and begun again
		}
		if _, passing := o.Passing(); vain || passing {
			h.store.Remove(key) // those who read it now get it to the end
		}
	}
	defer func() {
		switch {
		case body.broken:
			h.coders.vain.set(key, clock().Add(vainFor))
		case whole && !vain && len(h.store.Get(key, nil)) == 0:
			h.coders.vain.set(key, clock().Add(unkeptFor))
		}
		h.coders.giveBack(body)
	}()
	if err := fill.Copy(h.life, body); err != nil {
		h.log.Debug("a body could not be compressed", "url", o.Label().URL, "coding", body.coder.kind.coding.String(), "error", err)
	}
}

// giveBack gives back the coder of a body that is not read any more.
func (c *coders) giveBack(body *codedBody) {
	if body.broken {
		c.drop(body.coder.use)
		return
	}
	c.put(body.coder)
}

// codeRelay decides whether a response that is only passed on is compressed on its
// way, and makes its fields, which stand in x's response already, say so. The coder is
// nil where it goes as it is.
//
// A GET that a rule sends past the cache is compressed like one whose response turned
// out to be private: where the decision fell is nothing to the client, and a site that
// bypasses all who are logged in would else compress for strangers only. What answers
// other methods is seldom text of any length, may be one side of a dialogue, and is not
// touched; nor is what answers a client that asked for another protocol, since its next
// words need not be HTTP.
func (x *exchange) codeRelay(response *origin.Response, result Result) *coder {
	x.agreed = negotiated{}
	c := x.site.Compress
	if c == nil || result == ResultBypass && !x.bypassedGet() {
		return nil
	}
	h := x.w.Header()
	if response.Status == http.StatusNotModified {
		x.markRelayed304(h)
		return nil
	}
	if !httpcache.Transformable(response.Header) || !c.suits(response.Status, response.Header, response.ContentLength) {
		return nil
	}
	x.agreed = negotiated{varies: true, coding: c.preferred(x.r)}
	x.markVaries(h)
	if x.agreed.coding == Identity {
		return nil
	}
	var one *coder
	if x.r.Method != http.MethodHead {
		if one = x.h.coders.take(x.agreed.coding, relayedBody); one == nil {
			return nil
		}
	}
	x.markCoded(h, x.agreed.coding)
	return one
}

// bypassedGet tells that x went past the cache and may be compressed as if it had not;
// HEAD has the fields of GET.
func (x *exchange) bypassedGet() bool {
	return (x.r.Method == http.MethodGet || x.r.Method == http.MethodHead) && x.upgrade() == ""
}

// markRelayed304 gives a 304 of the upstream the entity tag by which the client knows
// what it has: a weak one, if the client's is and the upstream found that it means its
// own.
func (x *exchange) markRelayed304(h http.Header) {
	lines := h[httpcache.ETagField]
	if len(lines) != 1 || !strings.HasPrefix(lines[0], `"`) {
		return
	}
	for _, line := range x.r.Header["If-None-Match"] {
		if strings.Contains(line, "W/"+lines[0]) {
			x.agreed.varies = true
			x.markVaries(h)
			x.weakenETag(h)
			return
		}
	}
}

// copyRelayed sends the body of a response that is only passed on, through the coder
// if there is one.
func (x *exchange) copyRelayed(response *origin.Response, one *coder) error {
	live := response.ContentLength < 0
	if one == nil {
		return x.copyBody(response.Body, live)
	}
	if body, ok := response.Body.(*endingBody); ok {
		stop := context.AfterFunc(x.ctx, body.end)
		defer stop()
	}
	buf := relayBuffers.Get().(*[relayBytes]byte)
	defer relayBuffers.Put(buf)
	body := &codedBody{ctx: x.ctx, from: &relayedSource{Reader: response.Body, buf: buf}, coder: one, turns: x.h.coders.turns}
	defer x.h.coders.giveBack(body)
	return x.copyBody(body, live)
}
