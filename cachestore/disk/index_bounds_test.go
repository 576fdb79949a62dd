package disk

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

// countedTag is a different tag for each i, and looks like any.
func countedTag(i uint64) uint64 { return i * 0x9e3779b97f4a7c15 }

func fillIndex(x *index, from, to uint64) bool {
	at := newPlace(1, 0, 4096)
	for i := from; i < to; i++ {
		if _, ok := x.put(name{tag: countedTag(i)}, at, 0); !ok {
			return false
		}
	}
	return true
}

func TestIndexSizes(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(indexSlot{}); n != indexSlotBytes {
		t.Errorf("a slot takes %d bytes, want %d", n, indexSlotBytes)
	}
	if n := unsafe.Sizeof(indexPage{}); n != indexPageBytes {
		t.Errorf("a page takes %d bytes, want %d", n, indexPageBytes)
	}
	if shardBytes%128 != 0 {
		t.Errorf("a shard takes %d bytes, want whole pairs of cache lines", shardBytes)
	}
	for room := 1; room < 20_000; room += 1 + room/50 {
		// append uses all that the allocator gives; the header is that of pointers.
		list := append([]*indexPage(nil), make([]*indexPage, room)...)
		if takes := int64(cap(list))*8 + 8; listBytes(room) < takes {
			t.Errorf("a list of %d pages takes up to %d bytes, %d counted", room, takes, listBytes(room))
		}
	}
}

func TestIndexNoPlace(t *testing.T) {
	t.Parallel()
	x, n, at := newIndex(indexOptions{}), name{1, 1}, newPlace(1, 0, 1)
	for _, old := range []place{0, at} { // not there, there
		if old != 0 {
			x.put(n, old, 0)
		}
		if was, ok := x.put(n, 0, 0); ok || was != 0 {
			t.Errorf("put of no place where %#x is = %#x, %t; want 0, false", old, was, ok)
		}
		if x.swap(n, old, 0, 0) {
			t.Errorf("swap of %#x for no place: true", old)
		}
		if x.drop(n, 0) {
			t.Errorf("drop of no place where %#x is: true", old)
		}
		if f, ok := x.get(n); f.at != old || ok != (old != 0) {
			t.Errorf("get = %+v, %t; want %#x", f, ok, old)
		}
	}
}

// Not parallel: it measures the heap of the process.
func TestIndexBytesPerObject(t *testing.T) {
	const (
		objects, from = 300_000, 50_000
		bound         = 60 // bytes
	)
	var budget indexAccount
	x := newIndex(budget.options())
	x.seeds = indexSeeds{3, 5, 7}
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	worst, worstHeap := int64(0), uint64(0)
	for i := range uint64(objects) {
		if !fillIndex(x, i, i+1) {
			t.Fatalf("put %d refused", i)
		}
		if i >= from {
			worst = max(worst, (budget.most+x.len()-1)/x.len())
		}
		if i >= from && i%25_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			worstHeap = max(worstHeap, (now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))/i)
		}
	}
	runtime.ReadMemStats(&now)
	if worst > bound || worst < indexSlotBytes {
		t.Errorf("at worst %d bytes reserved for an object, want at most %d", worst, bound)
	}
	if worstHeap > bound || worstHeap < indexSlotBytes {
		t.Errorf("at worst %d bytes of heap for an object, want at most %d", worstHeap, bound)
	}
	if n := (now.TotalAlloc - before.TotalAlloc) / objects; n > bound {
		t.Errorf("%d bytes allocated for an object in all, want at most %d: growing leaves garbage", n, bound)
	}
	emptyIndex(t, x, &budget, objects, from, bound)
}

func emptyIndex(t *testing.T, x *index, budget *indexAccount, objects, until uint64, bound int64) {
	worst := int64(0)
	for i := range objects {
		if !x.drop(name{tag: countedTag(i)}, newPlace(1, 0, 4096)) {
			t.Fatalf("object %d is not there", i)
		}
		if n := x.len(); n >= int64(until) {
			worst = max(worst, (budget.used+n-1)/n)
		}
	}
	if worst > bound {
		t.Errorf("while objects leave: at worst %d bytes reserved for an object, want at most %d", worst, bound)
	}
	if budget.used != 0 || x.bytes() != 0 {
		t.Errorf("empty: %d bytes reserved, bytes() = %d; want 0", budget.used, x.bytes())
	}
}

