package ram

import (
	"testing"

	"perigee/internal/storetest"
)

func TestClaimHasResponsesLeave(t *testing.T) {
	t.Parallel()
	r := newRig(t, 8<<20)
	defer r.close()
	for i := range 400 {
		r.put(i, storetest.Content(i, 40_000))
	}
	before := r.store.Stats()
	if free := r.budget.Limit() - r.budget.Used(); free > 1<<20 {
		t.Fatalf("%d bytes are free before", free)
	}
	if !r.tier.Claim(3 << 20) {
		t.Fatal("3 MiB could not be had")
	}
	if r.tier.Claim(64 << 20) {
		t.Error("more could be had than there is")
	}
	if after := r.store.Stats(); after.Evicted <= before.Evicted || r.budget.Used() > r.budget.Limit() {
		t.Errorf("before %+v, after %+v", before, after)
	}
	r.budget.Release(3 << 20)
}
