package cachestore

import (
	"context"
	"time"
)

// A window is what remains of a body when it is not going to be stored: the bytes
// between its slowest and its fastest reader, at most windowBytes of them.

// openWindow turns the body into a window. What was reserved for bytes to come is
// given back; chunks keep what they hold until they are dropped.
func (b *body) openWindow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.windowed = true
	b.itemise()
	b.pinArrivals()
}

// pinArrivals pins, for each reader that waits for its next byte, the chunk in
// which that byte has now come. A reader that still has in hand what has left the body
// waits as well: its pin there keeps nothing here.
func (b *body) pinArrivals() {
	for r := range b.readers {
		if (r.pin == nil || r.pin.left) && r.off >= b.lost && r.off < b.written {
			// Who still reads what has spilled needs all that is here.
			r.pinAhead(b.find(max(r.off, b.front())))
		}
	}
}

// windowRoom waits until the window may take up to n bytes more, and reserves them.
// size is how many it got; reserved is what they cost the budget, from which reserve
// takes. onLoss is called once, when the first bytes of the body are dropped and no
// new reader can come.
func (b *body) windowRoom(ctx context.Context, n int64, reserve func(int64) bool, onLoss func()) (size, reserved int64, err error) {
	for {
		// Outside of the lock: others may have to leave the store for it.
		paid := reserve(allocBytes(n))
		room := b.tryWindowRoom(n, paid, onLoss)
		if paid && room.reserved == 0 {
			b.budget.Release(allocBytes(n))
		}
		if room.drained == nil {
			return room.size, room.reserved, room.err
		}
		if err := b.awaitDrain(ctx, room.drained); err != nil {
			return 0, 0, err
		}
	}
}

// room is the outcome of one look at a window: bytes, an error, or a channel that
// tells when to look again.
type room struct {
	size, reserved int64
	err            error
	drained        chan struct{}
}

func (b *body) tryWindowRoom(n int64, paid bool, onLoss func()) room {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.readers) == 0 {
		// Decided here, so that nobody joins between the decision and its effect.
		b.done, b.err = true, ErrUnread
		return room{err: ErrUnread}
	}
	if b.dropRead() {
		onLoss()
	}
	cost := allocBytes(n)
	switch {
	case b.written-b.front()+n <= windowBytes && paid:
		b.reserved += cost
		return room{size: n, reserved: cost}
	case len(b.chunks) == 0:
		return room{size: min(n, graceBytes)}
	}
	if b.drained == nil {
		b.drained = make(chan struct{})
	}
	return room{drained: b.drained}
}

// awaitDrain waits for a reader to let a chunk go and charges the wait to those
// who hold the oldest one.
func (b *body) awaitDrain(ctx context.Context, drained chan struct{}) error {
	look := time.NewTimer(windowPatience / 10)
	defer look.Stop()
	began := time.Now()
	select {
	case <-drained:
	case <-look.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b.charge(time.Since(began))
	return nil
}

// charge adds waited to what each reader of the oldest chunk has cost the others,
// and lets those go who have held them up for windowPatience in all. Where there
// are no others the upstream simply goes at the pace of its readers.
func (b *body) charge(waited time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.chunks) == 0 || b.chunks[0].pins == len(b.readers) {
		return
	}
	oldest := b.chunks[0]
	for r := range b.readers {
		if r.pin != oldest {
			continue
		}
		if r.held += waited; r.held >= windowPatience {
			r.detached = true
			r.leave()
			b.counts.detached.Add(1)
		}
	}
}

// dropRead drops the chunks at the front that no reader needs any more, and tells
// whether these were the first bytes to be lost. A chunk with room left stays.
func (b *body) dropRead() (firstLoss bool) {
	before := b.lost
	for len(b.chunks) > 0 {
		c := b.chunks[0]
		end := c.off + int64(len(c.data))
		if end > b.written || c.pins > 0 {
			break
		}
		b.chunks[0] = nil
		b.chunks = b.chunks[1:]
		if b.spilled == nil || end > b.spilled.Size() {
			b.lost = end
		}
		b.reserved -= c.reserved
		b.budget.Release(c.reserved)
	}
	return before == 0 && b.lost > 0
}
