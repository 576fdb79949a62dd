package disk

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"perigee/internal/faultfs"
)

// holder is the folder that has the object of a version, "" for none.
func (b *bare) holder(v version) string {
	for _, o := range b.depot.Recall(v.key, nil, nil) {
		if s := b.depot.segments.at(place(o.Ref().Load())); s != nil {
			return s.volume.path
		}
	}
	return ""
}

// One of three disks fails for good: what it had is missed, all else is served, and what
// would be on it goes to the others. After the next start it is back and begins anew: what
// it has may have been removed or superseded meanwhile.
func TestOneFolderFails(t *testing.T) {
	t.Parallel()
	b := unopened(t, Folder{"/a", 32 << 20}, Folder{"/b", 32 << 20}, Folder{"/c", 32 << 20})
	b.open()
	const n = 90
	where := make(map[string]int)
	var all [n]version
	var born [n]int64
	for i := range n {
		all[i] = versionOf(i, i, 20_000)
		born[i] = b.mustPut(all[i]).Born().Seq
	}
	for i := range n {
		where[b.holder(all[i])]++
	}
	if len(where) != 3 || where["/a"] < n/6 || where["/b"] < n/6 || where["/c"] < n/6 {
		t.Fatalf("objects by folder: %v; want some in each", where)
	}
	b.reopen()
	onB := make(map[int]bool)
	for i := range n {
		onB[i] = b.holder(all[i]) == "/b"
	}
	b.fs.Inject(faultfs.Rule{PathContains: "/b/", Err: syscall.EIO})
	for round := 0; b.depot.Stats().Folders[1].State != Out.String(); round++ {
		if round == 1000 {
			t.Fatalf("a folder in which everything fails is not taken out: %+v", b.depot.Stats())
		}
		b.advance(2 * restTime)
		b.put(versionOf(1000+round, 0, 300_000))
		b.look(all[round%n].key)
	}
	shown := 0
	for i := range n {
		if b.shows(all[i], born[i]) {
			shown++
			if onB[i] {
				t.Errorf("object %d is shown from the folder that was taken out", i)
			}
		} else if !onB[i] {
			t.Errorf("object %d is missing, which was in another folder", i)
		}
	}
	if shown != n-where["/b"] {
		t.Errorf("%d objects are shown, want %d", shown, n-where["/b"])
	}
	var next [n]int64
	for i := range n {
		v := versionOf(i, i+500, 10_000)
		switch i % 3 {
		case 0:
			next[i] = b.mustPut(v).Born().Seq
			if at := b.holder(v); at != "/a" && at != "/c" {
				t.Errorf("object %d is in %q", i, at)
			}
		case 1:
			next[i] = b.mustPut(v).Born().Seq
			next[i] = b.mustPut(v).Born().Seq
		}
	}
	b.fs.LiftAll()
	for range 2 {
		b.reopen()
		for i := range n {
			got, broken := b.look(all[i].key)
			want := next[i]
			if want == 0 && !onB[i] {
				want = born[i]
			}
			if broken > 0 || got[""] != want {
				t.Errorf("object %d: %v is shown, %d broken; want birth %d, 0 for none", i, got, broken, want)
			}
		}
	}
	if state := b.depot.Stats().Folders[1].State; state != Working.String() {
		t.Errorf("the folder that is back is %s", state)
	}
	if paths := b.fs.Paths(); slices.ContainsFunc(paths, func(p string) bool { return strings.Contains(p, "absent-") }) {
		t.Errorf("notes of absence are left: %q", paths)
	}
	b.end()
}