// Each reservation that a put makes is refused once: nothing may change by it, and it
// succeeds when none is refused.
func TestIndexRefusedGrowth(t *testing.T) {
	t.Parallel()
	var budget indexAccount
	x := newIndex(budget.options())
	x.seeds = indexSeeds{}
	refusals := int64(0)
	for i := range uint64(4000) {
		n := name{tag: i << 44} // one shard
		for try := 1; ; try++ {
			calls, used, length := budget.calls, budget.used, x.len()
			budget.refuse = func(call int) bool { return call == calls+try }
			_, ok := x.put(n, newPlace(1, 0, 1), 0)
			if ok {
				break
			}
			refusals++
			if budget.used != used || x.len() != length || x.refused() != refusals {
				t.Fatalf("refused put %d: %d bytes reserved, len %d, refused %d; want %d, %d, %d",
					i, budget.used, x.len(), x.refused(), used, length, refusals)
			}
			if err := checkIndex(x); err != nil {
				t.Fatalf("refused put %d: %v", i, err)
			}
			if try > 10 {
				t.Fatalf("put %d is refused for ever", i)
			}
		}
	}
	if refusals < 10 {
		t.Errorf("%d refusals, want one for each growth", refusals)
	}
	for i := range uint64(4000) {
		if _, ok := x.get(name{tag: i << 44}); !ok {
			t.Fatalf("entry %d is lost", i)
		}
	}
}

func TestIndexMaxBytes(t *testing.T) {
	t.Parallel()
	var budget indexAccount
	o := budget.options()
	o.MaxBytes = 1 << 20
	x := newIndex(o)
	if fillIndex(x, 0, 1<<20) {
		t.Fatal("more entries than bytes")
	}
	for i := range uint64(1 << 16) {
		fillIndex(x, i, i+1)
	}
	if budget.most > o.MaxBytes || x.bytes() < o.MaxBytes*9/10 || x.refused() == 0 {
		t.Errorf("%d bytes reserved at most, %d now, %d refused; want nearly %d and not more",
			budget.most, x.bytes(), x.refused(), o.MaxBytes)
	}
	refused := x.refused()
	for f := range x.all {
		if old, ok := x.put(f.name, f.at+1<<16, flagPartial); !ok || old != f.at {
			t.Fatalf("put of %v that is there = %#x, %t, want %#x", f.name, old, ok, f.at)
		}
	}
	if x.refused() != refused {
		t.Error("replacing was refused")
	}
}

func TestIndexTooManyVariants(t *testing.T) {
	t.Parallel()
	x := newIndex(indexOptions{})
	for i := range uint32(2 * maxIndexVariants) {
		if _, ok := x.put(name{1, i}, newPlace(1, 0, 1), 0); ok != (i < maxIndexVariants) {
			t.Errorf("variant %d: ok = %t", i, ok)
		}
	}
	if n := len(x.find(1, nil)); n != maxIndexVariants || x.refused() != maxIndexVariants {
		t.Errorf("%d variants, %d refused; want %d of each", n, x.refused(), maxIndexVariants)
	}
}

// However tags are chosen, entries stand near their homes, and where they stand is
// different in each index.
func TestIndexStrangersTags(t *testing.T) {
	t.Parallel()
	const objects, farthest = 20_000, 100
	families := map[string]func(i uint64) uint64{
		"counted":       func(i uint64) uint64 { return i },
		"high bits":     func(i uint64) uint64 { return i << 47 },
		"middle bits":   func(i uint64) uint64 { return i << 20 },
		"from the end":  func(i uint64) uint64 { return -i },
		"sparse bits":   func(i uint64) uint64 { return (i&0xff)<<56 | (i>>8&0xff)<<28 | i>>16 },
		"golden ratios": countedTag,
	}
	for family, tag := range families {
		var first map[uint64]uint
		for seed := range uint64(2) {
			r := rand.New(rand.NewPCG(seed, 1))
			x := newIndex(indexOptions{})
			x.seeds = indexSeeds{r.Uint64(), r.Uint64(), r.Uint64()}
			for i := range uint64(objects) {
				x.put(name{tag: tag(i)}, newPlace(1, 0, 1), 0)
			}
			worst, stands := uint64(0), map[uint64]uint{}
			for i := range x.shards {
				table := &x.shards[i].table
				for j := range table.slots() {
					worst = max(worst, table.slot(j).word&distanceMask)
					stands[table.slot(j).tag] = uint(i)<<32 | j
				}
			}
			if worst > farthest {
				t.Errorf("%s: an entry stands %d slots from home, want at most %d", family, worst, farthest)
			}
			same := 0
			for tag, where := range stands {
				if at, ok := first[tag]; ok && at == where {
					same++
				}
			}
			if first = stands; same > objects/1000 {
				t.Errorf("%s: %d of %d entries stand where they do with other seeds", family, same, objects)
			}
		}
	}
	if a, b := newIndex(indexOptions{}), newIndex(indexOptions{}); a.seeds == b.seeds {
		t.Error("two indexes have the same seeds")
	}
}

