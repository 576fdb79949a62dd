package purge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"perigee/cachestore"
)

const (
	// maxStruck bounds the invalidations that wait to be written. Those beyond it are
	// written as a floor, until the file has been rewritten from memory.
	maxStruck = 1 << 16
	// maxSince bounds those that come while the file is rewritten; beyond them that is
	// given up, and begun anew.
	maxSince = 1 << 18
	// spareRecords is how many records beyond twice those that count the file may have
	// before it is rewritten.
	spareRecords = 10_000
	// tickEvery is how often the file is made durable, looked at for what does not count
	// any more, and tried again where it failed.
	tickEvery = time.Second
)

// InvalidationsOptions are those of [OpenInvalidations].
type InvalidationsOptions struct {
	// File is the path of the file. Its folder must be there, and the caller sees to it
	// that no other process has the file open.
	File string
	// Start is when the process started: its moments begin there, see
	// [Invalidations.Start].
	Start time.Time
	// Key is that of the ledger.
	Key [16]byte
	// Seen is the highest [cachestore.Birth.Local] that is known to be stored; 0 = none.
	// A file that ends before it has lost its end, which it cannot tell by itself.
	Seen int64
	// Doubt has all that was born before Start validated before it is sent, whatever the
	// file says: purges of it may be lost, and a soft one lets it out once more.
	Doubt bool
	// MaxLocal is that of the ledger.
	MaxLocal int

	fs fileSystem // nil = the disk
}

// Invalidations are those of a [Ledger] in a file, so that they outlive the process. The
// ledger that it is given to reads them, and hands over what comes without waiting for
// the disk: a process that is killed loses what was not written yet, which are
// milliseconds; a power cut may lose the last second or two.
//
// What fails is tried again each second, while the ledger goes on in memory. As soon as
// the file lacks something it is removed: a process that finds none takes for invalid
// all that was stored before.
type Invalidations struct {
	path  string
	fs    fileSystem
	key   uint64 // MarksID
	most  int    // records in the file
	start int64  // the first moment of this process
	known int64  // the last moment that was found
	floor int64  // of what was found
	found *table // nil once a ledger has it

	ledger  *Ledger
	wake    chan struct{} // something was queued
	results chan result   // of what is done beside the writing; one at a time
	closing chan struct{}
	ended   chan struct{}
	once    sync.Once    // of Close
	closed  error        // of Close, for who calls it again
	lost    atomic.Int64 // the floor that is to be written

	mu     sync.Mutex // what follows, up to the blank line
	queue  []struck
	handed chan struct{} // closed when what is queued has been written; nil = nobody waits
	shut   bool
	counts InvalidationsStats

	// The writer's alone.
	active     openFile // without a file: there is none that is whole
	stale      bool     // one that is not may be there
	floored    int64    // the floor that was written last
	spare      []struck
	buf        []byte
	busy       bool // something is being done beside the writing
	rewriting  bool // namely that
	since      []struck
	overflowed bool // since has lost something
	unsynced   bool
	wanted     bool // the file shall be rewritten
	tried      bool // in vain, since the last tick
}

// struck is an invalidation, or a floor where there is no mark: all that was born
// before the moment is in doubt.
type struck struct {
	moment int64
	mark   cachestore.Mark
}

// InvalidationsStats is a view of the file at one moment.
type InvalidationsStats struct {
	Records  int    // in the file, also those that do not count any more
	Bytes    int64  // of the file
	Queued   int    // invalidations that wait to be written
	Dropped  uint64 // that were written as a floor, as too many waited
	Rewrites uint64
	Failures uint64 // of the disk
	Failing  error  // why the file lacks something, or could not be rewritten; nil = neither
}

// MarksID names the key that marks are made with, without telling anything of it: marks
// of two keys that differ in it cannot be compared. It is never 0.
func MarksID(key [16]byte) uint64 {
	h := newSip(key)
	h.octet(0xff) // no kind of entry: no mark begins so
	h.text("perigee marks")
	return max(h.sum(), 1)
}

