package disk

import (
	"context"
	"sync"
	"time"
)

// patience is a context that ends when somebody has waited for it as long as its limit,
// from the first wait on. As long as nobody waits it costs no timer: most look-ups have
// their turn to read at once.
type patience struct {
	limit time.Duration

	mu     sync.Mutex // guards what follows
	ctx    context.Context
	cancel context.CancelFunc
}

// Done implements [context.Context].
func (p *patience) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil {
		p.ctx, p.cancel = context.WithTimeout(context.Background(), p.limit)
	}
	return p.ctx.Done()
}

// Err implements [context.Context].
func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil {
		return nil
	}
	return p.ctx.Err()
}

// Deadline implements [context.Context]: it is not known before somebody waits.
func (p *patience) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements [context.Context].
func (p *patience) Value(any) any { return nil }

// end lets the timer go.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
	}
}
