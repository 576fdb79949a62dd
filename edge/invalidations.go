package edge

import (
	"encoding/binary"
	"sync/atomic"

	"perigee/cachestore"
	"perigee/httpcache"
)

// invalidationSlots bounds what is remembered of invalidations: 2 MiB in all.
const invalidationSlots = 1 << 18

// invalidations remembers when names (of a URL, of a group) were invalidated last.
// What was fetched before is not served any more, wherever it lies: in a tier, in a
// fill, in a key that was reduced, on its way here. Names share slots: a collision
// invalidates too much, never too little. Nobody waits: all methods may be called
// concurrently.
type invalidations struct {
	moment atomic.Int64 // counts them
	slots  []atomic.Int64
}

func newInvalidations() *invalidations {
	return &invalidations{slots: make([]atomic.Int64, invalidationSlots)}
}

// now is the moment to remember when an upstream is asked.
func (v *invalidations) now() int64 { return v.moment.Load() }

// strike invalidates what was asked for before this moment under any of the names.
func (v *invalidations) strike(names ...httpcache.Key) {
	for _, name := range names {
		moment := v.moment.Add(1)
		slot := v.slot(name)
		for {
			before := slot.Load()
			if before >= moment || slot.CompareAndSwap(before, moment) {
				break
			}
		}
	}
}

// since tells whether one of the names was struck after the moment born.
func (v *invalidations) since(born int64, names []httpcache.Key) bool {
	if v.moment.Load() <= born {
		return false // the usual case
	}
	for _, name := range names {
		if v.slot(name).Load() > born {
			return true
		}
	}
	return false
}

func (v *invalidations) slot(name httpcache.Key) *atomic.Int64 {
	return &v.slots[binary.LittleEndian.Uint64(name[8:])%invalidationSlots]
}

// Verdict implements [cachestore.Guard].
func (v *invalidations) Verdict(o *cachestore.Object) cachestore.Verdict {
	if v.since(o.Born(), o.Marks()) {
		return cachestore.Gone
	}
	return cachestore.Valid
}
