package cachestore

import "sync/atomic"

// A body whose bytes a depot has can do without memory: a reader takes them block by
// block from its source.

// settled is where a body's bytes are kept; nil while they are in memory only.
type settled struct{ at atomic.Pointer[Source] }

// sourcedBody is a whole body of n bytes that is not in memory. It holds nothing of
// budget, so it need not be released.
func sourcedBody(budget *Budget, at Source, n int64) *body {
	b := newBody(budget, nil, n)
	b.written, b.done = n, true
	b.settle(at)
	b.lean.Store(true)
	b.sealed.Store(true)
	return b
}

// lean tells that some of o's bytes are not in memory.
func (o *Object) lean() bool {
	if o.body != nil {
		return o.body.lean.Load()
	}
	for _, e := range o.row {
		if e.body.lean.Load() {
			return true
		}
	}
	return false
}

// kept is where the bytes of b are kept, nil for nowhere.
func (b *body) kept() Source {
	if at := b.settled.at.Load(); at != nil {
		return *at
	}
	return nil
}

func (b *body) settle(at Source) { b.settled.at.Store(&at) }

// inMemory yields the bytes of a sealed body that are in memory.
func (b *body) inMemory(yield func([]byte) bool) {
	for _, c := range b.chunks {
		if end := min(int64(len(c.data)), b.written-c.off); end > 0 && !yield(c.data[:end:end]) {
			return
		}
	}
}
