package origin

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// DefaultMaxFlights bounds the keys in flight at once where Flights.MaxFlights is 0.
const DefaultMaxFlights = 65536

var (
	// ErrAbandoned is the cause with which the context of a flight's function is
	// cancelled: every caller has left.
	ErrAbandoned = errors.New("every caller has left")
	// ErrFlightsClosed is what Do returns after Close.
	ErrFlightsClosed = errors.New("flights are closed")
	// ErrGoexit is the value of the [PanicError] of a function that ended its
	// goroutine by runtime.Goexit.
	ErrGoexit = errors.New("runtime.Goexit called")
)

// PanicError is what every caller of a flight gets whose function panicked or
// called runtime.Goexit.
type PanicError struct {
	Value any    // what was passed to panic, or ErrGoexit
	Stack []byte // of the goroutine that panicked, nil for ErrGoexit
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic in a flight: %v", e.Value) }

// Unwrap is the value that was passed to panic, if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Flights runs one function at a time for each key and gives its result to
// everyone who asked meanwhile. The zero value is ready; the exported fields are
// set before the first call and not changed after. Methods may be called by many
// goroutines at once.
type Flights[K comparable, V any] struct {
	// MaxFlights bounds the keys in flight, 0 = DefaultMaxFlights. Beyond it nobody
	// waits and nobody is refused: a caller with a new key runs a flight of its own
	// that no other joins, and led is true.
	MaxFlights int

	// Discard disposes of a result that its owner did not wait for: it is called,
	// in the flight's goroutine, when the function succeeded but the caller that led
	// had left. So for each success exactly one of these happens: Do returns it with
	// led true, or Discard gets it. Callers that joined may be using the result at
	// that moment; Discard releases only what belongs to the leader alone, such as an
	// unread body. nil = nothing to dispose of.
	Discard func(V)

	// Landed is told, before anybody else, of each result that the function returned
	// without error, and of how many callers will get it: those who wait at that
	// moment, the leader included, and no other. It is called with a lock held: it
	// returns at once and calls no method of Flights. nil = nobody is told.
	Landed func(v V, waiting int)

	// Panicked is told of each panic and Goexit once, in the flight's goroutine,
	// also when no caller is left to hear of it. nil = nobody is told.
	Panicked func(*PanicError)

	mu      sync.Mutex // guards what follows and the fields of flights
	flights map[K]*flight[V]
	running int        // goroutines, those of abandoned flights included
	idle    *sync.Cond // running became 0
	closed  bool
}

// flight is one run of a function. Flights.mu guards waiting, leading and landed;
// value and err are written before done is closed and read after.
type flight[V any] struct {
	waiting int  // callers in Do
	leading bool // the first caller is one of them
	landed  bool // the function has returned: whoever waits now gets the result
	cancel  context.CancelCauseFunc
	done    chan struct{}
	value   V
	err     error
}

// Do returns what fn returns for key. If no flight for key is under way it starts
// one, led is true and fn runs in a goroutine of its own; otherwise it waits for
// the flight that is under way, and its own fn is not called.
//
// The context given to fn carries the values of the first caller's ctx, but
// neither its deadline nor its cancellation. It is cancelled, with cause
// [ErrAbandoned], when the last waiting caller leaves while fn runs. Once fn has
// returned nothing cancels it any more, Do included: what fn began and left running
// (a body still being read) is bounded by whoever owns the result, for instance
// through a context that fn derived.
//
// A caller whose ctx is done leaves with the ctx's cause, and fn goes on for the
// others. A caller that still waits when fn returns gets the result even if its
// ctx ends at that moment. A flight that everyone has left is no longer joined: the
// next caller starts another while the abandoned one winds down. Whoever comes
// after fn has returned starts a new flight too.
//
// If fn panics or calls runtime.Goexit, all who wait get a [*PanicError].
func (f *Flights[K, V]) Do(ctx context.Context, key K, fn func(ctx context.Context) (V, error)) (v V, led bool, err error) {
	if ctx.Err() != nil {
		return v, false, context.Cause(ctx)
	}
	fl, led, err := f.board(ctx, key, fn)
	if err != nil {
		return v, false, err
	}
	select {
	case <-fl.done:
		return fl.value, led, fl.err
	case <-ctx.Done():
	}
	if f.leave(key, fl, led) {
		return v, led, context.Cause(ctx)
	}
	<-fl.done
	return fl.value, led, fl.err
}

// board joins the flight for key or starts one.
func (f *Flights[K, V]) board(ctx context.Context, key K, fn func(ctx context.Context) (V, error)) (fl *flight[V], led bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false, ErrFlightsClosed
	}
	if fl := f.flights[key]; fl != nil {
		fl.waiting++
		return fl, false, nil
	}
	fl = &flight[V]{waiting: 1, leading: true, done: make(chan struct{})}
	ctx, fl.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if len(f.flights) < f.maxFlights() {
		if f.flights == nil {
			f.flights = make(map[K]*flight[V])
		}
		f.flights[key] = fl
	}
	f.running++
	go f.fly(ctx, key, fl, fn)
	return fl, true, nil
}

