package purge

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"perigee/cachestore"
)

// Who has waited for a purge sees all of it: a response that was judged valid before is
// gone, and not remembered as valid.
func TestWaitIsForAllOfApply(t *testing.T) {
	t.Parallel()
	over, end := context.WithCancel(t.Context())
	end()
	l := New(Options{})
	marks := l.Marks(cachestore.Subject{Site: "a.example", Host: "a.example", Path: "/"})
	for seq := int64(1); seq <= 20_000; seq++ {
		var checked atomic.Uint64
		born := l.Now()
		if got := l.Judge(born, marks, &checked); got != cachestore.Valid {
			t.Fatalf("before purge %d: %d, want valid", seq, got)
		}
		go l.Apply(Entry{Seq: seq, Site: "a.example", Kind: KindSite})
		for l.Wait(over, seq) != nil { // asks again at once, to meet it half applied
			runtime.Gosched()
		}
		if got := l.Judge(born, marks, &checked); got != cachestore.Gone {
			t.Fatalf("purge %d was waited for, and what it strikes is judged %d", seq, got)
		}
	}
}
