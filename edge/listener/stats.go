package listener

import (
	"sync/atomic"

	"perigee/edge/listener/h1"
)

// counts are what is counted outside the gate.
type counts struct {
	acceptErrors atomic.Uint64
	handshakes   atomic.Uint64
	floods       atomic.Uint64
	faults       [numFaults]atomic.Uint64
	badRequests  h1.Counts
}

// BadRequest is why a request was refused before an Answerer saw it.
type BadRequest = h1.Reason

// Stats is a snapshot of a Set's counters. The maps hold every reason, also those
// with 0, and are the caller's.
type Stats struct {
	Open         int // connections now, hijacked ones included
	Hijacked     int // of those, hijacked
	Clients      int // client addresses with open connections, an IPv6 /64 being one
	Requests     int // in the Answerer now
	Accepted     uint64
	Refused      map[Refusal]uint64
	AcceptErrors uint64
	Handshakes   uint64           // TLS handshakes that succeeded
	Faults       map[Fault]uint64 // and those that failed, except those that a shutdown ended
	HijackedEver uint64
	Floods       uint64 // HTTP/2 connections cut for what they sent beside requests
	// BadRequests are requests refused by what they are made of. Those are not in it
	// that net/http's HTTP/2 refuses by itself: it tells nobody.
	BadRequests map[BadRequest]uint64
}

// Stats returns the counters now.
func (s *Set) Stats() Stats {
	st := Stats{
		Requests:     int(s.front.running.Load()),
		Refused:      make(map[Refusal]uint64, numRefusals-1),
		Faults:       make(map[Fault]uint64, numFaults-1),
		BadRequests:  make(map[BadRequest]uint64, h1.NumReasons-1),
		AcceptErrors: s.counts.acceptErrors.Load(),
		Handshakes:   s.counts.handshakes.Load(),
		Floods:       s.counts.floods.Load(),
	}
	for f := FaultNone + 1; f < numFaults; f++ {
		st.Faults[f] = s.counts.faults[f].Load()
	}
	for r := h1.ReasonNone + 1; r < h1.NumReasons; r++ {
		st.BadRequests[r] = s.counts.badRequests.Count(r)
	}
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	st.Open, st.Hijacked, st.Clients = s.gate.open, s.gate.hijacked, len(s.gate.perIP)
	st.Accepted, st.HijackedEver = s.gate.accepted, s.gate.taken
	for r := RefusalNone + 1; r < numRefusals; r++ {
		st.Refused[r] = s.gate.refused[r]
	}
	return st
}
