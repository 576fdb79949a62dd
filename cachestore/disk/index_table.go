package disk

import (
	"math/bits"
	"sync/atomic"
)

const (
	// indexPageSlots and indexSlotBytes make a page of 1536 bytes, which is a size class of the
	// allocator: nothing is lost to rounding.
	indexPageSlots = 64
	indexSlotBytes = 24
	indexPageBytes = indexPageSlots * indexSlotBytes
	// tailSlots are kept behind the last home of a table, for what it pushes out. A
	// table that needs more gets another page there.
	tailSlots = 16
	// maxTablePages bounds a table so that no distance can outgrow its bits.
	maxTablePages = 1 << distanceBits / indexPageSlots
)

// The third word of a slot: variant, flags, heat, distance from home.
const (
	distanceBits = 22
	distanceMask = 1<<distanceBits - 1
	heatShift    = distanceBits
	heatMask     = uint64(maxHeat) << heatShift
	flagsShift   = 24
	flagsMask    = uint64(0xff) << flagsShift
	variantShift = 32
)

// indexSlot is one entry of a table; empty while at is 0.
type indexSlot struct {
	tag  uint64
	at   place
	word uint64 // variant 32 bits | flags 8 | heat 2 | distance 22; readers change the heat
}

// indexPage is what tables are made of.
type indexPage [indexPageSlots]indexSlot

// indexSeeds make the order of tables unknown to those who choose the keys.
type indexSeeds [3]uint64

// hash depends on all bits of tag in a way that cannot be told without the seeds: the
// high and low half of two products with secret factors.
func (k *indexSeeds) hash(tag uint64) uint64 {
	hi, lo := bits.Mul64(tag^k[0], k[1]|1)
	hi, lo = bits.Mul64(hi^lo^k[2], k[0]|1)
	return hi ^ lo
}

// order is where an entry stands among those of its shard, which bits 56 to 63 of its
// hash choose.
func (k *indexSeeds) order(tag uint64) uint64 { return k.hash(tag) << shardBits }

// indexTable holds entries sorted by order: an entry stands at its home, which is its order
// scaled to the number of homes, or as little behind it as those of lower order allow
// (linear probing, robin hood). Being sorted, it changes its size where it stands, page
// by page, and leaves no old table to the garbage collector.
type indexTable struct {
	pages []*indexPage
	homes int // the slots that are a home; the others are the tail
	n     int // entries
}

func (t *indexTable) slots() uint { return uint(len(t.pages)) * indexPageSlots }

func (t *indexTable) slot(i uint) *indexSlot { return &t.pages[i/indexPageSlots][i%indexPageSlots] }

func (t *indexTable) home(order uint64) uint {
	hi, _ := bits.Mul64(order, uint64(t.homes))
	return uint(hi)
}

// limit is how many entries there may be before the table must grow. Fuller, misses
// pay for it; emptier, memory does.
func (t *indexTable) limit() int { return t.homes * 13 / 16 }

// seek returns the slot of n, or nil.
func (t *indexTable) seek(order uint64, n name) *indexSlot {
	end := t.slots()
	for i, distance := t.home(order), uint64(0); i < end; i, distance = i+1, distance+1 {
		s := t.slot(i)
		word := atomic.LoadUint64(&s.word)
		if s.at == 0 || word&distanceMask < distance {
			return nil
		}
		if s.tag == n.tag && uint32(word>>variantShift) == n.variant {
			return s
		}
	}
	return nil
}

// find appends all entries of a tag.
func (t *indexTable) find(order, tag uint64, buf []found) []found {
	end := t.slots()
	for i, distance := t.home(order), uint64(0); i < end; i, distance = i+1, distance+1 {
		s := t.slot(i)
		word := atomic.LoadUint64(&s.word)
		if s.at == 0 || word&distanceMask < distance {
			break
		}
		if s.tag == tag {
			buf = append(buf, s.found(word))
		}
	}
	return buf
}

// room returns where an entry of tag belongs, the first empty slot from there on, which
// is slots() if there is none, and how many entries of tag there are.
func (t *indexTable) room(k *indexSeeds, order, tag uint64) (i, gap uint, variants int) {
	end, home := t.slots(), t.home(order)
	for i = home; i < end; i++ {
		s := t.slot(i)
		if s.at == 0 {
			break
		}
		its := i - uint(s.word&distanceMask)
		if its > home || its == home && k.order(s.tag) > order {
			break
		}
		if s.tag == tag {
			variants++
		}
	}
	for gap = i; gap < end && t.slot(gap).at != 0; gap++ {
	}
	return i, gap, variants
}

