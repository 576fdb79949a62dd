package faultfs

import (
	"io"
	"io/fs"
	"syscall"
)

// File is an open file, or a lock. Its methods may be called concurrently.
type File struct {
	fs    *FS
	node  *node
	path  string
	write bool
	locks bool
}

// handle opens a file. The lock is held.
func (f *FS) handle(path string, n *node, write bool) *File {
	file := &File{fs: f, node: n, path: path, write: write}
	n.handles++
	f.open[file] = true
	return file
}

// close closes a file that is open. The lock of the file system is held.
func (x *File) close() {
	delete(x.fs.open, x)
	x.node.handles--
	if x.locks {
		x.node.locked = false
	}
	x.fs.release(x.node)
}

// usable is nil for an operation that the file is open for. The lock is held.
func (x *File) usable(write bool) error {
	switch {
	case !x.fs.open[x]:
		return fs.ErrClosed
	case write && !x.write:
		return syscall.EBADF
	}
	return nil
}

// ReadAt is as in package io.
func (x *File) ReadAt(p []byte, off int64) (int, error) {
	e := x.fs.strike(OpRead, x.path)
	want := p
	if e.fails() {
		want = p[:e.bytes(len(p))]
	}
	x.fs.mu.Lock()
	defer x.fs.mu.Unlock()
	if off < 0 {
		return 0, pathError(OpRead, x.path, syscall.EINVAL)
	}
	if err := x.usable(false); err != nil {
		return 0, pathError(OpRead, x.path, err)
	}
	n := x.node.read(want, off)
	e.spoil(p[:n])
	switch {
	case e.err != nil:
		return n, pathError(OpRead, x.path, e.err)
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

// WriteAt is as in package io. What has no room is not written: the bytes before it
// are, and ENOSPC is returned.
func (x *File) WriteAt(p []byte, off int64) (int, error) {
	e := x.fs.strike(OpWrite, x.path)
	want := p
	switch {
	case e.fails():
		want = p[:e.bytes(len(p))]
	case e.lie:
		want = nil
	case e.torn != nil:
		want = p[:clamp(e.torn(off, len(p)), len(p))]
	}
	if len(e.flips) > 0 {
		want = append([]byte(nil), want...)
		e.spoil(want)
	}
	x.fs.mu.Lock()
	defer x.fs.mu.Unlock()
	if off < 0 {
		return 0, pathError(OpWrite, x.path, syscall.EINVAL)
	}
	if err := x.alterable(off); err != nil {
		return 0, pathError(OpWrite, x.path, err)
	}
	n := x.fs.write(x.node, want, off)
	switch {
	case n < len(want):
		return n, pathError(OpWrite, x.path, syscall.ENOSPC)
	case e.err != nil:
		return n, pathError(OpWrite, x.path, e.err)
	case e.fails() && n < len(p):
		return n, pathError(OpWrite, x.path, io.ErrShortWrite)
	case !e.lie && len(p) > 0:
		x.node.size = max(x.node.size, off+int64(len(p)))
	}
	return len(p), nil
}

// alterable is nil for a write or a truncation at off that may be tried. The lock is
// held.
func (x *File) alterable(off int64) error {
	if err := x.usable(true); err != nil {
		return err
	}
	switch {
	case off < 0:
		return syscall.EINVAL
	case x.fs.readOnly:
		return syscall.EROFS
	}
	return nil
}

// Truncate gives the file a size; what is added is zero and takes no room.
func (x *File) Truncate(n int64) error {
	return x.fs.do(OpTruncate, x.path, func() error {
		if err := x.alterable(n); err != nil {
			return err
		}
		x.fs.used -= x.node.truncate(n)
		return nil
	})
}

// Sync makes the bytes of the file, but not its name, outlive a power cut.
func (x *File) Sync() error {
	return x.fs.do(OpSync, x.path, func() error {
		err := x.usable(false)
		if err == nil {
			x.node.settle()
		}
		return err
	})
}

// Size is the length in bytes.
func (x *File) Size() (int64, error) {
	var size int64
	err := x.fs.do(OpSize, x.path, func() error {
		size = x.node.size
		return x.usable(false)
	})
	if err != nil {
		return 0, err
	}
	return size, nil
}

// Close closes the file, also where it returns the error of a [Rule].
func (x *File) Close() error {
	e := x.fs.strike(OpClose, x.path)
	x.fs.mu.Lock()
	defer x.fs.mu.Unlock()
	if err := x.usable(false); err != nil {
		return pathError(OpClose, x.path, err)
	}
	x.close()
	return pathError(OpClose, x.path, e.err)
}
