package ram

import (
	"slices"
	"sync"
	"sync/atomic"

	"perigee/cachestore"
	"perigee/httpcache"
)

const (
	// indexShards keeps look-ups of different keys out of each other's way.
	indexShards = 256
	// maxVariants is how many variants a key may have; beyond it the one stored
	// first leaves.
	maxVariants = 64
)

// slot is the place of one variant in the index and in the policy. Its object is
// replaced when the response is refreshed.
type slot struct {
	id     uint64 // the policy's name for key and variant
	key    httpcache.Key
	object atomic.Pointer[cachestore.Object]
	probe  *probe // not nil for an entry that only asks for room
}

// index finds the variants of a key. It is what Get sees.
type index struct {
	objects atomic.Int64
	partial atomic.Int64 // of these, those that are not whole
	shards  [indexShards]indexShard
}

type indexShard struct {
	mu sync.RWMutex // guards m and the slices in it
	m  map[httpcache.Key][]*slot
}

func (x *index) shard(key httpcache.Key) *indexShard { return &x.shards[key[1]] }

func (x *index) get(key httpcache.Key, buf []*cachestore.Object) []*cachestore.Object {
	s := x.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, each := range s.m[key] {
		buf = append(buf, each.object.Load())
	}
	return buf
}

// count adds sign to the figures for o, which has come or left.
func (x *index) count(o *cachestore.Object, sign int64) {
	x.objects.Add(sign)
	if o.Partial() {
		x.partial.Add(sign)
	}
}

// has tells whether there is an object of o's key and variant.
func (x *index) has(o *cachestore.Object) bool {
	s := x.shard(o.Key())
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.ContainsFunc(s.m[o.Key()], func(each *slot) bool {
		return each.object.Load().Variant() == o.Variant()
	})
}

// find is o's slot, nil if it is not there.
func (x *index) find(o *cachestore.Object) *slot {
	s := x.shard(o.Key())
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, each := range s.m[o.Key()] {
		if each.object.Load() == o {
			return each
		}
	}
	return nil
}

// put shows o and returns its slot, the object whose place it took, and the slot
// that had to leave because the key has too many variants; the last two may be nil.
func (x *index) put(o *cachestore.Object) (at *slot, replaced *cachestore.Object, surplus *slot) {
	s := x.shard(o.Key())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[httpcache.Key][]*slot)
	}
	variants := s.m[o.Key()]
	for _, each := range variants {
		if held := each.object.Load(); held.Variant() == o.Variant() {
			each.object.Store(o)
			x.count(held, -1)
			x.count(o, 1)
			return each, held, nil
		}
	}
	if len(variants) >= maxVariants {
		surplus = variants[0]
		variants = slices.Delete(variants, 0, 1)
		x.count(surplus.object.Load(), -1)
	}
	x.count(o, 1)
	at = &slot{id: policyID(o), key: o.Key()}
	at.object.Store(o)
	s.m[o.Key()] = append(variants, at)
	return at, nil, surplus
}

// replace shows o in the place of old and returns its slot, nil if old is not there.
func (x *index) replace(old, o *cachestore.Object) *slot {
	s := x.shard(o.Key())
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range s.m[o.Key()] {
		if each.object.Load() == old {
			each.object.Store(o)
			x.count(old, -1)
			x.count(o, 1)
			return each
		}
	}
	return nil
}

// drop takes one slot out and tells whether it was there.
func (x *index) drop(at *slot) bool {
	s := x.shard(at.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	variants := s.m[at.key]
	i := slices.Index(variants, at)
	if i < 0 {
		return false
	}
	if len(variants) == 1 {
		delete(s.m, at.key)
	} else {
		s.m[at.key] = slices.Delete(variants, i, i+1)
	}
	x.count(at.object.Load(), -1)
	return true
}

// dropKey takes out all slots of a key.
func (x *index) dropKey(key httpcache.Key) []*slot {
	s := x.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	slots := s.m[key]
	delete(s.m, key)
	for _, each := range slots {
		x.count(each.object.Load(), -1)
	}
	return slots
}

// any is some slot, of the first shard from *shard on that has one; nil if none has.
func (x *index) any(shard *uint) *slot {
	for range x.shards {
		*shard++
		s := &x.shards[*shard%indexShards]
		if at := s.any(); at != nil {
			return at
		}
	}
	return nil
}

func (s *indexShard) any() *slot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, variants := range s.m {
		return variants[0]
	}
	return nil
}

// all yields every object. It copies a shard at a time, so that yield may do as it
// likes.
func (x *index) all(yield func(*cachestore.Object) bool) {
	var objects []*cachestore.Object
	for i := range x.shards {
		s := &x.shards[i]
		objects = objects[:0]
		s.mu.RLock()
		for _, variants := range s.m {
			for _, each := range variants {
				objects = append(objects, each.object.Load())
			}
		}
		s.mu.RUnlock()
		for _, o := range objects {
			if !yield(o) {
				return
			}
		}
	}
}
