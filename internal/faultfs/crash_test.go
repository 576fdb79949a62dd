package faultfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cuts is how many power cuts a test looks at: the rarest outcome that one asks for
// has a chance above 1 in 50.
const cuts = 600

func TestSnapshot(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	_, err := a.WriteAt([]byte("written"), 5000)
	must(t, err)
	_, err = f.Lock("/d/lock")
	must(t, err)
	_, err = f.Create("/d/gone", 5000)
	must(t, err)
	must(t, f.Remove("/d/gone"))
	f.Inject(Rule{Err: fs.ErrInvalid})
	c := f.Snapshot()
	f.LiftAll()
	_, err = a.WriteAt([]byte("later"), 5000)
	must(t, err)
	if got, _ := c.Read("/d/a"); len(got) != 10000 || string(got[5000:5007]) != "written" {
		t.Errorf("got %d bytes, %q", len(got), got[5000:5007])
	}
	if diff := cmp.Diff([]string{"/d/a", "/d/lock"}, c.Paths()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.OpenFiles() != 0 || c.used != 4*pageSize {
		t.Errorf("%d open, %d used", c.OpenFiles(), c.used)
	}
	lock, err := c.Lock("/d/lock")
	if err != nil {
		t.Fatalf("lock of a dead process: %v", err)
	}
	must(t, lock.Close())
	// Nothing was synced, so a power cut can still take it.
	rng, lost := rand.New(rand.NewPCG(1, 1)), 0
	for range cuts {
		if !slices.Contains(c.PowerCut(rng).Paths(), "/d/a") {
			lost++
		}
	}
	if lost == 0 || lost == cuts {
		t.Errorf("after a snapshot, %d of %d power cuts took the file", lost, cuts)
	}
}

// What was synced is there after each power cut, byte for byte.
func TestPowerCutKeepsWhatWasSynced(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	want := bytes.Repeat([]byte("synced! "), 10000/8)
	_, err := a.WriteAt(want, 0)
	must(t, err)
	must(t, a.Sync())
	must(t, f.SyncFolder("/d"))
	// Written afterwards: elsewhere in a synced page, and beyond.
	_, err = a.WriteAt(bytes.Repeat([]byte("x"), 9000), 10000)
	must(t, err)
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range cuts {
		got, err := f.PowerCut(rng).Read("/d/a")
		must(t, err)
		if len(got) < 10000 || !bytes.Equal(got[:10000], want) {
			t.Fatalf("cut %d: %d bytes, first difference at %d", i, len(got), firstDifference(got, want))
		}
	}
}

// Bytes that were not synced meet each of the fates that there are.
func TestPowerCutFates(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	_, err := a.WriteAt(bytes.Repeat([]byte("o"), 2*pageSize), 0)
	must(t, err)
	must(t, a.Sync())
	must(t, f.SyncFolder("/d"))
	_, err = a.WriteAt(bytes.Repeat([]byte("n"), 2*pageSize), 0)
	must(t, err)
	rng, seen := rand.New(rand.NewPCG(3, 3)), map[string]int{}
	for range cuts {
		got, err := f.PowerCut(rng).Read("/d/a")
		must(t, err)
		first, second := fateOf(got[:pageSize]), fateOf(got[pageSize:2*pageSize])
		seen[first]++
		if first != second {
			seen["pages differ"]++
		}
	}
	for _, fate := range []string{"old", "new", "zero", "torn", "garbage", "pages differ"} {
		if seen[fate] == 0 {
			t.Errorf("no page was %q in %d cuts: %v", fate, cuts, seen)
		}
	}
}

// fateOf names what became of a page of o that n was written to.
func fateOf(p []byte) string {
	for fate, each := range map[string]string{"old": "o", "new": "n", "zero": "\x00"} {
		if bytes.Equal(p, bytes.Repeat([]byte(each), len(p))) {
			return fate
		}
	}
	for at := 0; at < len(p); at += sectorSize {
		sector := string(p[at : at+sectorSize])
		if sector != strings.Repeat("o", sectorSize) && sector != strings.Repeat("n", sectorSize) {
			return "garbage"
		}
	}
	return "torn"
}

// A file that grew has its old length, its new one, or one between.
func TestPowerCutSizes(t *testing.T) {
	t.Parallel()
	f := New(0)
	must(t, f.Write("/a", make([]byte, 1000)))
	a, err := f.Open("/a", true)
	must(t, err)
	_, err = a.WriteAt(make([]byte, 9000), 1000)
	must(t, err)
	rng, seen := rand.New(rand.NewPCG(4, 4)), map[string]int{}
	for range cuts {
		switch got, _ := f.PowerCut(rng).Read("/a"); {
		case len(got) == 1000:
			seen["old"]++
		case len(got) == 10000:
			seen["new"]++
		case len(got) > 1000 && len(got) < 10000:
			seen["between"]++
		default:
			t.Fatalf("%d bytes", len(got))
		}
	}
	if len(seen) != 3 {
		t.Errorf("not each length in %d cuts: %v", cuts, seen)
	}
}

// Names that were not synced are there or not; a rename is whole or absent.
func TestPowerCutNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// act is done with files /d/a, /d/b and /e/c that are safe; sync is a folder that
		// is synced afterwards.
		act  func(f *FS) error
		sync string
		want []string
	}{
		{"nothing", func(*FS) error { return nil }, "", []string{"a=a b=b"}},
		{"create", func(f *FS) error { return second(f.Create("/d/n", 0)) }, "", []string{"a=a b=b", "a=a b=b n="}},
		{"create, synced", func(f *FS) error { return second(f.Create("/d/n", 0)) }, "/d", []string{"a=a b=b n="}},
		{"create, another folder synced", func(f *FS) error { return second(f.Create("/d/n", 0)) }, "/e", []string{"a=a b=b", "a=a b=b n="}},
		{"remove", func(f *FS) error { return f.Remove("/d/a") }, "", []string{"a=a b=b", "b=b"}},
		{"remove, synced", func(f *FS) error { return f.Remove("/d/a") }, "/d", []string{"b=b"}},
		{"rename", func(f *FS) error { return f.Rename("/d/a", "/d/n") }, "", []string{"a=a b=b", "b=b n=a"}},
		{"rename over", func(f *FS) error { return f.Rename("/d/a", "/d/b") }, "", []string{"a=a b=b", "b=a"}},
		{"rename over, synced", func(f *FS) error { return f.Rename("/d/a", "/d/b") }, "/d", []string{"b=a"}},
		{"from another folder", func(f *FS) error { return f.Rename("/e/c", "/d/a") }, "", []string{"a=a b=b", "a=c b=b"}},
		{"from another folder, synced", func(f *FS) error { return f.Rename("/e/c", "/d/a") }, "/e", []string{"a=c b=b"}},
		{"twice", func(f *FS) error {
			return errors.Join(f.Rename("/d/a", "/d/m"), f.Rename("/d/m", "/d/n"))
		}, "", []string{"a=a b=b", "b=b m=a", "b=b n=a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := New(0)
			for _, path := range []string{"/d/a", "/d/b", "/e/c"} {
				must(t, f.MakeFolder(path[:2]))
				must(t, f.Write(path, []byte(path[3:])))
			}
			must(t, c.act(f))
			if c.sync != "" {
				must(t, f.SyncFolder(c.sync))
			}
			rng, seen := rand.New(rand.NewPCG(5, 5)), map[string]bool{}
			for range 100 {
				seen[contents(t, f.PowerCut(rng), "/d/")] = true
			}
			var got []string
			for each := range seen {
				got = append(got, each)
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// contents is name=bytes of each file in a folder.
func contents(t *testing.T, f *FS, folder string) string {
	t.Helper()
	var all []string
	for _, path := range f.Paths() {
		if name, ok := strings.CutPrefix(path, folder); ok {
			data, err := f.Read(path)
			must(t, err)
			all = append(all, name+"="+string(data))
		}
	}
	return strings.Join(all, " ")
}

// A sync that lies leaves its bytes to the power cut.
func TestPowerCutAfterALie(t *testing.T) {
	t.Parallel()
	f := New(0)
	must(t, f.Write("/a", []byte("old")))
	a, err := f.Open("/a", true)
	must(t, err)
	_, err = a.WriteAt([]byte("new"), 0)
	must(t, err)
	f.Inject(Rule{Op: OpSync, Lie: true})
	must(t, a.Sync())
	rng, seen := rand.New(rand.NewPCG(6, 6)), map[string]bool{}
	for range cuts {
		got, _ := f.PowerCut(rng).Read("/a")
		seen[string(got)] = true
	}
	if !seen["old"] || !seen["new"] {
		t.Errorf("got %d outcomes; old %v, new %v", len(seen), seen["old"], seen["new"])
	}
}

// Files that are back never take more than the medium has.
func TestPowerCutKeepsTheCapacity(t *testing.T) {
	t.Parallel()
	f := New(10 * pageSize)
	must(t, f.MakeFolder("/d"))
	for i := range 20 {
		name := string(rune('a' + i))
		file, err := f.Create("/d/"+name, 3*pageSize)
		must(t, err)
		must(t, file.Close())
		must(t, f.SyncFolder("/d"))
		if i >= 2 {
			must(t, f.Remove("/d/"+string(rune('a'+i-2))))
		}
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for range cuts {
		c := f.PowerCut(rng)
		if used, err := c.UsedBytes("/"); used > 10*pageSize || used != c.used || err != nil {
			t.Fatalf("%d bytes of %d, %v: %v", used, 10*pageSize, err, c.Paths())
		}
	}
}

// The same seed gives the same power cut.
func TestPowerCutIsDeterministic(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	for i := range 20 {
		_, err := f.Create("/d/n"+string(rune('a'+i)), 100)
		must(t, err)
		_, err = a.WriteAt(bytes.Repeat([]byte{byte(i)}, 900), int64(i)*800)
		must(t, err)
	}
	for seed := range uint64(20) {
		one := f.PowerCut(rand.New(rand.NewPCG(seed, 8)))
		two := f.PowerCut(rand.New(rand.NewPCG(seed, 8)))
		if diff := cmp.Diff(contents(t, one, "/"), contents(t, two, "/")); diff != "" {
			t.Fatalf("seed %d: (-one +two)\n%s", seed, diff)
		}
	}
}

// After a power cut everything is safe: a second one changes nothing.
func TestPowerCutTwice(t *testing.T) {
	t.Parallel()
	f, a := fresh(t, 0)
	_, err := a.WriteAt(bytes.Repeat([]byte("x"), 9000), 500)
	must(t, err)
	rng := rand.New(rand.NewPCG(9, 9))
	for range 50 {
		one := f.PowerCut(rng)
		two := one.PowerCut(rng)
		if contents(t, one, "/") != contents(t, two, "/") || one.used != two.used {
			t.Fatalf("%d and %d bytes used, other contents", one.used, two.used)
		}
	}
}

// Changes of names do not pile up without end.
func TestPendingNamesAreBounded(t *testing.T) {
	t.Parallel()
	f, _ := fresh(t, 0)
	for range maxPending {
		_, err := f.Create("/d/x", 0)
		must(t, err)
		must(t, f.Remove("/d/x"))
	}
	if len(f.pending) != maxPending || f.safe["/d/a"] == nil {
		t.Errorf("%d pending, want %d; the first became safe: %v", len(f.pending), maxPending, f.safe["/d/a"] != nil)
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		act  func(f *FS) error
		want string
		err  error
	}{
		{"flip", func(f *FS) error { return f.Flip("/a", 1) }, "a=acc b=xyz", nil},
		{"flip beyond", func(f *FS) error { return f.Flip("/a", 3) }, "a=abc b=xyz", syscall.EINVAL},
		{"flip before", func(f *FS) error { return f.Flip("/a", -1) }, "a=abc b=xyz", syscall.EINVAL},
		{"flip of nothing", func(f *FS) error { return f.Flip("/c", 0) }, "a=abc b=xyz", fs.ErrNotExist},
		{"zero", func(f *FS) error { return f.Zero("/a", 0, 2) }, "a=\x00\x00c b=xyz", nil},
		{"overwrite", func(f *FS) error { return f.Overwrite("/a", 1, []byte("12")) }, "a=a12 b=xyz", nil},
		{"truncate", func(f *FS) error { return f.Truncate("/a", 1) }, "a=a b=xyz", nil},
		{"truncate longer", func(f *FS) error { return f.Truncate("/a", 4) }, "a=abc\x00 b=xyz", nil},
		{"truncate nothing", func(f *FS) error { return f.Truncate("/c", 4) }, "a=abc b=xyz", fs.ErrNotExist},
		{"swap", func(f *FS) error { return f.Swap("/a", "/b") }, "a=xyz b=abc", nil},
		{"swap with nothing", func(f *FS) error { return f.Swap("/a", "/c") }, "a=abc b=xyz", fs.ErrNotExist},
		{"discard", func(f *FS) error { return f.Discard("/a") }, "b=xyz", nil},
		{"discard nothing", func(f *FS) error { return f.Discard("/c") }, "a=abc b=xyz", fs.ErrNotExist},
		{"write", func(f *FS) error { return f.Write("/c", []byte("new")) }, "a=abc b=xyz c=new", nil},
		{"write over", func(f *FS) error { return f.Write("/a", []byte("new")) }, "a=new b=xyz", nil},
		{"write to no folder", func(f *FS) error { return f.Write("/d/a", nil) }, "a=abc b=xyz", fs.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := New(0)
			for _, each := range []string{"abc", "xyz"} {
				file, err := f.Create(map[string]string{"abc": "/a", "xyz": "/b"}[each], 3)
				must(t, err)
				_, err = file.WriteAt([]byte(each), 0)
				must(t, err)
				must(t, file.Sync())
				must(t, file.Close())
			}
			must(t, f.SyncFolder("/"))
			f.Inject(Rule{Err: fs.ErrPermission})
			if err := c.act(f); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if got := contents(t, f, "/"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			rng := rand.New(rand.NewPCG(10, 10))
			for range 20 {
				if got := contents(t, f.PowerCut(rng), "/"); got != c.want {
					t.Fatalf("after a power cut: got %q, want %q", got, c.want)
				}
			}
			used := f.used
			f.account()
			if used != f.used {
				t.Errorf("%d bytes used, counted anew %d", used, f.used)
			}
		})
	}
}
