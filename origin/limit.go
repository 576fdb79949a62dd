package origin

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// limit ends an exchange when something takes too long. It runs only between arm
// and disarm, so that time spent in our caller does not count. When it fires at
// the very moment of disarm the exchange ends too: the time was up.
type limit struct {
	what     string        // that did not come, for the error
	after    time.Duration // 0 = never
	upstream string
	end      context.CancelCauseFunc

	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	stopped bool
}

// arm starts the limit anew.
func (l *limit) arm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stopped || l.after <= 0:
	case l.timer == nil:
		l.timer = time.AfterFunc(l.after, l.fire)
	default:
		l.timer.Reset(l.after)
	}
}

func (l *limit) fire() {
	l.end(&Error{Kind: ErrTimeout, Upstream: l.upstream, Err: &limitError{l.what, l.after}})
}

func (l *limit) disarm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// stop disarms for good: a late arm does nothing.
func (l *limit) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// limitError is a time limit that ran out.
type limitError struct {
	what  string // what did not come
	limit time.Duration
}

func (e *limitError) Error() string { return fmt.Sprintf("%s within %v", e.what, e.limit) }

// Timeout makes it a time-out to those who look at net.Error.
func (e *limitError) Timeout() bool { return true }
