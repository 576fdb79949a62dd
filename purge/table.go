package purge

import (
	"sync/atomic"

	"perigee/cachestore"
)

// minSlots is the size of an empty table, a power of two as all sizes are.
const minSlots = 1 << 10

// slotBytes is what a slot takes.
const slotBytes = 24

// table is an open-addressed map of marks to the numbers of what struck them last.
// One writes at a time, any number read meanwhile and wait for nothing. It never
// shrinks and loses nothing: a writer that wants less makes another.
type table struct {
	keys    []atomic.Uint64 // 0 = empty; apart from the numbers, which few look-ups need
	strikes []strikes
	live    int // slots in use; the writer's

	// Who is born below a floor was struck, or may have been: what was folded into it
	// is told apart no more. Set before the table is published.
	hardFloor, softFloor int64
}

// strikes are the numbers of the newest hard and soft entry for a mark, 0 for none.
type strikes struct{ hard, soft atomic.Int64 }

// newTable makes a table for n marks at most three quarters full.
func newTable(n int) *table {
	slots := slotsFor(n)
	return &table{keys: make([]atomic.Uint64, slots), strikes: make([]strikes, slots)}
}

func slotsFor(n int) int {
	slots := minSlots
	for slots*3/4 < n {
		slots *= 2
	}
	return slots
}

// sizeBytes is the memory of t.
func (t *table) sizeBytes() int64 { return int64(len(t.keys)) * slotBytes }

// full tells that the next mark needs a larger table.
func (t *table) full() bool { return t.live >= len(t.keys)*3/4 }

// find returns what struck m last. An entry that is being written may be missing:
// the version that the reader read before is then one that did not have it.
func (t *table) find(m cachestore.Mark) (hard, soft int64) {
	mask := uint64(len(t.keys) - 1)
	for i := uint64(m) & mask; ; i = (i + 1) & mask {
		switch t.keys[i].Load() {
		case 0:
			return 0, 0
		case uint64(m):
			return t.strikes[i].hard.Load(), t.strikes[i].soft.Load()
		}
	}
}

// slot is where m stands, or the empty slot where it would.
func (t *table) slot(m cachestore.Mark) (i uint64, found bool) {
	mask := uint64(len(t.keys) - 1)
	for i = uint64(m) & mask; ; i = (i + 1) & mask {
		switch t.keys[i].Load() {
		case 0:
			return i, false
		case uint64(m):
			return i, true
		}
	}
}

// strike notes an entry. The writer has seen to room for it.
func (t *table) strike(m cachestore.Mark, number int64, soft bool) {
	i, found := t.slot(m)
	if soft {
		t.strikes[i].soft.Store(number)
	} else {
		t.strikes[i].hard.Store(number)
	}
	if !found { // the key last: who sees it sees the number
		t.keys[i].Store(uint64(m))
		t.live++
	}
}

// needed calls f for each mark with the numbers that still matter: a soft entry does
// not below a hard one.
func (t *table) needed(f func(m cachestore.Mark, hard, soft int64)) {
	for i := range t.keys {
		m := t.keys[i].Load()
		if m == 0 {
			continue
		}
		hard, soft := t.strikes[i].hard.Load(), t.strikes[i].soft.Load()
		if soft < hard {
			soft = 0
		}
		f(cachestore.Mark(m), hard, soft)
	}
}

// after is a copy of t with room for n marks, or one more than it has, in which all
// numbers up to the limit are folded into the floors.
func (t *table) after(limit int64, n int) *table {
	hardFloor, softFloor, live := t.hardFloor, t.softFloor, 0
	t.needed(func(_ cachestore.Mark, hard, soft int64) {
		if hard <= limit {
			hardFloor = max(hardFloor, hard)
		}
		if soft <= limit {
			softFloor = max(softFloor, soft)
		}
		if hard > limit || soft > limit {
			live++
		}
	})
	kept := newTable(max(live+1, n))
	kept.hardFloor, kept.softFloor = hardFloor, softFloor
	t.needed(func(m cachestore.Mark, hard, soft int64) {
		if hard <= limit && soft <= limit {
			return
		}
		i, _ := kept.slot(m)
		if hard > limit {
			kept.strikes[i].hard.Store(hard)
		}
		if soft > limit {
			kept.strikes[i].soft.Store(soft)
		}
		kept.keys[i].Store(uint64(m))
		kept.live++
	})
	return kept
}

// newest lists the newest number of each mark, in no order.
func (t *table) newest() []int64 {
	all := make([]int64, 0, t.live)
	t.needed(func(_ cachestore.Mark, hard, soft int64) { all = append(all, max(hard, soft)) })
	return all
}

// fold is t where it has at most so many marks, else a copy that has.
func (t *table) fold(most int) *table {
	if t.live <= most {
		return t
	}
	return t.after(oldest(t.newest(), most), most)
}
