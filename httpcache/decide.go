package httpcache

import "time"

// Action is what to do with a request.
type Action uint8

const (
	Fetch      Action = iota // ask the origin for the whole
	Serve                    // answer from the stored response
	ServeStale               // answer from it, and refresh it in the background
	Validate                 // ask the origin whether it is still current
	Refuse                   // answer 504: the client allows no fetch
	actions
)

// String returns the word of the log and of the tests.
func (a Action) String() string {
	if a >= actions {
		return "unknown"
	}
	return [actions]string{"fetch", "serve", "serve-stale", "validate", "refuse"}[a]
}

// Decision is what Decide says of a request and a stored response.
type Decision struct {
	Action Action
	Reason Reason
	Age    time.Duration // current age; 0 without a stored response
	TTL    time.Duration // lifetime left, negative when stale
	// StaleIfError: should the origin answer 5xx or not at all, the stored response
	// may be served, whatever it is asked for: a fresh one, or a stale one within its
	// window. Never a stale one against must-revalidate, proxy-revalidate, no-cache or
	// s-maxage (RFC 9111 §4.2.4, RFC 5861 §4).
	StaleIfError bool
}

// Decide says what to do with a request, given the response that Select chose
// for it, or nil (RFC 9111 §4). Handed a response that is stored for other
// selecting fields it answers Fetch with VaryMiss, so after a Select that found
// nothing any of the variants may be passed.
//
// A plain request, GET or HEAD without directives that we obey, is decided by
// one comparison of instants where the stored response is fresh.
func Decide(rules *Rules, req *Request, s *Stored, now time.Time) Decision {
	if s != nil && now.Before(s.plainUntil) && req.plain(rules) && s.selectedBy(req) {
		age := s.Age(now)
		return Decision{Action: Serve, Reason: Fresh, Age: age, TTL: s.lifetime - age, StaleIfError: true}
	}
	return decide(rules, req, s, now)
}

func (q *Request) plain(rules *Rules) bool {
	return q.retrieves && !q.obeyed(rules)
}

// obeyed reports whether the client gave directives and the rules honour them.
func (q *Request) obeyed(rules *Rules) bool { return q.directed && rules.HonourRequest }

func (s *Stored) selectedBy(req *Request) bool {
	return len(s.vary) == 0 || req.selected == s || s.matches(req)
}

// decide is the whole law; Decide may only abbreviate it.
func decide(rules *Rules, req *Request, s *Stored, now time.Time) Decision {
	if !req.retrieves {
		return Decision{Action: Fetch, Reason: MethodNotStored}
	}
	var d Decision
	switch {
	case s == nil:
		d = Decision{Action: Fetch, Reason: Miss}
	case !s.selectedBy(req):
		d = Decision{Action: Fetch, Reason: VaryMiss}
	default:
		d = s.reuse(rules, req, now)
	}
	if req.obeyed(rules) && req.directive.onlyIfCached && (d.Action == Fetch || d.Action == Validate) {
		d.Action, d.Reason, d.StaleIfError = Refuse, OnlyIfCached, false
	}
	return d
}

// reuse says how a response that matches the request may be used.
func (s *Stored) reuse(rules *Rules, req *Request, now time.Time) Decision {
	d := Decision{Age: s.Age(now)}
	d.TTL = s.lifetime - d.Age
	wish := requestDirectives{maxAge: absent, minFresh: absent, maxStale: absent}
	if req.obeyed(rules) {
		wish = req.directive
	}
	staleness := -d.TTL
	inTrouble := staleness < s.staleFor(rules.StaleIfError, s.staleIfError)
	switch {
	case s.noCache:
		d.Reason = NoCache
	case wish.noCache:
		d.Reason = RequestNoCache
	case wish.maxAge == 0, wish.maxAge.present() && d.Age > wish.maxAge.duration():
		d.Reason = RequestMaxAge
	case wish.minFresh.present() && d.TTL < wish.minFresh.duration():
		d.Reason = RequestMinFresh
	case d.TTL > 0:
		d.Action, d.Reason, d.StaleIfError = Serve, Fresh, true
		return d
	case !s.strict && (wish.maxStale == anyStale || wish.maxStale.present() && staleness <= wish.maxStale.duration()):
		d.Action, d.Reason, d.StaleIfError = Serve, RequestMaxStale, inTrouble
		return d
	case !wish.maxAge.present() && staleness < s.staleFor(rules.StaleWhileRevalidate, s.staleWhileRevalidate):
		d.Action, d.Reason, d.StaleIfError = ServeStale, StaleWhileRevalidate, inTrouble
		return d
	default:
		d.Reason = Stale
		if s.revalidate {
			d.Reason = MustRevalidate
		}
		d.StaleIfError = inTrouble
	}
	d.Action = Fetch
	if s.HasValidator() {
		d.Action = Validate
	}
	return d
}
