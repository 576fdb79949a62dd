package disk

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/internal/faultfs"
)

// harm is what a fault does.
type harm struct {
	rule faultfs.Rule
	// silent harm is found out by checksums, if at all, or made good at once.
	silent bool
}

// tears are places in a batch at which a write may be cut.
var tears = map[string]func(off int64, n int) int{
	"in a segment head": func(_ int64, n int) int { return min(n, segmentHeadBytes/2) },
	"in a record head":  func(_ int64, n int) int { return min(n, recordHeadBytes/2) },
	"in metadata":       func(_ int64, n int) int { return min(n, recordHeadBytes+20) },
	"behind metadata":   func(_ int64, n int) int { return min(n, recordHeadBytes+200) },
	"in a block head":   func(_ int64, n int) int { return min(n, pieceStride-pieceBytes/blockBytes*blockBytes+8) },
	"in a block":        func(_ int64, n int) int { return n / 2 },
	"in a foot":         func(_ int64, n int) int { return max(0, n-tailBytes-entryBytes/2) },
	"in a tail":         func(_ int64, n int) int { return max(0, n-tailBytes/2) },
	"behind one byte":   func(int64, int) int { return 1 },
	"before all":        func(int64, int) int { return 0 },
}

// harms are all faults of one operation.
func harms(op faultfs.Op) map[string]harm {
	all := make(map[string]harm)
	add := func(name string, silent bool, rule faultfs.Rule) {
		rule.Op, rule.PathContains = op, testFolder
		all[name] = harm{rule, silent}
	}
	add("EIO", false, faultfs.Rule{Err: syscall.EIO})
	add("EIO although done", op == faultfs.OpRead, faultfs.Rule{Err: syscall.EIO, Done: true})
	switch op {
	case faultfs.OpWrite, faultfs.OpCreate, faultfs.OpTruncate, faultfs.OpMkdir, faultfs.OpRename:
		add("ENOSPC", op == faultfs.OpCreate, faultfs.Rule{Err: syscall.ENOSPC})
		add("EROFS", false, faultfs.Rule{Err: syscall.EROFS})
	case faultfs.OpRemove, faultfs.OpLock:
		add("EROFS", false, faultfs.Rule{Err: syscall.EROFS})
	case faultfs.OpOpen:
		add("EMFILE", false, faultfs.Rule{Err: syscall.EMFILE})
		add("ENOENT", false, faultfs.Rule{Err: syscall.ENOENT})
	}
	switch op {
	case faultfs.OpRead:
		add("short", true, faultfs.Rule{Short: true})
		add("short, EIO", false, faultfs.Rule{ShortBytes: 1, Err: syscall.EIO})
		for _, at := range []int{0, 40, 200, -1, -100} {
			add(fmt.Sprint("flip at ", at), true, faultfs.Rule{Flip: true, FlipAt: at})
		}
	case faultfs.OpWrite:
		add("short", false, faultfs.Rule{Short: true})
		add("short, ENOSPC", false, faultfs.Rule{ShortBytes: 1000, Err: syscall.ENOSPC})
		for _, at := range []int{0, 40, 200, 100_000, -1, -100} {
			add(fmt.Sprint("flip at ", at), true, faultfs.Rule{Flip: true, FlipAt: at})
		}
		for name, tear := range tears {
			add("torn "+name, true, faultfs.Rule{Torn: tear})
		}
	}
	switch op {
	case faultfs.OpWrite, faultfs.OpTruncate, faultfs.OpSync, faultfs.OpRename, faultfs.OpMkdir, faultfs.OpSyncFolder:
		add("lie", true, faultfs.Rule{Lie: true})
	}
	return all
}

// trial is a life of a depot in which something goes wrong at some time.
type trial struct {
	*bare
	current map[version]int64 // birth, 0 for none
	order   []version
}

// keep notes what becomes of a version.
func (l *trial) keep(v version, born int64) {
	for _, other := range l.order {
		if other.key == v.key {
			delete(l.current, other)
		}
	}
	l.order = slices.DeleteFunc(l.order, func(other version) bool { return other.key == v.key })
	if born != 0 {
		l.current[v] = born
		l.order = append(l.order, v)
	}
}

