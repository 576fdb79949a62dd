package disk

import (
	"math/rand/v2"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/internal/faultfs"
)

// restarts are the ways in which a process ends after which everything that the kernel
// has is there.
var restarts = map[string]func(*bare){
	"closed": (*bare).reopen,
	"killed": func(b *bare) { b.settle(); b.leave(b.fs.Snapshot()) },
}

// everySize are the lengths of bodies at which the form of a record changes.
var everySize = []int{
	0, 1, 1000, blockBytes - 1, blockBytes, blockBytes + 1, 72 << 10, inlineBytes - 1, inlineBytes, inlineBytes + 1,
	2*pieceBytes - 1, 2 * pieceBytes, 2*pieceBytes + 1, 3<<20 + 17,
}

func TestFreshenedBodiesOfEverySize(t *testing.T) {
	t.Parallel()
	for name, restart := range restarts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBare(t, testSize)
			want := make(map[version]int64)
			for i, n := range everySize {
				v := versionOf(i, i, n)
				o := b.mustPut(v)
				for range i % 3 {
					o = b.freshen(v, o)
					b.settle()
					if got, _ := b.look(v.key); got[""] != o.Born().Seq {
						t.Fatalf("freshened, %d bytes: birth %d is shown, want %d", n, got[""], o.Born().Seq)
					}
				}
				if i%2 == 0 {
					o = b.freshen(v, b.depot.Recall(v.key, nil, nil)[0])
				}
				want[v] = o.Born().Seq
			}
			b.settle()
			for range 2 {
				for v, born := range want {
					if got, broken := b.look(v.key); got[""] != born || broken > 0 {
						t.Errorf("%d bytes: birth %d is shown, want %d (%d broken)", v.size, got[""], born, broken)
					}
				}
				restart(b)
			}
			if s := b.depot.Stats(); dropped(s) > 0 || s.Errors > 0 || s.Objects != int64(len(want)) {
				t.Errorf("%+v: want %d objects, nothing dropped", s, len(want))
			}
			b.end()
		})
	}
}

func TestWhatIsRemovedStaysAway(t *testing.T) {
	t.Parallel()
	folders := map[string][]Folder{
		"one folder":    {{"/a", 16 << 20}},
		"three folders": {{"/a", 16 << 20}, {"/b", 8 << 20}, {"/c", 16 << 20}},
	}
	for where, all := range folders {
		for name, restart := range restarts {
			t.Run(where+", "+name, func(t *testing.T) {
				t.Parallel()
				b := unopened(t, all...)
				b.open()
				const n = 40
				objects := make([]*cachestore.Object, n)
				for i := range n {
					b.mustPut(versionOf(i, i, 10_000)) // superseded
					objects[i] = b.mustPut(versionOf(i, i+100, 20_000))
				}
				for i := range n {
					switch i % 4 {
					case 0:
						b.depot.Remove(objects[i].Key())
					case 1:
						b.depot.Discard(objects[i])
					case 2:
						b.depot.Remove(objects[i].Key())
						objects[i] = b.mustPut(versionOf(i, i+200, 500))
					}
				}
				for range 3 {
					restart(b)
					for i := range n {
						got, broken := b.look(objects[i].Key())
						want := 0
						if i%4 >= 2 {
							want = 1
						}
						if len(got) != want || broken > 0 || want == 1 && got[""] != objects[i].Born().Seq {
							t.Errorf("object %d: %v is shown (%d broken); want %d of birth %d", i, got, broken, want, objects[i].Born().Seq)
						}
					}
				}
				b.end()
			})
		}
	}
}

func TestSpilledAndPartialBodiesOutliveTheProcess(t *testing.T) {
	t.Parallel()
	for name, restart := range restarts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBare(t, testSize)
			sizes := []int{300_000, 1 << 20, 5<<20 + 3}
			for i, n := range sizes {
				if !b.spill(versionOf(i, i, n)) {
					t.Fatalf("a spill of %d bytes is refused", n)
				}
			}
			parts := versionOf(50, 50, 2<<20)
			b.putPart(parts, 100_000, 300_000)
			b.putPart(parts, 0, 50_000)
			b.putPart(parts, 1<<20, 2<<20)
			for range 2 {
				restart(b)
				for i, n := range sizes {
					v := versionOf(i, i, n)
					if got, broken := b.look(v.key); len(got) != 1 || broken > 0 {
						t.Errorf("%d bytes: %v are shown, %d broken", n, got, broken)
					}
				}
				if got, broken := b.look(parts.key); len(got) != 1 || broken > 0 {
					t.Errorf("parts: %v are shown, %d broken", got, broken)
				}
			}
			b.end()
		})
	}
}

