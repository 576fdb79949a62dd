package admin

import "perigee/cachestore/disk"

// DiskStats is the disk in the answer to GET /v1/stats. See [disk.Stats].
type DiskStats struct {
	Objects         int64 `json:"objects"`
	UsedBytes       int64 `json:"used_bytes"`  // of all folders
	LimitBytes      int64 `json:"limit_bytes"` // of all folders
	IndexBytes      int64 `json:"index_bytes"`
	QueueBytes      int64 `json:"queue_bytes"`
	QueueLimitBytes int64 `json:"queue_limit_bytes"`
	Loading         bool  `json:"loading"`
	Loaded          int64 `json:"loaded"`

	Stored       int64 `json:"stored"`
	Refused      int64 `json:"refused"`
	QueueFull    int64 `json:"queue_full"`
	Freshened    int64 `json:"freshened"`
	Recalled     int64 `json:"recalled"`
	Late         int64 `json:"late"`
	Evicted      int64 `json:"evicted"`
	Readmitted   int64 `json:"readmitted"`
	Overruled    int64 `json:"overruled"`
	Errors       int64 `json:"errors"`
	RemovalsLost int64 `json:"removals_lost"`

	WrittenBytes    int64 `json:"written_bytes"`
	NewBytes        int64 `json:"new_bytes"`
	ReadmittedBytes int64 `json:"readmitted_bytes"`
	ReadBytes       int64 `json:"read_bytes"`
	// WriteAmplification is WrittenBytes by NewBytes; nil while nothing new was written.
	WriteAmplification *float64 `json:"write_amplification"`

	Drops   map[string]int64 `json:"drops"`
	Folders []FolderStats    `json:"folders"`
}

// FolderStats is one folder of [DiskStats]. State is working, resting or out.
type FolderStats struct {
	Path       string `json:"path"`
	State      string `json:"state"`
	UsedBytes  int64  `json:"used_bytes"`
	LimitBytes int64  `json:"limit_bytes"`
	Segments   int    `json:"segments"`
}

func newDiskStats(s disk.Stats) *DiskStats {
	used, limit := diskSizes(&s)
	d := &DiskStats{
		Objects: s.Objects, UsedBytes: used, LimitBytes: limit, IndexBytes: s.IndexBytes,
		QueueBytes: s.QueueBytes, QueueLimitBytes: s.QueueLimit, Loading: s.Loading, Loaded: s.Loaded,
		Stored: s.Stored, Refused: s.Refused, QueueFull: s.Full, Freshened: s.Freshened, Recalled: s.Recalled, Late: s.Late,
		Evicted: s.Evicted, Readmitted: s.Kept, Overruled: s.Overruled, Errors: s.Errors, RemovalsLost: s.Lost,
		WrittenBytes: s.WrittenBytes, NewBytes: s.StoredBytes, ReadmittedBytes: s.KeptBytes, ReadBytes: s.ReadBytes,
		Drops: s.Drops, Folders: make([]FolderStats, 0, len(s.Folders)),
	}
	if s.StoredBytes > 0 {
		ratio := float64(s.WrittenBytes) / float64(s.StoredBytes)
		d.WriteAmplification = &ratio
	}
	for _, f := range s.Folders {
		d.Folders = append(d.Folders, FolderStats{
			Path: f.Path, State: f.State, UsedBytes: f.UsedBytes, LimitBytes: f.LimitBytes, Segments: f.Segments,
		})
	}
	return d
}
