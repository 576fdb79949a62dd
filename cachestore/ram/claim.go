package ram

// claimTries is how many objects may leave for one claim.
const claimTries = 1 << 12

// Claim takes n bytes of the budget for something that is no response: what a disk needs
// to find and read what it has. Responses leave for it, whatever they are worth, a few
// picked at random. False means that nothing was taken: what could leave is being read.
func (t *Tier) Claim(n int64) bool {
	if t.budget.Reserve(n) {
		return true
	}
	t.change.Lock()
	defer t.change.Unlock()
	for range claimTries {
		if t.budget.Reserve(n) {
			return true
		}
		if t.closed {
			return false
		}
		at := t.index.any(&t.claimed)
		if at == nil {
			return false
		}
		if t.index.drop(at) {
			t.evicted.Add(1)
			t.forget(at)
		}
	}
	return false
}
