package purge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
)

const struckPath = "state/invalidations"

// life is one process with a ledger whose invalidations are on a fake disk.
type life struct {
	*Ledger
	file *Invalidations
	lost string
	disk *fakeDisk
}

// livesOn starts a process. seen is what is known to be stored.
func livesOn(t *testing.T, d *fakeDisk, seen int64) *life {
	t.Helper()
	time.Sleep(time.Millisecond) // no process starts in the same one as that before it
	f, lost, err := OpenInvalidations(InvalidationsOptions{File: struckPath, Start: time.Now(), Key: testKey, Seen: seen, fs: d})
	if err != nil {
		t.Fatal(err)
	}
	return &life{New(Options{Key: testKey, Invalidations: f}), f, lost, d}
}

var testKey = [16]byte{1, 2, 3}

// page is a response to a URL, and the mark that strikes it.
func (l *life) page(i int) (*stored, cachestore.Mark) {
	path := fmt.Sprint("/", i)
	return fetched(l.Ledger, answerAt(path, "")), l.URLMark(testSite, "www.example.com", path, "")
}

// killed is the disk after the process was killed when it had nothing in hand.
func (l *life) killed() *fakeDisk {
	synctest.Wait()
	d := l.disk.killed()
	_ = l.file.Close()
	return d
}

func (l *life) closed(t *testing.T) *fakeDisk {
	t.Helper()
	if err := l.file.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	return l.disk
}

func expectVerdict(t *testing.T, l *Ledger, o *stored, want cachestore.Verdict, what string) {
	t.Helper()
	o.checked.Store(0) // as it lies on a disk
	if got := o.judge(l); got != want {
		t.Errorf("%s: verdict %d on what was born at %d, want %d (now %d)", what, got, o.born.Local, want, l.Now().Local)
	}
}

// TestInvalidationsOutlive: what was struck is struck in the next process and the one
// after, however this one ended; what was not is valid, and moments only rise.
func TestInvalidationsOutlive(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*testing.T, *life) *fakeDisk{
		"closed": func(t *testing.T, l *life) *fakeDisk { return l.closed(t) },
		"killed": func(_ *testing.T, l *life) *fakeDisk { return l.killed() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := livesOn(t, newFakeDisk(), 0)
				var struckPages, validPages []*stored
				for i := range 50 {
					o, mark := l.page(i)
					l.Invalidate(mark)
					other, _ := l.page(1000 + i)
					struckPages, validPages = append(struckPages, o), append(validPages, other)
				}
				for round := range 3 {
					before := l.Now().Local
					d := end(t, l)
					if l = livesOn(t, d, before); l.lost != "" {
						t.Fatalf("round %d: lost %q", round, l.lost)
					}
					if after := l.Now().Local; after <= before {
						t.Errorf("round %d: the moments went from %d to %d", round, before, after)
					}
					for i := range struckPages {
						expectVerdict(t, l.Ledger, struckPages[i], cachestore.Gone, "struck")
						expectVerdict(t, l.Ledger, validPages[i], cachestore.Valid, "not struck")
					}
				}
				l.closed(t)
			})
		})
	}
}

// TestMomentsBegin: the first moment is that of the clock, or after all that is known
// where the clock has gone back.
func TestMomentsBegin(t *testing.T) {
	t.Parallel()
	start := time.UnixMilli(1000)
	clock := start.UnixMilli() << 20
	tests := []struct {
		name        string
		known, seen int64 // 0 = no file, nothing stored
		want        int64
		lost        bool
	}{
		{"first start", 0, 0, clock, false},
		{"later", 500 << 20, 400 << 20, clock, false},
		{"the clock went back", clock + 7, 0, clock + 8, false},
		{"what is stored is ahead", clock + 7, clock + 70, clock + 71, true},
		{"a file without its end", 500 << 20, 501 << 20, clock, true},
		{"no file, and something is stored", 0, 400 << 20, clock, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newFakeDisk()
			if test.known > 0 {
				h := struckFile{id: 1, key: MarksID(testKey), moment: test.known}
				d.files[struckPath] = &fakeFile{now: h.append(nil)}
			}
			f, lost, err := OpenInvalidations(InvalidationsOptions{File: struckPath, Start: start, Key: testKey, Seen: test.seen, fs: d})
			if err != nil || f.start != test.want || (lost != "") != test.lost {
				t.Errorf("start %d, lost %q, %v; want %d, lost %v", f.start, lost, err, test.want, test.lost)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if l := New(Options{Key: testKey, Start: start}); l.Now().Local != clock {
				t.Errorf("a ledger without a file begins at %d, want %d", l.Now().Local, clock)
			}
		})
	}
}

