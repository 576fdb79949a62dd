package disk

import (
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"perigee/cachestore"
	"perigee/internal/faultfs"
)

// A segment that is let go of while somebody reads it must not be found at the next start:
// what was evicted with it, and removed later, would be there again.
func TestDyingSegmentIsNotFoundAgain(t *testing.T) {
	t.Parallel()
	b := newBare(t, 16<<20)
	v := versionOf(1, 1, 200_000)
	o := b.mustPut(v)
	b.settle()
	got := b.depot.Recall(v.key, nil, nil)
	if len(got) != 1 {
		t.Fatalf("%d found, want 1", len(got))
	}
	pinned := got[0].Pieces()[0].Source
	if !pinned.Pin() {
		t.Fatal("no pin")
	}
	for i := 100; b.depot.index.len() > 0 && i < 300; i++ {
		if _, there := b.depot.index.get(nameOf(v.key, o.Variant())); !there {
			break
		}
		b.mustPut(versionOf(i, i, 250_000))
	}
	b.settle()
	b.depot.Remove(v.key)
	b.settle()
	left := b.fs.Snapshot()
	pinned.Unpin()
	b.leave(left)
	if got, _ := b.look(v.key); len(got) != 0 {
		t.Errorf("after a crash %v is shown, which was removed", got)
	}
	b.end()
}

// What the index has no memory for is refused, and must not be there after a restart.
func TestRefusedByTheIndexStaysAway(t *testing.T) {
	t.Parallel()
	b := unopened(t, Folder{testFolder, testSize})
	var deny atomic.Bool
	b.open()
	reserve := b.depot.index.options.Reserve
	b.depot.index.options.Reserve = func(n int64) bool { return !deny.Load() && reserve(n) }
	deny.Store(true)
	v := versionOf(1, 1, 1000)
	if _, ok := b.put(v); ok {
		t.Fatal("taken without memory for the index")
	}
	b.depot.Remove(v.key)
	deny.Store(false)
	b.settle()
	b.reopen()
	if got, _ := b.look(v.key); len(got) != 0 {
		t.Errorf("after a restart %v is shown, which was refused and removed", got)
	}
	b.end()
}

// A version that is refused while the index is loaded takes the older one with it, which
// has yet to be found.
func TestRefusedWhileLoading(t *testing.T) {
	t.Parallel()
	b := newBare(t, testSize)
	v := versionOf(1, 1, 1000)
	b.mustPut(v)
	for i := range 40 {
		b.mustPut(versionOf(100+i, i, 250_000))
	}
	b.settle()
	b.close()
	files := segmentFiles(b.fs)
	gate := make(chan struct{})
	b.fs.Inject(faultfs.Rule{Op: faultfs.OpOpen, PathContains: filepath.Base(files[0]), Delay: gate})
	if err := b.tryOpen(); err != nil {
		t.Fatal(err)
	}
	limit := b.depot.queueLimit
	b.depot.queueLimit = 0
	newer := versionOf(1, 2, 1000)
	if _, ok := b.put(newer); ok {
		t.Fatal("taken though nothing may wait")
	}
	b.depot.queueLimit = limit
	close(gate)
	b.depot.loaded.Wait()
	if got, _ := b.look(v.key); len(got) != 0 {
		t.Errorf("%v is shown, which was superseded while the index was loaded", got)
	}
	b.end()
}

// A removal that comes while the folder rests counts after the next start.
func TestRemovalWhileTheFolderRests(t *testing.T) {
	t.Parallel()
	b := newBare(t, testSize)
	v := versionOf(1, 1, 1000)
	b.mustPut(v)
	b.settle()
	f := b.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Err: syscall.ENOSPC})
	b.put(versionOf(2, 2, 1000))
	b.settle()
	f.Lift()
	if s := b.depot.volumes[0].State(); s != Resting {
		t.Fatalf("the folder is %v", s)
	}
	b.depot.Remove(v.key)
	b.settle()
	b.advance(2 * restTime)
	b.mustPut(versionOf(3, 3, 1000))
	b.settle()
	b.reopen()
	if got, _ := b.look(v.key); len(got) != 0 {
		t.Errorf("after a restart %v is shown, which was removed", got)
	}
	b.end()
}

// A folder that may take less than it did is cut down at the start, not with the next write.
func TestSmallerFolder(t *testing.T) {
	t.Parallel()
	b := newBare(t, 32<<20)
	for i := range 150 {
		b.mustPut(versionOf(i, i, 250_000))
	}
	b.settle()
	b.close()
	b.folders[0].Size = 16 << 20
	b.open()
	b.settle()
	b.du()
	b.end()
}

// What is about to be written is cancelled by a removal whenever it comes.
func TestRemovalOfWhatIsJustWritten(t *testing.T) {
	t.Parallel()
	b := newBare(t, testSize)
	v := versionOf(1, 1, 1000)
	o := b.forged(v)
	n := nameOf(v.key, o.Variant())
	// Taking a number is the last thing before the record is gathered; the write itself
	// is when it may be cancelled.
	d := b.depot
	q := d.volumes[0].queue
	reserve := d.index.options.Reserve
	var cancelled atomic.Int64
	d.index.options.Reserve = func(bytes int64) bool {
		cancelled.Add(int64(q.cancelTag(n.tag))) // after it was looked at, before it is shown
		return reserve(bytes)
	}
	ok := d.Put(o)
	d.index.options.Reserve = reserve
	if got, _ := b.look(v.key); cancelled.Load() != 1 || ok || len(got) > 0 {
		t.Errorf("%d were cancelled; Put says %v, and %v is shown", cancelled.Load(), ok, got)
	}
	b.forge.Remove(v.key)
	b.end()
}

