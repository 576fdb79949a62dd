package disk

import (
	"runtime"
	"testing"
)

const benchEntries = 1 << 20

func benchIndex(b *testing.B) *index {
	x := newIndex(indexOptions{})
	if !fillIndex(x, 0, benchEntries) {
		b.Fatal("refused")
	}
	b.ReportAllocs()
	b.ResetTimer()
	return x
}

func benchFind(b *testing.B, first uint64, want int) {
	x := benchIndex(b)
	b.RunParallel(func(p *testing.PB) {
		var buf [4]found
		for i := uint64(0); p.Next(); i += 7919 {
			if got := x.find(countedTag(first+i%benchEntries), buf[:0]); len(got) != want {
				b.Errorf("%d found, want %d", len(got), want)
				return
			}
		}
	})
}

func BenchmarkIndexFindHit(b *testing.B) { benchFind(b, 0, 1) }

func BenchmarkIndexFindMiss(b *testing.B) { benchFind(b, benchEntries, 0) }

// What all requests want: its slot is in the processor's cache.
func BenchmarkIndexFindSame(b *testing.B) {
	x := benchIndex(b)
	var buf [4]found
	for b.Loop() {
		if len(x.find(countedTag(1), buf[:0])) != 1 {
			b.Fatal("not found")
		}
	}
}

func BenchmarkIndexTouch(b *testing.B) {
	x := benchIndex(b)
	i := uint64(0)
	for b.Loop() {
		x.touch(name{tag: countedTag(i % benchEntries)})
		i += 7919
	}
}

func BenchmarkIndexReplace(b *testing.B) {
	x := benchIndex(b)
	i := uint64(0)
	for b.Loop() {
		x.put(name{tag: countedTag(i % benchEntries)}, newPlace(2, 0, 1), 0)
		i += 7919
	}
}

// Growing included.
func BenchmarkIndexPutNew(b *testing.B) {
	x := newIndex(indexOptions{})
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		if i == 2*benchEntries {
			b.StopTimer()
			x, i = newIndex(indexOptions{}), 0
			b.StartTimer()
		}
		fillIndex(x, i, i+1)
	}
}

func BenchmarkIndexDrop(b *testing.B) {
	x := benchIndex(b)
	i := uint64(0)
	for b.Loop() {
		n := name{tag: countedTag(i % benchEntries)}
		x.drop(n, newPlace(1, 0, 4096))
		x.put(n, newPlace(1, 0, 4096), 0)
		i += 7919
	}
}

// BenchmarkBytesPerObject fills an index with 5 million objects, and looks at what it
// takes at every put from the millionth on: reserved bytes, and bytes of the heap as
// collected every 200 000.
func BenchmarkBytesPerObject(b *testing.B) {
	const from, objects = 1_000_000, 5_000_000
	for range b.N {
		var budget indexAccount
		x := newIndex(budget.options())
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		worst, worstHeap, heap := 0.0, 0.0, 0.0
		for i := uint64(0); i < objects; {
			if !fillIndex(x, i, i+1) {
				b.Fatal("refused")
			}
			if i++; i < from {
				continue
			}
			worst = max(worst, float64(budget.most)/float64(i))
			if i%200_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				heap = float64(now.HeapAlloc-before.HeapAlloc) / float64(i)
				worstHeap = max(worstHeap, heap)
			}
		}
		b.ReportMetric(heap, "heap-B/object")
		b.ReportMetric(worstHeap, "worst-heap-B/object")
		b.ReportMetric(float64(x.bytes())/objects, "reserved-B/object")
		b.ReportMetric(worst, "worst-reserved-B/object")
		b.ReportMetric(float64(now.TotalAlloc-before.TotalAlloc)/objects, "allocated-B/object")
		b.ReportMetric(0, "ns/op")
		runtime.KeepAlive(x)
	}
}
