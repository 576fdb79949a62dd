package faultfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// fresh is a file system with the folder /d and a file /d/a of 10000 bytes that is
// open for writing and was not synced.
func fresh(t testing.TB, capacity int64) (*FS, *File) {
	t.Helper()
	f := New(capacity)
	must(t, f.MakeFolder("/d"))
	a, err := f.Create("/d/a", 10000)
	must(t, err)
	return f, a
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// calls makes one call of each operation on the file system of fresh.
var calls = map[Op]func(f *FS, a *File) error{
	OpOpen:     func(f *FS, _ *File) error { _, err := f.Open("/d/a", true); return err },
	OpCreate:   func(f *FS, _ *File) error { _, err := f.Create("/d/new", 1); return err },
	OpRead:     func(_ *FS, a *File) error { _, err := a.ReadAt(make([]byte, 10), 0); return err },
	OpWrite:    func(_ *FS, a *File) error { _, err := a.WriteAt(make([]byte, 10), 0); return err },
	OpTruncate: func(_ *FS, a *File) error { return a.Truncate(1) },
	OpSync:     func(_ *FS, a *File) error { return a.Sync() },
	OpRename:   func(f *FS, _ *File) error { return f.Rename("/d/a", "/d/b") },
	OpRemove:   func(f *FS, _ *File) error { return f.Remove("/d/a") },
	OpList:     func(f *FS, _ *File) error { _, err := f.List("/d"); return err },
	OpUsed:     func(f *FS, _ *File) error { _, err := f.UsedBytes("/d"); return err },
	OpMkdir:    func(f *FS, _ *File) error { return f.MakeFolder("/d/e") },
	OpSyncFolder: func(f *FS, _ *File) error {
		return f.SyncFolder("/d")
	},
	OpLock:  func(f *FS, _ *File) error { _, err := f.Lock("/d/lock"); return err },
	OpSize:  func(_ *FS, a *File) error { _, err := a.Size(); return err },
	OpClose: func(_ *FS, a *File) error { return a.Close() },
}

// A rule strikes the operation that it names, and no other.
func TestErrorOfEachOperation(t *testing.T) {
	t.Parallel()
	for _, struck := range Ops() {
		for _, called := range Ops() {
			f, a := fresh(t, 0)
			fault := f.Inject(Rule{Op: struck, Err: syscall.EIO})
			err := calls[called](f, a)
			var path *fs.PathError
			if want := struck == called; errors.Is(err, syscall.EIO) != want || errors.As(err, &path) != want {
				t.Errorf("rule for %s, call of %s: got %v", struck, called, err)
			}
			want := 0
			if struck == called {
				want = 1
			}
			if n := f.Calls(called); fault.Struck() != want || n < 1 {
				t.Errorf("rule for %s, call of %s: %d struck, want %d; %d calls", struck, called, fault.Struck(), want, n)
			}
		}
	}
}

// An error means that nothing was done, unless the rule says Done.
func TestErrorLeavesThingsAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{false, true} {
		f, a := fresh(t, 0)
		b, err := f.Create("/d/b", 0)
		must(t, err)
		used, err := f.UsedBytes("/")
		must(t, err)
		f.Inject(Rule{Err: syscall.EIO, Done: done})
		for op, call := range map[string]func() error{
			"write":    func() error { _, err := b.WriteAt([]byte("b"), 0); return err },
			"truncate": func() error { return a.Truncate(1) },
			"create":   func() error { _, err := f.Create("/d/new", 5000); return err },
			"rename":   func() error { return f.Rename("/d/b", "/d/c") },
			"remove":   func() error { return f.Remove("/d/a") },
			"lock":     func() error { _, err := f.Lock("/d/lock"); return err },
			"mkdir":    func() error { return f.MakeFolder("/d/e") },
		} {
			if err := call(); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: got %v, want EIO", op, err)
			}
		}
		if open := f.OpenFiles(); open != 2 {
			t.Errorf("done %v: %d files open, want 2: who gets an error has nothing to close", done, open)
		}
		f.LiftAll()
		after, err := f.UsedBytes("/")
		must(t, err)
		want := []string{"/d/a", "/d/b"}
		if done {
			want = []string{"/d/c", "/d/lock", "/d/new"}
		}
		if diff := cmp.Diff(want, f.Paths()); diff != "" || done == (after == used) {
			t.Errorf("done %v: %d bytes used before, %d after; paths (-want +got)\n%s", done, used, after, diff)
		}
	}
}

