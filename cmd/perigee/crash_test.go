package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/bench/crash/trial"
)

// TestCrash kills a loaded perigee again and again, damages some of what it has stored,
// and compares every byte that it serves with what the origin has sent; what was purged
// must stay so. bench/crash does the same for longer, and with disks that are full,
// read-only or missing.
func TestCrash(t *testing.T) {
	t.Parallel()
	binary, err := exec.LookPath("perigee")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = trial.Run(t.Context(), trial.Options{
		Binary: binary, Env: []string{"GORACE=" + raceOptions}, Folder: filepath.Join(t.TempDir(), "store"), Size: 64 << 20, RAM: 16 << 20,
		Clients: 8, Objects: 200, Least: 1 << 10, Most: 2 << 20, Seed: 1,
		Kills: 5, Life: 500 * time.Millisecond, Purge: true, Damage: true, Out: &out, Verbose: true,
	})
	t.Log(out.String())
	if err != nil {
		t.Error(err)
	}
}
