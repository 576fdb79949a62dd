package origin

import "sync/atomic"

// Stats is what a pool has done since it was made, and does now. The counters are
// read one after another: between requests they add up, during them nearly.
type Stats struct {
	Upstream    string // URL
	Connections int    // requests that may be in flight
	InFlight    int    // requests that are, their bodies included
	Queued      int    // requests that wait to be

	Answered uint64             // requests whose response's head came, whatever its status
	Failed   [errorKinds]uint64 // requests that got an error instead, by ErrorKind
	Cut      [errorKinds]uint64 // bodies that failed after the head, by ErrorKind
	Leaked   uint64             // bodies that were dropped unread and unclosed: a bug in the caller
	Dials    uint64             // connections attempted
}

// counts are the counters behind Stats.
type counts struct {
	answered, leaked atomic.Uint64
	failed, cut      [errorKinds]atomic.Uint64
}

// Stats takes a snapshot.
func (p *Pool) Stats() Stats {
	u := p.upstream
	s := Stats{
		Upstream:    u.url,
		Connections: u.gate.limit,
		Answered:    u.counts.answered.Load(),
		Leaked:      u.counts.leaked.Load(),
		Dials:       u.dialer.dials.Load(),
	}
	s.InFlight, s.Queued = u.gate.counts()
	for kind := range errorKinds {
		s.Failed[kind] = u.counts.failed[kind].Load()
		s.Cut[kind] = u.counts.cut[kind].Load()
	}
	return s
}