// filled is a disk with a file that strikes the pages from 0 to n-1, those pages, and
// the last moment. All of them, and page 50, were fetched before.
func filled(t *testing.T, n int) (d *fakeDisk, pages []*stored, other *stored, end int64) {
	t.Helper()
	l := livesOn(t, newFakeDisk(), 0)
	var marks []cachestore.Mark
	for i := range n {
		o, mark := l.page(i)
		pages, marks = append(pages, o), append(marks, mark)
	}
	other, _ = l.page(50)
	for _, mark := range marks {
		l.Invalidate(mark)
		synctest.Wait() // one write each, in this order
	}
	return l.killed(), pages, other, l.Now().Local
}

// TestInvalidationsCut: a file that ends at any byte has what is whole in it, and is
// not damaged; only where its header is not there all is in doubt.
func TestInvalidationsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, pages, _, end := filled(t, 12)
		content := d.files[struckPath].now
		for size := range len(content) + 1 {
			cut := newFakeDisk()
			cut.files[struckPath] = &fakeFile{now: content[:size]}
			l := livesOn(t, cut, 0)
			whole := (size - struckHeader) / struckBytes
			if wantLost := size < struckHeader; (l.lost != "") != wantLost {
				t.Errorf("%d bytes: lost %q, want %v", size, l.lost, wantLost)
			}
			for i, o := range pages {
				want := cachestore.Valid // a killed process had it in hand
				switch {
				case size < struckHeader:
					want = doubtful
				case i < whole:
					want = cachestore.Gone
				}
				expectVerdict(t, l.Ledger, o, want, fmt.Sprintf("page %d in %d bytes", i, size))
			}
			l.closed(t)
			// What is stored tells that the end is missing.
			cut.files[struckPath] = &fakeFile{now: content[:size]}
			l = livesOn(t, cut, end)
			if size < len(content) && l.lost == "" {
				t.Errorf("%d bytes: nobody said that the end is missing", size)
			}
			for _, o := range pages {
				if o.checked.Store(0); o.judge(l.Ledger) == cachestore.Valid {
					t.Errorf("%d bytes, and the end is known to be missing: a struck page is valid", size)
				}
			}
			l.closed(t)
		}
	})
}

// TestInvalidationsDamaged: whichever bit is wrong, nothing that was stored before is
// valid, and somebody is told; what is stored from then on is valid, and the next start
// finds no damage.
func TestInvalidationsDamaged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, pages, _, _ := filled(t, 4)
		content := d.files[struckPath].now
		for bit := range 8 * len(content) {
			raw := append([]byte(nil), content...)
			raw[bit/8] ^= 1 << (bit % 8)
			bad := newFakeDisk()
			bad.files[struckPath] = &fakeFile{now: raw}
			l := livesOn(t, bad, 0)
			if l.lost == "" {
				t.Errorf("bit %d: nothing was noticed", bit)
			}
			for _, o := range pages {
				if o.checked.Store(0); o.judge(l.Ledger) == cachestore.Valid {
					t.Errorf("bit %d: a struck page is valid", bit)
				}
			}
			fresh, _ := l.page(0)
			expectVerdict(t, l.Ledger, fresh, cachestore.Valid, fmt.Sprint("bit ", bit, ", fetched since"))
			next := livesOn(t, l.closed(t), fresh.born.Local)
			if next.lost != "" {
				t.Errorf("bit %d: the next start says %q", bit, next.lost)
			}
			expectVerdict(t, next.Ledger, fresh, cachestore.Valid, "after one more start")
			if pages[0].checked.Store(0); pages[0].judge(next.Ledger) == cachestore.Valid {
				t.Errorf("bit %d: a struck page is valid after one more start", bit)
			}
			next.closed(t)
		}
	})
}

