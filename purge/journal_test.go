package purge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func atEpoch() time.Time { return epoch }

// idOf is the i-th ID of a test.
func idOf(i int) (id ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(i)+1)
	return id
}

// tagged is a purge of the i-th tag.
func tagged(i int) Entry {
	return Entry{Site: "www.example.com", Kind: KindTag, Value: fmt.Sprintf("tag-%d", i), Soft: i%2 == 1, Who: "cms", From: "192.0.2.1", At: epoch}
}

// asked makes entries comparable to what was appended.
func asked(entries []Entry) []Entry {
	var all []Entry
	for _, e := range entries {
		e.Seq, e.ID = 0, ID{}
		all = append(all, e)
	}
	return all
}

func openFake(t *testing.T, d *fakeDisk) *Journal {
	t.Helper()
	j, damage, err := OpenJournal(JournalOptions{Dir: "state", Now: atEpoch, fs: d})
	if err != nil || damage != nil {
		t.Fatalf("OpenJournal: damage %v, error %v", damage, err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func mustAppend(t testing.TB, log Log, i int, entries ...Entry) int64 {
	t.Helper()
	last, err := log.Append(t.Context(), idOf(i), entries)
	if err != nil {
		t.Fatalf("Append %d: %v", i, err)
	}
	return last
}

var errEnough = errors.New("enough")

// contents follows a log to its last number.
func contents(t testing.TB, log Log) []Entry {
	t.Helper()
	return contentsFrom(t, log, 0)
}

func contentsFrom(t testing.TB, log Log, from int64) []Entry {
	t.Helper()
	first, last, err := log.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first > last {
		return nil
	}
	var all []Entry
	err = log.Follow(t.Context(), from, func(e Entry) error {
		if n := len(all); n > 0 && all[n-1].Seq >= e.Seq {
			t.Errorf("number %d after %d", e.Seq, all[n-1].Seq)
		}
		all = append(all, e)
		if e.Seq >= last {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("Follow: %v", err)
	}
	return all
}

func logs(t *testing.T) map[string]Log {
	return map[string]Log{"journal": openFake(t, newFakeDisk()), "memory": Memory(atEpoch)}
}

func TestLog(t *testing.T) {
	t.Parallel()
	for name, log := range logs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := epoch.UnixMilli() << numberBits
			first, last, err := log.State(t.Context())
			if first != base || last != base-1 || err != nil {
				t.Errorf("State of an empty log: %d, %d, %v, want %d, %d", first, last, err, base, base-1)
			}
			if got := mustAppend(t, log, 1, tagged(1), tagged(2)); got != base+1 {
				t.Errorf("last number %d, want %d", got, base+1)
			}
			if got := mustAppend(t, log, 2, tagged(3)); got != base+2 {
				t.Errorf("last number %d, want %d", got, base+2)
			}
			if got := mustAppend(t, log, 1, tagged(4)); got != base+1 {
				t.Errorf("last number of a repeated append %d, want %d", got, base+1)
			}
			want := []Entry{tagged(1), tagged(2), tagged(3)}
			for i := range want {
				want[i].Seq, want[i].ID = base+int64(i), idOf(1+i/2)
			}
			if diff := cmp.Diff(want, contents(t, log)); diff != "" {
				t.Errorf("contents (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want[2:], contentsFrom(t, log, base+2)); diff != "" {
				t.Errorf("contents from the last (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLogRefuses(t *testing.T) {
	t.Parallel()
	large := tagged(1)
	large.Value = strings.Repeat("x", MaxValueBytes)
	tests := []struct {
		name    string
		id      ID
		entries []Entry
		is      error
	}{
		{"no id", ID{}, []Entry{tagged(1)}, nil},
		{"nothing", idOf(1), nil, nil},
		{"too many", idOf(1), make([]Entry, MaxBatch+1), ErrTooBig},
		{"too large", idOf(1), slicesRepeat(large, 300), ErrTooBig},
		{"no kind", idOf(1), []Entry{tagged(1), {Site: "www.example.com"}}, nil},
	}
	for name, log := range logs(t) {
		for _, test := range tests {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				_, err := log.Append(t.Context(), test.id, test.entries)
				if err == nil || test.is != nil && !errors.Is(err, test.is) {
					t.Errorf("Append: error %v, want %v", err, test.is)
				}
				if got := contents(t, log); got != nil {
					t.Errorf("it holds %v, want nothing", got)
				}
			})
		}
	}
}

func slicesRepeat(e Entry, n int) []Entry {
	all := make([]Entry, n)
	for i := range all {
		all[i] = e
	}
	return all
}

func TestFollowLive(t *testing.T) {
	t.Parallel()
	for name, log := range logs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			const n = 3 * maxTail
			var got []Entry
			ended := make(chan error)
			go func() {
				ended <- log.Follow(ctx, 0, func(e Entry) error {
					if got = append(got, e); e.Value == tagged(n-1).Value {
						cancel()
					}
					return nil
				})
			}()
			var want []Entry
			for i := 0; i < n; i += MaxBatch {
				var batch []Entry
				for k := i; k < min(i+MaxBatch, n); k++ {
					batch = append(batch, tagged(k))
				}
				mustAppend(t, log, i, batch...)
				want = append(want, batch...)
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Follow: %v", err)
			}
			if diff := cmp.Diff(want, asked(got)); diff != "" {
				t.Errorf("followed (-want +got):\n%.2000s", diff)
			}
		})
	}
}

func TestMemoryFloor(t *testing.T) {
	t.Parallel()
	m := Memory(atEpoch)
	const n = 2*maxTail + 1
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan error)
	go func() { // somebody reads along: what nobody has read does not fall out
		read <- m.Follow(ctx, 0, func(Entry) error { return nil })
	}()
	for i := range n {
		mustAppend(t, m, i, tagged(i))
	}
	cancel()
	<-read
	all := contents(t, m)
	first := all[0].Seq - (epoch.UnixMilli() << numberBits)
	dropped := n - (len(all) - 2)
	for i, e := range all[:2] {
		if e.Kind != KindEverything || e.Soft != (e.Seq%2 != epoch.UnixMilli()<<numberBits%2) {
			t.Errorf("entry %d is %+v, want a floor", i, e)
		}
	}
	if first != int64(dropped-2) || all[1].Seq != all[0].Seq+1 || all[2].Seq != all[1].Seq+1 {
		t.Errorf("the floors are %d and %d, then comes %d; %d were dropped", all[0].Seq, all[1].Seq, all[2].Seq, dropped)
	}
}

func TestJournalReopened(t *testing.T) {
	t.Parallel()
	d := newFakeDisk()
	var want []Entry
	for round := range 5 {
		j, damage, err := OpenJournal(JournalOptions{Dir: "state", Now: atEpoch, fs: d})
		if err != nil || damage != nil {
			t.Fatalf("round %d: damage %v, error %v", round, damage, err)
		}
		if diff := cmp.Diff(want, asked(contents(t, j))); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
		if round > 0 {
			if last, err := j.Append(t.Context(), idOf(10*(round-1)), []Entry{tagged(99)}); err != nil || last >= j.next {
				t.Errorf("round %d: an append of the last round again: %d, %v", round, last, err)
			}
		}
		for i := range round { // nothing in the first
			mustAppend(t, j, 10*round+i, tagged(2*i), tagged(2*i+1))
			want = append(want, tagged(2*i), tagged(2*i+1))
		}
		if round == 0 {
			mustAppend(t, j, 0, tagged(7))
			want = append(want, tagged(7))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.files); n > 6 {
		t.Errorf("%d files, want one a round that wrote something", n)
	}
}

func TestJournalLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _, err := OpenJournal(JournalOptions{Dir: dir, Now: atEpoch})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenJournal(JournalOptions{Dir: dir, Now: atEpoch}); !errors.Is(err, ErrLocked) {
		t.Errorf("second journal: %v, want %v", err, ErrLocked)
	}
	mustAppend(t, j, 1, tagged(1))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), idOf(2), []Entry{tagged(2)}); !errors.Is(err, ErrClosed) {
		t.Errorf("Append after Close: %v, want %v", err, ErrClosed)
	}
	again, damage, err := OpenJournal(JournalOptions{Dir: dir, Now: atEpoch})
	if err != nil || damage != nil {
		t.Fatalf("after Close: damage %v, error %v", damage, err)
	}
	defer again.Close()
	if diff := cmp.Diff([]Entry{tagged(1)}, asked(contents(t, again))); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
}

