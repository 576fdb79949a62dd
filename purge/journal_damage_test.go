package purge

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
)

// written is a disk with a journal of two segments and six records, and its entries.
func written(t *testing.T) (*fakeDisk, []Entry) {
	t.Helper()
	d := newFakeDisk()
	var all []Entry
	for round := range 2 {
		j, damage, err := OpenJournal(JournalOptions{Dir: "state", Now: atEpoch, fs: d})
		if err != nil || damage != nil {
			t.Fatalf("OpenJournal: %v, %v", damage, err)
		}
		for i := range 3 {
			mustAppend(t, j, 3*round+i, tagged(6*round+2*i), tagged(6*round+2*i+1))
		}
		all = contents(t, j)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return d, all
}

const (
	firstSegment = "state/0000000000000001.purge"
	lastSegment  = "state/0000000000000002.purge"
)

// records lists where the records of a file begin, and where the last one ends.
func records(content []byte) []int {
	at := []int{segmentBytes}
	for off := segmentBytes; off < len(content); {
		off += headBytes + int(binary.LittleEndian.Uint32(content[off+4:]))
		at = append(at, off)
	}
	return at
}

func TestJournalTornTail(t *testing.T) {
	t.Parallel()
	d, all := written(t)
	at := records(d.files[lastSegment].now)
	for size := at[len(at)-2]; size < at[len(at)-1]; size++ {
		for _, zeros := range []int{0, 1, 4096} {
			torn := d.killed()
			f := torn.files[lastSegment]
			if f.now = append(slices.Clone(f.now[:size]), make([]byte, zeros)...); zeros > 0 && size > at[len(at)-2] {
				continue // zeros behind a beginning are damage
			}
			j := openFake(t, torn) // which refuses damage
			if diff := cmp.Diff(all[:len(all)-2], contents(t, j)); diff != "" {
				t.Errorf("cut at %d, %d zeros (-want +got):\n%s", size, zeros, diff)
			}
			if got, want := mustAppend(t, j, 9, tagged(1)), all[len(all)-2].Seq; got != want {
				t.Errorf("cut at %d: the next number is %d, want %d", size, got, want)
			}
			again := openFake(t, torn.killed())
			if got := len(contents(t, again)); got != len(all)-1 {
				t.Errorf("cut at %d: %d entries after the next append, want %d", size, got, len(all)-1)
			}
		}
	}
}

// TestJournalFlips flips each bit of each byte of both files.
func TestJournalFlips(t *testing.T) {
	t.Parallel()
	d, all := written(t)
	for _, name := range []string{firstSegment, lastSegment} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			for i := range d.files[name].now {
				flipped := d.killed()
				f := flipped.files[name]
				f.now = slices.Clone(f.now)
				f.now[i] ^= 1 << (i % 8)
				damaged(t, fmt.Sprintf("byte %d flipped", i), flipped, all, 2)
			}
		})
	}
}

// damaged opens a journal that is broken: that is said, everything is purged softly
// with a number above all others, at most lost entries are not there, and the next
// time all is well.
func damaged(t *testing.T, what string, d *fakeDisk, all []Entry, lost int) {
	t.Helper()
	j, damage, err := OpenJournal(JournalOptions{Dir: "state", Now: atEpoch, fs: d, Seen: all[len(all)-1].Seq})
	if err != nil || damage == nil {
		t.Fatalf("%s: damage %v, error %v", what, damage, err)
	}
	if len(damage.What) == 0 || !strings.Contains(damage.String(), damage.What[0]) {
		t.Errorf("%s: told as %q", what, damage)
	}
	got := contents(t, j)
	last := got[len(got)-1]
	if last.Kind != KindEverything || !last.Soft || last.Seq != damage.Purged || last.Seq <= all[len(all)-1].Seq {
		t.Errorf("%s: the last entry is %+v, want the soft purge %d", what, last, damage.Purged)
	}
	for _, e := range got[:len(got)-1] {
		if !slices.Contains(all, e) {
			t.Errorf("%s: %+v was never appended", what, e)
		}
	}
	if len(got)-1 < len(all)-lost {
		t.Errorf("%s: %d entries, want at least %d", what, len(got)-1, len(all)-lost)
	}
	mustAppend(t, j, 100, tagged(100))
	got = contents(t, j)
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	again := openFake(t, d.killed())
	if diff := cmp.Diff(got, contents(t, again)); diff != "" {
		t.Errorf("%s: opened again (-want +got):\n%s", what, diff)
	}
	if err := again.Compact(t.Context(), keepAll{}); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(got, contents(t, openFake(t, again.fs.(*fakeDisk).killed()))); diff != "" {
		t.Errorf("%s: after a compaction (-want +got):\n%s", what, diff)
	}
}

