package cachestore

import "sync/atomic"

// Budget is a bound on bytes, shared by all who hold memory for stored responses.
// It counts; it takes no memory itself. All methods may be called concurrently.
type Budget struct {
	limit int64
	used  atomic.Int64

	// damaged counts what readers found gone or damaged in a depot. It stands here
	// because a body that comes from there knows no store.
	damaged atomic.Int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Reserve takes n bytes if they are there, all of them or none.
func (b *Budget) Reserve(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// Release gives back n bytes that were reserved.
func (b *Budget) Release(n int64) {
	if b.used.Add(-n) < 0 {
		panic("cachestore: more bytes released than reserved")
	}
}

// Used is how many bytes are reserved now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Limit is how many bytes there are in all.
func (b *Budget) Limit() int64 { return b.limit }

// allocBytes is what the runtime takes for a slice of n bytes: above 32 KiB it
// hands out whole pages of 8 KiB, below it size classes that waste up to an eighth.
func allocBytes(n int64) int64 {
	if n > 32<<10 {
		return (n + 8191) &^ 8191
	}
	return n + n/8
}
