package edge

import (
	"testing"

	"perigee/httpcache"
)

func TestMemoryForgetsByPlace(t *testing.T) {
	t.Parallel()
	var m memory[int]
	a, b := httpcache.Key{1}, httpcache.Key{2} // the same slot: it is chosen by later bytes
	m.set(a, 1)
	if v, ok := m.get(a); !ok || v != 1 {
		t.Errorf("get = %d, %v, want 1", v, ok)
	}
	if _, ok := m.get(b); ok {
		t.Error("a key that was never set is known")
	}
	m.set(b, 2)
	if _, ok := m.get(a); ok {
		t.Error("two keys live in one slot")
	}
	m.forget(a)
	if v, ok := m.get(b); !ok || v != 2 {
		t.Errorf("forgetting another key took %d, %v", v, ok)
	}
	m.forget(b)
	if _, ok := m.get(b); ok {
		t.Error("a forgotten key is known")
	}
}