func TestJournalDamage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		lost int
		do   func(d *fakeDisk)
	}{
		{"first file is missing", 6, func(d *fakeDisk) { delete(d.files, firstSegment) }},
		{"last file is missing", 6, func(d *fakeDisk) { delete(d.files, lastSegment) }},
		{"all is missing", 12, func(d *fakeDisk) { clear(d.files) }},
		{"first file is cut", 2, func(d *fakeDisk) { f := d.files[firstSegment]; f.now = f.now[:len(f.now)-1] }},
		{"first file is cut at a record", 2, func(d *fakeDisk) { f := d.files[firstSegment]; f.now = f.now[:records(f.now)[2]] }},
		{"last file is cut at a record", 2, func(d *fakeDisk) { f := d.files[lastSegment]; f.now = f.now[:records(f.now)[2]] }},
		{"first file is empty", 6, func(d *fakeDisk) { d.files[firstSegment].now = nil }},
		{"zeros within", 6, func(d *fakeDisk) { f := d.files[firstSegment]; f.now = make([]byte, len(f.now)) }},
		{"files are swapped", 12, func(d *fakeDisk) {
			d.files[firstSegment], d.files[lastSegment] = d.files[lastSegment], d.files[firstSegment]
		}},
		{"garbage behind", 0, func(d *fakeDisk) {
			f := d.files[lastSegment]
			f.now = append(slices.Clone(f.now), "0123456789abcdef"...)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, all := written(t)
			test.do(d)
			damaged(t, test.name, d, all, test.lost)
		})
	}
}

// The purge that damage costs counts also while the disk refuses it, and is durable
// with the first append that is.
func TestJournalDamageOnFullDisk(t *testing.T) {
	t.Parallel()
	d, _ := written(t)
	d.files[firstSegment].now[segmentBytes] ^= 1
	full := errors.New("full")
	d.fail = func(int, string, string) error { return full }
	j, damage, err := OpenJournal(JournalOptions{Dir: "state", Now: atEpoch, fs: d})
	if err != nil || damage == nil {
		t.Fatalf("damage %v, error %v", damage, err)
	}
	defer j.Close()
	if got := contents(t, j); got[len(got)-1].Seq != damage.Purged {
		t.Errorf("the last entry is %+v, want the purge %d", got[len(got)-1], damage.Purged)
	}
	if _, err := j.Append(t.Context(), idOf(50), []Entry{tagged(50)}); !errors.Is(err, full) {
		t.Errorf("Append: %v, want %v", err, full)
	}
	if k, again, _ := OpenJournal(JournalOptions{Dir: "state", Now: atEpoch, fs: d.killed()}); again == nil {
		t.Error("after a kill the damage is forgotten, and nothing was purged for it")
	} else if err := k.Close(); err != nil {
		t.Error(err)
	}
	d.mu.Lock()
	d.fail = nil
	d.mu.Unlock()
	mustAppend(t, j, 50, tagged(50))
	if diff := cmp.Diff(contents(t, j), contents(t, openFake(t, d.killed()))); diff != "" {
		t.Errorf("after the disk has healed, and a kill (-want +got):\n%s", diff)
	}
}