func TestJournalGroupCommit(t *testing.T) {
	t.Parallel()
	d := newFakeDisk()
	j := openFake(t, d)
	gate := make(chan struct{})
	d.mu.Lock()
	d.fail = func(int, string, string) error { <-gate; return nil }
	d.mu.Unlock()
	var wg sync.WaitGroup
	const n = 200
	lasts := make([]int64, n)
	for i := range n {
		wg.Go(func() {
			last, err := j.Append(t.Context(), idOf(i%(n/2)), []Entry{tagged(i % (n / 2))}) // each twice
			if err != nil {
				t.Errorf("Append %d: %v", i, err)
			}
			lasts[i] = last
		})
	}
	close(gate)
	wg.Wait()
	s := j.Stats()
	if s.Appends != n/2 || s.Syncs > s.Appends {
		t.Errorf("%d appends in %d syncs, want %d", s.Appends, s.Syncs, n/2)
	}
	for i := range n / 2 {
		if lasts[i] != lasts[i+n/2] {
			t.Errorf("append %d has the numbers %d and %d", i, lasts[i], lasts[i+n/2])
		}
	}
	if got := len(contents(t, j)); got != n/2 {
		t.Errorf("%d entries, want %d", got, n/2)
	}
}

func TestJournalBusy(t *testing.T) {
	t.Parallel()
	d := newFakeDisk()
	j := openFake(t, d)
	stuck, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.mu.Lock()
	d.fail = func(int, string, string) error {
		once.Do(func() { close(stuck) })
		<-gate
		return nil
	}
	d.mu.Unlock()
	gone, cancel := context.WithCancel(t.Context())
	results := make(chan error)
	ask := func(ctx context.Context, i int) {
		_, err := j.Append(ctx, idOf(i), []Entry{tagged(i)})
		results <- err
	}
	go ask(gone, 0)
	<-stuck
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("an append whose context ended: %v", err)
	}
	// These are queued without waiting for the disk.
	for i := 1; i <= maxQueued; i++ {
		added, _ := prepare(idOf(i), []Entry{tagged(i)}, atEpoch)
		if _, _, err := j.enqueue(idOf(i), added); err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
	}
	if _, err := j.Append(t.Context(), idOf(maxQueued+1), []Entry{tagged(0)}); !errors.Is(err, ErrBusy) {
		t.Errorf("beyond the queue: %v, want %v", err, ErrBusy)
	}
	close(gate)
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	again := openFake(t, d)
	if got := len(contents(t, again)); got != maxQueued+1 {
		t.Errorf("%d entries, want what was queued: %d", got, maxQueued+1)
	}
}

