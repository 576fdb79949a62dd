package purge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// MemoryLog is a [Log] that ends with the process, for a node that keeps nothing.
// It remembers the newest entries, and those that somebody who follows has not read;
// who comes later has the older ones as a purge of everything only, as hard as the
// hardest.
type MemoryLog struct {
	now     func() time.Time
	tail    *tail
	waiting atomic.Int64 // appends that wait for those who follow

	mu    sync.Mutex // what follows, and the order of appends
	ids   remembered
	first int64
	next  int64
	// hard and soft are the numbers of the newest entries that fell out.
	hard, soft int64
}

// maxWaiting is how many appends wait for those who follow a [MemoryLog].
const maxWaiting = 256

// Memory makes an empty log.
func Memory(now func() time.Time) *MemoryLog {
	first := now().UnixMilli() << numberBits
	return &MemoryLog{now: now, tail: newTail(first - 1), first: first, next: first}
}

// Append implements [Log]. Where those who follow are so far behind that entries would
// fall out before they are read, it waits for them; ErrBusy if ctx ends meanwhile, or
// if too many wait already.
func (m *MemoryLog) Append(ctx context.Context, id ID, entries []Entry) (last int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	added, err := prepare(id, entries, m.now)
	if err != nil {
		return 0, err
	}
	last, wait := m.add(id, added)
	if wait == nil {
		return last, nil
	}
	if m.waiting.Add(1) > maxWaiting {
		m.waiting.Add(-1)
		return 0, ErrBusy
	}
	defer m.waiting.Add(-1)
	for wait != nil {
		select {
		case <-wait:
			last, wait = m.add(id, added)
		case <-ctx.Done():
			return 0, ErrBusy
		}
	}
	return last, nil
}

// add appends where there is room; else wait is closed when there may be.
func (m *MemoryLog) add(id ID, added []Entry) (last int64, wait <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last, known := m.ids.last[id]; known {
		return last, nil
	}
	if fits, wait := m.tail.room(added); !fits {
		return 0, wait
	}
	m.next = number(added, m.next)
	for _, e := range m.tail.add(added) {
		if e.Soft {
			m.soft = e.Seq
		} else {
			m.hard = e.Seq
		}
	}
	m.ids.add(id, m.next-1)
	return m.next - 1, nil
}

// Follow implements [Log].
func (m *MemoryLog) Follow(ctx context.Context, from int64, fn func(Entry) error) error {
	return m.tail.follow(ctx, from, fn, func(next int64) (int64, error) {
		m.mu.Lock()
		floors := floorEntries(m.hard, m.soft)
		m.mu.Unlock()
		for _, e := range floors {
			if e.Seq < next {
				continue
			}
			if err := fn(e); err != nil {
				return 0, err
			}
			next = e.Seq + 1
		}
		return max(next, m.first), nil
	})
}

// State implements [Log].
func (m *MemoryLog) State(context.Context) (first, last int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.first, m.next - 1, nil
}

// floorEntries are purges that stand for all others up to two numbers, in order.
func floorEntries(hard, soft int64) []Entry {
	var all []Entry
	if hard > 0 {
		all = append(all, Entry{Seq: hard, Kind: KindEverything})
	}
	if soft > hard { // else the hard one is that and more
		all = append(all, Entry{Seq: soft, Kind: KindEverything, Soft: true})
	}
	return all
}
