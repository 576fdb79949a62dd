package purge

import (
	"os"

	"golang.org/x/sys/unix"
)

// readOnly tells whether the file system of f takes nothing any more.
func readOnly(f *os.File) (yes bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		var stat unix.Statfs_t
		yes = unix.Fstatfs(int(fd), &stat) == nil && stat.Flags&unix.ST_RDONLY != 0
	})
	return yes
}
