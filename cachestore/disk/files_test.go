package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
)

// readOnly is a file system of files in memory that can be opened and read, and which
// counts those that are open.
type readOnly struct {
	FS // the rest is not asked for

	mu     sync.Mutex
	files  map[string][]byte
	open   int
	most   int
	opened []string
	closed []string
	before func(op, path string) error // may wait, and may fail the operation
}

func newReadOnly(segments int) *readOnly {
	fs := &readOnly{files: make(map[string][]byte)}
	for i := range segments {
		fs.files[pathOf(uint32(i))] = patternOf(address{uint32(i), 0}, 1000)
	}
	return fs
}

func pathOf(segment uint32) string { return fmt.Sprintf("segment-%d", segment) }

func (fs *readOnly) ask(op, path string) error {
	if fs.before == nil {
		return nil
	}
	return fs.before(op, path)
}

func (fs *readOnly) Open(path string, write bool) (File, error) {
	if err := fs.ask("open", path); err != nil {
		return nil, err
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	data, ok := fs.files[path]
	if !ok || write {
		return nil, iofs.ErrNotExist
	}
	fs.open++
	fs.most = max(fs.most, fs.open)
	fs.opened = append(fs.opened, path)
	return &readOnlyFile{fs: fs, path: path, data: bytes.NewReader(data)}, nil
}

// log is what has been opened and closed since the last call.
func (fs *readOnly) log() (opened, closed []string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	opened, closed = fs.opened, fs.closed
	fs.opened, fs.closed = nil, nil
	return opened, closed
}

type readOnlyFile struct {
	File
	fs   *readOnly
	path string
	data *bytes.Reader
	gone bool
}

func (f *readOnlyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask("read", f.path); err != nil {
		return len(p) / 2, err
	}
	f.fs.mu.Lock()
	gone := f.gone
	f.fs.mu.Unlock()
	if gone {
		return 0, iofs.ErrClosed
	}
	return f.data.ReadAt(p, off)
}

func (f *readOnlyFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.gone {
		return iofs.ErrClosed
	}
	f.gone = true
	f.fs.open--
	f.fs.closed = append(f.fs.closed, f.path)
	return nil
}

// filesOf returns files with the segments of fs.
func filesOf(fs *readOnly, most int) *files {
	f := newFiles(fs, most)
	for i := range len(fs.files) {
		f.add(uint32(i), pathOf(uint32(i)), nil)
	}
	return f
}

// mustOpen opens a segment as who hands it to files does.
func mustOpen(t *testing.T, fs *readOnly, segment uint32) File {
	t.Helper()
	file, err := fs.Open(pathOf(segment), false)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func checkRead(t *testing.T, f *files, segment uint32, want error) {
	t.Helper()
	p := make([]byte, 300)
	err := f.readAt(segment, p, 200)
	if !errors.Is(err, want) {
		t.Errorf("readAt(%d) = %v, want %v", segment, err, want)
	}
	if err == nil && !bytes.Equal(p, patternOf(address{segment, 0}, 1000)[200:500]) {
		t.Errorf("readAt(%d): not the bytes of the file", segment)
	}
}

func TestReadAtIsAllOrAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, test := range []struct {
		name    string
		segment uint32
		n       int
		off     int64
		fails   string // the operation
		want    error
	}{
		{name: "a part", n: 100, off: 50},
		{name: "all", n: 1000},
		{name: "the end", n: 1, off: 999},
		{name: "nothing", n: 0, off: 10},
		{name: "beyond the end", n: 101, off: 900, want: io.ErrUnexpectedEOF},
		{name: "behind the end", n: 1, off: 1000, want: io.ErrUnexpectedEOF},
		{name: "unknown", segment: 9, n: 1, want: errGoneSegment},
		{name: "missing file", segment: 1, n: 1, want: iofs.ErrNotExist},
		{name: "open fails", n: 1, fails: "open", want: broken},
		{name: "read fails", n: 10, fails: "read", want: broken},
	} {
		fs := newReadOnly(1)
		fs.before = func(op, _ string) error {
			if op == test.fails {
				return broken
			}
			return nil
		}
		f := filesOf(fs, 2)
		f.add(1, pathOf(1), nil)
		p := make([]byte, test.n)
		if err := f.readAt(test.segment, p, test.off); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		} else if err == nil && !bytes.Equal(p, patternOf(address{0, 0}, 1000)[test.off:][:test.n]) {
			t.Errorf("%s: not the bytes of the file", test.name)
		}
		fs.before = nil
		checkRead(t, f, 0, nil)
		if got := f.open(); got != 1 || fs.open != 1 {
			t.Errorf("%s: then %d open of %d, want 1 of 1", test.name, got, fs.open)
		}
	}
}

