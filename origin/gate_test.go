package origin

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestGateAtTheLastMoment: whatever comes first of the slot, the end of patience and
// the end of the caller, no slot is lost and none is made.
func TestGateAtTheLastMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for range 200 { // select takes either of two that are ready
			g := gate{limit: 1, depth: 10}
			if err := g.enter(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			got := make(chan error, 2)
			enter := func(ctx context.Context) {
				err := g.enter(ctx, time.Second)
				if err == nil {
					g.leave()
				}
				got <- err
			}
			go enter(t.Context())
			go enter(ctx)
			time.Sleep(time.Second)
			g.leave()
			for range 2 {
				err := <-got
				var limit *limitError
				if err != nil && !errors.As(err, &limit) && !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("enter = %v", err)
				}
			}
			if in, queued := g.counts(); in != 0 || queued != 0 {
				t.Fatalf("in flight %d, queued %d after all left", in, queued)
			}
			cancel()
		}
	})
}

// TestFlightsAtTheLastMoment: a caller whose context ends as the result comes gets
// either, and a result has exactly one owner.
func TestFlightsAtTheLastMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			discarded := 0
			f := Flights[string, int]{Discard: func(int) { discarded++ }}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			v, led, err := f.Do(ctx, "key", func(context.Context) (int, error) {
				time.Sleep(time.Second)
				return 1, nil
			})
			f.Wait()
			cancel()
			if owned := err == nil && led && v == 1; owned == (discarded == 1) || discarded > 1 {
				t.Fatalf("Do = %d, %t, %v and %d discarded: want one owner", v, led, err, discarded)
			}
		}
	})
}