// A segment that is let go of while it is being loaded leaves nothing in the index, and is
// no fault of the disk.
func TestEvictedWhileLoading(t *testing.T) {
	t.Parallel()
	for _, op := range []faultfs.Op{faultfs.OpOpen, faultfs.OpRead} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			b := newBare(t, 16<<20)
			for i := range 48 {
				b.mustPut(versionOf(i, i, 200_000))
			}
			b.settle()
			b.close()
			gate, reached := make(chan struct{}), make(chan struct{})
			oldest := segmentFiles(b.fs)[0]
			b.fs.Inject(faultfs.Rule{
				Op: op, PathContains: filepath.Base(oldest), After: 1, Times: 1, Delay: gate, Call: func() { close(reached) },
			})
			if err := b.tryOpen(); err != nil {
				t.Fatal(err)
			}
			<-reached // its head has been read, its foot has not
			there := func() bool { _, err := b.fs.Read(oldest); return err == nil }
			for i := 0; there() && i < 1000; i++ {
				b.mustPut(versionOf(1000+i, i, 200_000))
				b.settle()
			}
			close(gate)
			b.depot.loaded.Wait()
			for f := range b.depot.index.all {
				if b.depot.segments.at(f.at) == nil {
					t.Errorf("an entry stands in segment %d, which is gone", f.at.segment())
				}
			}
			if s := b.depot.Stats(); s.Errors > 0 || s.Folders[0].State != Working.String() {
				t.Errorf("%d errors, the folder is %s", s.Errors, s.Folders[0].State)
			}
			b.end()
		})
	}
}

// What comes while an older version is let go of outlives a restart.
func TestDiscardDoesNotStrikeWhatWaits(t *testing.T) {
	t.Parallel()
	b := newBare(t, testSize)
	v := versionOf(1, 1, 1000)
	older := b.mustPut(v)
	b.settle()
	gate, reached := make(chan struct{}), make(chan struct{})
	b.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Times: 1, Delay: gate, Call: func() { close(reached) }})
	d := b.depot
	filler, o := b.forged(versionOf(2, 2, 1000)), b.forged(versionOf(1, 3, 1000))
	done := make(chan bool, 2)
	put := func(o *cachestore.Object) { done <- d.Put(o) }
	go put(filler)
	<-reached
	i := &item{kind: itemPut, name: nameOf(v.key, o.Variant()), object: o, bytes: waitingBytes(o), done: make(chan bool, 1)}
	if !d.volumes[0].queue.add(i) {
		t.Fatal("not taken")
	}
	if !d.Discard(older) {
		t.Fatal("the older version was not kept")
	}
	close(gate)
	if !<-done || !<-i.done {
		t.Fatal("not kept")
	}
	b.settle()
	if !b.shows(versionOf(1, 3, 1000), o.Born().Seq) {
		t.Fatal("not shown")
	}
	b.forge.Remove(v.key)
	b.forge.Remove(versionOf(2, 0, 0).key)
	b.reopen()
	if !b.shows(versionOf(1, 3, 1000), o.Born().Seq) {
		t.Error("after a restart what came after the one that was discarded is not shown")
	}
	b.end()
}

// No segment becomes longer than what was taken for it, however much was written again
// into it before the record that it was made for.
func TestSegmentsKeepTheirLength(t *testing.T) {
	t.Parallel()
	b := newBare(t, 16<<20)
	v := b.depot.volumes[0]
	const n = 60
	b.depot.ghosts.fit(1 << 16)
	for i := range n {
		o := b.mustPut(versionOf(i, i, 1000))
		b.depot.Remove(o.Key())
		b.depot.ghosts.add(nameOf(o.Key(), o.Variant())) // they go to the main log
	}
	for i := range 5 * n {
		b.mustPut(versionOf(i%n, 500+i, 250_000))
	}
	for i := range 5 * n {
		for f := range b.depot.index.all {
			b.depot.index.touch(f.name)
		}
		b.mustPut(versionOf(i%n, 1000+i, 250_000))
		b.settle()
		v.mu.Lock()
		for _, s := range v.segments[logMain] {
			if got := s.bytes.Load(); got > v.segmentBytes {
				t.Errorf("after %d objects a segment takes %d bytes, of %d", i, got, v.segmentBytes)
			}
		}
		v.mu.Unlock()
		if t.Failed() {
			break
		}
	}

	b.end()
}

// A look-up that waits for nobody makes no timer.
func TestRecallAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	b := newBare(t, testSize)
	v := versionOf(1, 1, 1000)
	b.mustPut(v)
	b.settle()
	var room [4]*cachestore.Object
	const most = 22
	if n := testing.AllocsPerRun(200, func() { b.depot.Recall(v.key, nil, room[:0]) }); n > most {
		t.Errorf("%v allocations for a record that is in memory, want %d at most", n, most)
	}
	b.end()
}