func TestFileUnusedLongestIsClosed(t *testing.T) {
	t.Parallel()
	fs := newReadOnly(5)
	f := filesOf(fs, 3)
	for _, segment := range []uint32{0, 1, 2, 0, 3, 4} {
		checkRead(t, f, segment, nil)
	}
	opened, closed := fs.log()
	want := [][]string{
		{pathOf(0), pathOf(1), pathOf(2), pathOf(3), pathOf(4)},
		{pathOf(1), pathOf(2)},
	}
	if diff := cmp.Diff(want, [][]string{opened, closed}); diff != "" {
		t.Errorf("opened and closed (-want +got):\n%s", diff)
	}
	if got := f.open(); got != 3 {
		t.Errorf("%d open, want 3", got)
	}
}

func TestFileHandedOverOpen(t *testing.T) {
	t.Parallel()
	fs := newReadOnly(3)
	f := newFiles(fs, 1)
	f.add(0, "elsewhere", mustOpen(t, fs, 0))
	checkRead(t, f, 0, nil)
	f.add(1, pathOf(1), mustOpen(t, fs, 1)) // in the place of the other
	if f.open() != 1 || fs.open != 1 {
		t.Errorf("%d open of %d, want 1 of 1", f.open(), fs.open)
	}
	checkRead(t, f, 1, nil)
	f.add(1, pathOf(1), mustOpen(t, fs, 1)) // again
	f.add(0, pathOf(0), nil)
	checkRead(t, f, 0, nil)
	checkRead(t, f, 1, nil)
	if f.open() != 1 || fs.open != 1 {
		t.Errorf("%d open of %d, want 1 of 1", f.open(), fs.open)
	}
	fs.before = func(op, _ string) error {
		if op == "read" { // while the only place is taken by a read
			fs.before = nil
			f.add(2, pathOf(2), mustOpen(t, fs, 2))
		}
		return nil
	}
	checkRead(t, f, 1, nil)
	checkRead(t, f, 2, nil)
	if f.open() != 1 || fs.open != 1 {
		t.Errorf("%d open of %d, want 1 of 1", f.open(), fs.open)
	}
}

func TestRemovedSegmentIsGone(t *testing.T) {
	t.Parallel()
	if !errors.Is(errGoneSegment, cachestore.ErrGone) {
		t.Errorf("%v is not %v", errGoneSegment, cachestore.ErrGone)
	}
	fs := newReadOnly(2)
	f := filesOf(fs, 2)
	checkRead(t, f, 0, nil)
	f.remove(0)
	f.remove(0)
	f.remove(7)
	checkRead(t, f, 0, errGoneSegment)
	if f.open() != 0 || fs.open != 0 {
		t.Errorf("%d open of %d, want 0", f.open(), fs.open)
	}
	f.add(0, pathOf(0), nil)
	checkRead(t, f, 0, nil)
}

// A segment is removed while it is opened or read: that read ends as it would have, the
// next ones are refused, and the file is closed.
func TestRemoveDuringARead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		op    string
		fails error
		want  error
	}{
		{"open", nil, nil},
		{"open", iofs.ErrNotExist, errGoneSegment},
		{"read", nil, nil},
		{"read", io.ErrClosedPipe, io.ErrClosedPipe},
	} {
		synctest.Test(t, func(t *testing.T) {
			fs := newReadOnly(1)
			proceed := make(chan struct{})
			fs.before = func(op, _ string) error {
				if op != test.op {
					return nil
				}
				<-proceed
				return test.fails
			}
			f := filesOf(fs, 1)
			var all sync.WaitGroup
			all.Go(func() { checkRead(t, f, 0, test.want) })
			synctest.Wait()
			f.remove(0)
			checkRead(t, f, 0, errGoneSegment)
			close(proceed)
			all.Wait()
			if f.open() != 0 || fs.open != 0 {
				t.Errorf("%s, %v: %d open of %d, want 0", test.op, test.fails, f.open(), fs.open)
			}
		})
	}
}

func TestReadersOfOneFileShareItsOpening(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fs := newReadOnly(1)
		proceed := make(chan struct{})
		fs.before = func(op, _ string) error {
			if op == "open" {
				<-proceed
			}
			return nil
		}
		f := filesOf(fs, 8)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { checkRead(t, f, 0, nil) })
		}
		synctest.Wait()
		close(proceed)
		all.Wait()
		if opened, _ := fs.log(); len(opened) != 1 {
			t.Errorf("opened %v, want once", opened)
		}
	})
}