// insert puts an entry where room said, and moves those from there to the gap up by one.
func (t *indexTable) insert(order uint64, i, gap uint, s indexSlot) {
	for ; gap > i; gap-- {
		to := t.slot(gap)
		*to = *t.slot(gap - 1)
		to.word++
	}
	s.word |= uint64(i - t.home(order))
	*t.slot(i) = s
	t.n++
}

// remove takes out n, and moves those behind it down by one that do not stand at home.
func (t *indexTable) remove(order uint64, n name) {
	end, i := t.slots(), t.home(order)
	for ; ; i++ {
		if s := t.slot(i); s.tag == n.tag && uint32(s.word>>variantShift) == n.variant && s.at != 0 {
			break
		}
	}
	to := t.slot(i)
	for i++; i < end; i++ {
		s := t.slot(i)
		if s.at == 0 || s.word&distanceMask == 0 {
			break
		}
		*to = *s
		to.word--
		to = s
	}
	*to = indexSlot{}
	t.n--
}

// grow makes homes of more pages, which have been appended. The entries go to the end
// first and are spread from there. None can run into those that wait: with more homes
// the last entry stands no farther into the tail than before.
func (t *indexTable) grow(k *indexSeeds, more int) {
	to := t.slots()
	for i := to - uint(more)*indexPageSlots; i > 0; i-- {
		if s := t.slot(i - 1); s.at != 0 {
			to--
			*t.slot(to) = *s
			*s = indexSlot{}
		}
	}
	t.homes += more * indexPageSlots
	t.spread(k, to)
}

// shrink gives up the homes of some pages, and returns how many pages are needed now.
// Entries move down only: a home is never higher where there are fewer.
func (t *indexTable) shrink(k *indexSeeds, fewer int) (pages int) {
	t.homes -= fewer * indexPageSlots
	end := max(t.spread(k, 0), uint(t.homes+tailSlots))
	return int((end + indexPageSlots - 1) / indexPageSlots)
}

// spread moves every entry, the first of which is not below from, to where it belongs,
// and returns the end of the last.
func (t *indexTable) spread(k *indexSeeds, from uint) (next uint) {
	for end := t.slots(); from < end; from++ {
		s := t.slot(from)
		if s.at == 0 {
			continue
		}
		entry := *s
		*s = indexSlot{}
		home := t.home(k.order(entry.tag))
		to := max(home, next)
		entry.word = entry.word&^distanceMask | uint64(to-home)
		*t.slot(to) = entry
		next = to + 1
	}
	return next
}

// batch appends entries from an order on, at least size of them if there are as many
// and all of the last one's order, and tells the order to go on from.
func (t *indexTable) batch(k *indexSeeds, from uint64, size int, buf []found) (_ []found, next uint64, more bool) {
	end, last := t.slots(), from
	for i := t.home(from); i < end; i++ {
		s := t.slot(i)
		if s.at == 0 {
			continue
		}
		order := k.order(s.tag)
		if order < from {
			continue
		}
		if len(buf) >= size && order != last {
			return buf, order, true
		}
		buf = append(buf, s.found(atomic.LoadUint64(&s.word)))
		last = order
	}
	return buf, 0, false
}

func newSlot(n name, at place, flags uint8) indexSlot {
	return indexSlot{tag: n.tag, at: at, word: uint64(n.variant)<<variantShift | uint64(flags)<<flagsShift}
}

// set changes where the record stands, and keeps the heat.
func (s *indexSlot) set(at place, flags uint8) {
	s.at = at
	s.word = s.word&^flagsMask | uint64(flags)<<flagsShift
}

func (s *indexSlot) found(word uint64) found {
	return found{
		name:  name{tag: s.tag, variant: uint32(word >> variantShift)},
		at:    s.at,
		flags: uint8(word >> flagsShift),
		heat:  uint8(word >> heatShift & maxHeat),
	}
}

// warm changes the heat by what next makes of it. It needs no more than a reader's lock.
func (s *indexSlot) warm(next func(heat uint8) uint8) {
	for {
		word := atomic.LoadUint64(&s.word)
		heat := uint8(word >> heatShift & maxHeat)
		to := next(heat)
		if to == heat {
			return
		}
		if atomic.CompareAndSwapUint64(&s.word, word, word&^heatMask|uint64(to)<<heatShift) {
			return
		}
	}
}
