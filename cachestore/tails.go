package cachestore

import (
	"context"
	"sync"
)

// tails are the fills whose bytes have come and that are being kept: those who read have
// all they need, and only a depot is waited for, which may hang.
type tails struct{ work sync.WaitGroup }

// follow has end run and returns when it has, or when ctx ends: then it goes on alone. A
// panic goes on in the caller as long as that waits.
func (t *tails) follow(ctx context.Context, end func()) {
	if ctx.Done() == nil {
		end()
		return
	}
	over := make(chan any, 1)
	t.work.Go(func() {
		defer func() { over <- recover() }()
		end()
	})
	select {
	case fault := <-over:
		if fault != nil {
			panic(fault)
		}
	case <-ctx.Done():
	}
}

// waitWithin waits for work as long as ctx lasts. What hangs is left behind.
func waitWithin(ctx context.Context, work *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