// checkAll looks at everything: nothing but what is current may be shown.
func (l *trial) checkAll() (shown int) {
	l.t.Helper()
	for i := range 16 {
		key := versionOf(i, 0, 0).key
		got, _ := l.look(key)
		for _, born := range got {
			if v := l.versions[born]; l.current[v] != born {
				l.t.Fatalf("key %d: birth %d is shown, but has left; current %v", i, born, l.current)
			}
			shown++
		}
	}
	l.du()
	return shown
}

// live does some of everything.
func (l *trial) live(round int) {
	l.t.Helper()
	seed := round * 100
	putAll := func(sizes ...int) {
		for i, n := range sizes {
			v := versionOf(i, seed+i, n)
			if o, ok := l.put(v); ok {
				l.keep(v, o.Born().Seq)
			} else {
				l.keep(v, 0)
			}
			l.du()
		}
	}
	putAll(0, 100, 5000, 70_000, 300_000)
	v := versionOf(8, seed+8, 600_000)
	if l.spill(v) {
		l.keep(v, l.births)
	} else if got, _ := l.look(v.key); len(got) == 0 {
		l.keep(v, 0)
	}
	l.checkAll()
	for i := range 2 {
		key := versionOf(i+1, 0, 0).key
		for _, o := range l.depot.Recall(key, nil, nil) {
			v := l.versions[o.Born().Seq]
			fresh := l.freshen(v, o)
			l.settle()
			if l.depot.Current(fresh) {
				l.keep(v, fresh.Born().Seq)
			}
		}
	}
	l.depot.Remove(versionOf(3, 0, 0).key)
	l.keep(versionOf(3, 0, 0), 0)
	for _, o := range l.depot.Recall(versionOf(2, 0, 0).key, nil, nil) {
		v := l.versions[o.Born().Seq]
		if !l.depot.Discard(o) {
			l.t.Fatalf("Discard of what is kept: false")
		}
		l.keep(v, 0)
	}
	l.checkAll()
	// A flood, in which what is asked for is written again.
	for i := range 14 {
		v := versionOf(10+i%5, seed+10+i, 250_000)
		if o, ok := l.put(v); ok {
			l.keep(v, o.Born().Seq)
			l.depot.Touch(o)
		} else {
			l.keep(v, 0)
		}
		l.du()
	}
	l.checkAll()
}

// faultWhen are the times at which faults strike.
var faultWhen = map[string]struct{ after, times int }{
	"first": {0, 1}, "fourth": {3, 1}, "always": {0, 0},
}

// Whatever operation fails in whatever way at whatever time: no wrong byte, nothing that
// has left, no error, no panic, no hang, no more of the disk than allowed, nothing held
// after the end; afterwards the disk goes on.
func TestEveryOperationFails(t *testing.T) {
	t.Parallel()
	for _, op := range faultfs.Ops() {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			all := harms(op)
			struck := 0
			for _, what := range slices.Sorted(maps.Keys(all)) {
				for i, when := range slices.Sorted(maps.Keys(faultWhen)) {
					if raceDetector && (i+len(what))%len(faultWhen) != 0 {
						continue
					}
					t.Run(what+" "+when, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							h := all[what]
							h.rule.After, h.rule.Times = faultWhen[when].after, faultWhen[when].times
							struck += faultTrial(t, h)
						})
					})
				}
			}
			if struck == 0 && op != faultfs.OpUsed {
				t.Error("no call was struck")
			}
		})
	}
}

