package purge

import (
	"testing"
	"testing/synctest"

	"perigee/cachestore"
)

// What was written outlives a kill in the very next moment.
func TestWrittenOutlivesKill(t *testing.T) {
	t.Parallel()
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			l := livesOn(t, newFakeDisk(), 0)
			page, mark := l.page(1)
			l.Invalidate(mark)
			l.Written(t.Context())
			d := l.disk.killed()
			_ = l.file.Close()
			l.Written(t.Context()) // nobody writes any more
			next := livesOn(t, d, 0)
			defer next.closed(t)
			if got := next.Judge(page.born, page.marks, &page.checked); got != cachestore.Gone {
				t.Errorf("after a kill: %v, want %v", got, cachestore.Gone)
			}
		})
	}
}