func TestJournalNewer(t *testing.T) {
	t.Parallel()
	d, _ := written(t)
	record := d.killed()
	content := record.files[lastSegment].now
	content[segmentBytes+2] = recordVersion + 1
	binary.LittleEndian.PutUint32(content[segmentBytes+12:], crc32.Checksum(content[segmentBytes:][:12], castagnoli))
	d, _ = written(t)
	content = d.files[lastSegment].now
	content[8] = segmentVersion + 1
	binary.LittleEndian.PutUint32(content[segmentBytes-4:], crc32.Checksum(content[:segmentBytes-4], castagnoli))
	for name, d := range map[string]*fakeDisk{"record": record, "segment": d} {
		before := d.ops
		if _, damage, err := OpenJournal(JournalOptions{Dir: "state", Now: atEpoch, fs: d}); !errors.Is(err, errNewer) || damage != nil {
			t.Errorf("%s: damage %v, error %v, want %v", name, damage, err, errNewer)
		}
		if d.ops != before || len(d.locked) > 0 {
			t.Errorf("%s: the folder was changed: %v", name, d.log[before:])
		}
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	d := newFakeDisk()
	j := openFake(t, d)
	l := New(Options{MaxEntries: 100})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = l.Follow(ctx, j) })
	born := func() *stored { return fetched(l, answerAt("/", "")) }
	var objects []*stored
	for i := range 2000 {
		e := tagged(i % 150)
		e.Site, e.Soft = testSite, i%3 == 0
		if i%50 == 0 {
			objects = append(objects, born())
		}
		if err := l.Wait(ctx, mustAppend(t, j, i, e)); err != nil {
			t.Fatal(err)
		}
		if i%700 == 699 {
			if err := j.Compact(ctx, l); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := j.Compact(ctx, l); err != nil {
		t.Fatal(err)
	}
	if s := j.Stats(); s.Entries > 102 || s.Segments != 2 || len(d.files) != 2 {
		t.Errorf("stats %+v, %d files, want at most 102 entries in one file and one to write to", s, len(d.files))
	}
	// A ledger made of what is left judges the same.
	again := New(Options{})
	for _, e := range contents(t, openFake(t, d.killed())) {
		again.Apply(e)
	}
	for _, o := range objects {
		want := o.judge(l)
		o.checked.Store(0)
		if got := o.judge(again); got != want {
			t.Errorf("object born at %d: verdict %d by what is left, want %d", o.born.Seq, got, want)
		}
		for i := range 150 {
			marks := []cachestore.Mark{l.MarkOf(testSite, KindTag, tagged(i).Value), l.MarkOf("", KindEverything, "")}
			var a, b atomic.Uint64
			if got, want := again.Judge(o.born, marks, &a), l.Judge(o.born, marks, &b); got != want {
				t.Fatalf("tag %d, born at %d: verdict %d by what is left, want %d", i, o.born.Seq, got, want)
			}
		}
	}
}

// TestCompactFollowed compacts over and over while others append and follow.
func TestCompactFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _, err := OpenJournal(JournalOptions{Dir: dir, Now: atEpoch})
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := w; i < n; i += 3 {
				mustAppend(t, j, i, tagged(i))
			}
		})
	}
	var stop atomic.Bool
	var compactions sync.WaitGroup
	compactions.Go(func() {
		for !stop.Load() {
			if err := j.Compact(t.Context(), keepAll{}); err != nil {
				t.Error(err)
			}
		}
	})
	for !stop.Load() {
		// Each time from the beginning, hence from files that go away meanwhile.
		seen := map[string]bool{}
		_, last, _ := j.State(t.Context())
		first, _, _ := j.State(t.Context())
		if first > last {
			continue
		}
		for _, e := range contents(t, j) {
			seen[e.Value] = true
		}
		stop.Store(len(seen) == n)
	}
	wg.Wait()
	compactions.Wait()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

