package edge

import (
	"net/http"
	"slices"
	"strings"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/origin"
)

const (
	// maxExplained is how many stored variants an explanation shows.
	maxExplained = 64
	// maxExplainedText is how much of a text that others made it shows, and
	// maxExplainedList how many members of such a list.
	maxExplainedText = 512
	maxExplainedList = 32
)

// Explain says what would become of a request at this instant, and why. It takes the
// steps that the request would take, as far as they change nothing: no origin is asked,
// nothing is counted, stored or refreshed. A question whose Check fails is explained as
// a request that is refused.
func (h *Handler) Explain(q Question) Explanation {
	now := clock()
	x := &explainer{Explanation: Explanation{
		At: now.UTC(), Cache: h.name, Rules: []ExplainedRule{}, Variants: []ExplainedVariant{},
	}}
	r, err := q.request()
	if err != nil {
		x.Request.Method = q.Method
		x.exchange = &exchange{h: h, now: now}
		x.refuse(failure{status: http.StatusBadRequest, reason: "bad-request", text: err.Error()})
	} else {
		x.exchange = new(exchange)
		x.arrive(h, r, now)
		x.explain()
	}
	x.Summary = x.summary()
	return x.Explanation
}

// explainer is a request that is not answered.
type explainer struct {
	*exchange
	Explanation
	objects []*cachestore.Object // what Variants are made of, in their order
	valid   []*cachestore.Object // what a request would find
}

// explain is [exchange.serve] without an answer.
func (x *explainer) explain() {
	x.Request = ExplainedRequest{Method: x.r.Method, Scheme: x.record.Scheme, Host: x.r.Host, Path: rawPath(x.r), Query: x.r.URL.RawQuery}
	switch {
	case x.r.URL.Path == HealthPath:
		x.Decision = ExplainedDecision{Action: ActionAnswer, Reason: "health", Status: http.StatusOK}
		if x.h.draining.Load() {
			x.Decision.Status = http.StatusServiceUnavailable
		}
		return
	}
	fault := x.admit()
	x.Request.Scheme = x.record.Scheme
	if x.record.Client.IsValid() {
		x.Request.Client = x.record.Client.String()
	}
	if x.site != nil {
		x.Site = &ExplainedSite{Name: x.site.Name, MatchedBy: x.site.matchedBy(x.host)}
	}
	if fault != nil {
		x.refuse(*fault)
		return
	}
	if x.site == nil {
		x.refuse(failure{status: http.StatusMisdirectedRequest, reason: "purge-api", text: "This host answers the purge API, over TLS."})
		return
	}
	x.Request.Host, x.Request.Path, x.Request.Query = x.host, x.target.Path, x.target.Query
	x.Request.Country = x.countryFor(x.policy)
	x.Request.LeftOut = leftOut(x.query, x.target.Query)
	way := x.way()
	x.explainKey()
	x.explainVariants()
	switch way {
	case wayNowhere:
		x.refuse(noSuchPath)
	case wayRedirect:
		x.Decision = ExplainedDecision{
			Action: ActionRedirect, Reason: redirectReason, Status: http.StatusPermanentRedirect, Location: x.overTLS(),
		}
	case wayPurge:
		x.Decision.Action, x.Decision.Reason = ActionPass, "purge"
	case wayPast:
		x.explainPass()
	default:
		x.explainCache()
	}
	x.explainPolicy()
	x.explainRules()
}

// matchedBy says which of the site's names a host is.
func (s *Site) matchedBy(host string) string {
	switch {
	case s.Name == CatchAll:
		return "catch-all"
	case s.Name == host:
		return "name"
	}
	return "alias"
}

// leftOut lists the members of a query that are not in its reduced form.
func leftOut(query, reduced string) []string {
	kept := make(map[string]int)
	for member := range strings.SplitSeq(reduced, "&") {
		kept[member]++
	}
	var left []string
	for member := range strings.SplitSeq(query, "&") {
		if kept[member]--; kept[member] < 0 && member != "" {
			left = append(left, clip(member))
		}
	}
	return few(left)
}

// refuse is [exchange.fail] without an answer.
func (x *explainer) refuse(f failure) {
	x.Decision.Action, x.Decision.Reason, x.Decision.Text, x.Decision.Status = ActionFail, f.reason, f.text, f.status
	x.say(ResultError, httpcache.CacheStatus{Fwd: f.forward, Detail: f.reason})
}

// say tells what X-Cache and Cache-Status would.
func (x *explainer) say(result Result, status httpcache.CacheStatus) {
	x.Decision.XCache = result.String()
	x.Decision.CacheStatus = string(status.Append(nil, x.h.name))
}

// explainPass is [exchange.pass] without a question.
func (x *explainer) explainPass() {
	e := errandFor(x.exchange, nil, httpcache.Decision{})
	e.forward = x.passForward()
	x.Decision.Action, x.Decision.Reason = ActionPass, x.record.Reason
	if x.overloaded() {
		x.explainShed(e)
		return
	}
	x.say(ResultBypass, httpcache.CacheStatus{Fwd: e.forward, Detail: x.passDetail()})
	h := e.forwardHeader()
	x.policy.editRequest(h)
	x.Decision.Origin = x.asked(&origin.Request{Method: x.r.Method, Path: x.target.Path, Query: x.query, Header: h}, AskAsSent)
}

