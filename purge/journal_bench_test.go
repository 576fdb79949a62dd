package purge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

func openBench(b *testing.B) *Journal {
	b.Helper()
	j, damage, err := OpenJournal(JournalOptions{Dir: b.TempDir(), Now: atEpoch})
	if err != nil || damage != nil {
		b.Fatalf("damage %v, error %v", damage, err)
	}
	b.Cleanup(func() { _ = j.Close() })
	return j
}

func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			j := openBench(b)
			var mu sync.Mutex
			var took []time.Duration
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					for i := w; i < b.N; i += writers {
						begun := time.Now()
						if _, err := j.Append(context.Background(), NewID(), []Entry{tagged(i)}); err != nil {
							b.Error(err)
						}
						mu.Lock()
						took = append(took, time.Since(begun))
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkReplay opens a journal of a million entries and applies all of them.
func BenchmarkReplay(b *testing.B) {
	const n = 1_000_000
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			dir := b.TempDir()
			fill(b, dir, n, batch)
			b.ReportAllocs()
			for b.Loop() {
				j, damage, err := OpenJournal(JournalOptions{Dir: dir, Now: atEpoch})
				if err != nil || damage != nil {
					b.Fatalf("damage %v, error %v", damage, err)
				}
				_, last, _ := j.State(context.Background())
				l := testLedger()
				err = j.Follow(context.Background(), 0, func(e Entry) error {
					if l.Apply(e); e.Seq == last {
						return errEnough
					}
					return nil
				})
				if !errors.Is(err, errEnough) {
					b.Fatal(err)
				}
				if got := l.Stats(); got.Applied != n || j.Stats().Entries != n {
					b.Fatalf("stats %+v", got)
				}
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/million")
		})
	}
}

// fill writes a journal of n entries, many at once.
func fill(b *testing.B, dir string, n, batch int) {
	b.Helper()
	j, _, err := OpenJournal(JournalOptions{Dir: dir, Now: atEpoch})
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	const writers = 256
	for w := range writers {
		wg.Go(func() {
			for i := w * batch; i < n; i += writers * batch {
				entries := make([]Entry, batch)
				for k := range entries {
					entries[k] = tagged(i + k)
				}
				if _, err := j.Append(context.Background(), NewID(), entries); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}
