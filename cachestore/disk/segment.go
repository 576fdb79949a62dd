package disk

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	minSegmentBytes = 1 << 20
	maxSegmentBytes = 64 << 20
	// segmentsOfFolder is how many segments a folder is cut into, as far as these
	// bounds let it: so much is let go at once.
	segmentsOfFolder = 128
	// maxEntries bounds the records of one segment, and so the memory in which the foot
	// of the one that is being written grows.
	maxEntries = 1 << 17
)

// segmentBytes is how long the segments of a folder of limit bytes are.
func segmentBytes(limit int64) int64 {
	return min(max(limit/segmentsOfFolder, minSegmentBytes), maxSegmentBytes) &^ (align - 1)
}

const (
	segmentPrefix = "segment-"
	segmentSuffix = ".log"
)

// segmentName is the name of the file whose records are numbered above first.
func segmentName(first uint64) string {
	return fmt.Sprintf("%s%016x%s", segmentPrefix, first, segmentSuffix)
}

func parseSegmentName(file string) (first uint64, ok bool) {
	digits, isLog := strings.CutSuffix(strings.TrimPrefix(file, segmentPrefix), segmentSuffix)
	if !isLog || len(digits) != 16 || !strings.HasPrefix(file, segmentPrefix) {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 16, 64)
	return first, err == nil && segmentName(first) == file
}

// segment is one file of the log.
type segment struct {
	volume *volume
	log    logKind
	id     uint64 // random; seeds the checksums
	number uint32 // in this process, never used again
	slot   uint32 // in the index; used again when the segment has long gone
	first  uint64 // number that all its records' are above
	path   string

	written atomic.Int64 // up to where records have been written; 0 = to the end
	bytes   atomic.Int64 // that the file takes
	births  atomic.Pointer[span]
	gone    atomic.Bool
	leaving atomic.Bool // what it has is being taken out of the index, or has been
	damaged atomic.Bool // and the log says so

	mu     sync.Mutex // guards what follows
	pins   int
	doomed bool // let go as soon as nobody reads it
}

// pin keeps the file until unpin; false if it has been let go.
func (s *segment) pin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone.Load() || s.doomed {
		return false
	}
	s.pins++
	return true
}

// lasting tells that the segment is not about to go.
func (s *segment) lasting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.gone.Load() && !s.doomed
}

func (s *segment) unpin() {
	s.mu.Lock()
	s.pins--
	last := s.pins == 0 && s.doomed && !s.gone.Load()
	s.mu.Unlock()
	if last {
		s.volume.letGo(s)
	}
}

// doom has the segment go once nobody reads it, and tells whether that is now.
func (s *segment) doom() (now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doomed = true
	return s.pins == 0
}

// segments are all that can be read, by the names that they go by.
type segments struct {
	mu       sync.RWMutex // guards all that follows
	bySlot   map[uint32]*segment
	byID     map[uint64]*segment
	lastSlot uint32
	last     uint32 // number
}

// maxSlots is how many segments there may be at once.
const maxSlots = 1<<24 - 1

// add names s and makes it known; false if there are too many, or one of its id.
func (t *segments) add(s *segment) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bySlot == nil {
		t.bySlot, t.byID = make(map[uint32]*segment), make(map[uint64]*segment)
	}
	if len(t.bySlot) >= maxSlots/2 || t.byID[s.id] != nil {
		return false
	}
	// In turn, so that a place which somebody remembers does not soon mean another.
	for {
		if t.lastSlot++; t.lastSlot > maxSlots {
			t.lastSlot = 1
		}
		if t.bySlot[t.lastSlot] == nil {
			break
		}
	}
	t.last++
	s.slot, s.number = t.lastSlot, t.last
	t.bySlot[s.slot], t.byID[s.id] = s, s
	return true
}

func (t *segments) remove(s *segment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bySlot[s.slot] == s {
		delete(t.bySlot, s.slot)
		delete(t.byID, s.id)
	}
}

// at is the segment of a place, nil if it has gone.
func (t *segments) at(p place) *segment {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.bySlot[p.segment()]
}

// of is the segment of an id, nil if it is not there.
func (t *segments) of(id uint64) *segment {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// each yields every segment, in no order.
func (t *segments) each(yield func(*segment) bool) {
	t.mu.RLock()
	all := make([]*segment, 0, len(t.bySlot))
	for _, s := range t.bySlot {
		all = append(all, s)
	}
	t.mu.RUnlock()
	for _, s := range all {
		if !yield(s) {
			return
		}
	}
}
