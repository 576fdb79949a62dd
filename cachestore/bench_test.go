package cachestore_test

import (
	"context"
	"io"
	"testing"

	"perigee/cachestore"
	"perigee/internal/storetest"
)

// BenchmarkRead is the store's share in sending a stored body: open, every piece,
// close.
func BenchmarkRead(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"1KiB", 1 << 10}, {"1MiB", 1 << 20}} {
		b.Run(size.name, func(b *testing.B) {
			r := newRig(b, 64<<20)
			o := r.put(1, storetest.Content(1, size.bytes))
			benchRead(b, o)
		})
	}
}

// BenchmarkReadParts is the same for an object that came in 64 parts.
func BenchmarkReadParts(b *testing.B) {
	r := newRig(b, 64<<20)
	whole, meta := storetest.Content(1, 64<<10), storetest.Tagged(b, `"a"`, 0)
	for first := int64(0); first < 64<<10; first += 1 << 10 {
		r.putPart(meta, whole, first, first+1<<10-1)
	}
	benchRead(b, r.found())
}

func benchRead(b *testing.B, o *cachestore.Object) {
	reader := new(cachestore.Reader)
	b.ReportAllocs()
	for b.Loop() {
		if err := o.OpenInto(reader, 0, -1); err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := reader.Next(context.Background()); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
		reader.Close()
	}
}
