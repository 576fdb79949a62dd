package edge

import (
	"sync/atomic"

	"perigee/cachestore"
)

// anchor keeps the beginning of a body that is only passed on until everybody who
// waited for it has begun to read. Without it the fastest would have it run away
// from the others, and each of them would have to ask the upstream.
type anchor struct {
	reader  *cachestore.Reader
	waiting atomic.Int64 // who have still to begin, or to go elsewhere
}

// dropAnchor anchors o for one waiter, from the offset off of its first byte on;
// Flights tells of more.
func dropAnchor(o *cachestore.Object, off int64) *anchor {
	n := int64(-1)
	if o.Partial() {
		n = 1 // enough to hold on to
	}
	reader, err := o.Open(off, n)
	if err != nil {
		return nil
	}
	a := &anchor{reader: reader}
	a.waiting.Store(1)
	return a
}

// expect tells how many there are to wait for.
func (a *anchor) expect(waiting int) {
	if a == nil {
		return
	}
	if a.waiting.Store(int64(waiting)); waiting == 0 {
		a.reader.Close()
	}
}

// begun tells that one of them reads, or went elsewhere.
func (a *anchor) begun() {
	if a != nil && a.waiting.Add(-1) == 0 {
		a.reader.Close()
	}
}