// While one disk is full for others, the objects go to the other one, and what they take the
// place of does not come back.
func TestKeysMoveAndDoNotComeBack(t *testing.T) {
	t.Parallel()
	b := unopened(t, Folder{"/a", 16 << 20}, Folder{"/b", 16 << 20})
	b.open()
	const n = 40
	var born [n]int64
	for i := range n {
		b.mustPut(versionOf(i, i, 5000))
	}
	b.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, PathContains: "/a/segment", Err: syscall.EROFS})
	for i := range n {
		o, ok := b.put(versionOf(i, i+100, 6000))
		if ok {
			born[i] = o.Born().Seq
		}
	}
	b.fs.LiftAll()
	b.advance(2 * restTime)
	for i := range n / 2 {
		b.depot.Remove(versionOf(i, 0, 0).key)
		born[i] = 0
	}
	b.settle()
	for range 3 {
		for i := range n {
			if got, broken := b.look(versionOf(i, 0, 0).key); got[""] != born[i] || broken > 0 {
				t.Errorf("object %d: %v is shown, %d broken; want birth %d (0 is none)", i, got, broken, born[i])
			}
		}
		b.reopen()
	}
	b.end()
}

// What is removed while a disk is full for a moment does not come back at the next start.
func TestRemovedWhileTheDiskRests(t *testing.T) {
	t.Parallel()
	for _, err := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
		b := newBare(t, 16<<20)
		removed, superseded, discarded := versionOf(1, 1, 100), versionOf(2, 2, 100), versionOf(3, 3, 100)
		b.mustPut(removed)
		b.mustPut(superseded)
		b.mustPut(discarded)
		b.reopen() // no segment is being written
		fault := b.fs.Inject(faultfs.Rule{Op: faultfs.OpCreate, Err: err})
		if err == syscall.EIO {
			fault.Lift()
			fault = b.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Err: err})
		}
		b.put(versionOf(9, 9, 10))
		b.depot.Remove(removed.key)
		for _, o := range b.depot.Recall(discarded.key, nil, nil) {
			if !b.depot.Discard(o) {
				t.Errorf("%v: Discard finds nothing", err)
			}
		}
		if _, ok := b.put(versionOf(2, 22, 200)); ok {
			t.Errorf("%v: an object is taken", err)
		}
		b.settle()
		if fault.Struck() == 0 {
			t.Errorf("%v: nothing failed", err)
		}
		fault.Lift()
		b.advance(2 * restTime)
		b.mustPut(versionOf(10, 10, 10))
		b.settle()
		for range 2 {
			b.reopen()
			for _, v := range []version{removed, superseded, discarded} {
				if got, _ := b.look(v.key); len(got) != 0 {
					t.Errorf("%v: key of %s shows %v, and should nothing", err, v.etag, got)
				}
			}
		}
		b.end()
	}
}

// A process is killed before it could write down, in the folder of the older one, that a
// newer version is in another. That one goes first, and the older does not come back.
func TestOlderVersionInAnotherFolder(t *testing.T) {
	t.Parallel()
	b := unopened(t, Folder{"/a", 8 << 20}, Folder{"/b", 5 << 20})
	b.open()
	var v version
	for i := 0; ; i++ {
		if v = versionOf(i, i, 1000); b.depot.volumeFor(nameOf(v.key, b.forged(v).Variant())).path == "/a" {
			break
		}
	}
	b.mustPut(v)
	b.reopen()
	b.fs.Inject(faultfs.Rule{PathContains: "/a/segment", Op: faultfs.OpCreate, Err: syscall.EROFS})
	b.put(v) // /a does not take it
	newer := v
	newer.seed, newer.etag = 50, "newer"
	born := b.mustPut(newer).Born().Seq
	if at := b.holder(newer); at != "/b" {
		t.Fatalf("the newer version is in %q", at)
	}
	b.settle()
	b.leave(b.fs.Snapshot())
	if !b.shows(newer, born) {
		t.Fatal("the newer version is not shown after the crash")
	}
	for i := 0; b.shows(newer, born); i++ {
		flood := versionOf(1000+i, 0, 250_000)
		if o := b.forged(flood); b.depot.volumeFor(nameOf(flood.key, o.Variant())).path == "/b" {
			b.depot.Put(o)
		}
		b.forge.Remove(flood.key)
	}
	b.settle()
	b.leave(b.fs.Snapshot())
	if got, _ := b.look(v.key); len(got) != 0 {
		t.Errorf("%v is shown once the newer version, of birth %d, has made room", got, born)
	}
	b.end()
}
