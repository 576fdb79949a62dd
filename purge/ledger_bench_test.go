package purge

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"perigee/cachestore"
)

// busyLedger has n live entries of all kinds, none of which strikes a page of the
// test's site.
func busyLedger(n int) *Ledger {
	l := testLedger()
	for i := range n {
		host := fmt.Sprintf("h%d.example.org", i%1000)
		var m made
		switch i % 10 {
		case 0, 1, 2, 3:
			m = make2(URL(testSite, host, fmt.Sprint("/", i), "q=1"))
		case 4:
			m = make2(Path(testSite, host, fmt.Sprint("/", i)))
		case 5:
			m = make2(Prefix(testSite, host, fmt.Sprint("/p/", i)))
		case 6:
			m = make2(Host(testSite, fmt.Sprintf("h%d.example.org", i)))
		default:
			m = make2(Tag(testSite, fmt.Sprint("other-", i)))
		}
		l.Apply(with(int64(i+1), i%4 == 0, m))
	}
	return l
}

// met is a page with a number of tags that was fetched before all purges.
func met(l *Ledger, tags int) *stored {
	s := answerAt("/products/shoes/1234", "page=2")
	s.Tags = nil
	for i := range tags {
		s.Tags = append(s.Tags, fmt.Sprint("product-", i))
	}
	o := fetched(l, s)
	o.born = cachestore.Birth{}
	return o
}

func BenchmarkJudgeUnchanged(b *testing.B) {
	l := busyLedger(100_000)
	o := met(l, 8)
	if o.judge(l) != cachestore.Valid {
		b.Fatal("struck")
	}
	b.ReportAllocs()
	for b.Loop() {
		if l.Judge(o.born, o.marks, &o.checked) != cachestore.Valid {
			b.Fatal("struck")
		}
	}
}

// BenchmarkJudgeFirst meets objects, each with marks of its own, for the first time
// after a change, with and without a writer beside.
func BenchmarkJudgeFirst(b *testing.B) {
	for _, tags := range []int{0, 8, 1000} {
		for _, writing := range []bool{false, true} {
			b.Run(fmt.Sprintf("tags=%d/writing=%v", tags, writing), func(b *testing.B) {
				l := busyLedger(100_000)
				objects := make([]*stored, 256)
				for i := range objects {
					s := answerAt(fmt.Sprint("/products/shoes/", i), "page=2")
					s.Tags = nil
					for k := range tags {
						s.Tags = append(s.Tags, fmt.Sprintf("product-%d-%d", i, k))
					}
					objects[i] = fetched(l, s)
					objects[i].born = cachestore.Birth{}
				}
				l.Invalidate(l.MarkOf(testSite, KindURL, "other.example.com/"))
				defer beside(l, writing)()
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					o := objects[i%len(objects)]
					i++
					o.checked.Store(0)
					if o.judge(l) != cachestore.Valid {
						b.Fatal("struck")
					}
				}
			})
		}
	}
}

// beside purges all the time until the function that it returns is called.
func beside(l *Ledger, writing bool) (stop func()) {
	if !writing {
		return func() {}
	}
	var stopped atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for seq := l.Seq() + 1; !stopped.Load(); seq++ {
			l.Apply(Entry{Seq: seq, Site: testSite, Kind: KindTag, Value: "others-" + fmt.Sprint(seq%100_000)})
		}
	}()
	return func() { stopped.Store(true); <-ended }
}

func BenchmarkApply(b *testing.B) {
	l := testLedger()
	entries := make([]Entry, 1<<16)
	for i := range entries {
		entries[i], _ = Tag(testSite, fmt.Sprint("product-", i))
	}
	b.ReportAllocs()
	seq := int64(0)
	for b.Loop() {
		e := entries[seq%int64(len(entries))]
		seq++
		e.Seq = seq
		l.Apply(e)
	}
}

func BenchmarkMarks(b *testing.B) {
	for _, tags := range []int{8, 1000} {
		b.Run(fmt.Sprint("tags=", tags), func(b *testing.B) {
			l := testLedger()
			s := answerAt("/products/shoes"+strings.Repeat("/x", 3), "page=2")
			for i := range tags {
				s.Tags = append(s.Tags, fmt.Sprint("product-", i))
			}
			b.ReportAllocs()
			for b.Loop() {
				l.Marks(s)
			}
		})
	}
}

func BenchmarkForget(b *testing.B) {
	l := busyLedger(1_000_000)
	b.Run("nothing of a million", func(b *testing.B) {
		for b.Loop() {
			l.Forget(cachestore.Birth{})
		}
	})
}