func TestInvalidationsRefused(t *testing.T) {
	t.Parallel()
	open := func(d *fakeDisk, key [16]byte, seen int64) (*Invalidations, string, error) {
		return OpenInvalidations(InvalidationsOptions{File: struckPath, Start: time.UnixMilli(9), Key: key, Seen: seen, fs: d})
	}
	t.Run("another version", func(t *testing.T) {
		t.Parallel()
		h := struckFile{id: 1, key: MarksID(testKey), moment: 1}
		raw := h.append(nil)
		raw[8] = 2
		sum := appendSum(raw[:12])
		raw = append(sum, raw[16:]...)
		d := newFakeDisk()
		d.files[struckPath] = &fakeFile{now: raw}
		_, _, err := open(d, testKey, 0)
		if !errors.Is(err, errNewer) || !strings.Contains(err.Error(), struckPath) {
			t.Errorf("error %v, want one that names the file and says that it is newer", err)
		}
		if string(d.files[struckPath].now) != string(raw) {
			t.Error("the file was touched")
		}
	})
	t.Run("another key", func(t *testing.T) {
		t.Parallel()
		for _, seen := range []int64{0, 5} {
			d := newFakeDisk()
			h := struckFile{id: 1, key: MarksID(testKey) + 1, moment: 7}
			d.files[struckPath] = &fakeFile{now: h.append(nil)}
			f, lost, err := open(d, testKey, seen)
			if err != nil || (lost != "") != (seen > 0) || f.floor != f.start {
				t.Errorf("seen %d: lost %q, floor %d of %d, %v", seen, lost, f.floor, f.start, err)
			}
			_ = f.Close()
		}
	})
	if _, _, err := OpenInvalidations(InvalidationsOptions{File: struckPath}); err == nil {
		t.Error("options without a start were taken")
	}
}

func TestMarksID(t *testing.T) {
	t.Parallel()
	ids := map[uint64]bool{0: true}
	for i := range 100 {
		key := [16]byte{byte(i)}
		id := MarksID(key)
		if ids[id] || id != MarksID(key) {
			t.Errorf("key %d: %d is 0, another's, or not the same again", i, id)
		}
		ids[id] = true
	}
}

// TestInvalidationsQueueFull: what finds no room is written as a floor before which
// all is in doubt, until the file has been rewritten.
func TestInvalidationsQueueFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		l := livesOn(t, d, 0)
		struckPage, mark := l.page(1)
		other, _ := l.page(2)
		release := make(chan struct{})
		var once sync.Once
		d.fail = func(_ int, what, _ string) error {
			if what == "write" {
				once.Do(func() { <-release })
			}
			return nil
		}
		l.Invalidate(5)
		synctest.Wait() // the writer waits for the disk
		for i := range maxStruck {
			l.Invalidate(cachestore.Mark(10 + i%1000))
		}
		l.Invalidate(mark)
		fresh, _ := l.page(2)
		if s := l.file.Stats(); s.Dropped != 1 || s.Queued != maxStruck {
			t.Errorf("stats %+v, want a full queue and one dropped", s)
		}
		expectVerdict(t, l.Ledger, other, cachestore.Valid, "the process itself")
		close(release)
		synctest.Wait()
		now := livesOn(t, d.killed(), fresh.born.Local)
		if now.lost != "" {
			t.Errorf("lost %q", now.lost)
		}
		expectVerdict(t, now.Ledger, struckPage, doubtful, "struck, but not written")
		expectVerdict(t, now.Ledger, other, doubtful, "not struck, and in doubt")
		expectVerdict(t, now.Ledger, fresh, cachestore.Valid, "born since")
		now.closed(t)

		time.Sleep(2 * tickEvery)
		again := livesOn(t, l.killed(), fresh.born.Local)
		expectVerdict(t, again.Ledger, struckPage, cachestore.Gone, "rewritten, struck")
		expectVerdict(t, again.Ledger, other, cachestore.Valid, "rewritten, not struck")
		again.closed(t)
	})
}

// TestInvalidationsDiskFails: whichever operation of the disk fails, once or from then
// on, nothing that was struck is valid after a kill, and when the disk is well again
// the file is whole by itself.
func TestInvalidationsDiskFails(t *testing.T) {
	t.Parallel()
	for _, forever := range []bool{false, true} {
		for first := range 24 {
			t.Run(fmt.Sprint(forever, first), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { diskFails(t, first, forever) })
			})
		}
	}
}

