package disk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

const (
	// openFiles is how many descriptors are kept open for reading.
	openFiles = 512
	// indexShare and readShare are the parts of the memory budget that the index may take
	// and that the memory for reads takes as of right.
	indexShare, readShare = 2, 32
	// queueShare is the part of the memory budget that may wait to be written.
	queueShare = 8
	// numbersAhead is how far the numbers of records jump at each start beyond any that
	// was seen: those of a segment that was not sealed are not known yet.
	numbersAhead = 1 << 32
)

// Folder is a place to keep segments in.
type Folder struct {
	Path string
	Size int64 // bytes of the medium that all files below Path may take, those of others too
}

// Options says where a depot is and what it takes.
type Options struct {
	Folders []Folder // one at least
	Budget  *cachestore.Budget
	// Reserve takes bytes of Budget and has others leave for them; nil = Budget.Reserve.
	Reserve func(n int64) bool
	// MarksKey names the key that marks are made with. What was stored with another one
	// cannot be purged, and is dropped.
	MarksKey uint64
	FS       FS // nil = OS()
	Log      *slog.Logger
	Now      func() time.Time
}

// Depot keeps stored responses in folders on disk. It implements [cachestore.Depot].
type Depot struct {
	budget   *cachestore.Budget
	reserve  func(n int64) bool
	fs       FS
	log      *slog.Logger
	now      func() time.Time
	marksKey uint64

	index    *index
	files    *files
	segments segments
	volumes  []*volume
	recalls  recalls
	moved    moves
	ghosts   *ghosts
	numbers  atomic.Uint64 // of records, the last that was given
	counts   counts
	watch    atomic.Pointer[watch]

	queueLimit int64
	queued     atomic.Int64 // bytes that wait to be written

	loading atomic.Bool
	loaded  sync.WaitGroup // of the goroutine that loads
	loadMu  sync.Mutex     // guards graves, and what is loaded against what is removed
	graves  *graves

	life   context.Context
	end    context.CancelFunc
	work   sync.WaitGroup
	closed atomic.Bool
}

// watch is who judges what is about to be written again.
type watch struct {
	guard cachestore.Guard
	birth func() cachestore.Birth
}

