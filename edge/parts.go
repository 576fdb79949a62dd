package edge

import (
	"maps"
	"net/http"
	"slices"

	"perigee/cachestore"
	"perigee/httpcache"
)

// A partial response is stored as a part of the whole representation (RFC 9111 §3.3),
// and joined with other parts where a strong validator says that they belong
// together (§3.4). Which bytes an answer needs the law says; here they are fetched.

// lackingIn tells which bytes an answer to the request needs that o does not have and is
// not getting: the span from the first to the last.
func lackingIn(req *httpcache.Request, o *cachestore.Object) (span httpcache.ByteRange, lacking bool) {
	if !o.Partial() {
		return span, false
	}
	size, known := o.Size()
	if !known {
		return span, false
	}
	wanted, whole := httpcache.Wanted(req, o.Stored(), size)
	if whole {
		wanted = []httpcache.ByteRange{{First: 0, Last: size - 1}}
	}
	have := o.Extents()
	for _, each := range wanted {
		for _, gap := range httpcache.Lacking(have, each) {
			if !lacking {
				span, lacking = gap, true
			}
			span.First, span.Last = min(span.First, gap.First), max(span.Last, gap.Last)
		}
	}
	return span, lacking
}

// selectWhole chooses as the law does, and of what is equally recent what has all that
// the request wants: the fill of a part may still be listed when a whole that came
// later is stored.
func selectWhole(req *httpcache.Request, objects []*cachestore.Object) (best *cachestore.Object, ok bool) {
	if best, ok = httpcache.Select(req, objects); !ok || len(objects) == 1 {
		return best, ok
	}
	if _, lacking := lackingIn(req, best); !lacking {
		return best, ok
	}
	enough := slices.DeleteFunc(slices.Clone(objects), func(o *cachestore.Object) bool {
		_, lacking := lackingIn(req, o)
		return lacking || o.Stored().ResponseTime().Before(best.Stored().ResponseTime())
	})
	if other, ok := httpcache.Select(req, enough); ok {
		return other, true
	}
	return httpcache.Select(req, objects) // req remembers the choice
}

func (x *exchange) lacks(o *cachestore.Object) (httpcache.ByteRange, bool) {
	return lackingIn(&x.req, o)
}

// aimAtPart makes the errand one for a part: the part that held lacks, or what the
// client asks for of something of which nothing is stored. Then it is asked for as
// the client asked, unless there are conditions: their answer would be about the
// client's copy and not be of use for others.
func (e *errand) aimAtPart(more bool) {
	if more && e.held.Stored().StrongValidator() != "" {
		if span, lacking := lackingIn(e.req, e.held); lacking {
			e.base, e.span, e.part = e.held, span, httpcache.RangeValue(span)
			return
		}
	}
	if !e.req.Ranged() || e.req.Conditional() || e.client.Header.Get("If-Range") != "" {
		return
	}
	if r, suffix, ok := httpcache.RequestRange(e.req.Range()); ok {
		e.part, e.span = e.req.Range(), r
		if suffix {
			e.span = httpcache.ByteRange{First: -1, Last: r.Last}
		}
	}
}

// takeUp makes an errand for a missing part one for what is still missing by now.
func (e *errand) takeUp(best *cachestore.Object) {
	if e.base == nil && e.part == "" || !best.Partial() || best == e.base {
		return
	}
	e.held, e.base, e.part = best, nil, ""
	e.aimAtPart(true)
}

// setPart asks for the part, on the condition that it is one of the same
// representation as the parts that are there.
func (e *errand) setPart(h http.Header) {
	h[httpcache.RangeField] = []string{e.part}
	if e.base != nil {
		h[httpcache.IfRangeField] = []string{e.base.Stored().StrongValidator()}
	}
}

// sharedRequest is the request without the client's If-Range, which is never sent for
// others. Our own is, but what its 206 may leave out the base has.
func (e *errand) sharedRequest() *httpcache.Request {
	if len(e.client.Header[httpcache.IfRangeField]) == 0 {
		return e.req
	}
	shared := *e.client
	shared.Header = maps.Clone(e.client.Header)
	delete(shared.Header, httpcache.IfRangeField)
	request := httpcache.NewRequest(&shared)
	request.Hide(e.policy.key.dropped)
	return request
}

// joinBase says where in the representation the bytes of a 206 belong, and which
// parts are there already.
func (e *errand) joinBase(rules *httpcache.Rules, b *cachestore.Beginning, meta httpcache.Response) {
	b.Part, b.Size, _ = httpcache.PartOf(meta)
	b.Length = b.Part.Length()
	if e.base == nil {
		return
	}
	if size, known := e.base.Size(); !known || size != b.Size {
		return
	}
	if combined, refusal := httpcache.Combine(rules, e.base.Stored(), e.req, meta); refusal == httpcache.Storable {
		b.Stored, b.Base = combined, e.base
	}
}

// flightFor names the flight that an errand may share. The first to ask for a part
// of what nothing is known of shares with those who want the whole: should the
// upstream ignore Range, its answer is the whole, and once is enough.
func (x *exchange) flightFor(e *errand, round int) flightKey {
	flight := x.h.flight(x.key, e.req)
	if e.part != "" && (e.base != nil || round > 0) {
		flight.part = e.span
	}
	return flight
}