// OpenInvalidations reads the file, or begins one. lost says for the operator why
// invalidations are missing, "" where none can be: then all that was born before
// [Invalidations.Start] is taken for struck. A file that cannot be read or written is
// no error; one of another version is.
func OpenInvalidations(o InvalidationsOptions) (f *Invalidations, lost string, err error) {
	if o.File == "" || o.Start.IsZero() {
		return nil, "", errors.New("invalidations: options without file or start")
	}
	f = newInvalidations(o)
	why, silent, err := f.load()
	if err != nil {
		return nil, "", fmt.Errorf("invalidations: %s: %w", o.File, err)
	}
	if why == "" && o.Seen > f.known {
		why = fmt.Sprintf("ends at moment %d, but %d was given", f.known, o.Seen)
	}
	f.start = max(o.Start.UnixMilli()<<numberBits, f.known+1, o.Seen+1)
	if why != "" || o.Doubt {
		f.floor = f.start
	}
	if silent && o.Seen == 0 {
		why = "" // nothing is stored that could lack it
	}
	f.begin()
	return f, why, nil
}

func newInvalidations(o InvalidationsOptions) *Invalidations {
	f := &Invalidations{
		path: o.File, fs: o.fs, key: MarksID(o.Key), found: newTable(0),
		most: 4*orDefault(o.MaxLocal, defaultMaxLocal) + spareRecords,
		wake: make(chan struct{}, 1), results: make(chan result, 1), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	if f.fs == nil {
		f.fs = disk{}
	}
	return f
}

// begin writes what was found into a file of its own: what a process before this one
// wrote to is not appended to.
func (f *Invalidations) begin() {
	r := f.rewrite(view{moment: f.start, floor: f.floor, marks: f.found})
	if r.err == nil {
		r.err = f.replace(r.openFile, nil)
	}
	if r.err == nil {
		r.err = f.syncName()
	}
	if r.err != nil {
		f.note(r.err)
		if f.active.file != nil {
			_ = f.active.file.Close()
		}
		f.active = openFile{}
		f.discard()
	}
}

// attach has f keep what l is told, which has taken over what was found.
func (f *Invalidations) attach(l *Ledger) {
	f.ledger, f.found = l, nil
	go f.run()
}

// add queues an invalidation and does not wait. The caller has put it into its table.
func (f *Invalidations) add(s struck) {
	f.mu.Lock()
	switch {
	case f.shut:
	case len(f.queue) < maxStruck:
		f.queue = append(f.queue, s)
	default:
		f.counts.Dropped++
		raise(&f.lost, s.moment)
	}
	f.mu.Unlock()
	f.rouse()
}

// wait returns when what was added before is in the kernel's hands, or known to be
// missing in the file, or when ctx ends.
func (f *Invalidations) wait(ctx context.Context) {
	f.mu.Lock()
	if f.shut {
		f.mu.Unlock()
		return
	}
	if f.handed == nil {
		f.handed = make(chan struct{})
	}
	handed := f.handed
	f.mu.Unlock()
	f.rouse()
	select {
	case <-handed:
	case <-ctx.Done():
	}
}

// doubt has a floor written, and does not wait.
func (f *Invalidations) doubt(floor int64) {
	raise(&f.lost, floor)
	f.rouse()
}

func (f *Invalidations) rouse() {
	select {
	case f.wake <- struct{}{}:
	default: // it has not yet seen what came before
	}
}

// raise lifts a number that never sinks, and tells whether it was lower.
func raise(n *atomic.Int64, to int64) bool {
	for {
		was := n.Load()
		if was >= to {
			return false
		}
		if n.CompareAndSwap(was, to) {
			return true
		}
	}
}

// Stats returns the figures of now.
func (f *Invalidations) Stats() InvalidationsStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.counts
	s.Queued = len(f.queue)
	return s
}

// note remembers how the disk did.
func (f *Invalidations) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Failing = err
	if err != nil {
		f.counts.Failures++
	}
}

// Close writes what was queued and makes it durable. What the ledger is told from then
// on is in memory only: nobody may ask it for anything any more.
func (f *Invalidations) Close() error {
	f.once.Do(func() {
		f.mu.Lock()
		f.shut = true
		f.mu.Unlock()
		if f.ledger == nil {
			close(f.ended)
			f.closed = f.finish()
			return
		}
		close(f.closing)
		<-f.ended
	})
	<-f.ended
	return f.closed
}