func (f *Flights[K, V]) maxFlights() int {
	if f.MaxFlights > 0 {
		return f.MaxFlights
	}
	return DefaultMaxFlights
}

// leave takes a caller off the flight and reports true, unless the flight has
// landed: then the result is the caller's.
func (f *Flights[K, V]) leave(key K, fl *flight[V], led bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.landed {
		return false
	}
	fl.waiting--
	if led {
		fl.leading = false
	}
	if fl.waiting == 0 {
		f.removeLocked(key, fl)
		fl.cancel(ErrAbandoned)
	}
	return true
}

// removeLocked takes the flight off the map, where another may be in its place.
func (f *Flights[K, V]) removeLocked(key K, fl *flight[V]) {
	if f.flights[key] == fl {
		delete(f.flights, key)
	}
}

// fly runs fn and hands out its result.
func (f *Flights[K, V]) fly(ctx context.Context, key K, fl *flight[V], fn func(ctx context.Context) (V, error)) {
	defer f.ended()
	returned := false
	defer func() {
		// In a deferred call, for a Goexit passes here and nowhere else.
		if !returned {
			f.crashed(key, fl, recover())
		}
	}()
	fl.value, fl.err = fn(ctx)
	returned = true

	orphan := f.land(key, fl)
	if orphan && fl.err == nil && f.Discard != nil {
		f.discard(fl.value)
	}
}

// land ends the flight for new callers and wakes those who wait. It reports
// whether the caller that led has left.
func (f *Flights[K, V]) land(key K, fl *flight[V]) (orphan bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.landed = true
	f.removeLocked(key, fl)
	if fl.err == nil && f.Landed != nil {
		f.Landed(fl.value, fl.waiting)
	}
	close(fl.done)
	return !fl.leading
}

func (f *Flights[K, V]) crashed(key K, fl *flight[V], value any) {
	crash := newPanicError(value)
	var zero V
	fl.value, fl.err = zero, crash
	f.land(key, fl)
	if f.Panicked != nil {
		f.Panicked(crash)
	}
}

// discard keeps a panic of Discard from ending the process.
func (f *Flights[K, V]) discard(v V) {
	returned := false
	defer func() {
		if !returned {
			crash := newPanicError(recover())
			if f.Panicked != nil {
				f.Panicked(crash)
			}
		}
	}()
	f.Discard(v)
	returned = true
}

func newPanicError(value any) *PanicError {
	if value == nil { // panic(nil) has a value since Go 1.21
		return &PanicError{Value: ErrGoexit}
	}
	return &PanicError{Value: value, Stack: debug.Stack()}
}

func (f *Flights[K, V]) ended() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	if f.running == 0 && f.idle != nil {
		f.idle.Broadcast()
	}
}

// Waiting is how many callers wait for the flight under way for key, the one that
// led it included; 0 if there is none.
func (f *Flights[K, V]) Waiting(key K) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.flights[key]; fl != nil {
		return fl.waiting
	}
	return 0
}

// Running is how many flights' goroutines there are, those of abandoned flights
// included.
func (f *Flights[K, V]) Running() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

// Wait returns when no flight's goroutine is left. It ends none of them: that is
// for the callers, by leaving. New flights may start meanwhile, see Close.
func (f *Flights[K, V]) Wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.idle == nil {
		f.idle = sync.NewCond(&f.mu)
	}
	for f.running > 0 {
		f.idle.Wait()
	}
}

// Close lets no more flights start or be joined, and waits as Wait does.
func (f *Flights[K, V]) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.Wait()
}