func diskFails(t *testing.T, first int, forever bool) {
	old, pages, _, _ := filled(t, 2)
	failed := 0
	old.fail = func(op int, what, _ string) error {
		if what != "remove" && (op == first || forever && op >= first) {
			failed++
			return syscall.EIO
		}
		return nil
	}
	l := livesOn(t, old, 0)
	defer func() { _ = l.file.Close() }()
	other, _ := l.page(1000)
	for i := range 6 {
		o, mark := l.page(100 + i)
		pages = append(pages, o)
		l.Invalidate(mark)
		synctest.Wait()
		now := livesOn(t, l.disk.killed(), 0)
		for _, o := range pages {
			if o.checked.Store(0); o.judge(now.Ledger) == cachestore.Valid {
				t.Errorf("after %d: a struck page is valid; %v", i, l.disk.log)
			}
		}
		_ = now.file.Close()
		time.Sleep(tickEvery)
	}
	synctest.Wait()
	if forever && failed == 0 {
		t.Errorf("nothing failed: %v", old.log)
	}
	if s := l.file.Stats(); (s.Failures > 0) != (failed > 0) || forever && s.Failing == nil {
		t.Errorf("%d operations failed, stats %+v", failed, s)
	}
	old.mu.Lock()
	old.fail = nil
	old.mu.Unlock()
	time.Sleep(3 * tickEvery)
	if s := l.file.Stats(); s.Failing != nil || s.Records == 0 {
		t.Errorf("the disk is well, stats %+v", s)
	}
	now := livesOn(t, l.killed(), 0)
	for _, o := range pages {
		expectVerdict(t, now.Ledger, o, cachestore.Gone, "when the disk is well")
	}
	expectVerdict(t, now.Ledger, other, cachestore.Valid, "not struck")
	now.closed(t)
}

// TestInvalidationsUnseen: where the disk took nothing and did not let the file be
// removed either, what was stored since gives it away, at the start or when it is met.
func TestInvalidationsUnseen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, _, o, end := filled(t, 2)
		before := d.killed()
		d.fail = func(int, string, string) error { return syscall.EROFS }
		time.Sleep(time.Minute)
		l := livesOn(t, d, end)
		_, mark := l.page(50)
		l.Invalidate(mark)
		since, _ := l.page(51)
		if err := l.file.Close(); err == nil {
			t.Error("Close says that the file is whole")
		}
		time.Sleep(time.Minute)
		next := livesOn(t, before.killed(), since.born.Local)
		if next.lost == "" {
			t.Error("nothing was noticed at the start")
		}
		expectVerdict(t, next.Ledger, o, doubtful, "struck in between")
		next.closed(t)
		for _, meet := range []func(l *life){
			func(l *life) { expectVerdict(t, l.Ledger, since, doubtful, "stored in between") },
			func(l *life) {
				if !l.Saw(since.born) || l.Saw(since.born) || l.Saw(l.Now()) {
					t.Error("Saw: want news, once")
				}
			},
		} {
			next = livesOn(t, before.killed(), 0)
			o.checked.Store(0)
			if got := o.judge(next.Ledger); got != cachestore.Valid {
				t.Errorf("verdict %d before anybody could know: the test shows nothing", got)
			}
			meet(next)
			if got := o.judge(next.Ledger); got != doubtful { // as it was checked before
				t.Errorf("struck in between: verdict %d, want %d", got, doubtful)
			}
			last := livesOn(t, next.killed(), next.Now().Local)
			expectVerdict(t, last.Ledger, o, doubtful, "one start later")
			last.closed(t)
		}
	})
}

