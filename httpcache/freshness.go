package httpcache

import (
	"net/http"
	"time"
)

// Bounds of the heuristic lifetime (RFC 9111 §4.2.2): a tenth of the time since
// the last modification, and never more than a day.
const (
	heuristicPart = 10
	heuristicCap  = 24 * time.Hour
)

// timing is what the fields of a response say about its age, as it arrived.
type timing struct {
	date       time.Time // Date, or ResponseTime where it is missing or invalid
	dated      bool      // Date was valid
	initialAge time.Duration
	ageValue   time.Duration
	delay      time.Duration
}

// newTiming is RFC 9111 §4.2.3 up to corrected_initial_age. The apparent age is
// in whole seconds, as Date is, so that a fresh response does not arrive up to
// a second old.
func newTiming(resp Response) timing {
	received := resp.ResponseTime.Round(0).UTC()
	t := timing{date: received.Truncate(time.Second)}
	if date, ok := singleDate(resp.Header[DateField], received); ok {
		t.date, t.dated = date, true
	}
	t.ageValue = parseAge(resp.Header[AgeField])
	if !resp.RequestTime.IsZero() {
		t.delay = min(max(0, resp.ResponseTime.Sub(resp.RequestTime)), maxDuration)
	}
	t.initialAge = min(max(apparentAge(received, t.date, t.delay), t.ageValue+t.delay), maxDuration)
	return t
}

// apparentAge is how old Date makes a response seem that arrived at received, delay
// after it was asked for. What is dated in the second in which it was asked for, or
// later, was made for the request: of its age the delay tells all, and a second that
// ended in between must not make what lives for a second stale on arrival.
func apparentAge(received, date time.Time, delay time.Duration) time.Duration {
	if !date.Before(received.Add(-delay).Truncate(time.Second)) {
		return 0
	}
	return min(max(0, received.Truncate(time.Second).Sub(date)), maxDuration)
}

// lifetime is a freshness lifetime and how it came about.
type lifetime struct {
	length time.Duration
	// explicit: given by the origin's fields, or by a rule for the response or its
	// status.
	explicit bool
	// known is false where nothing gives a lifetime; length is then 0.
	known  bool
	source Source
}

// newLifetime is RFC 9111 §4.2.1 and §4.2.2 with the rules around it: the rule's
// lifetime, s-maxage, max-age, Expires, the rules by status, the default of the
// rules, the heuristic. The last two are for statuses cacheable by default only;
// describe refuses the others.
func newLifetime(rules *Rules, cc *responseDirectives, resp Response, t timing) lifetime {
	life := anyLifetime(rules, cc, resp, t)
	switch {
	case rules.NegativeTTL <= 0, resp.Status != http.StatusNotFound && resp.Status != http.StatusGone,
		cc.ageInvalid && life.source == SourceNone:
		return life
	}
	if !life.known || life.source == SourceHeuristic || life.length > rules.NegativeTTL {
		life.length, life.known, life.source = min(rules.NegativeTTL, maxDuration), true, SourceNegativeTTL
	}
	return life
}

func anyLifetime(rules *Rules, cc *responseDirectives, resp Response, t timing) lifetime {
	switch {
	case rules.HasTTL && (resp.Status < 400 || rules.TTLOfErrors):
		return lifetime{min(max(0, rules.TTL), maxDuration), true, true, SourceRule}
	case cc.sMaxAge.present():
		return lifetime{cc.sMaxAge.duration(), true, true, cc.sourceOr(SourceSMaxage)}
	case cc.maxAge.present():
		return lifetime{cc.maxAge.duration(), true, true, cc.sourceOr(SourceMaxAge)}
	case cc.ageInvalid:
		// The origin wanted to say something: better stale (RFC 9111 §4.2.1).
		return lifetime{}
	}
	if lines := resp.Header[ExpiresField]; len(lines) > 0 && cc.target == SourceNone {
		return lifetime{expiresAfter(lines, t.date, resp.ResponseTime), true, true, SourceExpires}
	}
	if ttl, ok := rules.TTLByStatus[resp.Status]; ok {
		return lifetime{min(max(0, ttl), maxDuration), true, true, SourceStatusRule}
	}
	if rules.DefaultTTL > 0 {
		return lifetime{min(rules.DefaultTTL, maxDuration), false, true, SourceDefaultTTL}
	}
	return heuristic(resp.Header, t, resp.ResponseTime)
}

// expiresAfter returns how long after date Expires is. An invalid date, "0"
// above all, is in the past (RFC 9111 §5.3); of several lines the least counts.
func expiresAfter(lines []string, date, received time.Time) time.Duration {
	least := maxDuration
	for _, line := range lines {
		expires, ok := parseDate(line, received)
		if !ok {
			return 0
		}
		least = min(least, max(0, expires.Sub(date)))
	}
	return least
}

func heuristic(h http.Header, t timing, received time.Time) lifetime {
	modified, ok := singleDate(h[LastModifiedField], received)
	if !ok || !modified.Before(t.date) {
		return lifetime{}
	}
	return lifetime{min(t.date.Sub(modified)/heuristicPart, heuristicCap), false, true, SourceHeuristic}
}
