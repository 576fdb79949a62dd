package purge

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
)

// TestInvalidationsModel holds ledgers that follow one another against a list of all
// that was struck, over kills, power cuts and failing disks: nothing of that is ever
// valid, and where the disk did its work all else is.
func TestInvalidationsModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &struckModel{t: t, random: rand.New(rand.NewPCG(seed, 9)), exact: true}
				m.disk = newFakeDisk()
				m.begin()
				for range 8 {
					m.live()
					m.restart()
				}
				_ = m.life.file.Close()
			})
		})
	}
}

type struckModel struct {
	t      *testing.T
	random *rand.Rand
	disk   *fakeDisk
	life   *life
	pages  []*struckPage
	seen   int64
	exact  bool // nothing has been lost, nor failed
	faulty bool // the disk of this life
}

// struckPage is a response that is stored.
type struckPage struct {
	*stored
	number int
	struck time.Time // zero = never
}

const modelPages = 25

func (m *struckModel) begin() {
	m.disk.mu.Lock()
	m.disk.fail = nil
	if m.faulty = m.random.IntN(4) == 0; m.faulty {
		m.exact = false
		often, random := 1+m.random.IntN(8), rand.New(rand.NewPCG(m.random.Uint64(), 2))
		m.disk.fail = func(_ int, what, _ string) error {
			if what != "remove" && what != "syncdir" && random.IntN(often) == 0 {
				return syscall.ENOSPC
			}
			return nil
		}
	}
	m.disk.mu.Unlock()
	m.life = livesOn(m.t, m.disk, m.seen)
	m.exact = m.exact && m.life.lost == ""
}

func (m *struckModel) live() {
	for range 40 {
		number := m.random.IntN(modelPages)
		o, mark := m.life.page(number)
		switch m.random.IntN(5) {
		case 0:
			m.life.Invalidate(mark)
			for _, p := range m.pages {
				if p.number == number && p.struck.IsZero() {
					p.struck = time.Now()
				}
			}
		case 1:
			time.Sleep(time.Duration(m.random.IntN(1500)) * time.Millisecond)
		default:
			m.pages = append(m.pages, &struckPage{stored: o, number: number})
			m.seen = max(m.seen, o.born.Local)
		}
		m.check(time.Now())
	}
	if m.random.IntN(3) == 0 {
		least := m.life.Now().Local
		for _, p := range m.pages {
			least = min(least, p.born.Local)
		}
		m.life.ForgetSwept(least)
	}
}

// check looks at all pages. What was struck after the moment may be forgotten.
func (m *struckModel) check(sure time.Time) {
	m.t.Helper()
	kept := m.pages[:0]
	for _, p := range m.pages {
		got := p.judge(m.life.Ledger)
		switch {
		case p.struck.IsZero() && m.exact && got != cachestore.Valid:
			m.t.Fatalf("page %d born at %d was never struck, and got %d", p.number, p.born.Local, got)
		case !p.struck.IsZero() && got == cachestore.Valid && !p.struck.After(sure):
			m.t.Fatalf("page %d born at %d was struck %v ago, and is valid", p.number, p.born.Local, time.Since(p.struck))
		case !p.struck.IsZero() && got == cachestore.Valid:
			continue // the power went too early: that was told
		}
		kept = append(kept, p)
	}
	m.pages = kept
}

// restart ends the process in one way or another and begins the next.
func (m *struckModel) restart() {
	sure := time.Now()
	synctest.Wait()
	next := m.disk.killed()
	switch m.random.IntN(3) {
	case 0:
		if err := m.life.file.Close(); err != nil && !m.faulty {
			m.t.Errorf("Close: %v", err)
		}
		next = m.disk.killed()
	case 1:
		if !m.faulty { // nor does a file that could not be written to outlive that
			next = m.disk.unpowered(m.random)
			sure = sure.Add(-2 * tickEvery)
			m.exact = false
		}
	}
	_ = m.life.file.Close()
	m.disk = next
	for _, p := range m.pages {
		p.checked.Store(0)
	}
	m.begin()
	m.check(sure)
	if m.random.IntN(3) == 0 { // all of it is fetched anew
		m.pages, m.exact = nil, !m.faulty
	}
}

// FuzzInvalidations: whatever the file holds, it is opened or refused as newer; and
// what is made of it is read again in the same way.
func FuzzInvalidations(f *testing.F) {
	h := struckFile{id: 7, key: MarksID(testKey), moment: 1 << 30, floor: 1 << 20}
	raw := h.append(nil)
	f.Add(raw)
	for i := range 3 {
		raw = appendStruck(raw, struck{moment: int64(i + 1), mark: cachestore.Mark(i)}, h.id, int64(len(raw)))
	}
	f.Add(raw)
	f.Add(append(raw, make([]byte, struckBytes)...))
	f.Add([]byte(struckMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := newFakeDisk()
		d.files[struckPath] = &fakeFile{now: raw}
		o := InvalidationsOptions{File: struckPath, Start: time.UnixMilli(1), Key: testKey, fs: d}
		a, _, err := OpenInvalidations(o)
		if err != nil {
			return
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		b, lost, err := OpenInvalidations(o)
		if err != nil || lost != "" || b.found.live != a.found.live || b.floor != a.floor || b.known != a.start {
			t.Errorf("%x: %d marks, floor %d, start %d; then %d, %d, %d, lost %q, %v", raw, a.found.live, a.floor, a.start, b.found.live, b.floor, b.known, lost, err)
		}
		_ = b.Close()
	})
}

func BenchmarkInvalidate(b *testing.B) {
	for _, kept := range []bool{false, true} {
		for _, parallel := range []bool{false, true} {
			b.Run(fmt.Sprintf("kept=%v/parallel=%v", kept, parallel), func(b *testing.B) {
				l := New(Options{Key: testKey})
				if kept {
					f, _, err := OpenInvalidations(InvalidationsOptions{File: b.TempDir() + "/invalidations", Start: time.Now(), Key: testKey})
					if err != nil {
						b.Fatal(err)
					}
					l = New(Options{Key: testKey, Invalidations: f})
					b.Cleanup(func() {
						if err := f.Close(); err != nil {
							b.Error(err)
						}
						b.Logf("%+v", f.Stats())
					})
				}
				b.ReportAllocs()
				marks := func(i int) []cachestore.Mark {
					n := uint64(i%100_000 + 1)
					return []cachestore.Mark{cachestore.Mark(n * 0x9e3779b97f4a7c15), cachestore.Mark(n * 0xd1b54a32d192ed03)}
				}
				b.ResetTimer()
				if !parallel {
					for i := range b.N {
						l.Invalidate(marks(i)...)
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						l.Invalidate(marks(i)...)
					}
				})
			})
		}
	}
}
