package purge

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
)

const (
	// maxSegmentBytes is when a new segment is begun.
	maxSegmentBytes = 64 << 20
	// maxCommitBuffer is what is kept for the next commit.
	maxCommitBuffer = 1 << 20
)

// run is the committer: it writes what is queued, all of it at once.
func (j *Journal) run() {
	defer close(j.done)
	for {
		select {
		case <-j.wake:
			j.commit(j.take())
		case f := <-j.control:
			f()
		case <-j.closing:
			j.commit(j.take())
			j.leave()
			return
		}
	}
}

// take empties the queue.
func (j *Journal) take() []*appending {
	j.mu.Lock()
	defer j.mu.Unlock()
	batch := j.queue
	j.queue, j.queuedBytes = nil, 0
	return batch
}

// commit makes a batch durable and tells those who wait.
func (j *Journal) commit(batch []*appending) {
	if len(batch) == 0 {
		return
	}
	err := j.write(batch)
	j.note(err)
	var added []Entry
	j.mu.Lock()
	for _, a := range batch {
		id := a.entries[0].ID
		delete(j.running, id)
		if a.err = err; err != nil {
			a.err = fmt.Errorf("purge log: nothing was purged: %w", err)
			continue
		}
		a.last = a.entries[len(a.entries)-1].Seq
		j.ids.add(id, a.last)
		added = append(added, a.entries...)
	}
	if err == nil {
		s := &j.segments[len(j.segments)-1]
		s.note(added[0].Seq, added[len(added)-1].Seq, len(added))
		s.size, j.last = j.size, s.last
		j.counts.syncs++
		j.counts.appends += uint64(len(batch))
	}
	j.mu.Unlock()
	if err == nil { // after the segment, which has what the tail lets go
		j.tail.add(added)
	}
	for _, a := range batch {
		close(a.done)
	}
}

// write numbers the entries of a batch and makes them durable, all or none.
func (j *Journal) write(batch []*appending) error {
	if j.active != nil && j.size >= maxSegmentBytes {
		j.leave()
	}
	if j.active == nil {
		if err := j.create(); err != nil {
			return err
		}
	}
	buf, next := j.buf[:0], j.next
	for _, a := range batch {
		next = number(a.entries, next)
		buf = appendRecord(buf, a.entries)
	}
	if cap(buf) <= maxCommitBuffer {
		j.buf = buf
	}
	if _, err := j.active.WriteAt(buf, j.size); err != nil {
		if j.active.Truncate(j.size) != nil {
			j.leave()
		}
		return err
	}
	if err := j.active.Sync(); err != nil {
		j.leave() // what it holds beyond size is unknown, and a second sync would not tell
		return err
	}
	j.size += int64(len(buf))
	j.next = next
	return nil
}

// leave ends the active segment where it is durable. It is not written to again.
func (j *Journal) leave() {
	if j.active == nil {
		return
	}
	_ = j.active.Close()
	j.active, j.prev, j.prevSize = nil, j.gen, j.size
}

// create begins a segment.
func (j *Journal) create() error {
	j.top++
	h := header{gen: j.top, base: j.next, prev: j.prev, prevSize: j.prevSize}
	s := segment{gen: h.gen, size: segmentBytes}
	if j.owed != nil {
		h.base, h.settled = j.owed.Seq, j.settled
		h.settledAt, h.settledTime = j.owed.Seq, j.owed.At.UnixMilli()
		s.settle(&h)
	}
	name := filepath.Join(j.dir, segmentName(h.gen))
	f, err := j.fs.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(h.append(nil), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.fs.SyncDir(j.dir)
	}
	if err != nil {
		_ = f.Close()
		_ = j.fs.Remove(name)
		return err
	}
	j.active, j.gen, j.size, j.owed = f, h.gen, segmentBytes, nil
	j.mu.Lock()
	j.segments = append(j.segments, s)
	j.mu.Unlock()
	return nil
}

// entriesOf is how many entries a payload has.
func entriesOf(payload []byte) int {
	n, _ := binary.Uvarint(payload[fixedBytes:])
	return int(n)
}
