package ram

import "perigee/cachestore"

// probe is an entry that is put into the policy to see whether it would let an
// object in and whom it would have leave for it.
type probe struct {
	rejected bool // written by the policy's goroutine, read after Wait
}

// probeMark tells a probe's name from that of the object it asks for, which may be
// in the policy already, past its lifetime.
const probeMark = 0xa0761d6478bd642f

// Reserve implements [cachestore.Tier]. Each call also counts one request for o in
// the policy: what is asked for in vain again and again comes to be worth its room.
func (t *Tier) Reserve(o *cachestore.Object, n int64) bool {
	id := policyID(o) ^ probeMark
	t.policy.Get(id)
	if t.budget.Reserve(n) {
		return true
	}
	t.change.Lock()
	defer t.change.Unlock()
	return !t.closed && t.makeRoom(id, n)
}

// makeRoom has objects leave until n bytes are free, and reserves them.
//
// Ristretto evicts only when something new is added beyond its MaxCost, so a probe
// of n bytes is added while MaxCost is lowered to what the budget leaves beside
// fills, windows and bodies that readers hold on to. Everybody else who changes the
// policy waits meanwhile; a full round costs two turns of ristretto's queue.
func (t *Tier) makeRoom(id uint64, n int64) bool {
	t.policy.Wait()
	inPolicy := t.policy.MaxCost() - t.policy.RemainingCost()
	outside := t.budget.Used() - inPolicy
	asked := &probe{}
	if room := t.budget.Limit() - outside; room >= n {
		t.policy.UpdateMaxCost(room)
		set := t.policy.Set(id, &slot{id: id, probe: asked}, n)
		t.policy.Wait()
		t.policy.UpdateMaxCost(t.budget.Limit())
		t.policy.Del(id)
		// What left may still be in a reader's hands; then it is not free yet.
		return set && !asked.rejected && t.budget.Reserve(n)
	}
	return false
}
