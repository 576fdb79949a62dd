package disk

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/internal/faultfs"
)

// library is a depot with some of everything in it, closed.
type library struct {
	*bare
	current map[version]int64 // births
	gone    []version         // removed, or another version took their place
}

func newLibrary(t *testing.T, folders ...Folder) *library {
	t.Helper()
	l := &library{bare: unopened(t, folders...), current: make(map[version]int64)}
	l.open()
	put := func(v version) {
		l.current[v] = l.mustPut(v).Born().Seq
	}
	for i, n := range []int{0, 10, 500} {
		old := versionOf(i, i+50, n+1)
		l.mustPut(old)
		l.gone = append(l.gone, old)
		put(versionOf(i, i, n))
	}
	for i := 10; i < 13; i++ {
		v := versionOf(i, i, 700)
		l.mustPut(v)
		l.gone = append(l.gone, v)
		l.depot.Remove(v.key)
	}
	v := versionOf(20, 20, 3000)
	o := l.mustPut(v)
	l.current[v] = l.freshen(v, o).Born().Seq
	v = versionOf(21, 21, 280_000)
	if !l.spill(v) {
		t.Fatal("a spill is refused")
	}
	l.current[v] = l.births
	for _, language := range []string{"en", "sk"} {
		v := versionOf(22, 22, 100)
		v.vary = language
		v.etag += language
		put(v)
	}
	l.settle()
	return l
}

// survivors opens a depot on what there is, and returns how many current versions are
// shown; strict tells that nothing may be shown that had left.
func (l *library) survivors(strict bool) (shown int) {
	l.t.Helper()
	l.open()
	for v, born := range l.current {
		got, _ := l.look(v.key)
		if got[v.vary] == born {
			shown++
		}
	}
	for _, v := range l.gone {
		got, _ := l.look(v.key)
		for vary, born := range got {
			if strict && l.versions[born] == v {
				l.t.Errorf("%s, which had left, is shown again (%q, birth %d)", v.etag, vary, born)
			}
		}
	}
	return shown
}

func (l *library) whole() int { return len(l.current) }

// Each byte of a segment, one by one, is another: before a restart, whether the segment
// was sealed or not. What is shown is right, and at most what stood there is missing.
func TestEveryByteOfASegmentFlipped(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sealed", "unsealed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBare(t, 4<<20)
			var all []version
			for i, n := range []int{0, 30, 90} {
				all = append(all, versionOf(i, i, n))
				b.mustPut(all[i])
			}
			b.mustPut(versionOf(5, 5, 10))
			b.depot.Remove(versionOf(5, 5, 10).key)
			b.settle()
			end := int64(segmentHeadBytes)
			for k := range b.depot.volumes[0].w.logs {
				if w := &b.depot.volumes[0].w.logs[k]; w.segment != nil {
					end = max(end, w.used)
				}
			}
			left := b.fs.Snapshot()
			b.close()
			if name == "sealed" {
				left = b.fs
			}
			path := segmentFiles(left)[0]
			data, err := left.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if name == "unsealed" {
				data = data[:end]
			}
			step := int64(1)
			if testing.Short() || raceDetector {
				step = 31
			}
			for off := int64(0); off < int64(len(data)); off += step {
				b.fs = left.Snapshot()
				if err := b.fs.Flip(path, off); err != nil {
					t.Fatal(err)
				}
				b.open()
				missing := 0
				for _, v := range all {
					got, broken := b.look(v.key)
					if missing += broken; len(got) == 0 && broken == 0 {
						missing++
					}
				}
				if s := b.depot.Stats(); missing > 0 && dropped(s) == 0 {
					t.Errorf("byte %d: %d objects are missing and nothing was counted: %+v", off, missing, s)
				}
				if off >= segmentHeadBytes && missing > 1 {
					t.Errorf("byte %d: %d objects are missing", off, missing)
				}
				b.depot.Close(t.Context())
				if b.budget.Used() != 0 || b.fs.OpenFiles() != 0 {
					t.Fatalf("byte %d: after Close %d bytes are reserved, %d files open", off, b.budget.Used(), b.fs.OpenFiles())
				}
			}
		})
	}
}

