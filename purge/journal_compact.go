package purge

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Keeper says which entries still count; [Ledger] is one.
type Keeper interface {
	// Floors are the numbers up to which all hard entries, and all soft ones, may be
	// taken for purges of everything.
	Floors() (hard, soft int64)
	// Superseded tells that a newer entry strikes all that e does, and as hard.
	Superseded(e Entry) bool
}

// writeBytes is how much is gathered for a write.
const writeBytes = 1 << 20

// Compact rewrites the journal without the entries that do not count any more, so that
// it takes the room of those that do. What lies below a floor becomes one entry. It
// may be called while others append and follow; a second call meanwhile does nothing.
// If it fails, nothing was changed.
func (j *Journal) Compact(ctx context.Context, k Keeper) error {
	select {
	case j.compact <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-j.compact }()
	if err := j.compacted(ctx, k); err != nil {
		return fmt.Errorf("purge log: compact: %w", err)
	}
	return nil
}

func (j *Journal) compacted(ctx context.Context, k Keeper) error {
	old, gen, err := j.rotate(ctx)
	if err != nil || len(old) == 0 {
		return err
	}
	w := compaction{s: segment{gen: gen, size: segmentBytes}}
	name := filepath.Join(j.dir, segmentName(gen))
	if w.f, err = j.fs.Create(name + unfinished); err != nil {
		return err
	}
	err = w.entries(ctx, j, k, old)
	if err == nil {
		err = w.finish(header{gen: gen, base: w.s.last + 1, replaces: gen - 1})
	}
	err = errors.Join(err, w.f.Close())
	if err == nil {
		err = j.fs.Rename(name+unfinished, name)
	}
	if err != nil {
		_ = j.fs.Remove(name + unfinished)
		return err
	}
	// Without this the old files have to stay. Should both be found later, nothing is
	// lost either: what counts is in the new one.
	if err := j.fs.SyncDir(j.dir); err != nil {
		return err
	}
	j.mu.Lock()
	j.segments = append([]segment{w.s}, j.segments[len(old):]...)
	j.mu.Unlock()
	for _, s := range old {
		_ = j.fs.Remove(filepath.Join(j.dir, segmentName(s.gen)))
	}
	return nil
}

// rotate begins a new segment, so that those before it do not change any more, and
// returns these with a generation between them and the new one; none where they have
// no entries.
func (j *Journal) rotate(ctx context.Context) (old []segment, gen uint64, err error) {
	ready := make(chan struct{})
	work := func() {
		defer close(ready)
		j.mu.Lock()
		all := slices.Clone(j.segments)
		j.mu.Unlock()
		if !slices.ContainsFunc(all, func(s segment) bool { return s.entries > 0 }) {
			return
		}
		j.leave()
		j.top++
		gen = j.top
		if err = j.create(); err == nil {
			old = all
		}
		j.note(err)
	}
	select {
	case j.control <- work:
		<-ready
		return old, gen, err
	case <-j.done:
		return nil, 0, ErrClosed
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

// compaction is a segment that takes the place of others.
type compaction struct {
	f     file
	s     segment
	buf   []byte
	group []Entry // with one ID, for one record
	// newest is the number of the last entry that was added.
	newest int64
}

// entries writes what still counts of the old segments.
func (w *compaction) entries(ctx context.Context, j *Journal, k Keeper, old []segment) error {
	limit := int64(0)
	for _, s := range old {
		limit = max(limit, s.last)
	}
	// The floors first: what falls below them from here on is kept. One beyond the old
	// segments stands for entries that are not rewritten now.
	hard, soft := k.Floors()
	if hard > limit {
		hard = 0
	}
	if soft > limit {
		soft = 0
	}
	floors := floorEntries(hard, soft)
	add := func(e Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		for len(floors) > 0 && floors[0].Seq <= e.Seq {
			if err := w.add(floors[0]); err != nil {
				return err
			}
			floors = floors[1:]
		}
		if e.Seq <= hard || e.Soft && e.Seq <= soft || e.Seq <= w.newest || k.Superseded(e) {
			return nil // one below the newest is of damaged files, and was not followed either
		}
		return w.add(e)
	}
	for _, s := range old {
		if err := j.read(s, 0, add); err != nil {
			return err
		}
	}
	for _, e := range floors {
		if err := w.add(e); err != nil {
			return err
		}
	}
	return w.record()
}

// add gathers the entries of one append.
func (w *compaction) add(e Entry) error {
	if len(w.group) > 0 && (w.group[0].ID != e.ID || len(w.group) == MaxBatch) {
		if err := w.record(); err != nil {
			return err
		}
	}
	w.group = append(w.group, e)
	w.newest = e.Seq
	return nil
}

// record writes what was gathered.
func (w *compaction) record() error {
	if n := len(w.group); n > 0 {
		w.buf = appendRecord(w.buf, w.group)
		w.s.note(w.group[0].Seq, w.group[n-1].Seq, n)
		w.group = w.group[:0]
	}
	if len(w.buf) < writeBytes {
		return nil
	}
	return w.flush()
}

func (w *compaction) flush() error {
	_, err := w.f.WriteAt(w.buf, w.s.size)
	w.s.size += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// finish writes the header, which makes it a segment, and makes all of it durable.
func (w *compaction) finish(h header) error {
	if err := w.flush(); err != nil {
		return err
	}
	h.whole = w.s.size
	if _, err := w.f.WriteAt(h.append(nil), 0); err != nil {
		return err
	}
	return w.f.Sync()
}
