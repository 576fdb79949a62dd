package admin

import (
	"net/http"

	"perigee/cachestore"
	"perigee/edge/listener"
)

// The JSON of GET /v1/stats. It is spelt out here so that a field renamed within the
// house does not change what scripts read.
type statsAnswer struct {
	Version          string           `json:"version"`
	Store            *storeStats      `json:"store,omitempty"`
	Connections      *connectionStats `json:"connections,omitempty"`
	AccessLogDropped *uint64          `json:"access_log_dropped,omitempty"`
	Panics           *int64           `json:"panics,omitempty"`
}

type storeStats struct {
	LimitBytes int64 `json:"limit_bytes"`
	UsedBytes  int64 `json:"used_bytes"`
	Objects    int64 `json:"objects"`
	Fills      int64 `json:"fills"`
	Windows    int64 `json:"windows"`
	Stored     int64 `json:"stored"`
	Refused    int64 `json:"refused"`
	TooLarge   int64 `json:"too_large"`
	Evicted    int64 `json:"evicted"`
	Replaced   int64 `json:"replaced"`
	Removed    int64 `json:"removed"`
	Failed     int64 `json:"failed"`
	Detached   int64 `json:"detached"`
	Corrupt    int64 `json:"corrupt"`
	Partial    int64 `json:"partial"`
}

type connectionStats struct {
	Open         int               `json:"open"`
	Hijacked     int               `json:"hijacked"`
	Clients      int               `json:"clients"`
	Requests     int               `json:"requests"`
	Accepted     uint64            `json:"accepted"`
	Refused      map[string]uint64 `json:"refused"`
	AcceptErrors uint64            `json:"accept_errors"`
	Handshakes   uint64            `json:"handshakes"`
	Faults       map[string]uint64 `json:"handshake_faults"`
}

func newStoreStats(s cachestore.Stats) *storeStats {
	return &storeStats{
		LimitBytes: s.LimitBytes, UsedBytes: s.UsedBytes, Objects: s.Objects, Fills: s.Fills, Windows: s.Windows,
		Stored: s.Stored, Refused: s.Refused, TooLarge: s.TooLarge, Evicted: s.Evicted,
		Replaced: s.Replaced, Removed: s.Removed, Failed: s.Failed, Detached: s.Detached,
		Corrupt: s.Corrupt, Partial: s.Partial,
	}
}

func newConnectionStats(s listener.Stats) *connectionStats {
	c := &connectionStats{
		Open: s.Open, Hijacked: s.Hijacked, Clients: s.Clients, Requests: s.Requests,
		Accepted: s.Accepted, Refused: map[string]uint64{}, AcceptErrors: s.AcceptErrors,
		Handshakes: s.Handshakes, Faults: map[string]uint64{},
	}
	for reason, n := range s.Refused {
		c.Refused[reason.String()] = n
	}
	for fault, n := range s.Faults {
		c.Faults[fault.String()] = n
	}
	return c
}

func (s *Server) stats(w http.ResponseWriter, _ *http.Request) {
	o := &s.options
	answer := statsAnswer{Version: o.Version}
	if o.Store != nil {
		answer.Store = newStoreStats(o.Store())
	}
	if o.Listener != nil {
		answer.Connections = newConnectionStats(o.Listener())
	}
	if o.AccessLogDropped != nil {
		n := o.AccessLogDropped()
		answer.AccessLogDropped = &n
	}
	if o.Panics != nil {
		n := o.Panics()
		answer.Panics = &n
	}
	writeJSON(w, http.StatusOK, answer)
}
