package edge

import (
	"errors"
	"net/http"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/origin"
)

// maxRounds is how many flights a request waits for. One may turn out to be for
// another variant: only its response tells by which fields they differ; or to bring
// another part than this request wants.
const maxRounds = 3

// fetch answers with what the upstream gives, asked once for all who want the same
// at the same time. Who waited for a flight that does not suit goes alone, so that
// a herd never queues behind what cannot be shared.
func (x *exchange) fetch(e *errand) {
	if x.overloaded() {
		x.shed(e)
		return
	}
	for round := 0; round < maxRounds && !x.alone(e); round++ {
		x.listen(e)
		land, led, err := x.h.flights.Do(x.ctx, x.flightFor(e, round), e.lead)
		x.hush()
		if err != nil {
			x.interrupted(e, err)
			return
		}
		x.take(land)
		partial := x.wantsMore(land)
		if !partial && (led || x.suits(land)) {
			x.record.Collapsed = !led
			x.deliver(e, land, led)
			return
		}
		switch {
		case partial && x.gained(e, land):
			e = errandFor(x, land.object, httpcache.Decision{Action: httpcache.Fetch, Reason: httpcache.PartMiss})
		case partial:
			// The upstream gives other parts than it is asked for.
			x.h.unshareable.set(x.key, unshared{until: x.now.Add(unshareableFor)})
		case round == maxRounds-2 && e.part == "":
			round++ // the second flight was the last chance for a variant
		}
	}
	x.goAlone(e)
}

// wantsMore tells whether what a flight brought is of the variant that this request
// wants, and only lacks a part that it wants too.
func (x *exchange) wantsMore(land *landing) bool {
	if land.object == nil || !x.named(land) {
		return false
	}
	if _, ok := httpcache.Select(&x.req, []*cachestore.Object{land.object}); !ok {
		return false
	}
	_, lacking := x.lacks(land.object)
	return lacking
}

// gained tells whether a part that was asked for brought the request further: whether
// its first byte is there now.
func (x *exchange) gained(e *errand, land *landing) bool {
	span, _ := x.lacks(land.object)
	return e.base == nil || span.First != e.span.First
}

// named tells whether a landing is about this request's target, or about one that
// counts as equal.
func (x *exchange) named(land *landing) bool {
	return (land.plainKey == x.plainKey || land.object.Key() == x.key) &&
		x.h.verdict(land.object) < cachestore.Doubtful
}

const (
	// overloadCeiling times Limits.Requests is how many requests there may be in all:
	// beyond it not even what is stored is served, since those in hand, most of them
	// streams that clients hold open, cost memory of their own.
	overloadCeiling = 4
	overloadReason  = "overloaded"
	overloadText    = "This server has more requests in hand than it takes; try again in a moment."
)

// overloaded tells whether so many requests are in flight that nothing more may be
// asked of upstreams.
func (x *exchange) overloaded() bool {
	return x.limits != nil && x.limits.Requests > 0 && x.h.inFlight.Load() > int64(x.limits.Requests)
}

// shed answers a request that would need the upstream while we are overloaded: with
// a stale response where one may stand in for an error, else by a refusal.
func (x *exchange) shed(e *errand) {
	if e.standsIn(httpcache.TroubleError) {
		x.record.Reason = overloadReason
		x.answer(e.held, reply{result: ResultStale, status: x.shedStatus(e), age: e.held.Stored().Age(x.now)})
		return
	}
	x.fail(failure{
		status: http.StatusServiceUnavailable, reason: overloadReason, forward: e.forward, retryAfter: "1", text: overloadText,
	})
}

func (x *exchange) shedStatus(e *errand) httpcache.CacheStatus {
	held := e.held.Stored()
	return httpcache.CacheStatus{Hit: true, TTL: held.Lifetime() - held.Age(x.now), HasTTL: true, Detail: overloadReason}
}

// goAlone answers with what the upstream gives to this request alone.
func (x *exchange) goAlone(e *errand) {
	x.weigh()
	x.wentAlone = true
	e.part, e.base = "", nil
	x.listen(e)
	land := e.ask(x.ctx, forOne)
	x.hush()
	x.take(land)
	x.deliver(e, land, true)
}

// take makes land's anchor wait for x, and that of a landing before no longer.
func (x *exchange) take(land *landing) {
	x.weigh()
	x.anchor = land.anchor
}

// weigh tells the anchor, if there is one, that it need not wait for x any more.
func (x *exchange) weigh() {
	x.anchor.begun()
	x.anchor = nil
}

// alone tells whether a request should not wait for others: what it wants cannot
// be shared, or was not when it was asked for last.
func (x *exchange) alone(e *errand) bool {
	if x.r.Method == http.MethodHead && !e.validate {
		return true
	}
	if x.policy.live && blockingPlaylist(x.target.Query) {
		return false
	}
	last, ok := x.h.unshareable.get(x.key)
	return ok && x.now.Before(last.until)
}

// awaited tells whether a blocking playlist was made while this request waited for
// it, so that it is as good as one of its own: the rule for live streams says so.
func (x *exchange) awaited(s *httpcache.Stored, d httpcache.Decision) bool {
	return x.policy.live && blockingPlaylist(x.target.Query) && d.Reason != httpcache.NoCache && s.ResponseTime().After(x.now)
}

