package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiskFolders: two names of one folder are one folder, whether it is there yet or not, and whoever may write to it.
func TestDiskFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", "closed"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "in"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": "a", "dangling": "nowhere", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "closed"), 0o700) })
	write(t, filepath.Join(dir, "site.yaml"), twoLines)
	cases := []struct {
		first, second string
		want          string // the beginning of the message, after the second path; "" = both are taken
	}{
		{"a", "b", ""},
		{"a", "a", " is the folder"},
		{"a", "./b/../a/", " is the folder"},
		{"a", filepath.Join(dir, "a"), " is the folder"},
		{"a", "link", " is the folder"},
		{"link/in", "a/in/", " is the folder"},
		{"a", "link/in", " is inside"},
		{"a", "link/not/yet", " is inside"},
		{"link/not/yet", "a", " holds"},
		{"not/yet", "not", " holds"},
		{"a", "a-too", ""},
		{"a-too", "a", ""},
		{"/", "a", " is inside"},
		{"dangling", "a", ""},
		{"loop", "a", ""},
		{"closed/in", "closed/in2", ""},
		{"a", "pipe", " is a file, not a folder"},
	}
	for _, c := range cases {
		node := fmt.Sprintf("store: {disks: [{path: %q, size: 1GiB}, {path: %q, size: 1GiB}]}\nsites: site.yaml\n", c.first, c.second)
		write(t, filepath.Join(dir, "node.yaml"), node)
		n, err := Load(filepath.Join(dir, "node.yaml"), nil)
		if c.want == "" {
			if err != nil || len(n.Store.Disks) != 2 || n.State != n.Store.Disks[0].Path {
				t.Errorf("%s and %s: %+v, %v; want two disks, and the state in the first", c.first, c.second, n, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s and %s: no error, want %q", c.first, c.second, c.want)
			continue
		}
		got := problems(t, err)
		want := filepath.Clean(beside(dir, c.second)) + c.want
		if len(got) != 1 || got[0].Path != "store.disks[1].path" || !strings.HasPrefix(got[0].Message, want) {
			t.Errorf("%s and %s: %v, want %q at store.disks[1].path", c.first, c.second, err, want)
		}
	}
}

// TestDiskBounds: the smallest disk and the most of them are taken.
func TestDiskBounds(t *testing.T) {
	t.Parallel()
	var items []string
	for i := range maxDisks {
		items = append(items, fmt.Sprintf("{path: /disk%d, size: 64MiB}", i))
	}
	n, err := loadTexts(t, "store: {disks: ["+strings.Join(items, ", ")+"]}\nsites: site.yaml\n", twoLines)
	if err != nil || len(n.Store.Disks) != maxDisks || n.Store.Disks[maxDisks-1].Size != 64*mib {
		t.Errorf("%d disks of 64MiB: %v", maxDisks, err)
	}
	_, err = loadTexts(t, "store: {disk: {path: /disk, size: 67108863B}}\nsites: site.yaml\n", twoLines)
	if got := problems(t, err); len(got) != 1 || !strings.Contains(got[0].Suggestion, "64MiB") {
		t.Errorf("one byte less: %v, want it refused", err)
	}
}

// TestMinUses: counting requests before something goes to disk is for a later version; saying its default is not.
func TestMinUses(t *testing.T) {
	t.Parallel()
	const node = "store: {disk: {path: cache, size: 1GiB}}\nsites: site.yaml\n"
	if _, err := loadTexts(t, node, twoLines+"cache: {min_uses: 1, max_object_size: 1GiB}\n"); err != nil {
		t.Errorf("min_uses: 1: %v", err)
	}
	_, err := loadTexts(t, node, twoLines+"cache: {min_uses: 2}\n")
	if got := problems(t, err); len(got) != 1 || got[0].Message != NotAvailable {
		t.Errorf("min_uses: 2: %v, want %q", err, NotAvailable)
	}
}
