package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	sampleEvery = 50 * time.Millisecond
	mib         = 1 << 20
)

// memory is the resident memory of a process in bytes: now, and the most that it
// has ever been.
type memory struct{ now, most int64 }

// memoryOf reads /proc.
func memoryOf(pid int) (memory, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	defer f.Close()
	var m memory
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("%s: %w", name, err)
		}
		if name == "VmRSS" {
			m.now = kib << 10
		} else {
			m.most = kib << 10
		}
	}
	if m.most == 0 {
		return m, errors.New("the process has no memory any more: it ended")
	}
	return m, nil
}

// watch samples a process in the background until the result is called, which
// gives the largest sample, how many there were, and the system's own high mark.
func watch(ctx context.Context, pid int) func() (peak int64, samples int, end memory, err error) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	var peak int64
	var samples int
	var last memory
	var failed error
	look := func() {
		m, err := memoryOf(pid)
		if err != nil {
			failed = err
			return
		}
		last, peak, samples = m, max(peak, m.now), samples+1
	}
	look()
	go func() {
		defer close(done)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for failed == nil {
			select {
			case <-tick.C:
				look()
			case <-ctx.Done():
				look()
				return
			}
		}
	}()
	return func() (int64, int, memory, error) {
		stop()
		<-done
		return peak, samples, last, failed
	}
}

// withinBound prints what a process took and fails if that is more than bound.
func withinBound(peak int64, samples int, end memory, bound int64) error {
	fmt.Printf("memory: peak VmRSS %.1f MiB in %d samples, VmHWM %.1f MiB, at the end %.1f MiB; bound %.1f MiB\n",
		float64(peak)/mib, samples, float64(end.most)/mib, float64(end.now)/mib, float64(bound)/mib)
	if most := max(peak, end.most); most > bound {
		return fmt.Errorf("memory: %.1f MiB resident, %.1f MiB are the bound", float64(most)/mib, float64(bound)/mib)
	}
	return nil
}
