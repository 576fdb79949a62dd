package origin

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var errQueueFull = errors.New("the queue is full")

// gate lets at most limit requests to an upstream be in flight; the next depth
// wait in the order they came, those beyond are refused.
type gate struct {
	limit, depth int

	mu       sync.Mutex // guards what follows
	inFlight int
	queue    list.List // of chan struct{}, closed when its request may go
}

// enter waits for a slot, at most for wait. Its error is ctx's cause,
// errQueueFull or a *limitError; without an error the slot is the caller's until
// leave.
func (g *gate) enter(ctx context.Context, wait time.Duration) error {
	g.mu.Lock()
	if g.inFlight < g.limit { // then nobody queues: leave hands slots over
		g.inFlight++
		g.mu.Unlock()
		return nil
	}
	if g.queue.Len() >= g.depth {
		g.mu.Unlock()
		return fmt.Errorf("%w (%d wait)", errQueueFull, g.depth)
	}
	turn := make(chan struct{})
	place := g.queue.PushBack(turn)
	g.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err error
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = &limitError{what: "none became free", limit: wait}
	}
	return g.giveUp(place, turn, err)
}

// giveUp leaves the queue, unless the slot came at the last moment: then it is
// passed on.
func (g *gate) giveUp(place *list.Element, turn chan struct{}, err error) error {
	g.mu.Lock()
	select {
	case <-turn:
		g.mu.Unlock()
		g.leave()
		return err
	default:
	}
	g.queue.Remove(place)
	g.mu.Unlock()
	return err
}

// leave frees a slot or hands it to the first who waits.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if first := g.queue.Front(); first != nil {
		close(g.queue.Remove(first).(chan struct{}))
		return
	}
	g.inFlight--
}

func (g *gate) counts() (inFlight, queued int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inFlight, g.queue.Len()
}
