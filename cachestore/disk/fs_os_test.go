package disk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"perigee/internal/faultfs"
)

// Whatever is done to it, the file system of the tests answers as that of the machine.
func TestFaultyAnswersAsTheMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		top := t.TempDir()
		twins := &fsTwins{rt: rt, real: OS(), model: faulty{faultfs.New(0)}, top: top}
		twins.same("make folder", func(f FS, at string) (any, error) { return nil, f.MakeFolder(at) })
		defer twins.closeAll()
		rt.Repeat(map[string]func(*rapid.T){
			"names":  twins.names,
			"create": twins.create,
			"open":   twins.open,
			"file":   twins.file,
			"lock":   twins.lock,
			"":       func(*rapid.T) { twins.same("list", sortedList) },
		})
	})
}

// fsTwins does everything to two file systems.
type fsTwins struct {
	rt          *rapid.T
	real, model FS
	top         string
	files       [][2]io.Closer
	at          int
}

// path is one of few paths, so that calls meet.
func (w *fsTwins) path(rt *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"a", "b", "d", "d/a", "d/b", "a/x", "none/a", "lock"}).Draw(rt, label)
}

// same does one thing to both and compares what comes of it.
func (w *fsTwins) same(what string, act func(f FS, top string) (any, error)) [2]any {
	var got [2]any
	var errs [2]error
	for i, f := range []FS{w.real, w.model} {
		got[i], errs[i] = act(f, w.top)
	}
	if kindOf(errs[0]) != kindOf(errs[1]) {
		w.rt.Fatalf("%s: machine %v, model %v", what, errs[0], errs[1])
	}
	for i := range got {
		if closer, ok := got[i].(io.Closer); ok && errs[i] != nil {
			w.rt.Fatalf("%s: %v with an error", what, closer)
		}
	}
	return got
}

// kindOf names what callers tell errors apart by.
func kindOf(err error) string {
	for _, each := range []error{io.EOF, fs.ErrNotExist, fs.ErrExist, fs.ErrClosed, ErrLocked} {
		if errors.Is(err, each) {
			return each.Error()
		}
	}
	if err != nil {
		return "another error"
	}
	return ""
}

// equal compares results that are no files.
func (w *fsTwins) equal(what string, act func(f FS, top string) (any, error)) {
	got := w.same(what, act)
	if diff := cmp.Diff(got[0], got[1]); diff != "" {
		w.rt.Fatalf("%s (-machine +model)\n%s", what, diff)
	}
}

func sortedList(f FS, top string) (any, error) {
	names, err := f.List(top)
	slices.Sort(names)
	return names, err
}

func (w *fsTwins) names(rt *rapid.T) {
	a, b := w.path(rt, "path"), w.path(rt, "other")
	switch what := rapid.SampledFrom([]string{"mkdir", "remove", "rename", "list", "sync"}).Draw(rt, "what"); what {
	case "mkdir":
		w.equal(what, func(f FS, top string) (any, error) { return nil, f.MakeFolder(filepath.Join(top, "d")) })
	case "remove":
		w.equal(what, func(f FS, top string) (any, error) { return nil, f.Remove(filepath.Join(top, a)) })
	case "rename":
		if a == "d" {
			return // Folders are never renamed.
		}
		w.equal(what, func(f FS, top string) (any, error) {
			return nil, f.Rename(filepath.Join(top, a), filepath.Join(top, b))
		})
	case "list":
		w.equal(what, func(f FS, top string) (any, error) { return sortedList(f, filepath.Join(top, a)) })
	case "sync":
		w.equal(what, func(f FS, top string) (any, error) { return nil, f.SyncFolder(filepath.Join(top, a)) })
	}
}

// keep remembers a pair of open files.
func (w *fsTwins) keep(got [2]any) {
	real, ok := got[0].(io.Closer)
	if model, both := got[1].(io.Closer); ok && both {
		w.files = append(w.files, [2]io.Closer{real, model})
	}
}

func (w *fsTwins) create(rt *rapid.T) {
	path, n := w.path(rt, "path"), rapid.Int64Range(-1, 20000).Draw(rt, "n")
	w.keep(w.same("create", func(f FS, top string) (any, error) { return orNil(f.Create(filepath.Join(top, path), n)) }))
}

func (w *fsTwins) open(rt *rapid.T) {
	path, write := w.path(rt, "path"), rapid.Bool().Draw(rt, "write")
	w.keep(w.same("open", func(f FS, top string) (any, error) { return orNil(f.Open(filepath.Join(top, path), write)) }))
}

func (w *fsTwins) lock(rt *rapid.T) {
	path := w.path(rt, "path")
	w.keep(w.same("lock", func(f FS, top string) (any, error) { return orNil(f.Lock(filepath.Join(top, path))) }))
}

// orNil is nil, not an interface around nothing, for no result.
func orNil[T io.Closer](x T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return x, nil
}