// After a power cut anything may be missing, but what is shown is right.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := newBare(t, 8<<20)
		for round := range 3 {
			for i := range 40 {
				v := versionOf(rng.IntN(30), rng.IntN(1000), rng.IntN(1<<rng.IntN(20)))
				switch i % 5 {
				case 3:
					b.spill(v)
				case 4:
					b.depot.Remove(v.key)
				default:
					b.put(v)
				}
			}
			var cut *faultfs.FS
			if round == 1 {
				// In the middle of a write.
				b.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, After: rng.IntN(3), Times: 1, Call: func() { cut = b.fs.PowerCut(rng) }})
				for i := range 8 {
					b.put(versionOf(i, int(seed)+i, 200_000))
				}
				b.settle()
			}
			if cut == nil {
				cut = b.fs.PowerCut(rng)
			}
			b.leave(cut)
			for i := range 30 {
				b.look(versionOf(i, 0, 0).key)
			}
			b.du()
		}
		b.end()
	}
}

// A body as long as is said to be kept is kept, also where the folder is full.
func TestLongestBodyIsKeptInAFullFolder(t *testing.T) {
	t.Parallel()
	b := newBare(t, 32<<20)
	for i := range 40 {
		o := b.mustPut(versionOf(i, 0, 1<<20))
		b.depot.Touch(o)
	}
	b.settle()
	v := versionOf(100, 1, int(b.depot.MaxBytes()))
	if !b.spill(v) {
		t.Fatalf("a body of %d bytes is refused in a folder of %d: %+v", v.size, 32<<20, b.depot.Stats())
	}
	if !b.shows(v, b.births) {
		t.Error("it is not shown")
	}
	b.reopen()
	if !b.shows(v, b.births) {
		t.Error("it is not shown after a restart")
	}
	b.end()
}

// A folder that has been given less room takes no more at once.
func TestFolderIsMadeSmaller(t *testing.T) {
	t.Parallel()
	b := newBare(t, 16<<20)
	for i := range 60 {
		b.mustPut(versionOf(i, 0, 250_000))
	}
	last := b.versions[b.births]
	born := b.births
	b.close()
	b.folders[0].Size = 6 << 20
	b.open()
	b.du()
	if !b.shows(last, born) {
		t.Error("what was stored last is not shown: the oldest goes first")
	}
	if s := b.depot.Stats(); s.Objects < 10 {
		t.Errorf("%d objects are left of 60 in 6 of 16 MiB", s.Objects)
	}
	b.end()
}

// A clock that is put back does not make the older of two versions the newer one.
func TestClockIsPutBack(t *testing.T) {
	t.Parallel()
	for name, restart := range restarts {
		b := newBare(t, 8<<20)
		v, next := versionOf(1, 1, 100), versionOf(1, 2, 200)
		removed := versionOf(2, 2, 100)
		b.mustPut(v)
		b.mustPut(removed)
		b.advance(-365 * 24 * time.Hour)
		restart(b)
		born := b.mustPut(next).Born().Seq
		b.depot.Remove(removed.key)
		for range 3 {
			b.advance(-24 * time.Hour)
			restart(b)
			if got, _ := b.look(v.key); got[""] != born {
				t.Errorf("%s: birth %d is shown, want %d", name, got[""], born)
			}
			if got, _ := b.look(removed.key); len(got) != 0 {
				t.Errorf("%s: %v is shown, which was removed", name, got)
			}
		}
		b.end()
	}
}

// A removal stands in both logs of a folder. Where it is lost in that of the record, it is
// written there anew, since the other log may let it go first.
func TestRemovalIsWrittenAnew(t *testing.T) {
	t.Parallel()
	b := newBare(t, 16<<20)
	v := versionOf(1, 1, 300)
	b.mustPut(v)
	b.reopen()
	if !b.depot.Discard(b.depot.Recall(v.key, nil, nil)[0]) {
		t.Fatal("Discard finds nothing")
	}
	b.settle()
	b.close()
	graves := make(map[logKind]string)
	for _, path := range segmentFiles(b.fs) {
		data, err := b.fs.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := decodeSegmentHead(data)
		if err != nil {
			t.Fatal(err)
		}
		graves[h.log] = path // the last of each log
	}
	if len(graves) != int(logKinds) {
		t.Fatalf("segments %v; want some of both logs", graves)
	}
	for _, step := range []logKind{logSmall, logMain} {
		if err := b.fs.Discard(graves[step]); err != nil {
			t.Fatal(err)
		}
		b.open()
		if got, _ := b.look(v.key); len(got) != 0 {
			t.Errorf("%v is shown without the removal in log %d", got, step)
		}
		b.settle()
		b.close()
	}
	b.end()
}
