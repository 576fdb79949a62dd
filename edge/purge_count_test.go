package edge

import (
	"log/slog"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/internal/storetest"
	"perigee/purge"
)

// loading is a depot that has not looked at all that it keeps.
type loading struct{ *storetest.Depot }

func (loading) Oldest() (born cachestore.Birth, ok bool) { return cachestore.Birth{}, false }

// A count is no more than a lower bound while the index of a disk is being made.
func TestCountWhileLoading(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		budget := cachestore.NewBudget(rigBudget)
		tier, err := ram.New(budget)
		if err != nil {
			t.Fatal(err)
		}
		depot := storetest.NewDepot(budget, rigBudget)
		o := cachestore.Options{Budget: budget, Home: tier, Depot: depot}
		if !known {
			o.Depot = loading{depot}
		}
		store := cachestore.New(o)
		h := New(Options{Store: store, Ledger: purge.New(purge.Options{}), Log: slog.New(slog.DiscardHandler)})
		if n, atLeast := h.Count("www.test", nil, time.Now().Add(time.Minute)); n != 0 || atLeast == known {
			t.Errorf("all is known: %v: counted %d, at least: %v", known, n, atLeast)
		}
		if err := store.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
