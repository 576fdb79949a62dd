package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// errNotRegular is returned for what has the name of a file and is none.
var errNotRegular = errors.New("not a regular file")

// OS is the file system of the machine. Files are made for their owner alone (0600,
// folders 0700), are not inherited by other programs, and symbolic links in the place
// of a file are not followed.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) MakeFolder(path string) error { return os.MkdirAll(path, 0o700) }

func (osFS) List(path string) ([]string, error) {
	folder, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	entries, err := folder.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, each := range entries {
		if !each.IsDir() {
			names = append(names, each.Name())
		}
	}
	return names, nil
}

// UsedBytes counts as du does: blocks, those of folders too, and a file with several
// names once. What vanishes meanwhile is not counted, nor what is in a folder below
// that must not be read: the lost+found of a medium is one.
func (osFS) UsedBytes(path string) (int64, error) {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var sum int64
	// The folder itself may be a link to where it is.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return 0, err
	}
	err = filepath.WalkDir(path, func(at string, entry fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = entry.Info()
		}
		if at != path && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
			return nil
		}
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("blocks of %s: %w", at, errors.ErrUnsupported)
		}
		if stat.Nlink > 1 && !entry.IsDir() {
			//nolint:unconvert // The types differ between systems.
			id := inode{uint64(stat.Dev), uint64(stat.Ino)}
			if seen[id] {
				return nil
			}
			seen[id] = true
		}
		sum += stat.Blocks * 512
		return nil
	})
	return sum, err
}

func (osFS) Create(path string, n int64) (File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := allocate(file, n); err != nil {
		// What was taken of a full medium goes back; the first error is the one to tell.
		_ = file.Close()
		_ = os.Remove(path)
		return nil, &fs.PathError{Op: "allocate", Path: path, Err: err}
	}
	return osFile{file}, nil
}

func (osFS) Open(path string, write bool) (File, error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR
	}
	file, err := openRegular(path, flags)
	if err != nil {
		return nil, err
	}
	return osFile{file}, nil
}

// openRegular opens a regular file and refuses everything else. O_NONBLOCK, which
// regular files do not heed, keeps a pipe from holding the call up for ever.
func openRegular(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove takes away a file, never a folder.
func (osFS) Remove(path string) error {
	if err := retry(func() error { return unix.Unlink(path) }); err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// SyncFolder is nil too where the file system cannot sync folders: there is no more
// to be had there.
func (osFS) SyncFolder(path string) error {
	folder, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

func (osFS) Lock(path string) (io.Closer, error) {
	file, err := openRegular(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	err = withDescriptor(file, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		_ = file.Close()
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return file, nil
}

// osFile is an [os.File] with a size.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// withDescriptor makes a system call on an open file, again while it is interrupted.
func withDescriptor(file *os.File, call func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = retry(func() error { return call(int(fd)) }) }); err != nil {
		return err
	}
	return result
}

// retry makes a system call again while it is interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
