package cachestore

import (
	"context"
	"errors"
	"sync/atomic"
)

// A body whose bytes a depot has can do without memory: a reader takes them block by
// block from its source. Memory comes first as long as anybody refers to the body; with
// the last reference it goes, and whoever takes one later reads from the source.

// settled is where a body's bytes are kept; nil while they are in memory only.
type settled struct{ at atomic.Pointer[Source] }

// sourcedBody is a whole body of n bytes that is not in memory. It holds nothing of
// budget, so it need not be released.
func sourcedBody(budget *Budget, at Source, n int64) *body {
	b := newBody(budget, nil, n)
	b.written, b.done = n, true
	b.settle(at)
	b.lean.Store(true)
	b.sealed.Store(true)
	return b
}

// kept is where the bytes of b are kept, nil for nowhere.
func (b *body) kept() Source {
	if at := b.settled.at.Load(); at != nil {
		return *at
	}
	return nil
}

func (b *body) settle(at Source) { b.settled.at.Store(&at) }

// revive takes the first reference to a body whose last one is gone, if its bytes can be
// read where it has settled.
func (b *body) revive() bool {
	if b.kept() == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept() == nil {
		return false
	}
	if b.refs.Load() == 0 {
		b.letGo()
	}
	b.refs.Add(1)
	return true
}

// letGo gives back what is reserved, and the memory of a body that does not need it to be
// read. The mutex is held and nobody has a reference; more than once is once.
func (b *body) letGo() {
	b.budget.Release(b.reserved)
	b.reserved = 0
	if b.sealed.Load() && b.kept() != nil {
		b.chunks = nil
		b.lean.Store(true)
	}
}

// readable tells whether a lean body can still be read, as far as is known.
func (b *body) readable() bool {
	at := b.kept()
	if at == nil || b.broken.Load() || !at.Pin() {
		return false
	}
	at.Unpin()
	return true
}

// lean tells that some of o's bytes are not in memory.
func (o *Object) lean() bool {
	if o.body != nil {
		return o.body.lean.Load()
	}
	for _, e := range o.row {
		if e.body.lean.Load() {
			return true
		}
	}
	return false
}

// sound tells that all of o's bytes can still be read, as far as is known.
func (o *Object) sound() bool {
	if o.body != nil {
		return !o.body.lean.Load() || o.body.readable()
	}
	for _, e := range o.row {
		if e.body.lean.Load() && !e.body.readable() {
			return false
		}
	}
	return true
}

// inMemory yields the bytes of a sealed body that are in memory.
func (b *body) inMemory(yield func([]byte) bool) {
	for _, c := range b.chunks {
		if end := min(int64(len(c.data)), b.written-c.off); end > 0 && !yield(c.data[:end:end]) {
			return
		}
	}
}

// prime reads the first block of c, if c has to begin in a source. When it fails, c has
// been closed; the error is ErrGone, or the cause of ctx's end.
func (c *cursor) prime(ctx context.Context) error {
	at := c.start()
	if at == nil {
		return nil
	}
	primed := false
	defer func() {
		if !primed {
			c.close()
		}
	}()
	err := c.fetch(ctx, at)
	if primed = err == nil; primed {
		return nil
	}
	if errors.Is(err, ErrDamaged) {
		return ErrGone
	}
	return err
}

// start is the source in which c has to begin, nil for none.
func (c *cursor) start() Source {
	b := c.body
	if b == nil || c.spent() {
		return nil
	}
	if b.sealed.Load() {
		if len(b.chunks) > 0 || c.off >= b.written {
			return nil
		}
		return b.kept()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.behind()
}

// pinSettled keeps what c will read from being let go; false if it is gone.
func (c *cursor) pinSettled() bool {
	b := c.body
	if !b.sealed.Load() || len(b.chunks) > 0 || c.off >= b.written {
		return true
	}
	return c.pinSource(b.kept())
}

// pinSource makes at the source that c reads from; false, and noted, if it is gone.
func (c *cursor) pinSource(at Source) bool {
	if c.source == at && at != nil {
		return true
	}
	if c.source != nil {
		c.leaveSource()
	}
	if at == nil || !at.Pin() {
		c.body.harmed()
		return false
	}
	c.source = at
	return true
}

// leaveSource gives back the block and the pin.
func (c *cursor) leaveSource() {
	c.block.Release()
	c.source.Unpin()
	c.source = nil
}

// harmed notes that bytes of b which a depot had are lost.
func (b *body) harmed() {
	b.broken.Store(true)
	b.budget.damaged.Add(1)
}

// fetch reads the block that has the byte at off. The error is ErrDamaged, whatever it is
// that happened to the bytes, or the cause of ctx's end.
func (c *cursor) fetch(ctx context.Context, at Source) error {
	c.block.Release()
	if !c.pinSource(at) {
		return ErrDamaged
	}
	block, err := at.Block(ctx, c.off)
	if err == nil && (c.off < block.Off || c.off >= block.Off+int64(len(block.Data))) {
		block.Release()
		err = ErrDamaged
	}
	switch {
	case err == nil:
		c.block = block
		return nil
	case ctx.Err() != nil && !errors.Is(err, ErrGone) && !errors.Is(err, ErrDamaged):
		return context.Cause(ctx)
	}
	c.body.harmed()
	return ErrDamaged
}

// nextSettled reads from a whole body that is not in memory.
func (c *cursor) nextSettled(ctx context.Context) ([]byte, error) {
	if c.pin != nil || c.former != nil { // of when the body still arrived
		c.body.mu.Lock()
		c.leaveFormer()
		c.pinTo(nil)
		c.body.mu.Unlock()
	}
	return c.nextFrom(ctx, c.body.kept())
}

// nextFrom returns what follows in the block at hand, or in the next one.
func (c *cursor) nextFrom(ctx context.Context, at Source) ([]byte, error) {
	if c.off < c.block.Off || c.off >= c.block.Off+int64(len(c.block.Data)) {
		if err := c.fetch(ctx, at); err != nil {
			return nil, err
		}
	}
	piece := c.block.Data[c.off-c.block.Off:]
	if c.end >= 0 {
		piece = piece[:min(int64(len(piece)), c.end-c.off)]
	}
	c.moveOn(int64(len(piece)))
	return piece[:len(piece):len(piece)], nil
}

// moveOn sets c behind n bytes that were read from a source: while the body still arrives
// its writer looks at where its readers are.
func (c *cursor) moveOn(n int64) {
	if !c.joined {
		c.off += n
		return
	}
	c.body.mu.Lock()
	c.off += n
	c.body.mu.Unlock()
}