// damages are what may become of a closed store.
func damages(l *library) map[string]func(fs *faultfs.FS) error {
	all := make(map[string]func(fs *faultfs.FS) error)
	segments := segmentFiles(l.fs)
	for i, path := range segments {
		data, _ := l.fs.Read(path)
		n := int64(len(data))
		of := fmt.Sprintf("segment %d ", i)
		for _, at := range []int64{
			0, 1, segmentHeadBytes - 1, segmentHeadBytes, segmentHeadBytes + 1, segmentHeadBytes + recordHeadBytes, n / 3, n / 2,
			n - tailBytes - entryBytes, n - tailBytes, n - 1,
		} {
			at = min(max(at, 0), n)
			all[fmt.Sprint(of, "cut at ", at)] = func(fs *faultfs.FS) error { return fs.Truncate(path, at) }
			all[fmt.Sprint(of, "zero from ", at)] = func(fs *faultfs.FS) error { return fs.Zero(path, at, min(300, n-at)) }
			all[fmt.Sprint(of, "zero to the end from ", at)] = func(fs *faultfs.FS) error { return fs.Zero(path, at, n-at) }
		}
		all[of+"longer"] = func(fs *faultfs.FS) error { return fs.Truncate(path, n+100_000) }
		all[of+"removed"] = func(fs *faultfs.FS) error { return fs.Discard(path) }
		all[of+"empty"] = func(fs *faultfs.FS) error { return fs.Write(path, nil) }
		all[of+"of something else"] = func(fs *faultfs.FS) error { return fs.Write(path, bytes.Repeat([]byte("else"), 9999)) }
		all[of+"renamed"] = func(fs *faultfs.FS) error {
			return errors.Join(fs.Write(filepath.Dir(path)+"/segment-0000000000000007.log", data), fs.Discard(path))
		}
		all[of+"twice"] = func(fs *faultfs.FS) error {
			return fs.Write(filepath.Dir(path)+"/segment-00fffffffffffff0.log", data)
		}
		all[of+"swapped"] = func(fs *faultfs.FS) error { return fs.Swap(path, segments[(i+1)%len(segments)]) }
	}
	main := testFolder + "/" + mainName
	all["name file cut"] = func(fs *faultfs.FS) error { return fs.Truncate(main, 20) }
	all["name file flipped"] = func(fs *faultfs.FS) error { return fs.Flip(main, 20) }
	all["name file removed"] = func(fs *faultfs.FS) error { return fs.Discard(main) }
	all["foreign files"] = func(fs *faultfs.FS) error {
		return errors.Join(
			fs.Write(testFolder+"/segment-ffffffffffffffff.log", []byte("foreign")),
			fs.Write(testFolder+"/segment-7fffffffffffffff.log", make([]byte, 4096)),
			fs.Write(testFolder+"/segment-fffffffffffffff.log", []byte("short name")),
			fs.Write(testFolder+"/README", []byte("read me")), fs.Write(main+".new", []byte("half")))
	}
	return all
}

func TestDamageBetweenRestarts(t *testing.T) {
	t.Parallel()
	for _, ends := range []string{"closed", "killed"} {
		t.Run(ends, func(t *testing.T) {
			t.Parallel()
			l := newLibrary(t, Folder{testFolder, 8 << 20})
			left := l.fs.Snapshot()
			l.close()
			if ends == "closed" {
				left = l.fs
			}
			l.fs = left
			all := damages(l)
			for name, damage := range all {
				l.fs = left.Snapshot()
				if err := damage(l.fs); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				shown := l.survivors(false)
				s := l.depot.Stats()
				if strings.HasPrefix(name, "name file") || name == "foreign files" {
					if shown != l.whole() {
						t.Errorf("%s: %d of %d objects are shown", name, shown, l.whole())
					}
				}
				if s.Folders[0].State != Working.String() {
					t.Errorf("%s: the folder is %s, because of damage alone", name, s.Folders[0].State)
				}
				// It goes on, and the next start finds what was stored now.
				v := versionOf(300, 300, 400)
				o := l.mustPut(v)
				l.reopen()
				if !l.shows(v, o.Born().Seq) {
					t.Errorf("%s: what was stored afterwards is not there at the next start", name)
				}
				l.du()
				l.close()
			}
		})
	}
}

