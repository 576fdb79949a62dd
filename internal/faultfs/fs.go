package faultfs

import (
	"errors"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// ErrLocked is returned by [FS.Lock] for a file that is locked already.
var ErrLocked = errors.New("faultfs: locked")

// FS is a file system. All methods may be called concurrently. Errors are
// *fs.PathError around an errno, as those of package os, or around what a [Rule] says.
//
// Space is taken by 4 KiB, and a folder takes 4 KiB too. Folders outlive a power cut
// from the moment that they are made; names of files do after [FS.SyncFolder], and
// data after [File.Sync].
type FS struct {
	// mu guards everything below, and all nodes.
	mu       sync.Mutex
	capacity int64
	used     int64
	sparse   bool
	readOnly bool
	folders  map[string]bool
	names    map[string]*node
	// safe and pending are names too: those that a power cut leaves, and what became
	// of them since.
	safe    map[string]*node
	pending []change
	open    map[*File]bool
	faults  []*Fault
	calls   map[Op]int
}

// maxPending is how many changes of names wait for [FS.SyncFolder] before the oldest
// becomes safe by itself, as a journal is committed now and then.
const maxPending = 4096

// New makes an empty file system that has room for capacity bytes; 0 means no limit.
// The folders "/" and "." are there.
func New(capacity int64) *FS {
	return &FS{
		capacity: capacity,
		folders:  map[string]bool{"/": true, ".": true},
		names:    map[string]*node{},
		safe:     map[string]*node{},
		open:     map[*File]bool{},
		calls:    map[Op]int{},
	}
}

// SetCapacity gives the file system another size, as if others had filled or freed it;
// 0 means no limit. It may be less than what is in use.
func (f *FS) SetCapacity(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = bytes
}

// Preallocate says whether Create takes the bytes of a file at once, which is so at
// first; if not, each page is taken when it is written.
func (f *FS) Preallocate(does bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sparse = !does
}

// Remount makes the file system read-only, or writable again: what would alter it
// fails with EROFS, on files that are open too.
func (f *FS) Remount(readOnly bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readOnly = readOnly
}

// MakeFolder makes a folder, and those above it, where it is not there.
func (f *FS) MakeFolder(path string) error {
	path = filepath.Clean(path)
	return f.do(OpMkdir, path, func() error {
		var missing []string
		for at := path; !f.folders[at]; at = filepath.Dir(at) {
			if f.names[at] != nil {
				return syscall.ENOTDIR
			}
			missing = append(missing, at)
		}
		for _, at := range slices.Backward(missing) {
			if !f.take(1) {
				return syscall.ENOSPC
			}
			f.folders[at] = true
		}
		return nil
	})
}

// List returns the names of the files in a folder, in no useful order.
func (f *FS) List(path string) ([]string, error) {
	path = filepath.Clean(path)
	var found []string
	err := f.do(OpList, path, func() error {
		if err := f.folder(path); err != nil {
			return err
		}
		for name := range f.names {
			if filepath.Dir(name) == path {
				found = append(found, filepath.Base(name))
			}
		}
		return nil
	})
	// Neither sorted nor different each time.
	slices.SortFunc(found, func(a, b string) int {
		if x, y := scatter(a), scatter(b); x != y {
			return int(int64(x) - int64(y))
		}
		return strings.Compare(a, b)
	})
	return found, err
}

// scatter is a number that has nothing to do with the order of names.
func scatter(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32()
}

// UsedBytes is what the files and folders in a folder and below take, and it too. A
// file that was removed while open is not in it, but takes room until it is closed.
func (f *FS) UsedBytes(path string) (int64, error) {
	path = filepath.Clean(path)
	var sum int64
	err := f.do(OpUsed, path, func() error {
		if err := f.folder(path); err != nil {
			return err
		}
		for name := range f.folders {
			if name != "." && name != "/" && within(path, name) {
				sum += pageSize
			}
		}
		for name, n := range f.names {
			if within(path, name) {
				sum += n.taken
			}
		}
		return nil
	})
	return sum, err
}

// within reports whether name is folder or below it.
func within(folder, name string) bool {
	rel, err := filepath.Rel(folder, name)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// Create makes a new file of n zero bytes and takes them at once; ENOSPC, and no file,
// if there is no room for them.
func (f *FS) Create(path string, n int64) (*File, error) {
	path = filepath.Clean(path)
	var file *File
	err := f.do(OpCreate, path, func() error {
		if f.names[path] != nil || f.folders[path] {
			return syscall.EEXIST
		}
		made, err := f.make(path, n)
		if err == nil {
			file = f.handle(path, made, true)
		}
		return err
	})
	return f.orClose(file, err)
}

// Open opens a file for reading, or for writing too.
func (f *FS) Open(path string, write bool) (*File, error) {
	path = filepath.Clean(path)
	var file *File
	err := f.do(OpOpen, path, func() error {
		n := f.names[path]
		switch {
		case f.folders[path]:
			return syscall.EISDIR
		case n == nil:
			return f.absent(path)
		case write && f.readOnly:
			return syscall.EROFS
		}
		file = f.handle(path, n, write)
		return nil
	})
	return f.orClose(file, err)
}

// Rename puts a file in the place of another, at once. Folders cannot be renamed.
func (f *FS) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	return f.do(OpRename, from, func() error {
		for _, path := range []string{from, to} {
			if err := f.folder(filepath.Dir(path)); err != nil {
				return err
			}
		}
		n, old := f.names[from], f.names[to]
		switch {
		case f.folders[from]:
			return syscall.EINVAL
		case n == nil:
			return syscall.ENOENT
		case f.folders[to]:
			return syscall.EEXIST
		case from == to:
			return nil
		}
		delete(f.names, from)
		f.names[to] = n
		f.note(change{n, from, to})
		if old != nil {
			old.links--
			f.release(old)
		}
		return nil
	}, to)
}

// Remove takes away the name of a file. Who has it open can go on reading and writing
// it, and it takes room until the last of them closes it.
func (f *FS) Remove(path string) error {
	path = filepath.Clean(path)
	return f.do(OpRemove, path, func() error {
		n := f.names[path]
		switch {
		case f.folders[path]:
			return syscall.EISDIR
		case n == nil:
			return f.absent(path)
		}
		delete(f.names, path)
		f.note(change{n, path, ""})
		n.links--
		f.release(n)
		return nil
	})
}

// SyncFolder makes the names in a folder outlive a power cut.
func (f *FS) SyncFolder(path string) error {
	path = filepath.Clean(path)
	return f.do(OpSyncFolder, path, func() error {
		if err := f.folder(path); err != nil {
			return err
		}
		f.pending = slices.DeleteFunc(f.pending, func(c change) bool {
			if !c.touches(path) {
				return false
			}
			c.apply(f.safe)
			return true
		})
		return nil
	})
}

// Lock makes the caller the only one that has the file open by Lock, which is made if
// need be; [ErrLocked] if another one has it. Closing gives it free.
func (f *FS) Lock(path string) (io.Closer, error) {
	path = filepath.Clean(path)
	var file *File
	err := f.do(OpLock, path, func() error {
		if f.folders[path] {
			return syscall.EISDIR
		}
		n := f.names[path]
		if n == nil {
			made, err := f.make(path, 0)
			if err != nil {
				return err
			}
			n = made
		}
		if n.locked {
			return ErrLocked
		}
		n.locked = true
		file = f.handle(path, n, true)
		file.locks = true
		return nil
	})
	if file, err = f.orClose(file, err); err != nil {
		return nil, err
	}
	// Only to be closed: what reads or writes through a lock would work here alone.
	return struct{ io.Closer }{file}, nil
}

// OpenFiles counts the files and locks that are not closed.
func (f *FS) OpenFiles() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.open)
}

