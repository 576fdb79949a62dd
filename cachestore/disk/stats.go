package disk

import "sync/atomic"

// Drop says why something that was kept is not any more, though nobody asked for its
// room.
type Drop uint8

const (
	dropChecksum   Drop = iota // does not match its checksum
	dropTorn                   // the end of a segment that was not sealed
	dropForeign                // a file that is not of this folder, or cannot be told to be
	dropMarks                  // its marks were made with another key
	dropBodyGone               // its body has been let go before its metadata
	dropUnreadable             // cannot be read
	dropTakenOut               // in a folder that was taken out
	drops
)

// String returns the words of the metrics.
func (d Drop) String() string {
	if d >= drops {
		return "unknown"
	}
	return [drops]string{"checksum", "torn", "foreign", "marks", "body_gone", "unreadable", "taken_out"}[d]
}

// counts is what has happened since the depot was opened.
type counts struct {
	stored, refused, freshened, recalled, late               atomic.Int64
	full, gravesLost, evicted, readmitted, overruled, errors atomic.Int64
	storedBytes, writtenBytes, readmittedBytes, readBytes    atomic.Int64
	segmentsMade, segmentsFreed, found                       atomic.Int64
	drops                                                    [drops]atomic.Int64
}

func (c *counts) dropped(why Drop) { c.drops[why].Add(1) }

// Stats is what a depot holds and has done since it was opened.
type Stats struct {
	Objects    int64
	IndexBytes int64 // of memory
	QueueBytes int64 // that wait to be written
	QueueLimit int64
	Loading    bool // the index is not complete yet

	Stored    int64 // objects that were written
	Refused   int64 // objects that could not be kept
	Full      int64 // of what was refused, because too much waited
	Freshened int64 // objects that got new metadata
	Recalled  int64 // objects that were read for a request
	Late      int64 // look-ups that gave up waiting
	Evicted   int64 // objects that left to make room
	Kept      int64 // objects that were written again instead, because they are asked for
	Overruled int64 // segments let go while they were being read
	Errors    int64 // of the file system
	Lost      int64 // removals that could not be written down
	Loaded    int64 // objects found at the start

	StoredBytes  int64 // of records that were new
	WrittenBytes int64 // to the medium, all of it
	KeptBytes    int64 // of records that were written again
	ReadBytes    int64
	Drops        map[string]int64 // objects and files lost to damage, by reason

	Folders []FolderStats
}

// FolderStats is one folder.
type FolderStats struct {
	Path       string
	State      string
	LimitBytes int64
	UsedBytes  int64 // of segments
	Segments   int
}

// Stats returns the figures of now.
func (d *Depot) Stats() Stats {
	c := &d.counts
	s := Stats{
		Objects: d.index.len(), IndexBytes: d.index.bytes(), QueueBytes: d.queued.Load(), QueueLimit: d.queueLimit, Loading: d.loading.Load(),
		Stored: c.stored.Load(), Refused: c.refused.Load(), Full: c.full.Load(), Freshened: c.freshened.Load(),
		Recalled: c.recalled.Load(), Late: c.late.Load(), Evicted: c.evicted.Load(), Kept: c.readmitted.Load(),
		Overruled: c.overruled.Load(), Errors: c.errors.Load(), Lost: c.gravesLost.Load(), Loaded: c.found.Load(),
		StoredBytes: c.storedBytes.Load(), WrittenBytes: c.writtenBytes.Load(), KeptBytes: c.readmittedBytes.Load(), ReadBytes: c.readBytes.Load(),
		Drops: make(map[string]int64, drops),
	}
	for why := range drops {
		s.Drops[why.String()] = c.drops[why].Load()
	}
	for _, v := range d.volumes {
		state := v.State().String()
		v.mu.Lock()
		s.Folders = append(s.Folders, FolderStats{
			Path: v.path, State: state, LimitBytes: v.limit, UsedBytes: v.bytes, Segments: len(v.segments[logSmall]) + len(v.segments[logMain]) + len(v.dying),
		})
		v.mu.Unlock()
	}
	return s
}
