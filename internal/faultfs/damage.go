package faultfs

import (
	"path/filepath"
	"slices"
	"syscall"
)

// The methods of this file are no operations: no rule strikes them, and what they do
// is done on the medium itself, so that it outlives a power cut. Who has a file open
// sees it.

const opDamage Op = "damage"

// Flip turns over the lowest bit of the byte at off.
func (f *FS) Flip(path string, off int64) error {
	return f.damage(path, off, 1, func(p []byte) { p[0] ^= 1 })
}

// Zero makes n bytes from off zero.
func (f *FS) Zero(path string, off, n int64) error {
	return f.damage(path, off, n, func(p []byte) { clear(p) })
}

// Overwrite puts other bytes in the place of those at off.
func (f *FS) Overwrite(path string, off int64, data []byte) error {
	return f.damage(path, off, int64(len(data)), func(p []byte) {
		data = data[copy(p, data):]
	})
}

// damage calls alter for each piece of a range of a file, all of which must be there,
// and makes the file as it is then outlive a power cut.
func (f *FS) damage(path string, off, n int64, alter func(p []byte)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.names[filepath.Clean(path)]
	switch {
	case held == nil:
		return pathError(opDamage, path, syscall.ENOENT)
	case off < 0 || n < 0 || off > held.size-n:
		return pathError(opDamage, path, syscall.EINVAL)
	}
	for end := off + n; off < end; {
		index, at := off/pageSize, off%pageSize
		part := min(end-off, pageSize-at)
		alter(held.alter(index)[at : at+part])
		off += part
	}
	f.settle(held)
	return nil
}

// settle counts the room of a damaged file anew, whatever the capacity, and makes it
// outlive a power cut. The lock is held.
func (f *FS) settle(n *node) {
	was := n.taken
	n.account()
	f.used += n.taken - was
	n.settle()
}

// Truncate gives a file another length.
func (f *FS) Truncate(path string, n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.names[filepath.Clean(path)]
	switch {
	case held == nil:
		return pathError(opDamage, path, syscall.ENOENT)
	case n < 0:
		return pathError(opDamage, path, syscall.EINVAL)
	}
	f.used -= held.truncate(n)
	held.settle()
	return nil
}

// Swap lets two files change places.
func (f *FS) Swap(a, b string) error {
	a, b = filepath.Clean(a), filepath.Clean(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, path := range []string{a, b} {
		if f.names[path] == nil {
			return pathError(opDamage, path, syscall.ENOENT)
		}
	}
	first, second := f.names[a], f.names[b]
	f.place(a, second)
	f.place(b, first)
	return nil
}

// Discard makes a file vanish. Who has it open keeps it.
func (f *FS) Discard(path string) error {
	path = filepath.Clean(path)
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.names[path]
	if held == nil {
		return pathError(opDamage, path, syscall.ENOENT)
	}
	f.place(path, nil)
	held.links--
	f.release(held)
	return nil
}

// Write makes a file of these bytes, in the place of one that is there. Its folder
// must be there; the capacity does not matter.
func (f *FS) Write(path string, data []byte) error {
	path = filepath.Clean(path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.folders[path] {
		return pathError(opDamage, path, syscall.EISDIR)
	}
	if err := f.folder(filepath.Dir(path)); err != nil {
		return pathError(opDamage, path, err)
	}
	if held := f.names[path]; held != nil {
		held.links--
		f.release(held)
	}
	made := newNode()
	made.links, made.size = 1, int64(len(data))
	for at := 0; at < len(data); at += pageSize {
		copy(made.alter(int64(at) / pageSize)[:], data[at:])
	}
	f.settle(made)
	f.place(path, made)
	return nil
}

// Read is all of a file.
func (f *FS) Read(path string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.names[filepath.Clean(path)]
	if held == nil {
		return nil, pathError(opDamage, path, syscall.ENOENT)
	}
	data := make([]byte, held.size)
	held.read(data, 0)
	return data, nil
}

// place lets a name stand for a file, or for none if n is nil, whatever became of it
// before. The lock is held.
func (f *FS) place(path string, n *node) {
	f.pending = slices.DeleteFunc(f.pending, func(c change) bool {
		if c.to != path && c.from != path {
			return false
		}
		c.apply(f.safe)
		return true
	})
	if n == nil {
		delete(f.names, path)
		delete(f.safe, path)
		return
	}
	f.names[path], f.safe[path] = n, n
}
