// Package ram is the memory tier of the store: an index from key to variants, and
// ristretto's TinyLFU to say who leaves when there is no room.
//
// The index is what look-ups see, so an object is visible from Put on and not when
// ristretto's write-behind gets to it. Bytes are bounded by the store's budget, not
// by ristretto's MaxCost, which knows nothing of fills, of sets still in its queue
// and of bodies that readers hold after eviction.
//
// Start reading at [Tier.Reserve].
package ram
