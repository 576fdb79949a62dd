package disk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// indexAccount is a budget that can be told to refuse.
type indexAccount struct {
	used, most int64
	calls      int
	denied     int
	refuse     func(call int) bool // nil: never
}

func (a *indexAccount) options() indexOptions {
	return indexOptions{
		Reserve: func(n int64) bool {
			a.calls++
			if n <= 0 || a.refuse != nil && a.refuse(a.calls) {
				a.denied++
				return false
			}
			a.used += n
			a.most = max(a.most, a.used)
			return true
		},
		Release: func(n int64) { a.used -= n },
	}
}

// checkIndex looks at everything that an index promises of itself.
func checkIndex(x *index) error {
	entries, bytes := 0, int64(0)
	for i := range x.shards {
		t := &x.shards[i].table
		if err := checkTable(&x.seeds, t, i); err != nil {
			return fmt.Errorf("shard %d (%d entries, %d homes, %d pages): %w", i, t.n, t.homes, len(t.pages), err)
		}
		entries += t.n
		if len(t.pages) > 0 {
			bytes += shardBytes + int64(len(t.pages))*indexPageBytes + listBytes(cap(t.pages))
		}
	}
	if int64(entries) != x.len() || bytes != x.bytes() {
		return fmt.Errorf("len %d, bytes %d; there are %d entries in %d bytes", x.len(), x.bytes(), entries, bytes)
	}
	return nil
}

func checkTable(k *indexSeeds, t *indexTable, shard int) error {
	n, end, last := 0, uint(0), uint64(0)
	for i := range t.slots() {
		s := t.slot(i)
		if s.at == 0 {
			if *s != (indexSlot{}) {
				return fmt.Errorf("slot %d is empty and has %+v", i, *s)
			}
			continue
		}
		n++
		hash := k.hash(s.tag)
		order := hash << shardBits
		want := max(t.home(order), end)
		switch {
		case int(hash>>(64-shardBits)) != shard:
			return fmt.Errorf("slot %d is of another shard", i)
		case order < last:
			return fmt.Errorf("slot %d has order %#x behind %#x", i, order, last)
		case i != want || uint64(i-t.home(order)) != s.word&distanceMask:
			return fmt.Errorf("slot %d has home %d, distance %d, and belongs at %d", i, t.home(order), s.word&distanceMask, want)
		}
		last, end = order, i+1
	}
	if n != t.n || n > t.limit() {
		return fmt.Errorf("%d entries found, limit %d", n, t.limit())
	}
	return nil
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		segment   uint32
		off, n    int64
		want      int64 // length
		wantPlace place
	}{
		{1, 0, 1, 64, 1<<40 | 1},
		{1, 0, 0, 0, 1 << 40},
		{7, 64, 64, 64, 7<<40 | 1<<16 | 1},
		{7, 128, 65, 128, 7<<40 | 2<<16 | 2},
		{maxPlaceSegment, maxPlaceOff - 64, maxPlaceLength - 64, maxPlaceLength - 64, 1<<64 - 2},
		{maxPlaceSegment, maxPlaceOff - 64, maxPlaceLength - 63, maxPlaceLength, 1<<64 - 1},
		{2, 512 << 20, 1 << 40, maxPlaceLength, 2<<40 | 8<<20<<16 | 0xffff},
		{segment: 0},
		{segment: maxPlaceSegment + 1},
		{segment: 1, off: maxPlaceOff},
		{segment: 1, off: 65},
		{segment: 1, off: -64},
		{segment: 1, n: -1},
	} {
		got := newPlace(c.segment, c.off, c.n)
		if c.wantPlace == 0 && got == 0 {
			continue
		}
		if got != c.wantPlace || got.segment() != c.segment || got.off() != c.off || got.length() != c.want {
			t.Errorf("newPlace(%d, %d, %d) = %#x: segment %d, off %d, length %d; want %#x, length %d",
				c.segment, c.off, c.n, uint64(got), got.segment(), got.off(), got.length(), uint64(c.wantPlace), c.want)
		}
	}
}

// tagFamilies are tags as a stranger may choose them. Without seeds, which is how the
// model test uses them, the hash of a tag is the tag.
var tagFamilies = map[string]func(r *rand.Rand) uint64{
	"any":       func(r *rand.Rand) uint64 { return r.Uint64() },
	"few":       func(r *rand.Rand) uint64 { return r.Uint64() % 32 },
	"one home":  func(r *rand.Rand) uint64 { return r.Uint64() % 400 },
	"last home": func(r *rand.Rand) uint64 { return 1<<56 - 1 - r.Uint64()%400 },
	"low bits":  func(r *rand.Rand) uint64 { return r.Uint64() % 4000 << 45 },
	"one shard": func(r *rand.Rand) uint64 { return r.Uint64() % 4000 << 44 },
	"two ends":  func(r *rand.Rand) uint64 { return r.Uint64()%600 - 300 },
}

func TestIndexModel(t *testing.T) {
	t.Parallel()
	for _, family := range slices.Sorted(maps.Keys(tagFamilies)) {
		for _, seeded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/seeded=%t", family, seeded), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(1, 2))
				m := indexModel{t: t, r: r, tag: tagFamilies[family], entries: map[name]found{}}
				m.x = newIndex(m.budget.options())
				m.x.seeds = indexSeeds{}
				if seeded {
					m.x.seeds = indexSeeds{r.Uint64(), r.Uint64(), r.Uint64()}
				}
				m.budget.refuse = func(call int) bool { return call%5 == 4 }
				m.run(6000)
			})
		}
	}
}