// The errors of calls that no rule strikes.
func TestOrdinaryErrors(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	reader, err := f.Open("/d/a", false)
	must(t, err)
	closed, err := f.Open("/d/a", false)
	must(t, err)
	must(t, closed.Close())
	lock, err := f.Lock("/d/lock")
	must(t, err)
	one := make([]byte, 1)
	for i, c := range []struct {
		err  error
		want error
	}{
		{second(f.Open("/d/none", false)), fs.ErrNotExist},
		{second(f.Open("/d", false)), syscall.EISDIR},
		{second(f.Create("/d/a", 1)), fs.ErrExist},
		{second(f.Create("/d", 1)), fs.ErrExist},
		{second(f.Create("/none/a", 1)), fs.ErrNotExist},
		{second(f.Create("/d/a/b", 1)), syscall.ENOTDIR},
		{second(f.Create("/d/neg", -1)), syscall.EINVAL},
		{f.MakeFolder("/d/a/b"), syscall.ENOTDIR},
		{f.MakeFolder("/d"), nil},
		{second(f.List("/none")), fs.ErrNotExist},
		{second(f.List("/d/a")), syscall.ENOTDIR},
		{second(f.UsedBytes("/none")), fs.ErrNotExist},
		{f.Rename("/d/none", "/d/b"), fs.ErrNotExist},
		{f.Rename("/d/a", "/none/b"), fs.ErrNotExist},
		{f.Rename("/d/a", "/d"), fs.ErrExist},
		{f.Rename("/d", "/e"), syscall.EINVAL},
		{f.Rename("/d/a", "/d/a"), nil},
		{f.Remove("/d/none"), fs.ErrNotExist},
		{f.Remove("/d"), syscall.EISDIR},
		{f.SyncFolder("/none"), fs.ErrNotExist},
		{second(f.Lock("/d/lock")), ErrLocked},
		{second(f.Lock("/d")), syscall.EISDIR},
		{second(reader.WriteAt(one, 0)), syscall.EBADF},
		{reader.Truncate(0), syscall.EBADF},
		{second(a.ReadAt(one, -1)), syscall.EINVAL},
		{second(a.WriteAt(one, -1)), syscall.EINVAL},
		{a.Truncate(-1), syscall.EINVAL},
		{second(a.ReadAt(one, 10000)), io.EOF},
		{second(a.ReadAt(make([]byte, 2), 9999)), io.EOF},
		{second(a.ReadAt(one, 9999)), nil},
		{closed.Close(), fs.ErrClosed},
		{second(closed.ReadAt(one, 0)), fs.ErrClosed},
		{second(closed.Size()), fs.ErrClosed},
		{closed.Sync(), fs.ErrClosed},
		{lock.Close(), nil},
		{second(f.Lock("/d/lock")), nil},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("case %d: got %v, want %v", i, c.err, c.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestWhichCallsAreStruck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		rule Rule
		want string // of six writes, first three to a
	}{
		{"all", Rule{Op: OpWrite}, "xxxxxx"},
		{"any operation", Rule{}, "xxxxxx"},
		{"another operation", Rule{Op: OpRead}, "......"},
		{"a path", Rule{PathContains: "/b"}, "...xxx"},
		{"after", Rule{After: 2}, "..xxxx"},
		{"times", Rule{Times: 2}, "xx...."},
		{"after and times", Rule{After: 2, Times: 1}, "..x..."},
		{"a path, after", Rule{PathContains: "/b", After: 1, Times: 1}, "....x."},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, a := fresh(t, 0)
			b, err := f.Create("/d/b", 0)
			must(t, err)
			c.rule.Err = syscall.EIO
			fault := f.Inject(c.rule)
			got := ""
			for i := range 6 {
				file := a
				if i >= 3 {
					file = b
				}
				mark := "."
				if _, err := file.WriteAt([]byte("x"), 0); err != nil {
					mark = "x"
				}
				got += mark
			}
			if struck := fault.Struck(); got != c.want || struck != bytes.Count([]byte(c.want), []byte("x")) {
				t.Errorf("got %s, want %s; %d struck", got, c.want, struck)
			}
			fault.Lift()
			if _, err := b.WriteAt([]byte("x"), 0); err != nil {
				t.Errorf("lifted: %v", err)
			}
		})
	}
}

