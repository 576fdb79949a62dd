package cachestore

import (
	"iter"

	"perigee/httpcache"
)

// Tier is a place where stored responses live: memory, a disk. Their bodies, or those
// parts of them that are here, have come. A tier holds
// at most one object for each key and variant and decides by itself who leaves.
// All methods may be called concurrently.
type Tier interface {
	// Get appends the objects stored under key to buf and returns it. It allocates
	// nothing but what buf needs to grow.
	Get(key httpcache.Key, buf []*Object) []*Object
	// Use tells that o is what answers a request, so that it is kept for longer.
	Use(o *Object)
	// Reserve takes n bytes of the budget for o, which is not in the tier yet; if
	// there is no room, others leave for it, unless all of them are worth more.
	// False means that nothing was reserved.
	Reserve(o *Object, n int64) bool
	// Put makes o visible to Get before it returns, in the place of an object of
	// the same key and variant, or returns false. Then the caller still owns what
	// was reserved for o; otherwise the tier does.
	Put(o *Object) bool
	// Replace puts o in the place of old if old is still there, else it returns false
	// and nothing changes: what has left meanwhile does not come back. An old that is
	// nil stands for nothing of o's key and variant. What o costs may differ from what
	// old did. Ownership is as with Put.
	Replace(old, o *Object) bool
	// Discard forgets o, if it is there, and tells whether it was.
	Discard(o *Object) bool
	// Remove forgets every variant under key and returns how many there were.
	Remove(key httpcache.Key) int
	// All yields every object, in no order. Those that come or go meanwhile may or
	// may not be seen.
	All() iter.Seq[*Object]
	// Stats counts what the tier holds and did.
	Stats() Stats
	// Close lets everything go. Nothing else may be called afterwards.
	Close() error
}