// blockingPlaylist tells whether a request waits at the upstream for a segment to
// come (RFC 8216bis, _HLS_msn): however short its answer lives, all who wait for the
// same segment wait together.
func blockingPlaylist(query string) bool {
	return hasParam(query, "_HLS_msn")
}

// suits tells whether what another request's errand brought may answer this one
// too. Trouble with the upstream may: to ask it once more would not help it.
func (x *exchange) suits(land *landing) bool {
	if land.object == nil {
		return land.trouble != nil
	}
	best, ok := httpcache.Select(&x.req, []*cachestore.Object{land.object})
	if !ok || !x.named(land) {
		return false
	}
	d := x.h.decide(x.rulesFor(best), &x.req, best, clock())
	if d.Reason == httpcache.SoftPurged && d.Action == httpcache.ServeStale {
		return true // found in the store it would be served too
	}
	return d.Action == httpcache.Serve || land.fallback && d.StaleIfError || x.awaited(best.Stored(), d)
}

// deliver sends what an errand brought. mine says that the errand was made for
// this very request.
func (x *exchange) deliver(e *errand, land *landing, mine bool) {
	x.record.Upstream, x.record.UpstreamStatus, x.record.UpstreamTime = land.upstream, land.status, land.took
	if land.trouble != nil {
		x.record.UpstreamError = land.trouble.Kind.String()
	}
	switch {
	case land.object != nil:
		x.record.Stored = mine && land.stored && !land.revalidated
		re := x.replyFor(e, land)
		if mine {
			re.own = land.withheld
			re.direct = !land.found && !land.fallback && land.object.Stored().Reckoning().AgeValue == 0
		}
		x.answer(land.object, re)
	case land.trouble != nil:
		x.upstreamFailed(e, land.trouble)
	default:
		x.record.Reason = land.reason
		x.relay(land.private, ResultMiss, httpcache.CacheStatus{Fwd: e.forward, FwdStatus: land.status, Detail: land.reason})
	}
}

// replyFor describes an answer from an object that an errand brought.
func (x *exchange) replyFor(e *errand, land *landing) reply {
	now := clock()
	stored := land.object.Stored()
	status := httpcache.CacheStatus{
		Fwd: e.forward, FwdStatus: land.status, Collapsed: x.record.Collapsed,
		Stored: land.stored && !land.revalidated, TTL: stored.Lifetime() - stored.Age(now), HasTTL: true,
	}
	re := reply{result: ResultMiss, status: status, age: stored.Age(now)}
	switch {
	case land.found:
		re.result = ResultHit
		re.status = httpcache.CacheStatus{Hit: true, TTL: status.TTL, HasTTL: true}
	case land.revalidated:
		re.result = ResultRevalidated
	case land.fallback:
		re.result = ResultStale
		re.status.Detail = "stale-if-error"
		x.record.Reason = "stale-if-error"
	}
	return re
}

// interrupted ends a request whose wait for a flight ended without an outcome.
func (x *exchange) interrupted(e *errand, err error) {
	if x.ctx.Err() != nil {
		x.clientLeft()
		return
	}
	var fault *origin.PanicError
	if errors.As(err, &fault) {
		x.fail(internalFault) // it has been counted and logged once, where it happened
		return
	}
	x.upstreamFailed(e, asTrouble(err))
}

// clientLeft ends a request whose client is gone: there is nobody to answer.
func (x *exchange) clientLeft() {
	x.record.Reason, x.record.Status, x.record.Aborted = "client-left", statusClientLeft, true
	x.record.UpstreamError = "" // it is none of the upstream's doing
}

// statusClientLeft is what the log says of a client that left before its answer;
// it is never sent.
const statusClientLeft = 499

// refreshLater validates a response that was served at once, stale or soon to be, in
// the background: once for any number of requests, and not at all when too many
// refreshes run already or one has failed a moment ago.
func (x *exchange) refreshLater(stale *cachestore.Object, d httpcache.Decision) {
	h, key, flight := x.h, x.key, x.h.flight(x.key, &x.req)
	if h.flights.Waiting(flight) > 0 {
		return
	}
	if until, ok := h.resting.get(key); ok && x.now.Before(until) {
		return
	}
	select {
	case h.refreshes <- struct{}{}:
	default:
		return
	}
	e := errandFor(x, stale, d)
	e.asGet()
	h.inBackground(func() {
		defer func() { <-h.refreshes }()
		land, led, err := h.flights.Do(h.life, flight, e.lead)
		if err != nil {
			return
		}
		land.anchor.begun()
		if led {
			land.dispose()
		}
		if land.object == nil || land.fallback || land.revalidated && stale.Filling() {
			// Each request for a popular page would else try an upstream that is down, or
			// validate a body that is still coming, which cannot be freshened.
			h.resting.set(key, clock().Add(refreshRest))
		}
	})
}

// asTrouble gives any error of an upstream a kind.
func asTrouble(err error) *origin.Error {
	var trouble *origin.Error
	if errors.As(err, &trouble) {
		return trouble
	}
	return &origin.Error{Err: err}
}
