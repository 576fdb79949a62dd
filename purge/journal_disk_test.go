package purge

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
)

// fakeDisk is a file system in memory. It knows what was synced, fails where it is
// told to, and can lose its power.
type fakeDisk struct {
	mu      sync.Mutex
	files   map[string]*fakeFile // by path
	durable map[string]*fakeFile // the names that were synced
	locked  map[string]bool
	ops     int
	// fail is asked before each change, with its number from 0; nil = nothing fails.
	fail func(op int, what, name string) error
	log  []string
}

// fakeFile is the content of a file; open files of one name share it.
type fakeFile struct {
	now, synced []byte
	unsynced    []write // since the last sync
}

type write struct {
	off  int64
	data []byte // nil = a truncation to off
}

func newFakeDisk() *fakeDisk {
	return &fakeDisk{files: map[string]*fakeFile{}, durable: map[string]*fakeFile{}, locked: map[string]bool{}}
}

// change notes a change that is about to happen. The caller holds mu.
func (d *fakeDisk) change(what, name string) error {
	op := d.ops
	d.ops++
	d.log = append(d.log, what+" "+filepath.Base(name))
	if d.fail == nil {
		return nil
	}
	if err := d.fail(op, what, name); err != nil {
		return &fs.PathError{Op: what, Path: name, Err: err}
	}
	return nil
}

func (d *fakeDisk) MkdirAll(string) error { return nil }

func (d *fakeDisk) List(string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.files {
		names = append(names, filepath.Base(name))
	}
	sort.Strings(names)
	return names, nil
}

func (d *fakeDisk) Open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &fakeOpen{d, name, f}, nil
}

func (d *fakeDisk) Create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change("create", name); err != nil {
		return nil, err
	}
	if d.files[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	d.files[name] = &fakeFile{}
	return &fakeOpen{d, name, d.files[name]}, nil
}

func (d *fakeDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change("rename", from); err != nil {
		return err
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

func (d *fakeDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change("remove", name); err != nil {
		return err
	}
	delete(d.files, name)
	return nil
}

func (d *fakeDisk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change("syncdir", dir); err != nil {
		return err
	}
	d.durable = map[string]*fakeFile{}
	for name, f := range d.files {
		d.durable[name] = f
	}
	return nil
}

func (d *fakeDisk) Lock(name string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked[name] {
		return nil, ErrLocked
	}
	d.locked[name] = true
	return unlock{d, name}, nil
}

type unlock struct {
	d    *fakeDisk
	name string
}

func (u unlock) Close() error {
	u.d.mu.Lock()
	defer u.d.mu.Unlock()
	delete(u.d.locked, u.name)
	return nil
}

type fakeOpen struct {
	d    *fakeDisk
	name string
	f    *fakeFile
}

func (o *fakeOpen) ReadAt(p []byte, off int64) (int, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	if off >= int64(len(o.f.now)) {
		return 0, io.EOF
	}
	n := copy(p, o.f.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes half where it fails.
func (o *fakeOpen) WriteAt(p []byte, off int64) (int, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	err := o.d.change("write", o.name)
	if err != nil {
		if errors.Is(err, syscall.EROFS) {
			return 0, err
		}
		p = p[:len(p)/2]
	}
	w := write{off, append([]byte{}, p...)}
	o.f.now = w.apply(o.f.now)
	o.f.unsynced = append(o.f.unsynced, w)
	return len(p), err
}

func (w write) apply(content []byte) []byte {
	if w.data == nil {
		return append([]byte(nil), content[:min(int64(len(content)), w.off)]...)
	}
	content = append([]byte(nil), content...)
	if need := int(w.off) + len(w.data) - len(content); need > 0 {
		content = append(content, make([]byte, need)...)
	}
	copy(content[w.off:], w.data)
	return content
}

func (o *fakeOpen) Truncate(size int64) error {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	if err := o.d.change("truncate", o.name); err != nil {
		return err
	}
	w := write{off: size}
	o.f.now = w.apply(o.f.now)
	o.f.unsynced = append(o.f.unsynced, w)
	return nil
}

// Sync that fails forgets what was to be synced, as Linux does: the next one succeeds
// and the bytes are not there.
func (o *fakeOpen) Sync() error {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	err := o.d.change("sync", o.name)
	if err == nil {
		for _, w := range o.f.unsynced {
			o.f.synced = w.apply(o.f.synced)
		}
	}
	o.f.unsynced = nil
	return err
}

func (o *fakeOpen) Size() (int64, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	return int64(len(o.f.now)), nil
}

func (o *fakeOpen) Close() error { return nil }

// killed is the disk as another process finds it after this one was killed.
func (d *fakeDisk) killed() *fakeDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newFakeDisk()
	seen := map[*fakeFile]*fakeFile{}
	clone := func(f *fakeFile) *fakeFile {
		if seen[f] == nil {
			seen[f] = &fakeFile{now: f.now, synced: f.synced, unsynced: append([]write(nil), f.unsynced...)}
		}
		return seen[f]
	}
	for name, f := range d.files {
		after.files[name] = clone(f)
	}
	for name, f := range d.durable {
		after.durable[name] = clone(f)
	}
	return after
}

// unpowered is the disk after power was lost: of what was not synced some came and
// some did not, names and parts of bytes alike.
func (d *fakeDisk) unpowered(random *rand.Rand) *fakeDisk {
	after := d.killed()
	files := map[string]*fakeFile{}
	for name, f := range after.durable {
		if after.files[name] == f || random.IntN(2) == 0 { // it may have been removed
			files[name] = f
		}
	}
	for name, f := range after.files {
		if files[name] == nil && random.IntN(2) == 0 {
			files[name] = f
		}
	}
	done := map[*fakeFile]bool{}
	for _, f := range files {
		if done[f] {
			continue
		}
		done[f] = true
		content := f.synced
		for _, w := range f.unsynced {
			if w.data != nil && random.IntN(3) == 0 {
				w.data = w.data[:random.IntN(len(w.data)+1)]
			}
			if random.IntN(3) > 0 {
				content = w.apply(content)
			}
		}
		*f = fakeFile{now: content, synced: content}
	}
	after.files = files
	after.durable = map[string]*fakeFile{}
	for name, f := range files {
		after.durable[name] = f
	}
	return after
}
