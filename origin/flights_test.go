package origin_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"perigee/origin"
)

type flights = origin.Flights[string, int]

// landing is what one caller got from Do.
type landing struct {
	v   int
	led bool
	err error
}

// board calls Do in a goroutine and gives what it returns.
func board(ctx context.Context, f *flights, fn func(context.Context) (int, error)) <-chan landing {
	out := make(chan landing, 1)
	go func() {
		v, led, err := f.Do(ctx, "key", fn)
		out <- landing{v, led, err}
	}()
	synctest.Wait() // the caller waits now, or is done
	return out
}

func TestFlightsThousandCallersOneFunction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers = 1000
		var f flights
		var calls, leaders atomic.Int32
		release := make(chan struct{})
		fn := func(context.Context) (int, error) {
			calls.Add(1)
			<-release
			return 42, nil
		}
		results := make(chan landing, callers)
		for range callers {
			go func() {
				v, led, err := f.Do(t.Context(), "key", fn)
				if led {
					leaders.Add(1)
				}
				results <- landing{v, led, err}
			}()
		}
		synctest.Wait()
		if got := f.Waiting("key"); got != callers {
			t.Errorf("Waiting = %d, want %d", got, callers)
		}
		close(release)
		for range callers {
			if got := <-results; got.v != 42 || got.err != nil {
				t.Fatalf("Do = %d, %v; want 42, nil", got.v, got.err)
			}
		}
		f.Close()
		if calls.Load() != 1 || leaders.Load() != 1 {
			t.Errorf("fn ran %d times with %d leaders, want 1 and 1", calls.Load(), leaders.Load())
		}
		if got := f.Waiting("key"); got != 0 {
			t.Errorf("Waiting after the flight = %d, want 0", got)
		}
	})
}

func TestFlightsCrash(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tc := range []struct {
		name  string
		crash func()
		is    error
		text  string
		stack bool
	}{
		{"panic", func() { panic("at the disco") }, nil, "at the disco", true},
		{"panic with an error", func() { panic(broken) }, broken, "broken", true},
		{"panic nil", func() { panic(nil) }, nil, "nil", true},
		{"Goexit", runtime.Goexit, origin.ErrGoexit, "Goexit", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				told := 0
				f := flights{Panicked: func(*origin.PanicError) { told++ }}
				release := make(chan struct{})
				fn := func(context.Context) (int, error) {
					<-release
					tc.crash()
					return 1, nil
				}
				callers := []<-chan landing{board(t.Context(), &f, fn), board(t.Context(), &f, fn), board(t.Context(), &f, fn)}
				close(release)
				for i, c := range callers {
					got := <-c
					var crash *origin.PanicError
					if !errors.As(got.err, &crash) {
						t.Fatalf("caller %d: err = %v, want a *PanicError", i, got.err)
					}
					if !strings.Contains(crash.Error(), tc.text) || (tc.is != nil && !errors.Is(got.err, tc.is)) {
						t.Errorf("caller %d: err = %v, want %q in it", i, crash, tc.text)
					}
					if tc.stack != strings.Contains(string(crash.Stack), "TestFlightsCrash") {
						t.Errorf("caller %d: stack = %q, want the panicking function in it: %t", i, crash.Stack, tc.stack)
					}
				}
				f.Close()
				if told != 1 {
					t.Errorf("Panicked was told %d times, want 1", told)
				}
			})
		})
	}
}

// TestFlightsLeaderLeaves: the others keep the flight, and what only the leader may
// take is discarded.
func TestFlightsLeaderLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var discarded []int
		f := flights{Discard: func(v int) { discarded = append(discarded, v) }}
		release := make(chan struct{})
		var fnErr error
		fn := func(ctx context.Context) (int, error) {
			<-release
			fnErr = ctx.Err()
			return 7, nil
		}
		gone := errors.New("the client hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		leader := board(ctx, &f, fn)
		follower := board(t.Context(), &f, fn)
		cancel(gone)
		if got := <-leader; !got.led || !errors.Is(got.err, gone) {
			t.Errorf("leader got %+v, want led and %v", got, gone)
		}
		close(release)
		if got := <-follower; got != (landing{v: 7}) {
			t.Errorf("follower got %+v, want 7, not led, no error", got)
		}
		f.Close()
		if fnErr != nil {
			t.Errorf("context of fn ended (%v) although a caller waited", fnErr)
		}
		if fmt.Sprint(discarded) != "[7]" {
			t.Errorf("discarded %v, want [7]", discarded)
		}
	})
}

