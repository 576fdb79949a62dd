package edge

import (
	"encoding/binary"
	"sync"

	"perigee/httpcache"
)

const (
	memoryShards = 64
	memorySlots  = 256 // in each shard
)

// memory remembers a value for each of at most memoryShards × memorySlots keys. A
// new key takes the place of another that falls on the same slot: forgetting costs
// a little efficiency, never correctness. Safe for concurrent use.
type memory[V any] struct {
	shards [memoryShards]struct {
		mu    sync.Mutex // guards slots
		slots []memorySlot[V]
	}
}

type memorySlot[V any] struct {
	key   httpcache.Key
	known bool
	value V
}

func (m *memory[V]) at(key httpcache.Key, do func(*memorySlot[V])) {
	s := &m.shards[key[2]%memoryShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = make([]memorySlot[V], memorySlots)
	}
	do(&s.slots[binary.LittleEndian.Uint16(key[3:])%memorySlots])
}

// get is what is remembered for key.
func (m *memory[V]) get(key httpcache.Key) (value V, ok bool) {
	m.at(key, func(slot *memorySlot[V]) {
		if slot.known && slot.key == key {
			value, ok = slot.value, true
		}
	})
	return value, ok
}

// set remembers value for key.
func (m *memory[V]) set(key httpcache.Key, value V) {
	m.at(key, func(slot *memorySlot[V]) {
		*slot = memorySlot[V]{key: key, known: true, value: value}
	})
}

// forget forgets key.
func (m *memory[V]) forget(key httpcache.Key) {
	m.at(key, func(slot *memorySlot[V]) {
		if slot.key == key {
			*slot = memorySlot[V]{}
		}
	})
}
