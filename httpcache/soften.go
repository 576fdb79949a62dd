package httpcache

// Soften is what Decide said of a stored response that was purged softly since: it
// counts as stale from now on, however long it was meant to live. It is served once
// more while it is refreshed, unless a directive forbids any use of it as stale (RFC
// 9111 §4.2.4): then it is validated first. Should the origin fail, it may stand in as
// any stale response may.
func Soften(rules *Rules, req *Request, s *Stored, d Decision) Decision {
	if d.Action != Serve && d.Action != ServeStale {
		return d
	}
	d.Reason, d.StaleIfError = SoftPurged, !s.strict
	switch {
	case !s.strict:
		d.Action = ServeStale
	case req.obeyed(rules) && req.directive.onlyIfCached:
		d.Action, d.Reason = Refuse, OnlyIfCached
	case s.HasValidator():
		d.Action = Validate
	default:
		d.Action = Fetch
	}
	return d
}

// Doubt is what Decide said of a stored response that may have been made invalid: it is
// validated before it is sent, and stands in for nothing (RFC 9111 §4.4).
func Doubt(rules *Rules, req *Request, s *Stored, d Decision) Decision {
	d.StaleIfError = false
	if d.Action != Serve && d.Action != ServeStale {
		return d
	}
	d.Reason = NoCache
	switch {
	case req.obeyed(rules) && req.directive.onlyIfCached:
		d.Action, d.Reason = Refuse, OnlyIfCached
	case s.HasValidator():
		d.Action = Validate
	default:
		d.Action = Fetch
	}
	return d
}
