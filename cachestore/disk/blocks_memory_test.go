package disk

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
)

// Blocks of 4 KiB, of which all are held and then released: who pays for them.
func TestMemoryOfBlocks(t *testing.T) {
	t.Parallel()
	one := costOf(smallBytes)
	for _, test := range []struct {
		name          string
		limit, budget int64 // in blocks
		held          int
		taken, grace  int64 // in blocks, while they are held
		left          int64 // taken, in blocks, afterwards
	}{
		{name: "within the limit", limit: 4, budget: 100, held: 3, taken: 3, left: 3},
		{name: "at the limit", limit: 4, budget: 100, held: 4, taken: 4, left: 4},
		{name: "beyond the limit", limit: 4, budget: 100, held: 9, taken: 9, left: 4},
		{name: "beyond the budget", limit: 4, budget: 6, held: 9, taken: 6, grace: 3, left: 4},
		{name: "less budget than limit", limit: 4, budget: 2, held: 9, taken: 2, grace: 7, left: 2},
		{name: "no budget", limit: 4, budget: 0, held: 2, grace: 2},
		{name: "no limit of its own", limit: 0, budget: 100, held: 3, taken: 3, left: 0},
	} {
		s, budget := blocksWith(t, test.limit*one, test.budget*one)
		reads := 0
		var held []*block
		for i := range test.held {
			held = append(held, mustGet(t, s, address{1, int64(i)}, smallBytes, &reads))
		}
		got := s.stats()
		if got.TakenBytes != test.taken*one || got.GraceBytes != test.grace*one || got.Grace != test.grace || budget.Used() != test.taken*one {
			t.Errorf("%s: %d bytes taken, %d in grace (%d reads), %d reserved; want %d, %d (%d), %d", test.name,
				got.TakenBytes, got.GraceBytes, got.Grace, budget.Used(), test.taken*one, test.grace*one, test.grace, test.taken*one)
		}
		for _, b := range held {
			b.Release()
		}
		got = s.stats()
		if got.TakenBytes != test.left*one || got.GraceBytes != 0 || got.IdleBytes != test.left*one || budget.Used() != test.left*one {
			t.Errorf("%s, released: %d bytes taken, %d in grace, %d idle, %d reserved; want %d, 0, and %[6]d twice", test.name,
				got.TakenBytes, got.GraceBytes, got.IdleBytes, budget.Used(), test.left*one)
		}
		s.close()
		if got = s.stats(); got.TakenBytes != 0 || got.Blocks != 0 || budget.Used() != 0 {
			t.Errorf("%s, closed: %d bytes taken, %d blocks, %d reserved, want 0", test.name, got.TakenBytes, got.Blocks, budget.Used())
		}
	}
}

// One after the other through memory for a few: each class gives way to the others.
func TestClassesShareTheLimit(t *testing.T) {
	t.Parallel()
	s, budget := blocksWith(t, 1<<20, 1<<20)
	reads := 0
	for i := range 240 {
		n := []int{100, smallBytes, mediumBytes, largeBytes, 100 << 10, 900 << 10}[i/40]
		mustGet(t, s, address{1, int64(i)}, n, &reads).Release()
		if taken := s.stats().TakenBytes; taken > 1<<20 || taken != budget.Used() {
			t.Fatalf("after %d: %d bytes taken, %d reserved, the limit is %d", i, taken, budget.Used(), 1<<20)
		}
	}
	mustGet(t, s, address{2, 0}, smallBytes, &reads).Release()
	if got := s.stats(); got.Grace != 0 || reads != 241 {
		t.Errorf("%d reads in grace of %d, want 0 of 241", got.Grace, reads)
	}
}

func TestLongReadNeedsTheBudget(t *testing.T) {
	t.Parallel()
	s, _ := blocksWith(t, 1<<20, 1<<20)
	for n, want := range map[int]error{maxGraceBytes: nil, maxGraceBytes + 1: errNoMemory} {
		b, err := s.get(t.Context(), address{1, 1}, n, func([]byte) error { return nil })
		if !errors.Is(err, want) {
			t.Errorf("get of %d bytes: %v, want %v", n, err, want)
		}
		if err == nil {
			b.Release()
		}
	}
	for _, n := range []int{-1, maxBlockBytes + 1} {
		if _, err := s.get(t.Context(), address{1, 1}, n, func([]byte) error { return nil }); err == nil {
			t.Errorf("get of %d bytes: no error", n)
		}
	}
	if got := s.stats(); got.TakenBytes != 0 || got.GraceBytes != 0 || got.Blocks != 0 {
		t.Errorf("afterwards %+v, want nothing taken", got)
	}
}

