package purge

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A sync on a file system that is read-only is no success, whatever the kernel says.
func TestSyncOnAReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	here, err := os.Create(t.TempDir() + "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if err := (diskFile{here}).Sync(); err != nil || readOnly(here) {
		t.Errorf("Sync = %v, read-only %v, on a file system that is not", err, readOnly(here))
	}
	for _, name := range []string{"/sys/kernel/mm/transparent_hugepage/enabled", "/proc/version"} {
		f, err := os.Open(name)
		if err != nil || !readOnly(f) {
			continue // not here, or it can be written to
		}
		defer f.Close()
		if err := (diskFile{f}).Sync(); !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: Sync = %v, want a refusal", name, err)
		}
	}
}