// indexModel does the same to an index and to a map.
type indexModel struct {
	t       *testing.T
	r       *rand.Rand
	tag     func(*rand.Rand) uint64
	x       *index
	budget  indexAccount
	entries map[name]found
	names   []name // of entries, and of some that have left
}

func (m *indexModel) run(steps int) {
	for i := range steps {
		// Fills, then empties, then both in turn.
		m.step(i < steps/2 || i > steps*4/5 && m.r.IntN(2) == 0)
		if i%499 == 0 {
			m.compare(i)
		}
	}
	m.compare(steps)
	m.x.close()
	if m.budget.used != 0 || m.x.bytes() != 0 || m.x.len() != 0 {
		m.t.Errorf("after close: %d bytes reserved, bytes %d, len %d; want 0", m.budget.used, m.x.bytes(), m.x.len())
	}
	if _, ok := m.x.put(name{tag: 1}, newPlace(1, 0, 1), 0); ok {
		m.t.Error("put after close: ok")
	}
}

func (m *indexModel) step(fill bool) {
	n := name{m.tag(m.r), m.r.Uint32N(3)}
	if len(m.names) > 0 && (!fill || m.r.IntN(4) == 0) {
		n = m.names[m.r.IntN(len(m.names))]
	}
	old, had := m.entries[n]
	at := newPlace(1+m.r.Uint32N(9), m.r.Int64N(9)*64, 100)
	flags := uint8(m.r.IntN(256))
	op := m.r.IntN(10)
	if !fill {
		op = 3 + m.r.IntN(16)
	}
	switch {
	case op < 4:
		denied := m.budget.denied
		was, ok := m.x.put(n, at, flags)
		if was != old.at || !ok && (had || m.budget.denied == denied) {
			m.t.Fatalf("put(%v) = %#x, %t; want %#x", n, was, ok, old.at)
		}
		m.stored(n, at, flags, ok)
	case op < 6:
		m.swap(n, old.at, at, flags)
	case op == 6:
		m.x.touch(n)
		m.heat(n, min(old.heat+1, maxHeat))
	case op == 7:
		m.x.cool(n)
		m.heat(n, max(old.heat, 1)-1)
	case op == 8:
		heat := uint8(m.r.IntN(6))
		m.x.setHeat(n, heat)
		m.heat(n, min(heat, maxHeat))
	default:
		m.drop(n, old.at, at)
	}
}

func (m *indexModel) swap(n name, current, at place, flags uint8) {
	old := current
	if m.r.IntN(3) == 0 {
		old = []place{0, at + 1}[m.r.IntN(2)]
	}
	_, had := m.entries[n]
	denied := m.budget.denied
	ok := m.x.swap(n, old, at, flags)
	if ok && old != current || !ok && old == current && (had || m.budget.denied == denied) {
		m.t.Fatalf("swap(%v, %#x) = %t where %#x is", n, old, ok, current)
	}
	m.stored(n, at, flags, ok)
}

func (m *indexModel) drop(n name, current, other place) {
	at := current
	if m.r.IntN(3) == 0 {
		at = other
	}
	_, had := m.entries[n]
	if got, want := m.x.drop(n, at), had && at == current; got != want {
		m.t.Fatalf("drop(%v, %#x) = %t where %#x is (%t)", n, at, got, current, had)
	} else if got {
		delete(m.entries, n)
	}
}

func (m *indexModel) stored(n name, at place, flags uint8, ok bool) {
	if !ok {
		return
	}
	old, had := m.entries[n]
	if !had {
		m.names = append(m.names, n)
	}
	m.entries[n] = found{name: n, at: at, flags: flags, heat: old.heat}
}

func (m *indexModel) heat(n name, heat uint8) {
	if f, ok := m.entries[n]; ok {
		f.heat = heat
		m.entries[n] = f
	}
}

func (m *indexModel) compare(step int) {
	if err := checkIndex(m.x); err != nil {
		m.t.Fatalf("step %d: %v", step, err)
	}
	if m.budget.used != m.x.bytes() {
		m.t.Fatalf("step %d: %d bytes reserved, bytes() = %d", step, m.budget.used, m.x.bytes())
	}
	got := map[name]found{}
	for f := range m.x.all {
		if _, ok := got[f.name]; ok {
			m.t.Fatalf("step %d: all yields %v twice", step, f.name)
		}
		got[f.name] = f
	}
	byTag := map[uint64]map[name]found{}
	for n, want := range m.entries {
		if byTag[n.tag] == nil {
			byTag[n.tag] = map[name]found{}
		}
		byTag[n.tag][n] = want
		if f, ok := m.x.get(n); !ok || f != want || got[n] != want {
			m.t.Fatalf("step %d: get(%v) = %+v, %t; all has %+v; want %+v", step, n, f, ok, got[n], want)
		}
	}
	if len(got) != len(m.entries) || m.x.len() != int64(len(m.entries)) {
		m.t.Fatalf("step %d: all yields %d, len %d; want %d", step, len(got), m.x.len(), len(m.entries))
	}
	for _, n := range m.names {
		if _, ok := m.entries[n]; ok {
			m.findAll(step, n.tag, byTag[n.tag])
		} else if f, ok := m.x.get(n); ok {
			m.t.Fatalf("step %d: get(%v) = %+v, want nothing", step, n, f)
		}
	}
}

func (m *indexModel) findAll(step int, tag uint64, want map[name]found) {
	got := map[name]found{}
	for _, f := range m.x.find(tag, nil) {
		got[f.name] = f
	}
	if !maps.Equal(got, want) {
		m.t.Fatalf("step %d: find(%#x) (-want +got):\n%s", step, tag,
			cmp.Diff(want, got, cmp.AllowUnexported(found{}, name{})))
	}
}
