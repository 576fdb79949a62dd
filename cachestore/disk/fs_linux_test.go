package disk

import (
	"os"
	"path/filepath"
	"runtime"
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

// A folder that must not be read, as lost+found, does not hide what is beside it.
func TestOSUsedBytesBesideWhatIsForbidden(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	if err := os.WriteFile(filepath.Join(top, "a"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(top, "lost+found"), 0); err != nil {
		t.Fatal(err)
	}
	for _, each := range []string{top, filepath.Dir(top)} {
		if err := os.Chmod(each, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want, err := OS().UsedBytes(filepath.Join(top, "a"))
	if want == 0 || err != nil {
		t.Fatalf("the file alone: %d bytes, %v", want, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Nothing is forbidden to root: one thread becomes somebody else, and ends with
		// the goroutine because that never unlocks it.
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			if err := unix.Setfsuid(65534); err != nil {
				t.Error(err)
				return
			}
		}
		if _, err := os.ReadDir(filepath.Join(top, "lost+found")); err == nil {
			t.Error("the folder can be read after all")
		}
		used, err := OS().UsedBytes(top)
		if used < want || err != nil {
			t.Errorf("%d bytes, %v; want at least the %d of the file", used, err, want)
		}
		if _, err := OS().UsedBytes(filepath.Join(top, "lost+found")); err == nil {
			t.Error("a folder that must not be read itself is no error")
		}
	}()
	<-done
}
