package cachestore

import (
	"slices"
	"sync"
	"sync/atomic"

	"perigee/httpcache"
)

// fillShards keeps look-ups of different keys out of each other's way.
const fillShards = 64

// filling is the list of fills that can be seen, by key. Its size is bounded by
// the number of requests to upstreams that may be in flight.
type filling struct {
	n      atomic.Int64
	shards [fillShards]fillShard
}

type fillShard struct {
	mu sync.RWMutex // guards m
	m  map[httpcache.Key][]*Fill
}

func (l *filling) shard(key httpcache.Key) *fillShard { return &l.shards[key[0]%fillShards] }

func (l *filling) add(f *Fill) {
	s := l.shard(f.object.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[httpcache.Key][]*Fill)
	}
	s.m[f.object.key] = append(s.m[f.object.key], f)
	l.n.Add(1)
}

func (l *filling) remove(f *Fill) {
	s := l.shard(f.object.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := slices.DeleteFunc(s.m[f.object.key], func(each *Fill) bool { return each == f })
	if len(rest) == 0 {
		delete(s.m, f.object.key)
	} else {
		s.m[f.object.key] = rest
	}
	l.n.Add(-1)
}

// get appends the objects that are arriving under key.
func (l *filling) get(key httpcache.Key, buf []*Object) []*Object {
	if l.n.Load() == 0 {
		return buf
	}
	s := l.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range s.m[key] {
		if !f.removed.Load() {
			buf = append(buf, f.object)
		}
	}
	return buf
}

// sweep marks the fills as removed whose objects are gone, for good: the guard may
// forget why, and they would be seen again. It returns how many that are.
func (l *filling) sweep(gone func(*Object) bool) (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.RLock()
		for _, fills := range s.m {
			for _, f := range fills {
				if !f.removed.Load() && gone(f.object) && !f.removed.Swap(true) {
					n++
				}
			}
		}
		s.mu.RUnlock()
	}
	return n
}

// forget marks the fills under key as removed and returns how many there were.
func (l *filling) forget(key httpcache.Key) int {
	s := l.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, f := range s.m[key] {
		if !f.removed.Swap(true) {
			n++
		}
	}
	return n
}
