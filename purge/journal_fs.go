package purge

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fileSystem is what the journal asks of a disk. Names are paths.
type fileSystem interface {
	MkdirAll(dir string) error
	List(dir string) ([]string, error) // names without the folder
	Open(name string) (file, error)    // to read
	Create(name string) (file, error)  // fails if it is there
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
	Lock(name string) (io.Closer, error) // ErrLocked if another holds it
}

// file is an open one.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
}

// disk is the file system of the machine.
type disk struct{}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Sync makes what was written durable. A file system that has failed meanwhile may say of
// what it will never write that all is well: ext4 of Linux 6 does, about once in two times
// that it turns read-only during a sync. But it takes nothing any more, so a byte that is
// there is written once more.
func (f diskFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	n, err := f.Size()
	if err != nil || n == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], n-1); err != nil {
		return err
	}
	_, err = f.WriteAt(last[:], n-1)
	return err
}

// Files hold the names of those who purged: they are for their owner.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

func (disk) MkdirAll(dir string) error { return os.MkdirAll(dir, dirMode) }

func (disk) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (disk) Open(name string) (file, error)   { return openDisk(name, os.O_RDONLY) }
func (disk) Create(name string) (file, error) { return openDisk(name, os.O_RDWR|os.O_CREATE|os.O_EXCL) }

func openDisk(name string, flags int) (file, error) {
	f, err := os.OpenFile(name, flags, fileMode)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (disk) Rename(from, to string) error { return os.Rename(from, to) }
func (disk) Remove(name string) error     { return os.Remove(name) }

func (disk) SyncDir(dir string) error {
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (disk) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}