// What each kind of damage makes of "ABCDEFGH" written over "abcdefgh", and of reading
// it.
func TestReadsAndWritesGoneWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		rule Rule
		n    int
		err  error
		held string
		read string
	}{
		{"error", Rule{Err: syscall.EIO}, 0, syscall.EIO, "abcdefgh", ""},
		{"error and done", Rule{Err: syscall.EIO, Done: true}, 8, syscall.EIO, "ABCDEFGH", "abcdefgh"},
		{"half", Rule{Err: syscall.ENOSPC, Short: true}, 4, syscall.ENOSPC, "ABCDefgh", "abcd"},
		{"short", Rule{Err: syscall.ENOSPC, ShortBytes: 3}, 3, syscall.ENOSPC, "ABCdefgh", "abc"},
		{"longer than asked", Rule{Err: syscall.EIO, ShortBytes: 30}, 8, syscall.EIO, "ABCDEFGH", "abcdefgh"},
		{"flip", Rule{Flip: true}, 8, nil, "@BCDEFGH", "`bcdefgh"},
		{"flip at", Rule{Flip: true, FlipAt: 9}, 8, nil, "ACCDEFGH", "accdefgh"},
		{"flip at the end", Rule{Flip: true, FlipAt: -1}, 8, nil, "ABCDEFGI", "abcdefgi"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, op := range []Op{OpWrite, OpRead} {
				f := New(0)
				must(t, f.Write("/a", []byte("abcdefgh")))
				a, err := f.Open("/a", true)
				must(t, err)
				c.rule.Op = op
				f.Inject(c.rule)
				data, call, want := []byte("ABCDEFGH"), a.WriteAt, c.held
				if op == OpRead {
					data, call, want = make([]byte, 8), a.ReadAt, "abcdefgh"
				}
				given := slices.Clone(data)
				n, err := call(data, 0)
				if n != c.n || !errors.Is(err, c.err) {
					t.Errorf("%s: got %d, %v; want %d, %v", op, n, err, c.n, c.err)
				}
				if op == OpRead && string(data[:n]) != c.read || op == OpWrite && !bytes.Equal(data, given) {
					t.Errorf("%s: the caller has %q, want %q", op, data[:n], c.read)
				}
				if held, err := f.Read("/a"); string(held) != want {
					t.Errorf("%s: the file has %q, %v; want %q", op, held, err, want)
				}
			}
		})
	}
}

// Shortness without an error of its own has that of package io.
func TestShortWithoutError(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	f.Inject(Rule{ShortBytes: 3})
	if n, err := a.WriteAt([]byte("12345"), 0); n != 3 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("write: got %d, %v; want 3, %v", n, err, io.ErrShortWrite)
	}
	if n, err := a.ReadAt(make([]byte, 5), 0); n != 3 || err != io.EOF {
		t.Errorf("read: got %d, %v; want 3, %v", n, err, io.EOF)
	}
}

func TestTornWrite(t *testing.T) {
	t.Parallel()
	for _, k := range []int{-1, 0, 3, 8, 20} {
		f := New(0)
		must(t, f.Write("/a", []byte("abcd")))
		a, err := f.Open("/a", true)
		must(t, err)
		f.Inject(Rule{Op: OpWrite, Torn: TornAt(k)})
		if n, err := a.WriteAt([]byte("ABCDEFGH"), 0); n != 8 || err != nil {
			t.Errorf("torn at %d: got %d, %v; want a lie", k, n, err)
		}
		want := []byte("abcd\x00\x00\x00\x00")
		copy(want, "ABCDEFGH"[:clamp(k, 8)])
		if got, _ := f.Read("/a"); !bytes.Equal(got, want) {
			t.Errorf("torn at %d: the file has %q, want %q", k, got, want)
		}
	}
}

// A lie is nil and changes nothing; what has a result cannot lie.
func TestLies(t *testing.T) {
	t.Parallel()
	for _, op := range Ops() {
		f, a := fresh(t, 0)
		_, err := a.WriteAt([]byte("was"), 0)
		must(t, err)
		before := f.Snapshot()
		f.Inject(Rule{Op: op, Lie: true})
		if err := calls[op](f, a); err != nil {
			t.Errorf("%s: %v", op, err)
		}
		if !liable[op] {
			continue
		}
		f.LiftAll()
		was, _ := before.Read("/d/a")
		is, _ := f.Read("/d/a")
		if diff := cmp.Diff(before.Paths(), f.Paths()); diff != "" || !bytes.Equal(was, is) || f.folders["/d/e"] {
			t.Errorf("%s was done: (-want +got)\n%s", op, diff)
		}
		if f.node("/d/a").safeSize != 0 || len(f.safe) != 0 {
			t.Errorf("%s made something safe", op)
		}
	}
}

