package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate makes an empty file n bytes long and takes them from the medium, where the
// file system can: elsewhere they are taken when they are written.
func allocate(file *os.File, n int64) error {
	if n < 0 {
		return unix.EINVAL
	}
	err := withDescriptor(file, func(fd int) error { return unix.Fallocate(fd, 0, 0, n) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return file.Truncate(n)
	}
	return err
}
