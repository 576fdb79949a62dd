package disk

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
)

// blocksWith returns blocks whose released memory is scribbled over, and the budget
// that they reserve from.
func blocksWith(t testing.TB, limit, budget int64) (*blocks, *cachestore.Budget) {
	t.Helper()
	b := cachestore.NewBudget(budget)
	s, err := newBlocks(blocksOptions{Limit: limit, Reserve: b.Reserve, Release: b.Release, scribble: true})
	if err != nil {
		t.Fatal(err)
	}
	return s, b
}

// costOf is what a block of n bytes takes.
func costOf(n int) int64 { return bufferFor(n).cost }

// pattern fills p with what stands at an address in the log of these tests: it repeats
// after some bytes, but is another for each address.
func pattern(at address, p []byte) {
	seed := uint64(at.off)*31 + uint64(at.segment)<<40 + 1
	n := min(len(p), 1009)
	for i := range n {
		seed = seed*6364136223846793005 + 1442695040888963407
		p[i] = byte(seed >> 56)
	}
	for n < len(p) {
		n += copy(p[n:], p[:n])
	}
}

func patternOf(at address, n int) []byte {
	p := make([]byte, n)
	pattern(at, p)
	return p
}

// mustGet reads a block of the pattern and counts the reads.
func mustGet(t testing.TB, s *blocks, at address, n int, reads *int) *block {
	t.Helper()
	b, err := s.get(t.Context(), at, n, func(p []byte) error {
		*reads++
		pattern(at, p)
		return nil
	})
	if err != nil {
		t.Fatalf("get %v: %v", at, err)
	}
	if want := patternOf(at, n); !bytes.Equal(b.bytes(), want) {
		t.Fatalf("get %v: %d bytes that are not those of the log", at, len(b.bytes()))
	}
	return b
}

func TestNewBlocksNeedsABudget(t *testing.T) {
	t.Parallel()
	budget := cachestore.NewBudget(1)
	for name, o := range map[string]blocksOptions{
		"limit below 0": {Limit: -1, Reserve: budget.Reserve, Release: budget.Release},
		"no Reserve":    {Limit: 1, Release: budget.Release},
		"no Release":    {Limit: 1, Reserve: budget.Reserve},
	} {
		if _, err := newBlocks(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSizesOfBuffers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ n, size, class int }{
		{0, 4096, 0},
		{1, 4096, 0},
		{4096, 4096, 0},
		{4097, 16384, 1},
		{16384, 16384, 1},
		{16385, 73728, 2},
		{65536 + 16, 73728, 2},
		{73728, 73728, 2},
		{73729, 81920, measured},
		{1 << 20, 1 << 20, measured},
		{1<<20 + 1, 1<<20 + 8192, measured},
	} {
		if size, class := sizeOf(test.n); size != test.size || class != test.class {
			t.Errorf("sizeOf(%d) = %d, %d, want %d, %d", test.n, size, class, test.size, test.class)
		}
	}
}

func TestBlockIsReadOnce(t *testing.T) {
	t.Parallel()
	s, _ := blocksWith(t, 1<<20, 1<<20)
	at := address{3, 640}
	reads := 0
	first := mustGet(t, s, at, 5000, &reads)
	second := mustGet(t, s, at, 5000, &reads)
	if reads != 1 || first != second {
		t.Errorf("while it is held: %d reads, the same block: %v, want 1, true", reads, first == second)
	}
	first.Release()
	second.Release()
	mustGet(t, s, at, 5000, &reads).Release()
	if reads != 1 {
		t.Errorf("while it is kept: %d reads, want 1", reads)
	}
	mustGet(t, s, at, 5001, &reads).Release()
	mustGet(t, s, address{3, 641}, 5000, &reads).Release()
	mustGet(t, s, address{4, 640}, 5000, &reads).Release()
	if reads != 4 {
		t.Errorf("another length, offset and segment: %d reads, want 4", reads)
	}
	want := blocksStats{Hits: 2, Reads: 4, Blocks: 4, IdleBytes: 4 * costOf(5000), TakenBytes: 4 * costOf(5000)}
	if diff := cmp.Diff(want, s.stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func TestBlockIsSharedWhileItIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, budget := blocksWith(t, 1<<20, 1<<20)
		at, n := address{1, 64}, 3000
		var reads atomic.Int64
		proceed := make(chan struct{})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				b, err := s.get(t.Context(), at, n, func(p []byte) error {
					reads.Add(1)
					<-proceed
					pattern(at, p)
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				defer b.Release()
				if !bytes.Equal(b.bytes(), patternOf(at, n)) {
					t.Error("not the bytes of the log")
				}
			})
		}
		synctest.Wait()
		close(proceed)
		all.Wait()
		if got := reads.Load(); got != 1 {
			t.Errorf("20 who want the same: %d reads, want 1", got)
		}
		want := blocksStats{Shared: 19, Reads: 1, Blocks: 1, IdleBytes: costOf(n), TakenBytes: costOf(n)}
		if diff := cmp.Diff(want, s.stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
		s.close()
		if used := budget.Used(); used != 0 {
			t.Errorf("after close %d bytes are reserved, want 0", used)
		}
	})
}

func TestReadGoesOnWithoutWhoLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := blocksWith(t, 1<<20, 1<<20)
		at := address{1, 64}
		proceed := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			b, err := s.get(t.Context(), at, 100, func(p []byte) error {
				<-proceed
				pattern(at, p)
				return nil
			})
			if err != nil {
				t.Errorf("who reads: %v", err)
				return
			}
			b.Release()
		})
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			if _, err := s.get(ctx, at, 100, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("who leaves: %v, want %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(proceed)
		all.Wait()
		reads := 0
		mustGet(t, s, at, 100, &reads).Release()
		if reads != 0 {
			t.Error("what was read is not kept")
		}
	})
}

func TestErrorOfAReadGoesToAllWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := blocksWith(t, 1<<20, 1<<20)
		at := address{1, 64}
		bad := errors.New("bad")
		proceed := make(chan struct{})
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				b, err := s.get(t.Context(), at, 100, func([]byte) error { <-proceed; return bad })
				if b != nil || !errors.Is(err, bad) {
					t.Errorf("get = %v, %v, want nil, %v", b, err, bad)
				}
			})
		}
		synctest.Wait()
		close(proceed)
		all.Wait()
		want := blocksStats{Shared: 4, Reads: 1, Failed: 1, TakenBytes: costOf(100)}
		if diff := cmp.Diff(want, s.stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
		reads := 0
		mustGet(t, s, at, 100, &reads).Release()
		if reads != 1 {
			t.Errorf("after the error: %d reads, want 1", reads)
		}
	})
}

func TestReadThatDoesNotReturnStrandsNobody(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(){
		"panic":  func() { panic("in a read") },
		"Goexit": runtime.Goexit,
	} {
		synctest.Test(t, func(t *testing.T) {
			s, budget := blocksWith(t, 1<<20, 1<<20)
			at := address{1, 64}
			proceed := make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := s.get(t.Context(), at, 100, func([]byte) error { <-proceed; leave(); return nil }); !errors.Is(err, errReadAborted) {
					t.Errorf("%s: who asked first got %v, want %v", name, err, errReadAborted)
				}
			})
			synctest.Wait()
			all.Go(func() {
				if _, err := s.get(t.Context(), at, 100, nil); !errors.Is(err, errReadAborted) {
					t.Errorf("%s: who waits got %v, want %v", name, err, errReadAborted)
				}
			})
			synctest.Wait()
			close(proceed)
			all.Wait()
			if n := len(s.places); n != 0 {
				t.Errorf("%s: %d places are taken, want 0", name, n)
			}
			reads := 0
			mustGet(t, s, at, 100, &reads).Release()
			s.close()
			if used := budget.Used(); reads != 1 || used != 0 {
				t.Errorf("%s: afterwards %d reads and %d bytes reserved, want 1 and 0", name, reads, used)
			}
		})
	}
}

func TestReadsAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := blocksWith(t, 16<<20, 16<<20)
		var now, most atomic.Int64
		proceed := make(chan struct{})
		var all sync.WaitGroup
		for i := range maxReads + 36 {
			all.Go(func() {
				b, err := s.get(t.Context(), address{1, int64(i)}, 100, func([]byte) error {
					most.Store(max(most.Load(), now.Add(1)))
					<-proceed
					now.Add(-1)
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				b.Release()
			})
		}
		synctest.Wait()
		if got := now.Load(); got != maxReads {
			t.Errorf("%d reads at once, want %d", got, maxReads)
		}
		close(proceed)
		all.Wait()
		if got := most.Load(); got != maxReads {
			t.Errorf("at most %d reads at once, want %d", got, maxReads)
		}
	})
}

// Who was to read gives up before there is a place for his read: somebody who waits
// for it reads instead.
func TestTurnPassesToWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := blocksWith(t, 1<<20, 1<<20)
		at := address{1, 64}
		for range maxReads {
			s.places <- struct{}{}
		}
		var all sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			if _, err := s.get(ctx, at, 100, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("who gives up: %v, want %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		var reads atomic.Int64
		for range 3 {
			all.Go(func() {
				b, err := s.get(t.Context(), at, 100, func(p []byte) error { reads.Add(1); pattern(at, p); return nil })
				if err != nil {
					t.Errorf("who waits: %v", err)
					return
				}
				b.Release()
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		<-s.places
		all.Wait()
		if got := reads.Load(); got != 1 {
			t.Errorf("%d reads, want 1", got)
		}
	})
}

func TestNoReadBeginsForWhoHasLeft(t *testing.T) {
	t.Parallel()
	s, _ := blocksWith(t, 1<<20, 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.get(ctx, address{1, 1}, 10, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("get = %v, want %v", err, context.Canceled)
	}
	reads := 0
	b := mustGet(t, s, address{1, 2}, 10, &reads)
	defer b.Release()
	held, err := s.get(ctx, address{1, 2}, 10, nil)
	if err != nil {
		t.Fatalf("what needs no read: %v", err)
	}
	held.Release()
}