func (f *FS) node(path string) *node { return f.names[path] }

func TestDelay(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	held, called, done := make(chan struct{}), make(chan struct{}), make(chan error)
	f.Inject(Rule{Op: OpWrite, Delay: held, Call: func() { close(called) }})
	go func() { done <- second(a.WriteAt([]byte("late"), 0)) }()
	<-called
	// The rest of the file system goes on, and the bytes are not there.
	if got, err := f.Read("/d/a"); err != nil || got[0] != 0 {
		t.Errorf("during the delay: %q, %v", got[:4], err)
	}
	if _, err := a.Size(); err != nil {
		t.Error(err)
	}
	close(held)
	must(t, <-done)
	if got, _ := f.Read("/d/a"); string(got[:4]) != "late" {
		t.Errorf("after the delay: %q", got[:4])
	}
}

// Call sees what was before the call, so that a test can crash at each of them.
func TestCallBeforeTheOperation(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	var seen []string
	f.Inject(Rule{Op: OpWrite, After: 1, Call: func() {
		data, _ := f.Snapshot().Read("/d/a")
		seen = append(seen, string(data[:3]))
	}})
	for i := range 3 {
		_, err := a.WriteAt(fmt.Appendf(nil, "%03d", i), 0)
		must(t, err)
	}
	if diff := cmp.Diff([]string{"000", "001"}, seen); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 8*pageSize) // a folder and three pages are in use
	if _, err := f.Create("/d/b", 4*pageSize+1); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("create beyond the capacity: %v", err)
	}
	if diff := cmp.Diff([]string{"/d/a"}, f.Paths()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	b, err := f.Create("/d/b", 2*pageSize)
	must(t, err)
	if n, err := b.WriteAt(make([]byte, 2*pageSize), 0); n != 2*pageSize || err != nil {
		t.Errorf("write to what was taken: %d, %v", n, err)
	}
	if n, err := b.WriteAt(make([]byte, 3*pageSize), 2*pageSize-5); n != 2*pageSize+5 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write beyond the capacity: %d, %v; want %d, ENOSPC", n, err, 2*pageSize+5)
	}
	if size, err := b.Size(); size != 4*pageSize || err != nil {
		t.Errorf("size %d, %v; want %d", size, err, 4*pageSize)
	}
	if used, _ := f.UsedBytes("/d"); used != 8*pageSize {
		t.Errorf("%d used, want %d", used, 8*pageSize)
	}
	if err := f.MakeFolder("/d/e"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("folder: %v", err)
	}
	must(t, a.Truncate(1))
	must(t, f.MakeFolder("/d/e"))
	if used, _ := f.UsedBytes("/d"); used != 7*pageSize {
		t.Errorf("%d used after a truncation, want %d", used, 7*pageSize)
	}
	f.SetCapacity(1)
	if _, err := f.Create("/d/c", 1); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("create on a disk that others filled: %v", err)
	}
	if _, err := f.Create("/d/c", 0); err != nil {
		t.Errorf("an empty file takes no room: %v", err)
	}
}

// Without preallocation a file takes what is written.
func TestSparse(t *testing.T) {
	t.Parallel()
	f := New(2 * pageSize)
	f.Preallocate(false)
	a, err := f.Create("/a", 1<<30)
	must(t, err)
	if n, err := a.WriteAt(make([]byte, 3*pageSize), 1<<20); n != 2*pageSize || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %d, %v; want %d, ENOSPC", n, err, 2*pageSize)
	}
	if used, err := f.UsedBytes("/"); used != 2*pageSize || err != nil {
		t.Errorf("%d used, %v", used, err)
	}
}

// Room that nobody wrote to takes no memory.
func TestPreallocatedFilesTakeNoMemory(t *testing.T) {
	t.Parallel()
	f := New(0)
	a, err := f.Create("/a", 512<<20)
	must(t, err)
	_, err = a.WriteAt([]byte("x"), 300<<20)
	must(t, err)
	if used, _ := f.UsedBytes("/"); used != 512<<20 || len(f.node("/a").pages) != 1 {
		t.Errorf("%d bytes used, %d pages in memory", used, len(f.node("/a").pages))
	}
}

