package purge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"
)

// Bounds of what waits to be written; beyond them an append is refused with ErrBusy.
const (
	maxQueued      = 4096
	maxQueuedBytes = 32 << 20
)

// Journal is a [Log] in a folder of one node: an append-only file, and those before it.
// Who appends while another's entries are being synced shares the next sync.
//
// An append that fails leaves nothing acknowledged, and what it wrote is not read
// again. There is nothing to repair: the next append tries the disk anew, in a new
// file where the last one has failed.
type Journal struct {
	dir  string
	fs   fileSystem
	now  func() time.Time
	lock io.Closer
	tail *tail

	wake    chan struct{} // something is queued
	control chan func()   // to be run by the committer
	compact chan struct{} // holds a token while somebody compacts
	closing chan struct{} // closed by Close
	done    chan struct{} // closed by the committer at its end
	once    sync.Once     // of Close
	closed  error         // of Close, for who calls it again

	mu          sync.Mutex // what follows, up to the blank line
	queue       []*appending
	queuedBytes int
	running     map[ID]*appending // that are queued or being written
	ids         remembered
	segments    []segment
	last        int64 // number of the last durable entry, 0 = none
	shut        bool
	failing     error // of the last time that the disk was tried
	counts      struct{ appends, syncs, failures uint64 }

	// The committer's alone.
	active   file   // nil = a new segment is needed
	gen, top uint64 // of the active segment, and the highest that was given
	size     int64
	next     int64 // the next number
	prev     uint64
	prevSize int64
	owed     *Entry // the purge that damage costs, as long as it is not durable
	settled  uint64
	buf      []byte
}

// appending is an append on its way.
type appending struct {
	entries []Entry
	bytes   int
	done    chan struct{}
	last    int64 // set before done is closed, as err is
	err     error
}

func newJournal(o JournalOptions) *Journal {
	j := &Journal{
		dir: o.Dir, fs: o.fs, now: o.Now,
		wake: make(chan struct{}, 1), control: make(chan func()), compact: make(chan struct{}, 1),
		closing: make(chan struct{}), done: make(chan struct{}), running: make(map[ID]*appending),
	}
	if j.fs == nil {
		j.fs = disk{}
	}
	return j
}

// Append implements [Log]: it returns after the sync. 65,536 appends are remembered.
func (j *Journal) Append(ctx context.Context, id ID, entries []Entry) (last int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	added, err := prepare(id, entries, j.now)
	if err != nil {
		return 0, err
	}
	a, last, err := j.enqueue(id, added)
	if err != nil || a == nil {
		return last, err
	}
	select {
	case <-a.done:
		return a.last, a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// enqueue finds the append that has the ID or queues one; nil where it is done already,
// up to the number that is returned.
func (j *Journal) enqueue(id ID, entries []Entry) (a *appending, last int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if last, known := j.ids.last[id]; known {
		return nil, last, nil
	}
	if a := j.running[id]; a != nil {
		return a, 0, nil
	}
	a = &appending{entries: entries, done: make(chan struct{})}
	for i := range entries {
		a.bytes += textBytes(&entries[i])
	}
	switch {
	case j.shut:
		return nil, 0, ErrClosed
	case len(j.queue) >= maxQueued || len(j.queue) > 0 && j.queuedBytes+a.bytes > maxQueuedBytes:
		return nil, 0, ErrBusy
	}
	j.queue = append(j.queue, a)
	j.queuedBytes += a.bytes
	j.running[id] = a
	select {
	case j.wake <- struct{}{}:
	default: // the committer has not yet seen what was queued before
	}
	return a, 0, nil
}

// Follow implements [Log]. It reads the files once, and is then served from memory.
func (j *Journal) Follow(ctx context.Context, from int64, fn func(Entry) error) error {
	return j.tail.follow(ctx, from, fn, func(next int64) (int64, error) {
		return j.replay(ctx, next, fn)
	})
}

// replay calls fn for what is in the files from the number next on, and returns the
// number to go on with. Files that are replaced meanwhile are no trouble: what they
// had, as far as it counts, is in others, with the same numbers.
func (j *Journal) replay(ctx context.Context, next int64, fn func(Entry) error) (int64, error) {
	var stopped error
	visit := func(e Entry) error {
		if stopped = ctx.Err(); stopped == nil {
			stopped = fn(e)
		}
		if stopped != nil {
			return stopped
		}
		next = e.Seq + 1
		return nil
	}
	for {
		j.mu.Lock()
		segments := slices.Clone(j.segments)
		floor := j.tail.before()
		j.mu.Unlock()
		for len(segments) > 0 {
			s := segments[0]
			if s.last >= next {
				if err := j.read(s, next, visit); stopped != nil {
					return next, stopped
				} else if errors.Is(err, fs.ErrNotExist) && j.replacedSince(s.gen) {
					break
				} else if err != nil {
					return next, fmt.Errorf("purge log: %w", err)
				}
			}
			segments = segments[1:]
		}
		if len(segments) == 0 {
			return max(next, floor+1), nil
		}
	}
}

// replacedSince tells that a segment does not count any more.
func (j *Journal) replacedSince(gen uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !slices.ContainsFunc(j.segments, func(s segment) bool { return s.gen == gen })
}

// State implements [Log].
func (j *Journal) State(context.Context) (first, last int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if s.first > 0 {
			return s.first, j.last, nil
		}
	}
	if j.last > 0 { // the purge for damage, which is not durable yet
		return j.last, j.last, nil
	}
	last = j.tail.newest()
	return last + 1, last, nil
}

// Close ends the journal after what is queued, and lets go of the folder.
func (j *Journal) Close() error {
	j.once.Do(func() {
		j.mu.Lock()
		j.shut = true
		j.mu.Unlock()
		close(j.closing)
		<-j.done
		j.tail.close()
		j.closed = j.lock.Close()
	})
	<-j.done
	return j.closed
}

// JournalStats is a view of a journal at one moment.
type JournalStats struct {
	Entries   int   // in its files, also those that do not count any more
	Bytes     int64 // of its files
	Segments  int
	Queued    int    // appends that wait
	Appends   uint64 // that were acknowledged
	Syncs     uint64 // that acknowledged them
	Failures  uint64 // of the disk
	Failing   error  // why the disk failed the last time it was tried; nil = it did not
	FirstSeq  int64  // of the first entry, 0 = none
	NewestSeq int64  // of the last
}

// Stats returns the figures of now.
func (j *Journal) Stats() JournalStats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := JournalStats{
		Segments: len(j.segments), Queued: len(j.queue), Appends: j.counts.appends, Syncs: j.counts.syncs,
		Failures: j.counts.failures, Failing: j.failing, NewestSeq: j.last,
	}
	for _, each := range j.segments {
		s.Entries += each.entries
		s.Bytes += each.size
		if s.FirstSeq == 0 {
			s.FirstSeq = each.first
		}
	}
	return s
}

// note remembers how the disk did.
func (j *Journal) note(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failing = err
	if err != nil {
		j.counts.failures++
	}
}
