package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files and docs/configuration.md")

const fixtures = "../testdata/config"

// fixtureEnv is the environment of all fixtures.
func fixtureEnv(name string) (string, bool) {
	value, ok := map[string]string{
		"TTL": "10m", "BAD": "soon", "N": "1", "EMPTY": "", "SHORT": "letmein", "SPACED": "not one word but five",
		"CMS_TOKEN": "from-the-environment\n", "OTHER_TOKEN": "from-the-environment-too",
		"EDITORS_TOKEN": "from-the-environment-as-well",
	}[name]
	return value, ok
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run go test ./config -update)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date (run go test ./config -update and read the change) (-want +got):\n%s", path, cmp.Diff(string(want), string(got)))
	}
}

func folders(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out
}

// minBroken is how many broken fixtures there must be, so that none gets lost unseen.
const minBroken = 121

func TestBroken(t *testing.T) {
	t.Parallel()
	names := folders(t, filepath.Join(fixtures, "broken"))
	if len(names) < minBroken {
		t.Errorf("%d broken fixtures, want at least %d", len(names), minBroken)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(fixtures, "broken", name)
			n, err := Load(filepath.Join(dir, "node.yaml"), fixtureEnv)
			var all *Errors
			if n != nil || !errors.As(err, &all) || len(all.Problems) == 0 {
				t.Fatalf("Load = %v, %v, want *Errors", n, err)
			}
			golden(t, filepath.Join(dir, "want.txt"), []byte(err.Error()+"\n"))
			for _, p := range all.Problems {
				if p.Line > 0 && !strings.Contains(p.Snippet, "^") {
					t.Errorf("%s: a place without a snippet", p)
				}
			}
		})
	}
}

func TestGood(t *testing.T) {
	t.Parallel()
	for _, name := range folders(t, filepath.Join(fixtures, "good")) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(fixtures, "good", name)
			n, err := Load(filepath.Join(dir, "node.yaml"), fixtureEnv)
			if err != nil {
				t.Fatalf("Load: %v", err)
			}
			golden(t, filepath.Join(dir, "want.txt"), []byte(dump(n)))
		})
	}
}