func faultTrial(t *testing.T, h harm) (struck int) {
	l := &trial{bare: unopened(t, Folder{testFolder, 5 << 20}), current: make(map[version]int64)}
	defer func() { // the bubble waits for all goroutines, however the trial ends
		l.fs.LiftAll()
		_ = l.depot.Close(context.Background())
		_ = l.forge.Close(context.Background())
	}()
	l.open()
	l.live(0)

	fault := l.fs.Inject(h.rule)
	l.live(1)
	struck = fault.Struck()
	s := l.depot.Stats()
	if !h.silent && struck > 0 && counted(s) == 0 {
		switch h.rule.Op {
		case faultfs.OpClose, faultfs.OpUsed, faultfs.OpSize: // nothing hangs on the outcome
		default:
			t.Errorf("%d calls failed, and nothing was counted: %+v", struck, s)
		}
	}
	fault.Lift()
	l.advance(2 * restTime)
	synctest.Wait()
	if state := l.depot.Stats().Folders[0].State; state == Out.String() {
		l.keepNothing()
	} else if state != Working.String() {
		t.Errorf("the folder is %s when the fault is over", state)
	} else {
		v := versionOf(15, 999, 50_000)
		o := l.mustPut(v)
		l.keep(v, o.Born().Seq)
		if !h.silent && !l.shows(v, o.Born().Seq) {
			t.Errorf("what is stored when the fault is over is not shown: %+v", l.depot.Stats())
		}
	}
	l.checkAll()

	// At the end, at the next start, and once more.
	fault = l.fs.Inject(h.rule)
	l.close()
	if h.rule.Op == faultfs.OpRename || h.rule.Op == faultfs.OpSyncFolder {
		if err := l.fs.Discard(testFolder + "/" + mainName); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.tryOpen(); err == nil {
		l.depot.loaded.Wait()
		for i := range 16 {
			l.look(versionOf(i, 0, 0).key)
		}
		l.du()
		fault.Lift()
		l.close()
	} else if h.rule.Op != faultfs.OpLock && h.rule.Op != faultfs.OpRead {
		t.Errorf("Open: %v", err)
	}
	struck += fault.Struck()
	fault.Lift()
	l.open()
	for i := range 16 {
		l.look(versionOf(i, 0, 0).key)
	}
	v := versionOf(15, 998, 60_000)
	if o := l.mustPut(v); !l.shows(v, o.Born().Seq) {
		t.Error("what is stored after the next start is not shown")
	}
	l.close()
	return struck
}

// keepNothing notes that nothing is kept.
func (l *trial) keepNothing() {
	l.order = nil
	clear(l.current)
}

// counted is everything that tells of trouble.
func counted(s Stats) int64 { return s.Errors + s.Refused + s.Lost + dropped(s) }

// A disk that hangs for a while delays who wants something of it, and nobody else; when
// it is over everything goes on.
func TestDelayedOperations(t *testing.T) {
	t.Parallel()
	for _, op := range []faultfs.Op{faultfs.OpRead, faultfs.OpOpen, faultfs.OpWrite, faultfs.OpCreate, faultfs.OpRemove, faultfs.OpSync} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBare(t, 5<<20)
				v := versionOf(1, 1, 5000)
				born := b.mustPut(v).Born().Seq
				b.reopen()
				over := make(chan struct{})
				fault := b.fs.Inject(faultfs.Rule{Op: op, PathContains: segmentPrefix, Delay: over})
				objects := make([]*cachestore.Object, 30)
				for i := range objects {
					objects[i] = b.forged(versionOf(10+i, i, 200_000))
				}
				var looks, puts sync.WaitGroup
				for range 3 {
					looks.Go(func() { b.depot.Recall(v.key, nil, nil) })
				}
				for _, o := range objects {
					puts.Go(func() { b.depot.Put(o) })
				}
				synctest.Wait() // everything waits that has to
				for i := range 100 {
					b.depot.Remove(versionOf(100+i, 0, 0).key)
					b.depot.Freshen(objects[0], objects[0])
				}
				if s := b.depot.Stats(); s.QueueBytes > s.QueueLimit {
					t.Errorf("%d bytes wait, of %d", s.QueueBytes, s.QueueLimit)
				}
				b.du()
				close(over)
				looks.Wait()
				puts.Wait()
				if fault.Struck() == 0 {
					t.Error("nothing was delayed")
				}
				b.fs.LiftAll()
				b.settle()
				got, broken := b.look(v.key)
				if broken != 0 || len(got) > 0 && got[""] != born {
					t.Errorf("%v, %d broken; want birth %d or nothing", got, broken, born)
				}
				last := versionOf(9, 9, 900)
				if o := b.mustPut(last); !b.shows(last, o.Born().Seq) {
					t.Error("what is stored afterwards is not shown")
				}
				b.end()
			})
		})
	}
}

// A process ends although its disk hangs: what waits is given up when the time is over.
func TestCloseWhileTheDiskHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBare(t, 5<<20)
		over := make(chan struct{})
		b.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Delay: over})
		o := b.forged(versionOf(1, 1, 5000))
		put := make(chan bool, 1)
		go func() { put <- b.depot.Put(o) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		closed := make(chan error, 1)
		go func() { closed <- b.depot.Close(ctx) }()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Error("Close still waits after a minute")
		}
		close(over)
		<-put
		synctest.Wait()
		_ = b.forge.Close(context.Background())
	})
}