func TestRemovedButOpen(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"remove", "rename", "discard", "write"} {
		f, a := fresh(t, 0)
		_, err := a.WriteAt([]byte("still"), 0)
		must(t, err)
		before := f.used
		switch how {
		case "remove":
			must(t, f.Remove("/d/a"))
		case "rename":
			b, err := f.Create("/d/b", 0)
			must(t, err)
			must(t, b.Close())
			must(t, f.Rename("/d/b", "/d/a"))
		case "discard":
			must(t, f.Discard("/d/a"))
		case "write":
			must(t, f.Write("/d/a", nil))
		}
		_, err = a.WriteAt([]byte("here"), 5)
		must(t, err)
		got := make([]byte, 9)
		if _, err := a.ReadAt(got, 0); err != nil || string(got) != "stillhere" {
			t.Errorf("%s: got %q, %v", how, got, err)
		}
		if used, _ := f.UsedBytes("/d"); used != pageSize || f.used != before {
			t.Errorf("%s: %d bytes by name, %d taken, want %d", how, used, f.used, before)
		}
		must(t, a.Close())
		if f.used != pageSize || f.OpenFiles() != 0 {
			t.Errorf("%s: %d bytes taken and %d open after closing", how, f.used, f.OpenFiles())
		}
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	refused := map[Op]bool{OpOpen: true, OpCreate: true, OpWrite: true, OpTruncate: true, OpRename: true, OpRemove: true, OpMkdir: true, OpLock: true}
	for _, op := range Ops() {
		f, a := fresh(t, 0)
		f.Remount(true)
		if err := calls[op](f, a); errors.Is(err, syscall.EROFS) != refused[op] {
			t.Errorf("%s: %v, want refused %v", op, err, refused[op])
		}
		if _, err := f.Open("/d/a", false); err != nil {
			t.Errorf("open for reading: %v", err)
		}
		f.Remount(false)
		if err := f.MakeFolder("/d/f"); err != nil {
			t.Errorf("writable again: %v", err)
		}
	}
}

// A file behaves like a slice of bytes.
func TestFileAgainstSlice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := New(0)
		var want []byte
		n := rapid.IntRange(0, 3*pageSize).Draw(rt, "size")
		want = make([]byte, n)
		a, err := f.Create("/a", int64(n))
		must(t, err)
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				off, data := rapid.IntRange(0, 5*pageSize).Draw(rt, "off"), rapid.SliceOf(rapid.Byte()).Draw(rt, "data")
				if end := off + len(data); len(data) > 0 && end > len(want) {
					want = append(want, make([]byte, end-len(want))...)
				}
				copy(want[min(off, len(want)):], data)
				if n, err := a.WriteAt(data, int64(off)); n != len(data) || err != nil {
					rt.Fatalf("wrote %d, %v", n, err)
				}
			},
			"truncate": func(rt *rapid.T) {
				n := rapid.IntRange(0, 6*pageSize).Draw(rt, "n")
				want = append(want[:min(n, len(want))], make([]byte, max(0, n-len(want)))...)
				must(t, a.Truncate(int64(n)))
			},
			"sync":  func(*rapid.T) { must(t, a.Sync()) },
			"crash": func(*rapid.T) { f = f.Snapshot(); a, err = f.Open("/a", true); must(t, err) },
			"": func(rt *rapid.T) {
				got, err := f.Read("/a")
				must(t, err)
				if !bytes.Equal(got, want) {
					rt.Fatalf("got %d bytes, want %d; first difference at %d", len(got), len(want), firstDifference(got, want))
				}
				taken := f.node("/a").taken
				f.node("/a").account()
				if taken != f.node("/a").taken || taken != f.used {
					rt.Fatalf("%d bytes taken, counted anew %d, used %d", taken, f.node("/a").taken, f.used)
				}
			},
		})
	})
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	f.Inject(Rule{Op: OpWrite, After: 5, Flip: true})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			path := fmt.Sprintf("/d/%d", i)
			for range 20 {
				if file, err := f.Create(path, 100); err == nil {
					_, _ = file.WriteAt([]byte(path), 0)
					_ = file.Sync()
					_ = file.Close()
				}
				_, _ = a.WriteAt([]byte(path), int64(i)*10)
				_, _ = a.ReadAt(make([]byte, 50), 0)
				_, _ = f.List("/d")
				_, _ = f.UsedBytes("/")
				_ = f.SyncFolder("/d")
				_ = f.Snapshot().Paths()
				_ = f.Remove(path)
			}
		})
	}
	all.Wait()
	if diff := cmp.Diff([]string{"/d/a"}, f.Paths()); diff != "" || f.OpenFiles() != 1 || f.used != 4*pageSize {
		t.Errorf("%d open, %d used (-want +got)\n%s", f.OpenFiles(), f.used, diff)
	}
}
