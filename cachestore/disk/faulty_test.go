package disk

import (
	"errors"
	"fmt"
	"io"

	"perigee/internal/faultfs"
)

// faulty makes a file system of faultfs one of this package.
type faulty struct{ *faultfs.FS }

var _ FS = faulty{}

func (f faulty) Create(path string, n int64) (File, error) {
	file, err := f.FS.Create(path, n)
	if err != nil {
		return nil, err
	}
	return file, nil
}

func (f faulty) Open(path string, write bool) (File, error) {
	file, err := f.FS.Open(path, write)
	if err != nil {
		return nil, err
	}
	return file, nil
}

func (f faulty) Lock(path string) (io.Closer, error) {
	lock, err := f.FS.Lock(path)
	if errors.Is(err, faultfs.ErrLocked) {
		return nil, fmt.Errorf("lock %s: %w", path, ErrLocked)
	}
	return lock, err
}
