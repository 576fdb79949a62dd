//go:build !linux

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate makes an empty file n bytes long. They are taken from the medium when they
// are written: what other systems offer to take them at once differs in each.
func allocate(file *os.File, n int64) error {
	if n < 0 {
		return unix.EINVAL
	}
	return file.Truncate(n)
}
