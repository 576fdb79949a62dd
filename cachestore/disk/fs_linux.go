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
	err := withDescriptor(file, func(fd int) error {
		if !room(fd, n) {
			return unix.ENOSPC
		}
		return unix.Fallocate(fd, 0, 0, n)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return file.Truncate(n)
	}
	return err
}

// room reports whether n bytes are free, or may be. Some file systems, ext4 for one,
// take all that is left before they find that it is not enough, and everybody else on
// the medium is without room for that moment.
func room(fd int, n int64) bool {
	var stat unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(fd, &stat) })
	if err != nil || stat.Blocks == 0 || stat.Bsize <= 0 {
		return true
	}
	return uint64(n)/uint64(stat.Bsize) <= stat.Bavail
}