const childDir = "PERIGEE_TEST_JOURNAL"

// TestJournalKilled kills a process that appends, and looks whether all that it had
// acknowledged is there.
func TestJournalKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acked := map[string]int64{}
	random := rand.New(rand.NewPCG(5, 6))
	for round := range 8 {
		child := exec.Command(os.Args[0], "-test.run=^TestJournalChild$", "-test.count=1")
		child.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprint("PERIGEE_TEST_ROUND=", round))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 1 + random.IntN(500); lines.Scan(); left-- {
			value, number, ok := strings.Cut(lines.Text(), " ")
			seq, err := strconv.ParseInt(number, 10, 64)
			if !ok || err != nil {
				continue // of the test binary, or cut off
			}
			acked[value] = seq
			if left == 0 {
				if err := child.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		_ = child.Wait()
		j, damage, err := OpenJournal(JournalOptions{Dir: dir, Now: atEpoch})
		if err != nil || damage != nil {
			t.Fatalf("round %d: damage %v, error %v", round, damage, err)
		}
		holds(t, fmt.Sprint("round ", round), contents(t, j), acked, nil)
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(acked) < 100 {
		t.Errorf("only %d appends were acknowledged", len(acked))
	}
}

// TestJournalChild is the process that is killed.
func TestJournalChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("is run by TestJournalKilled")
	}
	j, damage, err := OpenJournal(JournalOptions{Dir: dir, Now: atEpoch})
	if err != nil || damage != nil {
		t.Fatalf("damage %v, error %v", damage, err)
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				e := tagged(i)
				e.Value = fmt.Sprintf("%s-%d-%d", os.Getenv("PERIGEE_TEST_ROUND"), w, i)
				last, err := j.Append(context.Background(), NewID(), []Entry{e})
				if err != nil {
					t.Error(err)
				}
				out.Lock()
				fmt.Printf("%s %d\n", e.Value, last)
				out.Unlock()
				if w == 0 && i%50 == 49 {
					if err := j.Compact(context.Background(), keepAll{}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// FuzzRecord: bytes that are no record are refused, never more.
func FuzzRecord(f *testing.F) {
	entries := []Entry{tagged(1), tagged(2), {Site: "b", Kind: KindSite, At: epoch}, {Kind: KindEverything, Who: "x", At: epoch}}
	number(entries, 1<<60)
	record := appendRecord(nil, entries)
	f.Add(record[headBytes:])
	f.Add(appendRecord(nil, entries[:1])[headBytes:])
	f.Add(make([]byte, fixedBytes+1))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < fixedBytes {
			return // parseHead refuses these
		}
		var got []Entry
		var d decoder
		if err := d.entries(payload, func(e Entry) error { got = append(got, e); return nil }); err != nil || len(got) == 0 {
			return
		}
		for i := range got {
			if i > 0 && got[i].Seq < got[i-1].Seq {
				t.Errorf("number %d after %d", got[i].Seq, got[i-1].Seq)
			}
		}
		var again []Entry
		back := appendRecord(nil, got)[headBytes:]
		if err := d.entries(back, func(e Entry) error { again = append(again, e); return nil }); err != nil {
			t.Fatalf("%+v is written so that it cannot be read: %v", got, err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("written and read (-want +got):\n%s", diff)
		}
	})
}

// FuzzScan: whatever a file holds, it is read to its end or refused.
func FuzzScan(f *testing.F) {
	entries := []Entry{tagged(1), tagged(2)}
	number(entries, 1<<60)
	good := appendRecord(nil, entries)
	f.Add(good)
	f.Add(append(slices.Clone(good[:len(good)-3]), good...))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, content []byte) {
		r := strings.NewReader(string(content) + string(good))
		found := 0
		trouble, err := scan(r, 0, r.Size(), func([]byte) error { found++; return nil })
		if err == nil && !trouble.torn && found == 0 {
			t.Errorf("the good record behind %x is not found", content)
		}
	})
}
