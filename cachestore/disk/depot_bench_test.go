package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/internal/storetest"
)

// realRig is a store over memory and a real folder.
func realRig(b testing.TB, memory, size int64) *rig {
	b.Helper()
	r := &rig{t: b, folders: []Folder{{b.TempDir(), size}}, ram: memory, log: slog.New(slog.DiscardHandler)}
	r.openReal()
	return r
}

func (r *rig) openReal() {
	r.t.Helper()
	r.budget = cachestore.NewBudget(r.ram)
	tier, err := ram.New(r.budget)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tier = tier
	r.depot, err = Open(Options{Folders: r.folders, Budget: r.budget, Reserve: tier.Claim, Log: r.log, Now: time.Now})
	if err != nil {
		r.t.Fatal(err)
	}
	r.store = cachestore.New(cachestore.Options{Budget: r.budget, Home: tier, Depot: r.depot})
}

var benchSizes = []int{4 << 10, 64 << 10, 1 << 20}

// BenchmarkFill stores bodies, through the store, in a folder that is soon full.
func BenchmarkFill(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := realRig(b, 128<<20, 1<<30)
			defer r.close()
			body := storetest.Content(1, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			b.SetParallelism(16)
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r.put(int(next.Add(1)), body)
				}
			})
			s := r.depot.Stats()
			b.ReportMetric(float64(s.Stored)/float64(b.N), "stored/op")
			b.ReportMetric(float64(s.WrittenBytes)/float64(max(s.StoredBytes, 1)), "written/stored")
		})
	}
}

// BenchmarkHit reads bodies that are not in memory, from the page cache.
func BenchmarkHit(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := realRig(b, 64<<20, 1<<30)
			defer r.close()
			count := min(10_000, 256<<20/n)
			for i := range count {
				r.put(i, storetest.Content(i, n))
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			var next atomic.Int64
			ctx := context.Background()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var reader cachestore.Reader
				var room [4]*cachestore.Object
				for pb.Next() {
					i := int(next.Add(7919)) % count
					for _, o := range r.depot.Recall(storetest.Key(i), nil, room[:0]) {
						readAll(b, ctx, &reader, o)
					}
				}
			})
		})
	}
}

// BenchmarkStoreHit is a hit of the whole store: memory is full of others, so most of what
// is asked for is read, and offered to it.
func BenchmarkStoreHit(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := realRig(b, 64<<20, 1<<30)
			defer r.close()
			count := 512 << 20 / n
			body := storetest.Content(1, n)
			for i := range count {
				r.put(i, body)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			var next atomic.Int64
			ctx := context.Background()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var reader cachestore.Reader
				var room [4]*cachestore.Object
				for pb.Next() {
					i := int(next.Add(7919)) % count
					for _, o := range r.store.Get(storetest.Key(i), room[:0]) {
						readAll(b, ctx, &reader, o)
						r.store.Use(o)
					}
				}
			})
			s := r.store.Stats()
			b.ReportMetric(float64(s.Promoted)/float64(b.N), "promoted/op")
			b.ReportMetric(float64(r.depot.Stats().ReadBytes)/float64(b.N)/float64(n), "read/asked")
		})
	}
}

func readAll(b *testing.B, ctx context.Context, reader *cachestore.Reader, o *cachestore.Object) {
	if err := o.OpenInto(reader, 0, -1); err != nil {
		b.Fatal(err)
	}
	defer reader.Close()
	for {
		if _, err := reader.Next(ctx); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad reads the index of a folder with small objects, page cache warm.
func BenchmarkLoad(b *testing.B) {
	const objects = 300_000
	r := realRig(b, 256<<20, 4<<30)
	body := storetest.Content(1, 100)
	for i := range objects {
		r.put(i, body)
	}
	r.close()
	b.ResetTimer()
	for range b.N {
		r.openReal()
		r.loaded()
		b.StopTimer()
		if n := r.depot.Objects(); n < objects*9/10 {
			b.Fatalf("%d objects of %d", n, objects)
		}
		r.close()
		b.StartTimer()
	}
	b.ReportMetric(float64(objects)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}