// What is asked for again outlives what is not.
func TestScanLeavesWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	one := costOf(smallBytes)
	s, _ := blocksWith(t, 256*one, 256*one)
	reads := 0
	for i := range 2000 {
		mustGet(t, s, address{1, int64(i)}, smallBytes, &reads).Release()
		mustGet(t, s, address{2, int64(i % 8)}, smallBytes, &reads).Release()
	}
	if reads > 2016 {
		t.Errorf("%d reads of 2000 that are seen once and 8 that are asked for often, want hardly more than 2008", reads)
	}
}

func TestForgottenSegmentIsReadAgain(t *testing.T) {
	t.Parallel()
	s, budget := blocksWith(t, 1<<20, 1<<20)
	reads := 0
	held := mustGet(t, s, address{1, 0}, 100, &reads)
	mustGet(t, s, address{1, 100}, 100, &reads).Release()
	other := mustGet(t, s, address{2, 0}, 100, &reads)
	// One that is under way when its segment is forgotten.
	under, err := s.get(t.Context(), address{1, 200}, 100, func(p []byte) error {
		s.forget(1)
		pattern(address{1, 200}, p)
		return nil
	})
	if err != nil || !bytes.Equal(under.bytes(), patternOf(address{1, 200}, 100)) {
		t.Fatalf("read that was under way: %v", err)
	}
	if !bytes.Equal(held.bytes(), patternOf(address{1, 0}, 100)) {
		t.Error("a holder has lost its bytes")
	}
	for i, again := range []address{{1, 0}, {1, 100}, {1, 200}, {2, 0}} {
		before := reads
		mustGet(t, s, again, 100, &reads).Release()
		if want := i < 3; (reads > before) != want {
			t.Errorf("%v after forget(1): read again is %v, want %v", again, reads > before, want)
		}
	}
	for _, b := range []*block{held, under, other} {
		b.Release()
	}
	s.close()
	if used := budget.Used(); used != 0 {
		t.Errorf("%d bytes are reserved in the end, want 0", used)
	}
}

func TestClosedBlocks(t *testing.T) {
	t.Parallel()
	s, budget := blocksWith(t, 1<<20, 1<<20)
	reads := 0
	held := mustGet(t, s, address{1, 0}, 100, &reads)
	mustGet(t, s, address{1, 1}, 100, &reads).Release()
	s.close()
	if used := budget.Used(); used != costOf(100) {
		t.Errorf("%d bytes are reserved while one block is held, want %d", used, costOf(100))
	}
	if !bytes.Equal(held.bytes(), patternOf(address{1, 0}, 100)) {
		t.Error("a holder has lost its bytes")
	}
	held.Release()
	if used := budget.Used(); used != 0 {
		t.Errorf("%d bytes are reserved in the end, want 0", used)
	}
	if _, err := s.get(t.Context(), address{1, 0}, 100, nil); !errors.Is(err, errBlocksClosed) || !errors.Is(err, cachestore.ErrGone) {
		t.Errorf("get after close: %v, want %v", err, errBlocksClosed)
	}
	s.put(address{1, 0}, make([]byte, 100))
	if used := budget.Used(); used != 0 {
		t.Errorf("%d bytes are reserved after put, want 0", used)
	}
}

func TestPutSavesARead(t *testing.T) {
	t.Parallel()
	s, _ := blocksWith(t, 1<<20, 1<<20)
	at := address{1, 5}
	s.put(at, patternOf(at, 300))
	s.put(at, make([]byte, 300)) // what is there stays
	reads := 0
	mustGet(t, s, at, 300, &reads).Release()
	if reads != 0 {
		t.Errorf("%d reads, want 0", reads)
	}
	none, budget := blocksWith(t, 0, 1<<20)
	none.put(at, patternOf(at, 300))
	if got := none.stats(); got.Blocks != 0 || budget.Used() != 0 {
		t.Errorf("put without a limit: %d blocks, %d bytes reserved, want 0", got.Blocks, budget.Used())
	}
}