// Paths lists all files, in order.
func (f *FS) Paths() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.names))
}

// do carries out one operation with the faults that strike it. act is called with the
// lock held.
func (f *FS) do(op Op, path string, act func() error, others ...string) error {
	e := f.strike(op, append(others, path)...)
	if e.err != nil && !e.done {
		return pathError(op, path, e.err)
	}
	if e.lie {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readOnly && alters[op] {
		return pathError(op, path, syscall.EROFS)
	}
	if err := act(); err != nil {
		return pathError(op, path, err)
	}
	return pathError(op, path, e.err)
}

// pathError is err as package os would return it; nil for none.
func pathError(op Op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: string(op), Path: path, Err: err}
}

// orClose gives back a file that an operation made and then failed, as a process would
// that never learns of it.
func (f *FS) orClose(file *File, err error) (*File, error) {
	if err == nil {
		return file, nil
	}
	if file != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		file.close()
	}
	return nil, err
}

// folder is nil if there is such a folder. The lock is held.
func (f *FS) folder(path string) error {
	switch {
	case f.folders[path]:
		return nil
	case f.names[path] != nil:
		return syscall.ENOTDIR
	}
	return f.absent(path)
}

// absent is why there is nothing of a name. The lock is held.
func (f *FS) absent(path string) error {
	for at := filepath.Dir(path); !f.folders[at]; at = filepath.Dir(at) {
		if f.names[at] != nil {
			return syscall.ENOTDIR
		}
	}
	return syscall.ENOENT
}

// make makes a file of n bytes that is not there. The lock is held.
func (f *FS) make(path string, n int64) (*node, error) {
	if err := f.folder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, syscall.EINVAL
	}
	made := newNode()
	made.size = n
	if !f.sparse {
		if !f.take(roundUp(n) / pageSize) {
			return nil, syscall.ENOSPC
		}
		made.reserved, made.taken = roundUp(n), roundUp(n)
	}
	made.links = 1
	f.names[path] = made
	f.note(change{made, "", path})
	return made, nil
}

// take takes room for pages, if there is. The lock is held.
func (f *FS) take(pages int64) bool {
	if f.capacity > 0 && pages > 0 && pages > (f.capacity-f.used)/pageSize {
		return false
	}
	f.used += pages * pageSize
	return true
}

// release gives back the room of a file that nobody can reach any more. The lock is
// held.
func (f *FS) release(n *node) {
	if n.links == 0 && n.handles == 0 {
		f.used -= n.taken
		n.taken = 0
	}
}

// note remembers a change of names until the folder is synced. The lock is held.
func (f *FS) note(c change) {
	if len(f.pending) == maxPending {
		f.pending[0].apply(f.safe)
		f.pending = slices.Delete(f.pending, 0, 1)
	}
	f.pending = append(f.pending, c)
}

// change is what became of the name of a file: from is "" for a new file, to is ""
// for a removed one.
type change struct {
	node     *node
	from, to string
}

func (c change) touches(folder string) bool {
	return c.from != "" && filepath.Dir(c.from) == folder || c.to != "" && filepath.Dir(c.to) == folder
}

// apply makes the change in names, also where those before it were not made: a file
// has one name afterwards or none.
func (c change) apply(names map[string]*node) {
	if c.to == "" {
		if names[c.from] == c.node {
			delete(names, c.from)
		}
		return
	}
	maps.DeleteFunc(names, func(_ string, n *node) bool { return n == c.node })
	names[c.to] = c.node
}