// TestJournalDiskFails makes each change to the disk fail, the first time and for a
// while, with each error.
func TestJournalDiskFails(t *testing.T) {
	t.Parallel()
	for _, broken := range []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		for _, length := range []int{1, 3, 9} {
			for start := range 25 {
				t.Run(fmt.Sprintf("%v/%d+%d", broken, start, length), func(t *testing.T) {
					t.Parallel()
					failAt(t, broken, start, length)
				})
			}
		}
	}
}

func failAt(t *testing.T, broken syscall.Errno, start, length int) {
	d := newFakeDisk()
	d.fail = func(op int, what, _ string) error {
		if op >= start && op < start+length {
			return broken
		}
		return nil
	}
	j := openFake(t, d)
	acked := map[string]int64{}
	refused := 0
	for i := range 40 {
		if i == 20 || i == 30 {
			_ = j.Compact(t.Context(), keepAll{})
		}
		e := tagged(i)
		e.From = strings.Repeat("f", i*37%100) // what was left of one must not show behind another
		last, err := j.Append(t.Context(), idOf(i), []Entry{e})
		switch {
		case err == nil:
			acked[tagged(i).Value] = last
		case !errors.Is(err, broken):
			t.Fatalf("append %d: %v, want %v", i, err, broken)
		default:
			refused++
		}
	}
	if refused > length || j.Stats().Failing != nil {
		t.Errorf("%d appends were refused, %d changes failed; now it is %v", refused, length, j.Stats().Failing)
	}
	holds(t, "the running journal", contents(t, j), acked, nil)
	killed := openFake(t, d.killed())
	holds(t, "after a kill", contents(t, killed), acked, nil)
}

// keepAll is a ledger that forgets nothing.
type keepAll struct{}

func (keepAll) Floors() (hard, soft int64) { return 0, 0 }
func (keepAll) Superseded(Entry) bool      { return false }

// holds checks that all that was acknowledged is there, with its number and once, and
// nothing but what was asked for.
func holds(t *testing.T, when string, got []Entry, acked map[string]int64, alsoAsked map[string]bool) {
	t.Helper()
	there := map[string]int64{}
	for _, e := range got {
		if _, twice := there[e.Value]; twice && e.Kind != KindEverything {
			t.Errorf("%s: %q is there twice", when, e.Value)
		}
		there[e.Value] = e.Seq
		if _, known := acked[e.Value]; !known && alsoAsked != nil && !alsoAsked[e.Value] && e.Kind != KindEverything {
			t.Errorf("%s: %q was never asked for", when, e.Value)
		}
	}
	for value, last := range acked {
		if there[value] != last {
			t.Errorf("%s: %q has the number %d, acknowledged was %d", when, value, there[value], last)
		}
	}
}

// What a failed sync left in a file is unknown: it is not written to again.
func TestJournalSyncFails(t *testing.T) {
	t.Parallel()
	d := newFakeDisk()
	j := openFake(t, d)
	mustAppend(t, j, 0, tagged(0))
	d.mu.Lock()
	d.fail = func(_ int, what, _ string) error {
		if what == "sync" {
			return syscall.EIO
		}
		return nil
	}
	d.mu.Unlock()
	long := tagged(1)
	long.From = strings.Repeat("f", 200)
	if _, err := j.Append(t.Context(), idOf(1), []Entry{long}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Append: %v, want %v", err, syscall.EIO)
	}
	if s := j.Stats(); !errors.Is(s.Failing, syscall.EIO) || s.Failures != 1 {
		t.Errorf("stats %+v, want the failure", s)
	}
	d.mu.Lock()
	d.fail = nil
	d.mu.Unlock()
	mustAppend(t, j, 2, tagged(2))
	want := []Entry{tagged(0), tagged(2)}
	if diff := cmp.Diff(want, asked(contents(t, j))); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
	for seed := range uint64(20) {
		for when, after := range map[string]*fakeDisk{"killed": d.killed(), "without power": d.unpowered(rand.New(rand.NewPCG(seed, 0)))} {
			if diff := cmp.Diff(want, asked(contents(t, openFake(t, after)))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
	}
}
