package admin

import (
	"net/http"

	"perigee/cachestore"
	"perigee/edge/listener"
	"perigee/purge"
)

// The JSON of GET /v1/stats. It is spelt out here so that a field renamed within the
// house does not change what scripts read.
type statsAnswer struct {
	Version          string           `json:"version"`
	Store            *StoreStats      `json:"store,omitempty"`
	Disk             *DiskStats       `json:"disk,omitempty"`
	Connections      *connectionStats `json:"connections,omitempty"`
	Purge            *purgeStats      `json:"purge,omitempty"`
	AccessLogDropped *uint64          `json:"access_log_dropped,omitempty"`
	Panics           *int64           `json:"panics,omitempty"`
}

// StoreStats is the store in the answer to GET /v1/stats: memory, and the ways to the
// disk and back, whose counters stay 0 where there is none. See [cachestore.Stats].
type StoreStats struct {
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
	Surplus    int64 `json:"surplus"`

	DiskStored  int64 `json:"disk_stored"`
	DiskRefused int64 `json:"disk_refused"`
	Recalled    int64 `json:"recalled"`
	Promoted    int64 `json:"promoted"`
	Spilled     int64 `json:"spilled"`
	Unspilled   int64 `json:"unspilled"`
	Damaged     int64 `json:"damaged"`
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

// purgeStats has the numbers of the log as text: they are larger than those that most
// readers of JSON keep exactly.
type purgeStats struct {
	Entries             int           `json:"entries"`
	InvalidationEntries int           `json:"invalidation_entries"`
	Bytes               int64         `json:"bytes"`
	Applied             uint64        `json:"applied"`
	Invalidated         uint64        `json:"invalidated"`
	Folded              uint64        `json:"folded"`
	Forgotten           uint64        `json:"forgotten"`
	Newest              int64         `json:"newest,string"`
	HardFloor           int64         `json:"hard_floor,string"`
	SoftFloor           int64         `json:"soft_floor,string"`
	Journal             *journalStats `json:"journal,omitempty"`
}

type journalStats struct {
	Entries  int    `json:"entries"`
	Bytes    int64  `json:"bytes"`
	Segments int    `json:"segments"`
	Queued   int    `json:"queued"`
	Appends  uint64 `json:"appends"`
	Syncs    uint64 `json:"syncs"`
	Failures uint64 `json:"failures"`
	Failing  string `json:"failing,omitempty"`
	Oldest   int64  `json:"oldest,string"`
	Newest   int64  `json:"newest,string"`
}

func newPurgeStats(s purge.Stats, j *purge.JournalStats) *purgeStats {
	p := &purgeStats{
		Entries: s.Entries, InvalidationEntries: s.LocalEntries, Bytes: s.Bytes,
		Applied: s.Applied, Invalidated: s.Invalidated, Folded: s.Folded, Forgotten: s.Forgotten,
		Newest: s.Seq, HardFloor: s.HardFloor, SoftFloor: s.SoftFloor,
	}
	if j == nil {
		return p
	}
	p.Journal = &journalStats{
		Entries: j.Entries, Bytes: j.Bytes, Segments: j.Segments, Queued: j.Queued,
		Appends: j.Appends, Syncs: j.Syncs, Failures: j.Failures, Oldest: j.FirstSeq, Newest: j.NewestSeq,
	}
	if j.Failing != nil {
		p.Journal.Failing = j.Failing.Error()
	}
	return p
}

func newStoreStats(s cachestore.Stats) *StoreStats {
	return &StoreStats{
		LimitBytes: s.LimitBytes, UsedBytes: s.UsedBytes, Objects: s.Objects, Fills: s.Fills, Windows: s.Windows,
		Stored: s.Stored, Refused: s.Refused, TooLarge: s.TooLarge, Evicted: s.Evicted,
		Replaced: s.Replaced, Removed: s.Removed, Failed: s.Failed, Detached: s.Detached,
		Corrupt: s.Corrupt, Partial: s.Partial, Surplus: s.Surplus,
		DiskStored: s.DepotStored, DiskRefused: s.DepotRefused, Recalled: s.Recalled, Promoted: s.Promoted,
		Spilled: s.Spilled, Unspilled: s.Unspilled, Damaged: s.Damaged,
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
	if o.Disk != nil {
		answer.Disk = newDiskStats(o.Disk())
	}
	if o.Listener != nil {
		answer.Connections = newConnectionStats(o.Listener())
	}
	if o.PurgeStats != nil {
		answer.Purge = newPurgeStats(o.PurgeStats())
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
