package ram

import (
	"encoding/binary"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"

	"perigee/cachestore"
	"perigee/httpcache"
)

// Tier keeps stored responses in memory. It implements [cachestore.Tier].
type Tier struct {
	budget   *cachestore.Budget
	index    index
	policy   *ristretto.Cache[uint64, *slot]
	fixed    int64 // bytes reserved for the policy's own counters
	evicted  atomic.Int64
	replaced atomic.Int64

	// change guards who is in: Put, Remove and the search for room exclude each
	// other, so that the policy's bound may be lowered for a moment (see makeRoom).
	// Look-ups never take it.
	change  sync.Mutex
	closed  bool
	claimed uint // shard of the index from which Claim took last
}

// counterBytes is the policy's memory for each frequency counter, as ristretto
// documents it.
const counterBytes = 3

// New returns a tier that takes its bytes from budget. It fails if the budget is
// too small for the policy's counters.
func New(budget *cachestore.Budget) (*Tier, error) {
	t := &Tier{budget: budget}
	// Ten counters for each object of 8 KiB that would fit, as ristretto advises.
	counters := max(1<<10, budget.Limit()/(8<<10)*10)
	t.fixed = counters * counterBytes
	if !budget.Reserve(t.fixed) {
		return nil, fmt.Errorf("memory for stored responses is too small: %d bytes", budget.Limit())
	}
	policy, err := ristretto.NewCache(&ristretto.Config[uint64, *slot]{
		NumCounters:        counters,
		MaxCost:            budget.Limit(),
		BufferItems:        64,
		IgnoreInternalCost: true,
		KeyToHash:          func(id uint64) (uint64, uint64) { return id, 0 },
		OnEvict:            func(item *ristretto.Item[*slot]) { t.onEvict(item.Value) },
		OnReject:           func(item *ristretto.Item[*slot]) { t.onReject(item.Value) },
	})
	if err != nil {
		budget.Release(t.fixed)
		return nil, fmt.Errorf("open memory tier: %w", err)
	}
	t.policy = policy
	return t, nil
}

// policyID is the policy's 64-bit name for o's key and variant. Two of them may
// collide; what is found under it is compared in full.
func policyID(o *cachestore.Object) uint64 {
	key := o.Key()
	return binary.LittleEndian.Uint64(key[:8]) ^ uint64(o.Variant())*0x9e3779b97f4a7c15
}

// Get implements [cachestore.Tier].
func (t *Tier) Get(key httpcache.Key, buf []*cachestore.Object) []*cachestore.Object {
	return t.index.get(key, buf)
}

// Use implements [cachestore.Tier]: it counts one use in the policy.
func (t *Tier) Use(o *cachestore.Object) { t.policy.Get(policyID(o)) }

// Put implements [cachestore.Tier].
func (t *Tier) Put(o *cachestore.Object) bool {
	t.change.Lock()
	defer t.change.Unlock()
	return !t.closed && t.put(o)
}

// put is Put for those who hold the lock.
func (t *Tier) put(o *cachestore.Object) bool {
	at, replaced, surplus := t.index.put(o)
	if replaced != nil {
		t.replaced.Add(1)
		replaced.Drop()
	}
	if surplus != nil {
		t.evicted.Add(1)
		t.forget(surplus)
	}
	if replaced == nil {
		t.evictNamesake(at)
	}
	if !t.policy.Set(at.id, at, o.CostBytes()) {
		// The policy's queue is full. The object must not stay where nobody would
		// ever evict it.
		if t.index.drop(at) {
			return false
		}
	}
	return true
}

// Replace implements [cachestore.Tier].
func (t *Tier) Replace(old, o *cachestore.Object) bool {
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return false
	}
	if old == nil {
		return !t.index.has(o) && t.put(o)
	}
	if old.Variant() != o.Variant() {
		return false
	}
	// With an empty queue the policy learns the new cost for certain, and cannot have
	// the slot leave before it does.
	t.policy.Wait()
	at := t.index.replace(old, o)
	if at == nil {
		return false
	}
	t.replaced.Add(1)
	old.Drop()
	t.policy.Set(at.id, at, o.CostBytes())
	return true
}

// evictNamesake makes another key's slot leave that bears the same 64-bit name as
// the new one: the policy would forget it, and so never evict it. Unlike Get,
// GetTTL does not count as a use.
func (t *Tier) evictNamesake(at *slot) {
	if _, taken := t.policy.GetTTL(at.id); !taken {
		return
	}
	if held, ok := t.policy.Get(at.id); ok && held != at {
		t.policy.Del(at.id)
		t.policy.Wait()
		t.onEvict(held)
	}
}

// forget takes a slot that has left the index out of the policy too, and waits
// until that is done: a set of the same name that came in between would be lost
// with it.
func (t *Tier) forget(at *slot) {
	t.policy.Del(at.id)
	t.policy.Wait()
	at.object.Load().Drop()
}

// Discard implements [cachestore.Tier].
func (t *Tier) Discard(o *cachestore.Object) bool {
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return false
	}
	at := t.index.find(o)
	if at == nil || !t.index.drop(at) {
		return false
	}
	t.forget(at)
	return true
}

// Remove implements [cachestore.Tier].
func (t *Tier) Remove(key httpcache.Key) int {
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return 0
	}
	slots := t.index.dropKey(key)
	for _, each := range slots {
		t.forget(each)
	}
	return len(slots)
}

// onEvict is told by the policy that a slot left, and by those here who make one
// leave.
//
// When many leave at once ristretto samples some of them twice, and names those
// again without a value.
func (t *Tier) onEvict(at *slot) {
	if at == nil {
		return
	}
	if at.probe != nil {
		at.probe.rejected = true
		return
	}
	if t.index.drop(at) {
		t.evicted.Add(1)
		at.object.Load().Drop()
	}
}

// onReject is told by the policy that it does not take a slot. It also says so of
// one that it has already, when two sets of it were in its queue.
func (t *Tier) onReject(at *slot) {
	if held, ok := t.policy.Get(at.id); ok && held == at {
		return
	}
	t.onEvict(at)
}

// All implements [cachestore.Tier].
func (t *Tier) All() iter.Seq[*cachestore.Object] { return t.index.all }

// Stats implements [cachestore.Tier].
func (t *Tier) Stats() cachestore.Stats {
	return cachestore.Stats{
		Objects:  t.index.objects.Load(),
		Partial:  t.index.partial.Load(),
		Evicted:  t.evicted.Load(),
		Replaced: t.replaced.Load(),
	}
}

// Close implements [cachestore.Tier].
func (t *Tier) Close() error {
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	t.policy.Wait()
	t.policy.Close()
	t.budget.Release(t.fixed)
	return nil
}
