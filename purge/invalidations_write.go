package purge

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

var (
	// errTooLong ends the use of a file that could not be rewritten for too long.
	errTooLong = errors.New("too many invalidations since the file could be rewritten")
	// errOvertaken ends a rewriting.
	errOvertaken = errors.New("more was invalidated meanwhile than is remembered")
)

// run writes what is queued. What waits for the disk to be durable runs beside it, one
// thing at a time, so that what comes meanwhile is in the kernel's hands at once.
func (f *Invalidations) run() {
	defer close(f.ended)
	ticks := time.NewTicker(tickEvery)
	defer ticks.Stop()
	for {
		due := false
		select {
		case <-f.wake:
		case r := <-f.results:
			f.settle(r)
		case <-ticks.C:
			due = true
			f.tried = false
			f.wanted = f.wanted || f.wasteful()
		case <-f.closing:
			f.closed = f.finish()
			return
		}
		f.write()
		f.beside(due)
	}
}

// wasteful tells that most records do not count any more.
func (f *Invalidations) wasteful() bool {
	return f.active.records > spareRecords && f.active.records > 2*f.ledger.Stats().LocalEntries+spareRecords
}

// write hands what is queued to the kernel.
func (f *Invalidations) write() {
	f.mu.Lock()
	batch := f.queue
	f.queue = f.spare[:0]
	handed := f.handed
	f.handed = nil
	f.mu.Unlock()
	if handed != nil {
		defer close(handed)
	}
	if lost := f.lost.Load(); lost > f.floored {
		batch = append(batch, struck{moment: lost})
		f.floored, f.wanted = lost, true // memory may know better
	}
	f.spare = batch
	if len(batch) == 0 {
		return
	}
	if f.rewriting {
		f.since = append(f.since, batch...)
		if len(f.since) > maxSince {
			f.since, f.overflowed = nil, true
		}
	}
	if f.active.file == nil {
		return // what rewrites the file reads it from memory
	}
	f.unsynced = true
	if err := f.extend(&f.active, batch); err != nil {
		f.fail(err)
		return
	}
	f.measure()
}

// extend appends records to a file.
func (f *Invalidations) extend(to *openFile, batch []struck) error {
	for len(batch) > 0 {
		n := min(len(batch), struckPerWrite)
		f.buf = f.buf[:0]
		for _, s := range batch[:n] {
			f.buf = appendStruck(f.buf, s, to.id, to.size+int64(len(f.buf)))
		}
		batch = batch[n:]
		if to.records+n > f.most {
			return errTooLong
		}
		if _, err := to.file.WriteAt(f.buf, to.size); err != nil {
			return err
		}
		to.size += int64(len(f.buf))
		to.records += n
	}
	return nil
}

func (f *Invalidations) measure() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Records, f.counts.Bytes = f.active.records, f.active.size
}

// fail lets go of a file that lacks something, and has another written.
func (f *Invalidations) fail(err error) {
	f.note(err)
	_ = f.active.file.Close()
	f.active, f.unsynced = openFile{}, false
	f.measure()
	f.discard()
}

// discard removes the file that lacks something. Where there is none, the next process
// knows that something is missing.
func (f *Invalidations) discard() {
	err := f.fs.Remove(f.path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = f.syncName()
	}
	f.stale = err != nil
}

// beside begins what takes its time, where there is something to do and nothing being
// done. due says that it is time for what is done now and then.
func (f *Invalidations) beside(due bool) {
	whole := f.active.file != nil
	switch {
	case f.busy:
	case !whole && !f.tried, f.wanted && due:
		f.busy, f.rewriting, f.since, f.overflowed, f.wanted = true, true, nil, false, false
		go func() { f.results <- f.rewrite(f.ledger.view()) }()
	case due && f.unsynced && whole:
		f.busy, f.unsynced = true, false
		active := f.active.file
		go func() { f.results <- result{err: errors.Join(active.Sync(), f.syncName())} }()
	}
}

// settle takes what was done beside.
func (f *Invalidations) settle(r result) {
	f.busy = false
	if !f.rewriting {
		if r.err != nil && f.active.file != nil {
			f.fail(fmt.Errorf("sync: %w", r.err)) // of what was not durable nobody knows more
		}
		return
	}
	f.rewriting = false
	since := f.since
	f.since = nil
	if r.err == nil && f.overflowed {
		r.err = errOvertaken
		f.drop(r.openFile)
	}
	if r.err == nil {
		r.err = f.replace(r.openFile, since)
	}
	if r.err == nil {
		return
	}
	f.tried, f.wanted = true, true
	f.note(r.err)
	if f.active.file == nil && f.stale {
		f.discard()
	}
}

// replace puts a new file, and what came since it was begun, in the place of the old
// one, which stays where that fails.
func (f *Invalidations) replace(fresh openFile, since []struck) error {
	err := f.extend(&fresh, since)
	if err == nil {
		err = f.fs.Rename(f.path+unfinished, f.path)
	}
	if err != nil {
		f.drop(fresh)
		return err
	}
	if f.active.file != nil {
		_ = f.active.file.Close()
	}
	f.active, f.stale, f.unsynced = fresh, false, true // its name, and what came since
	f.measure()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Rewrites++
	f.counts.Failing = nil
	return nil
}

// drop lets go of a new file that nobody will need.
func (f *Invalidations) drop(w openFile) {
	_ = w.file.Close()
	_ = f.fs.Remove(f.path + unfinished)
}

// finish brings everything to the disk and ends the use of the file.
func (f *Invalidations) finish() error {
	if f.busy {
		f.settle(<-f.results)
	}
	f.write()
	var err error
	if f.ledger != nil && (f.active.file == nil || f.wanted) {
		r := f.rewrite(f.ledger.view())
		if err = r.err; err == nil {
			err = f.replace(r.openFile, nil)
		}
		if err != nil {
			f.note(err)
		}
	}
	if f.active.file == nil {
		return err
	}
	err = errors.Join(f.active.file.Sync(), f.syncName())
	if err != nil {
		f.fail(err)
		return err
	}
	return f.active.file.Close()
}
