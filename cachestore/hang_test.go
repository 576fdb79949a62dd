package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/internal/storetest"
)

// hungDepot is one that gives up what waits when it is closed too late.
type hungDepot struct{ *storetest.Depot }

var errHung = errors.New("the disk hangs")

func (d hungDepot) Close(ctx context.Context) error {
	<-ctx.Done()
	return errHung
}

func newHungRig(t *testing.T) *deepRig {
	r := newDeepRigOver(t, deepRAM, func(r *deepRig) (cachestore.Tier, cachestore.Depot) { return r.tier, hungDepot{r.depot} })
	r.depot.Hold()
	return r
}

// While the depot hangs, whoever copies leaves when its context ends, and Close when its
// own does; what has come is seen meanwhile.
func TestNobodyWaitsForADepotThatHangs(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1000, 2 << 20} {
		synctest.Test(t, func(t *testing.T) {
			r := newHungRig(t)
			body := storetest.Content(1, n)
			life, end := context.WithCancel(context.Background())
			ended := make(chan error, 2)
			for range 2 { // the second waits for the turn of the first
				f := r.begin(1, body, true)
				go func() { ended <- f.Copy(life, bytes.NewReader(body)) }()
				synctest.Wait()
				if n == 1000 {
					r.check(f.Object(), body)
				}
			}
			if len(ended) != 0 {
				t.Errorf("%d bytes: Copy has returned before anything was written", n)
			}
			end()
			synctest.Wait()
			for range 2 {
				if len(ended) == 0 {
					t.Fatalf("%d bytes: Copy has not returned though its context has ended", n)
				}
				if err := <-ended; err != nil && (n == 1000 || !errors.Is(err, context.Canceled)) {
					t.Errorf("%d bytes: Copy: %v", n, err)
				}
			}
			began := time.Now()
			deadline, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := r.store.Close(deadline); !errors.Is(err, errHung) || time.Since(began) > 30*time.Second {
				t.Errorf("%d bytes: Close: %v after %v", n, err, time.Since(began))
			}
			r.depot.Let()
			synctest.Wait()
			if err := r.depot.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A depot that is only slow is waited for: what has come is there when Close returns.
func TestCloseWaitsForWhatIsBeingKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newDeepRig(t, deepRAM)
		r.depot.Hold()
		life, end := context.WithCancel(context.Background())
		body := storetest.Content(1, 1000)
		ended := make(chan error, 1)
		f := r.begin(1, body, true)
		go func() { ended <- f.Copy(life, bytes.NewReader(body)) }()
		synctest.Wait()
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		go func() { time.Sleep(time.Second); r.depot.Let() }()
		if err := r.store.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if st := r.store.Stats(); st.DepotStored != 1 || st.Stored != 1 {
			t.Errorf("Stats %+v, want one stored", st)
		}
	})
}

// However often a target is fetched anew while the depot hangs, only so many wait.
func TestFillsThatWaitForADepotAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newDeepRig(t, deepRAM)
		defer r.close()
		r.depot.Hold()
		body := storetest.Content(1, 1000)
		for range 100 {
			f := r.begin(1, body, true)
			go func() { _ = f.Copy(context.Background(), bytes.NewReader(body)) }()
			synctest.Wait()
		}
		if n := r.store.Stats().Fills; n > 20 {
			t.Errorf("%d fills wait", n)
		}
		r.depot.Let()
		synctest.Wait()
		if st := r.store.Stats(); st.Fills != 0 || st.Stored == 0 {
			t.Errorf("Stats %+v", st)
		}
	})
}