func (w *fsTwins) file(rt *rapid.T) {
	if len(w.files) == 0 {
		return
	}
	pair := w.files[rapid.IntRange(0, len(w.files)-1).Draw(rt, "which")]
	off := rapid.Int64Range(-1, 20000).Draw(rt, "off")
	data := rapid.SliceOfN(rapid.Byte(), 1, 9000).Draw(rt, "data")
	what := rapid.SampledFrom([]string{"read", "write", "truncate", "sync", "size", "close"}).Draw(rt, "what")
	w.at = 0
	w.equal(what, func(FS, string) (any, error) {
		each := pair[w.at]
		w.at++
		file, ok := each.(File)
		if what == "close" || !ok {
			return nil, each.Close()
		}
		switch what {
		case "read":
			p := make([]byte, len(data))
			n, err := file.ReadAt(p, off)
			return string(p[:n]), err
		case "write":
			n, err := file.WriteAt(data, off)
			return n, err
		case "truncate":
			return nil, file.Truncate(off)
		case "sync":
			return nil, file.Sync()
		}
		n, err := file.Size()
		return n, err
	})
}

func (w *fsTwins) closeAll() {
	for _, pair := range w.files {
		_ = pair[0].Close()
		_ = pair[1].Close()
	}
}

// What Create promises is taken from the medium, and UsedBytes tells it.
func TestOSUsedBytes(t *testing.T) {
	t.Parallel()
	f, top := OS(), t.TempDir()
	empty, err := f.UsedBytes(top)
	if err != nil {
		t.Fatal(err)
	}
	const n = 3 << 20
	file, err := f.Create(filepath.Join(top, "a"), n)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if size, err := file.Size(); size != n || err != nil {
		t.Errorf("size %d, %v; want %d", size, err, n)
	}
	if err := os.Link(filepath.Join(top, "a"), filepath.Join(top, "again")); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(bytes.Repeat([]byte("x"), n), 0); err != nil {
		t.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	full, err := f.UsedBytes(top)
	if err != nil {
		t.Fatal(err)
	}
	// A file system may take a few blocks more, for the names and for the map of blocks;
	// counted twice, by its two names, the file would take 6 MiB.
	if taken := full - empty; taken < n || taken > n+n/4 {
		t.Errorf("a file of %d bytes takes %d", n, taken)
	}
	if err := f.MakeFolder(filepath.Join(top, "below", "it")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "below", "it", "b"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if more, err := f.UsedBytes(top); more < full || err != nil {
		t.Errorf("%d bytes with a file below, %v; %d without", more, err, full)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(top, link); err != nil {
		t.Fatal(err)
	}
	if behind, err := f.UsedBytes(link); behind < full || err != nil {
		t.Errorf("%d bytes behind a link, %v; want at least %d", behind, err, full)
	}
	if _, err := f.UsedBytes(filepath.Join(top, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestOSModes(t *testing.T) {
	t.Parallel()
	f, top := OS(), t.TempDir()
	if err := f.MakeFolder(filepath.Join(top, "d", "e")); err != nil {
		t.Fatal(err)
	}
	file, err := f.Create(filepath.Join(top, "d", "a"), 1)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := f.Lock(filepath.Join(top, "d", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range []any{file.(osFile).File, lock} {
		err := withDescriptor(each.(*os.File), func(fd int) error {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("%v is inherited by other programs", each)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if err := each.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	}
	for path, want := range map[string]fs.FileMode{
		"d": fs.ModeDir | 0o700, "d/e": fs.ModeDir | 0o700, "d/a": 0o600, "d/lock": 0o600,
	} {
		info, err := os.Stat(filepath.Join(top, path))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

// Open and Lock take regular files alone, and do not wait for who writes to a pipe.
func TestOSRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	f, top := OS(), t.TempDir()
	for name, made := range map[string]func(path string) error{
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":   func(path string) error { return os.Symlink("/etc/passwd", path) },
		"pipe":   func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		path := filepath.Join(top, name)
		if err := made(path); err != nil {
			t.Fatal(err)
		}
		for _, write := range []bool{false, true} {
			if _, err := f.Open(path, write); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("open of a %s (write %v): %v", name, write, err)
			}
		}
		if _, err := f.Lock(path); err == nil || errors.Is(err, ErrLocked) {
			t.Errorf("lock of a %s: %v", name, err)
		}
		if _, err := f.Create(path, 1); !errors.Is(err, fs.ErrExist) {
			t.Errorf("create of a %s: %v", name, err)
		}
	}
	// The link can be got rid of, and what it points to stays.
	if err := f.Remove(filepath.Join(top, "link")); err != nil {
		t.Error(err)
	}
	if err := f.Remove(filepath.Join(top, "folder")); err == nil {
		t.Error("a folder was removed")
	}
}

// A file that cannot be made whole is not left behind.
func TestOSCreateFailsWhole(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	file, err := OS().Create(filepath.Join(top, "a"), -1)
	failsWith(t, file, err, syscall.EINVAL)
	if names, err := OS().List(top); len(names) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// failsWith checks what Create returns.
func failsWith(t *testing.T, file File, err, want error) {
	t.Helper()
	if file != nil || !errors.Is(err, want) {
		t.Errorf("got %v, %v; want no file and %v", file, err, want)
	}
}

// One process has a folder; another sees that, in words.
func TestOSLock(t *testing.T) {
	t.Parallel()
	f, path := OS(), filepath.Join(t.TempDir(), "lock")
	first, err := f.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Lock(path)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("locked already: got %v, want %v with the path", err, ErrLocked)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := f.Lock(path)
	if err != nil {
		t.Fatalf("after closing: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