// What is there all the while is yielded once, whatever else comes and goes.
func TestIndexAllWhileChanging(t *testing.T) {
	t.Parallel()
	x := newIndex(indexOptions{})
	const stay = 5_000
	if !fillIndex(x, 0, stay) {
		t.Fatal("refused")
	}
	seen, next, gone := map[name]int{}, uint64(stay), uint64(stay)
	for f := range x.all {
		if x.heat(f.name) != f.heat {
			t.Fatalf("%v has another heat", f.name)
		}
		seen[f.name]++
		if next < 5*stay { // grows, then shrinks
			fillIndex(x, next, next+8)
			next += 8
		} else if gone < next {
			for range 8 {
				x.drop(name{tag: countedTag(gone)}, newPlace(1, 0, 4096))
				gone++
			}
		}
	}
	if err := checkIndex(x); err != nil {
		t.Error(err)
	}
	for i := range uint64(stay) {
		if n := seen[name{tag: countedTag(i)}]; n != 1 {
			t.Fatalf("entry %d yielded %d times, want once", i, n)
		}
	}
	for n, times := range seen {
		if times > 1 {
			t.Fatalf("%v yielded %d times", n, times)
		}
	}
	for range x.all {
		break // must not go on
	}
}

func (x *index) heat(n name) uint8 {
	f, _ := x.get(n)
	return f.heat
}

// Not parallel: AllocsPerRun counts what the process allocates.
func TestIndexFindAllocatesNothing(t *testing.T) {
	x := newIndex(indexOptions{})
	fillIndex(x, 0, 1000)
	i, hits := uint64(0), 0
	if n := testing.AllocsPerRun(1000, func() {
		var buf [4]found
		tag := countedTag(i % 1000)
		hits += len(x.find(tag, buf[:0]))
		x.touch(name{tag: tag})
		x.setHeat(name{tag: tag}, uint8(i))
		i++
	}); n != 0 || hits != int(i) {
		t.Errorf("%d of %d found; find and touch allocate %v times, want 0", hits, i, n)
	}
}

// Readers and writers of the same entries: a place is always one that its writer put.
func TestIndexConcurrent(t *testing.T) {
	t.Parallel()
	const writers, each, rounds = 4, 300, 4
	var used atomic.Int64
	x := newIndex(indexOptions{
		Reserve: func(n int64) bool { used.Add(n); return true },
		Release: func(n int64) { used.Add(-n) },
	})
	var group, readers sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(1, 1))
			var buf [4]found
			for !stop.Load() {
				tag := countedTag(r.Uint64N(writers * each))
				for _, f := range x.find(tag, buf[:0]) {
					if f.tag != tag || f.at.segment() != f.variant+1 {
						t.Errorf("find(%#x) has %+v", tag, f)
					}
					x.touch(f.name)
				}
				x.cool(name{tag: tag})
			}
		})
	}
	readers.Go(func() {
		for !stop.Load() {
			for f := range x.all {
				x.setHeat(f.name, 2)
			}
		}
	})
	for w := range uint64(writers) {
		group.Go(func() { churnIndex(t, x, uint32(w), w*each, (w+1)*each, rounds) })
	}
	group.Wait()
	stop.Store(true)
	readers.Wait()
	if err := checkIndex(x); err != nil {
		t.Error(err)
	}
	if x.len() != writers*each {
		t.Errorf("len = %d, want %d", x.len(), writers*each)
	}
	x.close()
	if used.Load() != 0 {
		t.Errorf("%d bytes reserved after close, want 0", used.Load())
	}
}

// churnIndex puts, swaps and drops entries of its own, and leaves all of them there.
func churnIndex(t *testing.T, x *index, variant uint32, from, to uint64, rounds int) {
	a, b := newPlace(variant+1, 0, 1), newPlace(variant+1, 64, 1)
	for round := range rounds {
		for i := from; i < to; i++ {
			n := name{countedTag(i), variant}
			if old, ok := x.put(n, a, 0); !ok || old != 0 {
				t.Errorf("put(%v) = %#x, %t, want 0, true", n, old, ok)
			}
			if !x.swap(n, a, b, flagRefers) {
				t.Errorf("swap(%v) failed", n)
			}
		}
		for i := from; i < to && round < rounds-1; i++ {
			if n := (name{countedTag(i), variant}); !x.drop(n, b) {
				t.Errorf("drop(%v) failed", n)
			}
		}
	}
}