// TestFlightsAllLeave: fn's context ends with the last caller, not before, and a
// late success is discarded.
func TestFlightsAllLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var discarded []int
		f := flights{Discard: func(v int) { discarded = append(discarded, v) }}
		var cause error
		var ended time.Time
		fn := func(ctx context.Context) (int, error) {
			<-ctx.Done()
			cause, ended = context.Cause(ctx), time.Now()
			time.Sleep(time.Minute) // winds down slowly
			return 9, nil
		}
		start := time.Now()
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		long, cancelLong := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancelLong()
		a, b := board(short, &f, fn), board(long, &f, fn)
		for _, c := range []<-chan landing{a, b} {
			if got := <-c; !errors.Is(got.err, context.DeadlineExceeded) {
				t.Errorf("err = %v, want the deadline", got.err)
			}
		}
		// The abandoned flight still winds down; a newcomer does not join it.
		if got := <-board(t.Context(), &f, func(context.Context) (int, error) { return 10, nil }); got != (landing{v: 10, led: true}) {
			t.Errorf("newcomer got %+v, want 10 by its own flight", got)
		}
		if got := f.Running(); got != 1 {
			t.Errorf("Running = %d, want the abandoned one", got)
		}
		f.Close()
		if !errors.Is(cause, origin.ErrAbandoned) || ended.Sub(start) != 5*time.Second {
			t.Errorf("context of fn ended after %v with %v, want 5s and ErrAbandoned", ended.Sub(start), cause)
		}
		if fmt.Sprint(discarded) != "[9]" {
			t.Errorf("discarded %v, want [9]", discarded)
		}
	})
}

// TestFlightsContextOutlivesFunction: what fn left running is not cancelled by Do.
func TestFlightsContextOutlivesFunction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flights
		var inner context.Context
		type tag struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), tag{}, "first"))
		got := <-board(ctx, &f, func(ctx context.Context) (int, error) {
			inner = ctx
			return 1, nil
		})
		cancel()
		f.Close()
		synctest.Wait()
		if got.err != nil || inner.Err() != nil {
			t.Errorf("err = %v, context of fn = %v; want both nil", got.err, inner.Err())
		}
		if inner.Value(tag{}) != "first" {
			t.Errorf("context of fn lacks the first caller's values")
		}
		if _, has := inner.Deadline(); has {
			t.Errorf("context of fn has a deadline")
		}
	})
}

func TestFlightsAfterReturnStartsAnew(t *testing.T) {
	t.Parallel()
	var f flights
	for i := range 3 {
		v, led, err := f.Do(t.Context(), "key", func(context.Context) (int, error) { return i, nil })
		if v != i || !led || err != nil {
			t.Errorf("call %d = %d, %t, %v; want %d, true, nil", i, v, led, err, i)
		}
	}
}

func TestFlightsErrorReachesAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := flights{Discard: func(int) { t.Error("Discard called for a failure") }}
		refused := errors.New("refused")
		release := make(chan struct{})
		fn := func(context.Context) (int, error) { <-release; return 0, refused }
		a, b := board(t.Context(), &f, fn), board(t.Context(), &f, fn)
		close(release)
		if x, y := <-a, <-b; x.err != refused || y.err != refused {
			t.Errorf("errors %v and %v, want %v", x.err, y.err, refused)
		}
		f.Close()
	})
}

func TestFlightsBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := origin.Flights[int, int]{MaxFlights: 2}
		release := make(chan struct{})
		var calls atomic.Int32
		results := make(chan bool, 6)
		for range 2 { // twice each: the third key is not joined
			for key := range 3 {
				go func() {
					_, led, _ := f.Do(t.Context(), key, func(context.Context) (int, error) {
						calls.Add(1)
						<-release
						return 0, nil
					})
					results <- led
				}()
				synctest.Wait()
			}
		}
		if calls.Load() != 4 {
			t.Errorf("%d functions run, want 4: keys 0 and 1 shared, key 2 alone twice", calls.Load())
		}
		close(release)
		leaders := 0
		for range 6 {
			if <-results {
				leaders++
			}
		}
		if leaders != 4 {
			t.Errorf("%d callers led, want 4", leaders)
		}
		f.Close()
	})
}

func TestFlightsClosed(t *testing.T) {
	t.Parallel()
	var f flights
	f.Close()
	if _, _, err := f.Do(t.Context(), "key", nil); !errors.Is(err, origin.ErrFlightsClosed) {
		t.Errorf("Do after Close = %v, want ErrFlightsClosed", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var g flights
	if _, led, err := g.Do(ctx, "key", nil); led || !errors.Is(err, context.Canceled) {
		t.Errorf("Do with a finished context = %t, %v; want not led, canceled", led, err)
	}
}

func TestFlightsDiscardPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told *origin.PanicError
		f := flights{
			Discard:  func(int) { panic("no") },
			Panicked: func(e *origin.PanicError) { told = e },
		}
		ctx, cancel := context.WithCancel(t.Context())
		c := board(ctx, &f, func(ctx context.Context) (int, error) { <-ctx.Done(); return 1, nil })
		cancel()
		<-c
		f.Close()
		if told == nil || told.Value != "no" {
			t.Errorf("Panicked was told %v, want the panic of Discard", told)
		}
	})
}

func BenchmarkFlightsDo(b *testing.B) {
	b.ReportAllocs()
	var f flights
	fn := func(context.Context) (int, error) { return 1, nil }
	for b.Loop() {
		if _, _, err := f.Do(b.Context(), "key", fn); err != nil {
			b.Fatal(err)
		}
	}
}
