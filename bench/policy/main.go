// Policy replays made-up traces on models of a disk that is written in segments, with
// memory above it, and prints what each way of eviction keeps and what it writes. The
// README says what is modelled and what was chosen.
package main

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

var (
	alphas     = [...]float64{0.8, 1.0}
	capacities = [...]float64{0.01, 0.05, 0.10} // of the bytes of all hot objects
)

// policies is a new list of what is compared.
func policies() []policy {
	return []policy{
		{name: "FIFO"},
		{name: "CLOCK, 1 bit", heat: 1, threshold: 1},
		{name: "CLOCK, 2 bits", heat: 3, threshold: 1},
		{name: "CLOCK, 1 bit, ≤ 23 %", heat: 1, threshold: 1, limit: 0.23},
		{name: "CLOCK, 2 bits, ≤ 23 %", heat: 3, threshold: 1, limit: 0.23},
		{name: "CLOCK, 2 bits, ≤ 23 %, carry", heat: 3, threshold: 1, limit: 0.23, carry: 4},
		{name: "S3-FIFO", heat: 3, threshold: 1, small: 0.1, prove: 1, ghost: 1},
		{name: "S3-FIFO, ≤ 23 %", heat: 3, threshold: 1, small: 0.1, prove: 1, ghost: 1, limit: 0.23},
		{name: "S3-FIFO, ≤ 23 %, carry", heat: 3, threshold: 1, small: 0.1, prove: 1, ghost: 1, limit: 0.23, carry: 4},
		{name: "same, 1 bit", heat: 1, threshold: 1, small: 0.1, prove: 1, ghost: 1, limit: 0.23, carry: 4},
		{name: "same, no ghost", heat: 3, threshold: 1, small: 0.1, prove: 1, limit: 0.23, carry: 4},
		chosen(),
		{name: "second request, FIFO", twice: 1},
		{name: "second request, CLOCK, 2 bits, ≤ 23 %", heat: 3, threshold: 1, limit: 0.23, twice: 1},
		{name: "second request, S3-FIFO, ≤ 23 %, carry", heat: 3, threshold: 1, small: 0.1, prove: 1, ghost: 1, limit: 0.23, carry: 4, twice: 1},
		{name: "LRU (no segments)", lru: true},
		{name: "best set (offline)", best: true},
	}
}

// chosen is what the disk tier should do.
func chosen() policy {
	return policy{
		name: "**chosen**", heat: 3, threshold: 1, small: 0.1, prove: 1, ghost: 0.5, limit: 0.22, carry: 4, smallest: true,
	}
}

// cell is one trace on one capacity.
type cell struct {
	alpha, capacity int // into alphas and capacities
	kind            kind
}

// results are those of each policy, in their order.
type results map[cell][]result

func main() {
	recent := flag.Bool("recent", false, "memory keeps what was asked for last, not what is asked for most")
	detail := flag.Bool("detail", false, "print each trace, not only the means")
	workers := flag.Int("workers", 2, "replays that run at once")
	flag.Parse()
	if *workers < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	start := time.Now()
	all := policies()
	res := run(all, *workers, *recent)
	if *detail {
		printDetail(os.Stdout, all, res)
	}
	printMeans(os.Stdout, all, res)
	fmt.Fprintf(os.Stderr, "%.0f s\n", time.Since(start).Seconds())
}

// run replays every cell under every policy.
func run(all []policy, workers int, recent bool) results {
	size := newSizes()
	bytes := float64(size.hotBytes())
	var zipfs []*zipf
	cells := make(chan cell, len(alphas)*len(capacities)*int(kinds))
	for a, alpha := range alphas {
		zipfs = append(zipfs, newZipf(alpha))
		for c := range capacities {
			for k := range kinds {
				cells <- cell{a, c, k}
			}
		}
	}
	close(cells)
	var (
		mu  sync.Mutex // res
		res = results{}
		wg  sync.WaitGroup
	)
	for range workers {
		wg.Go(func() {
			for c := range cells {
				capacity := int64(bytes * capacities[c.capacity])
				t := newTrace(zipfs[c.alpha], c.kind, capacity, size)
				var row []result
				for _, p := range all {
					row = append(row, replay(t, p, capacity, size, recent))
				}
				mu.Lock()
				res[c] = row
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return res
}