// TestInvalidationsRewritten: the file is rewritten when most of it does not count any
// more, and nothing is lost by it, whatever comes meanwhile.
func TestInvalidationsRewritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := livesOn(t, newFakeDisk(), 0)
		const pages = 200
		var last [pages]*stored
		var work sync.WaitGroup
		for part := range 4 {
			work.Go(func() {
				for i := range 40_000 {
					at := part*pages/4 + i%(pages/4)
					o, mark := l.page(at)
					last[at] = o
					l.Invalidate(mark)
					if i%100 == 0 {
						time.Sleep(time.Duration(part+1) * 7 * time.Millisecond)
					}
				}
			})
		}
		work.Wait()
		fresh, _ := l.page(0)
		time.Sleep(2 * tickEvery)
		if s := l.file.Stats(); s.Rewrites < 3 || s.Records > 2*pages+spareRecords || s.Failures > 0 || s.Dropped > 0 {
			t.Errorf("stats %+v", s)
		}
		next := livesOn(t, l.killed(), fresh.born.Local)
		if next.lost != "" {
			t.Errorf("lost %q", next.lost)
		}
		for i, o := range last {
			expectVerdict(t, next.Ledger, o, cachestore.Gone, fmt.Sprint("page ", i))
		}
		expectVerdict(t, next.Ledger, fresh, cachestore.Valid, "fetched after all")
		next.closed(t)
	})
}

// TestInvalidationsTooLong: a file that cannot be rewritten is given up at a bound.
func TestInvalidationsTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		l := livesOn(t, d, 0)
		l.file.most = 20_000
		d.fail = func(_ int, what, _ string) error {
			if what == "create" {
				return syscall.EACCES
			}
			return nil
		}
		o, mark := l.page(0)
		for range 30_000 {
			l.Invalidate(mark)
		}
		synctest.Wait()
		if s := l.file.Stats(); s.Records != 0 || s.Failing == nil || d.files[struckPath] != nil {
			t.Errorf("stats %+v, file there: %v; want none", s, d.files[struckPath] != nil)
		}
		next := livesOn(t, d.killed(), 0)
		expectVerdict(t, next.Ledger, o, doubtful, "after a kill")
		next.closed(t)
		_ = l.file.Close()
	})
}

// TestInvalidationsForgotten: what the ledger forgets is not in the file when it has
// been rewritten, and who is older than that is in doubt.
func TestInvalidationsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := livesOn(t, newFakeDisk(), 0)
		old, _ := l.page(7)
		for i := range 10 {
			_, mark := l.page(i + 10)
			l.Invalidate(mark)
		}
		swept := l.Now()
		young, mark := l.page(3)
		l.Invalidate(mark)
		l.ForgetSwept(swept.Local)
		l = livesOn(t, l.closed(t), 0) // which rewrites it with what it finds
		l.ForgetSwept(swept.Local)
		if s := l.Stats(); s.LocalEntries != 1 {
			t.Errorf("stats %+v, want one entry", s)
		}
		v := l.view()
		if v.floor != swept.Local {
			t.Errorf("floor %d, want %d", v.floor, swept.Local)
		}
		l.file.wanted = true
		l = livesOn(t, l.closed(t), 0)
		if s := l.file.Stats(); s.Records != 1 || l.Stats().LocalEntries != 1 {
			t.Errorf("%+v, %+v", s, l.Stats())
		}
		expectVerdict(t, l.Ledger, old, doubtful, "older than what was forgotten")
		expectVerdict(t, l.Ledger, young, cachestore.Gone, "struck since")
		l.closed(t)
	})
}

// TestInvalidationsFold: a file that has more than the ledger may tell apart.
func TestInvalidationsFold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, pages, _, _ := filled(t, 100)
		f, _, err := OpenInvalidations(InvalidationsOptions{File: struckPath, Start: time.Now(), Key: testKey, fs: d})
		if err != nil {
			t.Fatal(err)
		}
		l := New(Options{Key: testKey, Invalidations: f, MaxLocal: 20})
		if s := l.Stats(); s.LocalEntries > 20 || s.LocalEntries < 19 || s.LocalFloor == 0 {
			t.Errorf("stats %+v", s)
		}
		for i, o := range pages {
			if o.checked.Store(0); o.judge(l) == cachestore.Valid {
				t.Errorf("page %d is valid", i)
			}
		}
		_ = f.Close()
	})
}

func TestJudgeAhead(t *testing.T) {
	t.Parallel()
	l := testLedger()
	o := fetched(l, answerAt("/", ""))
	o.born.Local = math.MaxInt64
	expectVerdict(t, l, o, doubtful, "born after all that there was")
}

// appendSum is the beginning of a header with its checksum.
func appendSum(begun []byte) []byte {
	return binary.LittleEndian.AppendUint32(append([]byte(nil), begun...), crc32.Checksum(begun, castagnoli))
}