// explainCache is [exchange.fromCache] without an answer.
func (x *explainer) explainCache() {
	found, d := x.judge(x.valid, x.now)
	x.Decision.Action, x.Decision.Reason = d.Action.String(), d.Reason.String()
	x.choose(found, d)
	switch d.Action {
	case httpcache.Serve:
		x.Decision.Refresh = httpcache.EarlyRefresh(x.rulesFor(found), found.Stored(), d, x.seed())
		x.say(ResultHit, hitStatus(d, ""))
		x.explainAnswer(found)
	case httpcache.ServeStale:
		x.Decision.Refresh = true
		x.say(ResultStale, hitStatus(d, d.Reason.String()))
		x.explainAnswer(found)
	case httpcache.Validate, httpcache.Fetch:
		x.explainFetch(errandFor(x.exchange, found, d))
	case httpcache.Refuse:
		x.refuse(unanswerable(d))
		x.Decision.Action = d.Action.String()
	}
	if x.Decision.Refresh {
		x.Waiting = x.h.flights.Waiting(x.h.flight(x.key, &x.req))
		e := errandFor(x.exchange, found, d)
		e.asGet()
		x.Decision.Origin = x.asked(e.request(forAll), kindOf(e))
	}
}

// choose marks the variant that the decision is about.
func (x *explainer) choose(found *cachestore.Object, d httpcache.Decision) {
	if found == nil {
		return
	}
	i := slices.Index(x.objects, found)
	if i < 0 { // it is beyond the bound
		x.add(found)
		i = len(x.objects) - 1
	}
	x.Variants[i].Chosen = true
	x.Decision.Variant, x.Decision.Age, x.Decision.TTL = &i, seconds(d.Age), seconds(d.TTL)
}

// explainAnswer is [exchange.answer] as far as the status.
func (x *explainer) explainAnswer(o *cachestore.Object) {
	stored := o.Stored()
	x.Decision.Status = stored.Status()
	x.negotiate(o)
	switch httpcache.Evaluate(&x.req, stored) {
	case httpcache.NotModified:
		x.Decision.Status = http.StatusNotModified
	case httpcache.PreconditionFailed:
		x.Decision.Status = http.StatusPreconditionFailed
	case httpcache.Ranges:
		x.explainRange(o)
	default:
		x.Decision.Encoding = x.agreed.token()
	}
}

func (x *explainer) explainRange(o *cachestore.Object) {
	size, known := o.Size()
	if !known {
		return
	}
	ranges, err := httpcache.ParseRange(x.req.Range(), size)
	_, passing := o.Passing()
	switch {
	case err == httpcache.ErrUnsatisfiable:
		x.Decision.Status = http.StatusRequestedRangeNotSatisfiable
	case err != nil || len(ranges) > 1 && passing:
	case x.farAhead(o, ranges[0].First):
		e := errandFor(x.exchange, nil, httpcache.Decision{Reason: httpcache.Miss})
		x.Decision.Status = 0
		x.say(ResultMiss, httpcache.CacheStatus{Fwd: e.forward})
		x.Decision.Origin = x.asked(e.request(forOne), AskAsSent)
	default:
		x.Decision.Status = http.StatusPartialContent
	}
}

// explainFetch is [exchange.fetch] without a question.
func (x *explainer) explainFetch(e *errand) {
	x.Waiting = x.h.flights.Waiting(x.flightFor(e, 0))
	for kind, name := range troubleNames {
		if e.standsIn(kind) {
			x.Decision.StaleOn = append(x.Decision.StaleOn, name)
		}
	}
	slices.Sort(x.Decision.StaleOn)
	if x.overloaded() {
		x.explainShed(e)
		return
	}
	result := ResultMiss
	if e.validate {
		result = ResultRevalidated
	}
	x.say(result, httpcache.CacheStatus{Fwd: e.forward})
	if !x.alone(e) {
		x.Decision.Origin = x.asked(e.request(forAll), kindOf(e))
		x.Decision.Origin.Shared = true
		return
	}
	e.part, e.base = "", nil
	kind := AskAsSent
	if e.validate {
		kind = AskValidate
	}
	x.Decision.Origin = x.asked(e.request(forOne), kind)
}

// troubleNames are the words of serve_stale_on.
var troubleNames = map[httpcache.Trouble]string{
	httpcache.TroubleError: "error", httpcache.TroubleTimeout: "timeout", httpcache.TroubleStatus5xx: "5xx",
}

// explainShed is [exchange.shed] without an answer.
func (x *explainer) explainShed(e *errand) {
	if !e.standsIn(httpcache.TroubleError) {
		x.refuse(failure{status: http.StatusServiceUnavailable, reason: overloadReason, forward: e.forward, text: overloadText})
		return
	}
	x.Decision.Action, x.Decision.Reason = httpcache.ServeStale.String(), overloadReason
	x.say(ResultStale, x.shedStatus(e))
	x.explainAnswer(e.held)
}

// kindOf is how an errand for all asks.
func kindOf(e *errand) string {
	switch {
	case e.validate:
		return AskValidate
	case e.part != "":
		return AskRange
	}
	return AskWhole
}

// asked describes a question to the origin. Of its fields only those are told that
// are the cache's concern: others may be secrets of the site.
func (x *explainer) asked(request *origin.Request, kind string) *ExplainedOrigin {
	o := &ExplainedOrigin{Method: request.Method, Target: request.Path, Kind: kind, Fields: make(map[string]string)}
	if request.Query != "" {
		o.Target += "?" + request.Query
	}
	for name, lines := range request.Header {
		switch {
		case name == httpcache.RangeField, name == httpcache.AcceptEncodingField, strings.HasPrefix(name, "If-"):
			o.Fields[name] = clip(strings.Join(lines, ", "))
		}
	}
	return o
}
