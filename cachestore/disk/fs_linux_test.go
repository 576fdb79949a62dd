package disk

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// More than is free is refused before anything is taken, so that nobody else on the
// medium runs out of room meanwhile.
func TestOSFull(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	probe, err := os.Create(filepath.Join(top, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	var stat unix.Statfs_t
	if err := unix.Statfs(top, &stat); err != nil || stat.Blocks == 0 {
		t.Skipf("this file system does not say how much is free: %v", err)
	}
	// Only asked for if the answer is known: a file system that tried would fill up.
	n := int64(stat.Blocks+1) * stat.Bsize
	err = withDescriptor(probe, func(fd int) error {
		if room(fd, n) || !room(fd, 1) {
			t.Fatalf("of %d blocks: room for %d bytes %v, for one byte %v", stat.Blocks, n, room(fd, n), room(fd, 1))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := OS().Create(filepath.Join(top, "a"), n)
	failsWith(t, file, err, syscall.ENOSPC)
	if names, err := OS().List(top); len(names) != 1 || err != nil {
		t.Errorf("left behind: %v, %v; want the probe alone", names, err)
	}
}
