package purge

import (
	"os"
	"path/filepath"
	"testing"
)

// A sync after which nothing can be written is none, and one that can changes nothing.
func TestSyncIsTried(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := (diskFile{f}).Sync(); err != nil {
		t.Errorf("of an empty file: %v", err)
	}
	if _, err := f.WriteString("entry"); err != nil {
		t.Fatal(err)
	}
	if err := (diskFile{f}).Sync(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(name); string(got) != "entry" || err != nil {
		t.Errorf("afterwards it holds %q, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// The kernel syncs what is open for reading only; nothing can be written there.
	reading, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	if reading.Sync() == nil && (diskFile{reading}).Sync() == nil {
		t.Error("a file that takes nothing has been synced")
	}
}