func TestReleaseTooManyHurtsNobody(t *testing.T) {
	t.Parallel()
	s, _ := blocksWith(t, 1<<20, 1<<20)
	reads := 0
	at := address{1, 0}
	b := mustGet(t, s, at, 100, &reads)
	b.retain()
	b.Release()
	b.Release()
	b.Release() // kept, and held by nobody
	again := mustGet(t, s, at, 100, &reads)
	s.forget(1)
	if !bytes.Equal(again.bytes(), patternOf(at, 100)) {
		t.Error("a holder has lost its bytes")
	}
	again.Release()
	again.Release() // not even kept
	if got := s.stats(); got.Unmatched != 2 || reads != 1 {
		t.Errorf("%d releases too many and %d reads, want 2 and 1", got.Unmatched, reads)
	}
}

// The proof that the tests here would see memory that is used too early.
func TestReleasedMemoryIsScribbledOver(t *testing.T) {
	t.Parallel()
	s, _ := blocksWith(t, 0, 1<<20)
	reads := 0
	b := mustGet(t, s, address{1, 0}, 100, &reads)
	seen := b.bytes()
	b.Release()
	if want := bytes.Repeat([]byte{0xdb}, 100); !bytes.Equal(seen, want) {
		t.Errorf("released memory has %x, want %x", seen[:8], want[:8])
	}
}

// Many take and release blocks of few addresses while there is memory for fewer, some
// reads fail, some callers leave and segments are forgotten: nobody who holds a block
// ever sees bytes of another, or of memory that was given back.
func TestNobodySeesMemoryOfOthers(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int64{"tight": 6 * costOf(largeBytes), "roomy": 4 << 20, "none": 0} {
		s, budget := blocksWith(t, limit, limit+20*costOf(largeBytes))
		var all sync.WaitGroup
		for worker := range 12 {
			all.Go(func() { takeAndRelease(t, s, rand.New(rand.NewPCG(1, uint64(worker)))) })
		}
		all.Wait()
		got := s.stats()
		if got.TakenBytes > limit || got.GraceBytes != 0 || got.Unmatched != 0 || len(s.places) != 0 {
			t.Errorf("%s: in the end %+v, want at most %d bytes taken, none in grace", name, got, limit)
		}
		s.close()
		if used := budget.Used(); used != 0 {
			t.Errorf("%s: %d bytes are reserved after close, want 0", name, used)
		}
		if diff := cmp.Diff(blocksStats{
			Hits: got.Hits, Shared: got.Shared, Reads: got.Reads, Failed: got.Failed, Evicted: got.Evicted, Grace: got.Grace,
		}, s.stats()); diff != "" {
			t.Errorf("%s: after close (-want +got):\n%s", name, diff)
		}
	}
}

var errFailed = errors.New("failed")

func takeAndRelease(t *testing.T, s *blocks, r *rand.Rand) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 300 {
		at := address{uint32(r.IntN(3)), int64(r.IntN(10))}
		n := []int{100, 4096, 16000, 65552, 80000}[int(at.off)%5]
		fails, leaves := r.IntN(10) == 0, r.IntN(10) == 0
		ctx := t.Context()
		if leaves {
			ctx = gone
		}
		b, err := s.get(ctx, at, n, func(p []byte) error {
			runtime.Gosched()
			pattern(at, p)
			if fails {
				return errFailed
			}
			return nil
		})
		if err != nil {
			if !errors.Is(err, errFailed) && !(leaves && errors.Is(err, context.Canceled)) {
				t.Errorf("get %v: %v", at, err)
			}
			continue
		}
		holders := 1 + r.IntN(2)
		if holders == 2 {
			b.retain()
		}
		want := patternOf(at, n)
		for range holders {
			runtime.Gosched()
			if !bytes.Equal(b.bytes(), want) {
				t.Errorf("%v: a holder sees bytes that are not those of the log", at)
			}
			b.Release()
		}
		if r.IntN(50) == 0 {
			s.forget(at.segment)
		}
	}
}