// All places are taken by reads: another reader waits, and gets the first that is left,
// before those who go on reading what is open.
func TestReaderWaitsForAPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fs := newReadOnly(3)
		proceed := map[string]chan struct{}{pathOf(0): make(chan struct{}), pathOf(1): make(chan struct{}), pathOf(2): make(chan struct{})}
		fs.before = func(op, path string) error {
			if op == "read" {
				<-proceed[path]
			}
			return nil
		}
		f := filesOf(fs, 2)
		var all sync.WaitGroup
		for _, segment := range []uint32{0, 1} {
			all.Go(func() { checkRead(t, f, segment, nil) })
		}
		synctest.Wait()
		all.Go(func() { checkRead(t, f, 2, nil) })
		synctest.Wait()
		if got := fs.open; got != 2 {
			t.Errorf("%d open, want 2", got)
		}
		proceed[pathOf(0)] <- struct{}{}
		synctest.Wait()
		opened, closed := fs.log()
		want := [][]string{{pathOf(2)}, {pathOf(0)}}
		if diff := cmp.Diff(want, [][]string{opened[2:], closed}); diff != "" {
			t.Errorf("opened and closed (-want +got):\n%s", diff)
		}
		close(proceed[pathOf(1)])
		close(proceed[pathOf(2)])
		all.Wait()
		if fs.most != 2 || f.open() != 2 {
			t.Errorf("%d open, at most %d, want 2", f.open(), fs.most)
		}
	})
}

// A place that was waited for is not lost when the opening fails or panics.
func TestFailedOpeningLeavesItsPlace(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error": func() error { return io.ErrNoProgress },
		"panic": func() error { panic("in Open") },
	} {
		synctest.Test(t, func(t *testing.T) {
			fs := newReadOnly(3)
			proceed := make(chan struct{})
			fs.before = func(op, path string) error {
				if op == "open" && path == pathOf(0) {
					<-proceed
					return fail()
				}
				return nil
			}
			f := filesOf(fs, 1)
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() {
					defer func() { _ = recover() }()
					checkRead(t, f, 0, io.ErrNoProgress)
				})
			}
			synctest.Wait()
			for _, segment := range []uint32{1, 2} {
				all.Go(func() { checkRead(t, f, segment, nil) })
			}
			synctest.Wait()
			close(proceed)
			all.Wait()
			checkRead(t, f, 1, nil)
			if f.open() != 1 || fs.open != 1 || fs.most != 1 {
				t.Errorf("%s: %d open of %d, at most %d, want 1", name, f.open(), fs.open, fs.most)
			}
		})
	}
}

func TestClosedFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fs := newReadOnly(3)
		f := filesOf(fs, 3)
		checkRead(t, f, 0, nil)
		proceed := make(chan struct{})
		fs.before = func(op, _ string) error {
			if op == "read" {
				<-proceed
			}
			return nil
		}
		var all sync.WaitGroup
		all.Go(func() { checkRead(t, f, 1, nil) })
		synctest.Wait()
		f.close()
		if f.open() != 1 || fs.open != 1 {
			t.Errorf("while one is read %d open of %d, want 1", f.open(), fs.open)
		}
		close(proceed)
		all.Wait()
		f.add(2, pathOf(2), mustOpen(t, fs, 2))
		checkRead(t, f, 2, errGoneSegment)
		if f.open() != 0 || fs.open != 0 {
			t.Errorf("in the end %d open of %d, want 0", f.open(), fs.open)
		}
	})
}

// Many read many segments through few places while segments come and go.
func TestOpenFilesAreBounded(t *testing.T) {
	t.Parallel()
	const segments, most = 12, 3
	fs := newReadOnly(segments)
	f := filesOf(fs, most)
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(worker)))
			p := make([]byte, 100)
			for range 500 {
				segment := uint32(r.IntN(segments))
				switch r.IntN(20) {
				case 0:
					f.remove(segment)
				case 1:
					f.add(segment, pathOf(segment), nil)
				default:
					off := r.Int64N(900)
					err := f.readAt(segment, p, off)
					if err == nil && !bytes.Equal(p, patternOf(address{segment, 0}, 1000)[off:][:100]) {
						t.Errorf("segment %d: not the bytes of the file", segment)
					}
					if err != nil && !errors.Is(err, errGoneSegment) {
						t.Errorf("segment %d: %v", segment, err)
					}
				}
			}
		})
	}
	all.Wait()
	if fs.most > most || f.open() != fs.open || f.waiting != 0 || f.granted != 0 {
		t.Errorf("at most %d were open, want %d; %d of %d in the end, %d wait, %d granted", fs.most, most, f.open(), fs.open, f.waiting, f.granted)
	}
	f.close()
	if f.open() != 0 || fs.open != 0 {
		t.Errorf("after close %d open of %d, want 0", f.open(), fs.open)
	}
}

// Not parallel: others would allocate meanwhile.
func TestAllocationsOfReadAt(t *testing.T) {
	f := filesOf(newReadOnly(2), 2)
	p := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if err := f.readAt(1, p, 5); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