func TestFlippedWhileRunning(t *testing.T) {
	t.Parallel()
	l := newLibrary(t, Folder{testFolder, 8 << 20})
	l.reopen() // nothing is in memory
	flipped := 0
	for _, path := range segmentFiles(l.fs) {
		data, err := l.fs.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		for off := int64(segmentHeadBytes); off < int64(len(data)); off += 97 {
			if err := l.fs.Flip(path, off); err != nil {
				t.Fatal(err)
			}
			flipped++
		}
	}
	lost := 0
	for v, born := range l.current {
		if !l.shows(v, born) {
			lost++
		}
		if l.shows(v, born) && v.size > 97 {
			t.Errorf("%s is shown whole", v.etag)
		}
	}
	s := l.depot.Stats()
	if lost == 0 || flipped == 0 || s.Drops[dropChecksum.String()] < int64(lost) || s.Folders[0].State != "working" {
		t.Errorf("%d lost; %+v: want each counted, and a folder that works", lost, s)
	}
	v := versionOf(300, 300, 400)
	if o := l.mustPut(v); !l.shows(v, o.Born().Seq) {
		t.Error("what is stored afterwards is not shown")
	}
	l.end()
}

// What is cut off while it can be read is damage, not a disk that fails.
func TestCutWhileRunning(t *testing.T) {
	t.Parallel()
	b := newBare(t, 16<<20)
	var all []version
	for i := range 40 {
		all = append(all, versionOf(i, i, []int{100, 100_000, 300_000}[i%3]))
		b.mustPut(all[i])
	}
	b.reopen()
	for _, path := range segmentFiles(b.fs) {
		if err := b.fs.Truncate(path, segmentHeadBytes); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range all {
		if got, broken := b.look(v.key); len(got) != 0 {
			t.Errorf("%s is shown: %v, %d broken", v.etag, got, broken)
		}
	}
	s := b.depot.Stats()
	if s.Folders[0].State != "working" || s.Drops[dropChecksum.String()] == 0 {
		t.Errorf("%+v: want a folder that works, and drops", s)
	}
	b.end()
}

func TestOtherMarksAreDropped(t *testing.T) {
	t.Parallel()
	l := newLibrary(t, Folder{testFolder, 8 << 20})
	l.close()
	l.marks++
	if shown := l.survivors(true); shown != 0 {
		t.Errorf("%d objects are shown whose marks mean nothing any more", shown)
	}
	if s := l.depot.Stats(); s.Drops[dropMarks.String()] == 0 || len(segmentFiles(l.fs)) != 0 {
		t.Errorf("%+v, files %v: want all dropped", s, segmentFiles(l.fs))
	}
	l.end()
}

func TestSegmentsOfAnotherFolder(t *testing.T) {
	t.Parallel()
	l := newLibrary(t, Folder{"/disk", 8 << 20})
	other := newLibrary(t, Folder{"/disk", 8 << 20})
	l.close()
	other.advance(time.Hour)
	other.reopen()
	other.mustPut(versionOf(400, 400, 400)) // in a segment that is the newest of both folders
	other.close()
	for _, path := range segmentFiles(other.fs) {
		data, err := other.fs.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		first, _ := parseSegmentName(filepath.Base(path))
		if err := l.fs.Write("/disk/"+segmentName(first+1000), data); err != nil {
			t.Fatal(err)
		}
	}
	if shown := l.survivors(true); shown != l.whole() {
		t.Errorf("%d of %d objects are shown", shown, l.whole())
	}
	if s := l.depot.Stats(); s.Drops[dropForeign.String()] == 0 {
		t.Errorf("%+v: want foreign files dropped", s)
	}
	l.close()
	// And now the folder does not know its own name, but most of what is in it does.
	last := segmentFiles(other.fs)[len(segmentFiles(other.fs))-1]
	data, err := other.fs.Read(last)
	if err != nil {
		t.Fatal(err)
	}
	if first, _ := parseSegmentName(filepath.Base(last)); l.fs.Write("/disk/"+segmentName(first), data) != nil || len(segmentFiles(l.fs)) < 3 {
		t.Fatalf("files %v", l.fs.Paths())
	}
	if err := l.fs.Discard("/disk/" + mainName); err != nil {
		t.Fatal(err)
	}
	if shown := l.survivors(true); shown != l.whole() {
		t.Errorf("%d of %d objects are shown once the folder's name is lost", shown, l.whole())
	}
	l.close()
	_ = other.forge.Close(t.Context())
}

// The name of a file that is none of ours does not put the order of records out of joint.
func TestForeignNamesDoNotCount(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"segment-fffffffefffffffd.log", "segment-ffffffffffffffff.log", "segment-7fffffffffffffff.log"} {
		b := newBare(t, 8<<20)
		v, next := versionOf(1, 1, 100), versionOf(1, 2, 200)
		b.close()
		if err := b.fs.Write(testFolder+"/"+name, []byte("foreign")); err != nil {
			t.Fatal(err)
		}
		b.open()
		b.mustPut(v)
		b.reopen()
		want := b.mustPut(next).Born().Seq
		for range 3 {
			b.reopen()
			if got, _ := b.look(v.key); got[""] != want {
				t.Errorf("%s: birth %d is shown, want %d", name, got[""], want)
			}
		}
		b.end()
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	l := newLibrary(t, Folder{testFolder, 8 << 20})
	l.close()
	main := testFolder + "/" + mainName
	p, err := l.fs.Read(main)
	if err != nil {
		t.Fatal(err)
	}
	before := l.fs.Paths()
	p[8]++
	if err := l.fs.Write(main, p); err != nil {
		t.Fatal(err)
	}
	sealedToo := bytes.Clone(p)
	seal(sealedToo)
	fs := l.fs.Snapshot()
	if err := fs.Write(main, sealedToo); err != nil {
		t.Fatal(err)
	}
	l.fs, fs = fs, l.fs
	if err := l.tryOpen(); !errors.Is(err, errVersion) {
		t.Errorf("Open of a folder of another version: %v, want %v", err, errVersion)
	}
	if diff := cmp.Diff(before, l.fs.Paths()); diff != "" {
		t.Errorf("files of another version (-before +after):\n%s", diff)
	}
	if n := l.fs.OpenFiles(); n != 0 {
		t.Errorf("%d files are open after Open failed", n)
	}
	// A head that does not verify says nothing of versions.
	l.fs = fs
	if shown := l.survivors(true); shown != l.whole() {
		t.Errorf("%d of %d objects are shown", shown, l.whole())
	}
	l.end()
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	b := unopened(t, Folder{"/a", 8 << 20}, Folder{"/b", 8 << 20})
	b.open()
	v := versionOf(1, 1, 100)
	o := b.mustPut(v)
	second := unopened(t, Folder{"/c", 8 << 20}, Folder{"/b", 8 << 20})
	second.fs = b.fs
	if err := second.tryOpen(); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "/b") {
		t.Errorf("a second Open: %v, want %v for /b", err, ErrLocked)
	}
	_ = second.forge.Close(t.Context())
	if !b.shows(v, o.Born().Seq) {
		t.Error("the first has lost what it had")
	}
	b.end()
	if slices.Contains(b.fs.Paths(), "/c/segment") {
		t.Error("the second has written")
	}
}