// Open opens the folders and begins to read what is in them, in the background: a key
// that has not been read yet is a miss. A folder that cannot be used is left out, and
// the log says why; it is an error only where another process has it ([ErrLocked]) or
// another version has written it.
func Open(o Options) (*Depot, error) {
	d := &Depot{budget: o.Budget, reserve: o.Reserve, fs: o.FS, log: o.Log, now: o.Now, marksKey: o.MarksKey}
	if d.reserve == nil {
		d.reserve = d.budget.Reserve
	}
	if d.fs == nil {
		d.fs = OS()
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	limit := d.budget.Limit()
	d.queueLimit = max(limit/queueShare, minQueueBytes)
	d.recalls.m = make(map[place]*recall)
	d.index = newIndex(indexOptions{Reserve: d.reserve, Release: d.budget.Release, MaxBytes: limit / indexShare})
	d.ghosts = newGhosts(d.reserve, d.budget.Release)
	d.files = newFiles(d.fs, openFiles)
	d.life, d.end = context.WithCancel(context.Background())
	d.numbers.Store(uint64(max(d.now().UnixMilli(), 0)) << 20)
	if err := d.openFolders(o.Folders); err != nil {
		d.end()
		for _, v := range d.volumes {
			v.unlock()
		}
		return nil, errors.Join(err, d.shut())
	}
	d.startLoading()
	for _, v := range d.volumes {
		d.work.Go(v.run)
	}
	return d, nil
}

func (d *Depot) openFolders(folders []Folder) error {
	for _, f := range folders {
		v, err := newVolume(d, f, d.budget.Limit()/readShare/int64(len(folders)))
		if err != nil {
			return err
		}
		d.volumes = append(d.volumes, v)
		if err := v.open(); errors.Is(err, ErrLocked) || errors.Is(err, errVersion) {
			return fmt.Errorf("%s: %w (choose another folder%s)", f.Path, err, map[bool]string{true: ", or empty it"}[errors.Is(err, errVersion)])
		} else if err != nil {
			v.takeOut("the folder cannot be used", err)
		}
	}
	return nil
}

// Watch has guard judge what is written again because it is asked for often; birth is
// the birth of what is valid now. It is called once.
func (d *Depot) Watch(guard cachestore.Guard, birth func() cachestore.Birth) {
	d.watch.Store(&watch{guard, birth})
}

// Newest is a birth that nothing which is kept has after it, as far as it was kept in
// order: that of the newest segments.
func (d *Depot) Newest() (born cachestore.Birth) {
	for s := range d.segments.each {
		if b := s.births.Load(); b != nil && b.n > 0 {
			born.Seq, born.Local = max(born.Seq, b.max.Seq), max(born.Local, b.max.Local)
		}
	}
	return born
}

// Oldest implements [cachestore.Depot].
func (d *Depot) Oldest() (born cachestore.Birth, ok bool) {
	if d.loading.Load() {
		return born, false
	}
	var all span
	for s := range d.segments.each {
		if b := s.births.Load(); b != nil && b.n > 0 {
			all.add(b.min, 0)
		}
	}
	if all.n == 0 {
		return cachestore.Birth{Seq: 1<<63 - 1, Local: 1<<63 - 1}, true
	}
	return all.min, true
}

// volumeFor is where an object of the name is written: of the folders that take
// something the one with the highest draw, by size, so that few names move when one of
// them fails. It is nil if none does.
func (d *Depot) volumeFor(n name) (best *volume) {
	var highest float64
	for _, v := range d.volumes {
		if !v.writable() {
			continue
		}
		if draw := v.draw(n); best == nil || draw > highest {
			best, highest = v, draw
		}
	}
	return best
}

// MaxBytes implements [cachestore.Depot]: half of the smallest folder that takes
// something, since a body that lets its own beginning go is of no use.
func (d *Depot) MaxBytes() (n int64) {
	for _, v := range d.volumes {
		if v.writable() && (n == 0 || v.limit/2 < n) {
			n = v.limit / 2
		}
	}
	return n
}

// Touch implements [cachestore.Depot]. Of an object in memory one use counts for each
// segment that is made: enough to know it when its own segment is let go.
func (d *Depot) Touch(o *cachestore.Object) {
	if o.Ref().Load() != 0 && o.FirstIn(uint32(d.counts.segmentsMade.Load())+1) {
		d.index.touch(nameOf(o.Key(), o.Variant()))
	}
}

// Current implements [cachestore.Depot].
func (d *Depot) Current(o *cachestore.Object) bool {
	n := nameOf(o.Key(), o.Variant())
	if last, waits := d.pendingOf(n); waits {
		return last == o
	}
	f, ok := d.index.get(n)
	return ok && f.at == d.refOf(o)
}

// pendingOf is the object of a name that waits to be written last, over all folders.
func (d *Depot) pendingOf(n name) (o *cachestore.Object, waits bool) {
	for _, v := range d.volumes {
		if o, waits := v.queue.last(n); waits {
			return o, true
		}
	}
	return nil, false
}

// Put implements [cachestore.Depot].
func (d *Depot) Put(o *cachestore.Object) bool {
	n := nameOf(o.Key(), o.Variant())
	if v := d.volumeFor(n); v != nil && d.wait(v, &item{kind: itemPut, name: n, object: o, bytes: waitingBytes(o)}) {
		return true
	}
	d.supersede(n, o)
	return false
}

// Replace implements [cachestore.Depot].
func (d *Depot) Replace(old, o *cachestore.Object) bool {
	n := nameOf(o.Key(), o.Variant())
	v := d.volumeFor(n)
	return v != nil && d.wait(v, &item{kind: itemReplace, name: n, object: o, old: old, bytes: waitingBytes(o)})
}

// Freshen implements [cachestore.Depot].
func (d *Depot) Freshen(old, o *cachestore.Object) {
	n := nameOf(o.Key(), o.Variant())
	if v := d.volumeFor(n); v != nil {
		v.queue.add(&item{kind: itemFreshen, name: n, object: o, old: old, bytes: o.Stored().SizeBytes()})
	}
}

// waitingBytes is what an object that waits to be written keeps in memory.
func waitingBytes(o *cachestore.Object) int64 {
	n := o.Stored().SizeBytes()
	for _, p := range o.Pieces() {
		if p.Source == nil {
			n += p.End - p.Off
		}
	}
	return n
}

// wait hands something over and waits for what becomes of it.
func (d *Depot) wait(v *volume, i *item) bool {
	i.done = make(chan bool, 1)
	return v.queue.add(i) && <-i.done
}

// supersede lets go what is kept of a name, since something newer could not be kept.
func (d *Depot) supersede(n name, o *cachestore.Object) {
	d.counts.refused.Add(1)
	d.bury(n, o.Key(), o.Variant(), 0)
}

// bury takes a name out of the index, if it stands at the given place or at is 0, and
// writes down that it has gone.
func (d *Depot) bury(n name, key httpcache.Key, variant httpcache.VariantID, at place) bool {
	if at == 0 {
		d.forbid(n)
	}
	f, there := d.index.get(n)
	if at != 0 && (!there || f.at != at) {
		return false
	}
	var until uint64
	if at != 0 {
		until = d.numbers.Load() + 1 // what waits came later, and is not meant
	}
	s := d.segments.at(f.at)
	dropped := there && d.drop(n, f.at)
	if !dropped && !d.loading.Load() && at != 0 {
		return false
	}
	for _, v := range d.volumes {
		if d.loading.Load() || s != nil && s.volume == v || v.queue.has(n) {
			v.queue.bury(graveOf(itemGrave, n, key, variant, until)...)
		}
	}
	return dropped
}

// drop takes a name out of the index if it stands there. While the index is being
// loaded, nothing older takes its place.
func (d *Depot) drop(n name, at place) bool {
	if !d.loading.Load() {
		return d.index.drop(n, at)
	}
	d.loadMu.Lock()
	defer d.loadMu.Unlock()
	if d.graves != nil {
		d.graves.add(nameIn{name: n}, d.numbers.Load())
	}
	return d.index.drop(n, at)
}

// forbid has nothing of a name be found that has yet to be loaded.
func (d *Depot) forbid(n name) {
	if !d.loading.Load() {
		return
	}
	d.loadMu.Lock()
	defer d.loadMu.Unlock()
	if d.graves != nil {
		d.graves.add(nameIn{name: n}, d.numbers.Load())
	}
}

// Discard implements [cachestore.Depot].
func (d *Depot) Discard(o *cachestore.Object) bool {
	n := nameOf(o.Key(), o.Variant())
	waited := d.cancel(n, o)
	// An o that was never written has taken the place of what was: that goes too, since it
	// may lack the very mark by which o was struck.
	return d.bury(n, o.Key(), o.Variant(), d.refOf(o)) || waited
}

// cancel has an object that waits to be written not be.
func (d *Depot) cancel(n name, o *cachestore.Object) (waited bool) {
	for _, v := range d.volumes {
		waited = v.queue.cancel(n, o) || waited
	}
	return waited
}

// Remove implements [cachestore.Depot].
func (d *Depot) Remove(key httpcache.Key) int {
	tag := tagOf(key)
	if d.loading.Load() {
		d.loadMu.Lock()
		if d.graves != nil {
			d.graves.addAll(tagIn{tag: tag}, d.numbers.Load())
		}
		d.loadMu.Unlock()
	}
	gone := 0 // what is shown after it was cancelled is found below
	for _, v := range d.volumes {
		gone += v.queue.cancelTag(tag)
	}
	cancelled := gone > 0
	var room [4]found
	kept := d.index.find(tag, room[:0])
	for _, f := range kept {
		if d.index.drop(f.name, f.at) {
			gone++
		}
	}
	for _, v := range d.volumes {
		if cancelled || len(kept) > 0 || d.loading.Load() || v.queue.hasTag(tag) {
			v.queue.bury(graveOf(itemGraves, name{tag: tag}, key, 0, 0)...)
		}
	}
	return gone
}

// All implements [cachestore.Depot].
func (d *Depot) All() iter.Seq[*cachestore.Object] {
	return func(yield func(*cachestore.Object) bool) {
		for f := range d.index.all {
			s := d.segments.at(f.at)
			if s == nil {
				continue
			}
			r, err := d.read(d.life, s, f)
			if err != nil {
				continue
			}
			if !yield(cachestore.Recollect(d.budget, r)) {
				return
			}
		}
	}
}

// Objects implements [cachestore.Depot].
func (d *Depot) Objects() int64 { return d.index.len() }

// Close implements [cachestore.Depot].
func (d *Depot) Close(ctx context.Context) error {
	if d.closed.Swap(true) {
		return nil
	}
	for _, v := range d.volumes {
		if !v.queue.close(ctx) {
			return fmt.Errorf("%s: %w", v.path, errHangs)
		}
	}
	d.end()
	d.loaded.Wait()
	d.work.Wait()
	return d.shut()
}

var errHangs = errors.New("the disk hangs; what was to be written is lost")

// shut gives back what is held. Nothing may be under way.
func (d *Depot) shut() error {
	for _, v := range d.volumes {
		v.unlock()
		v.blocks.close()
	}
	d.files.close()
	d.index.close()
	d.ghosts.close()
	return nil
}
