package purge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// TestMemoryStorm: many orders at once purge what they name, however far behind who
// follows is: no entry falls out unread.
func TestMemoryStorm(t *testing.T) {
	t.Parallel()
	const orders, tags = 64, 500
	m, l := Memory(atEpoch), New(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var followers, work sync.WaitGroup
	begin := make(chan struct{})
	followers.Go(func() {
		<-begin // entries come before anybody follows
		_ = l.Follow(ctx, m)
	})
	for i := range orders {
		work.Go(func() {
			var entries []Entry
			for k := range tags {
				entries = append(entries, Entry{Site: testSite, Kind: KindTag, Value: fmt.Sprint(i, "-", k)})
			}
			last, err := m.Append(ctx, idOf(i), entries)
			if err == nil {
				err = l.Wait(ctx, last)
			}
			if err != nil {
				t.Errorf("order %d: %v", i, err)
			}
		})
	}
	close(begin)
	work.Wait()
	cancel()
	followers.Wait()
	if hard, soft := l.logged.Load().find(l.MarkOf("", KindEverything, "")); hard != 0 || soft != 0 {
		t.Errorf("everything of every site was purged, by %d and %d", hard, soft)
	}
	if got := l.Stats().Applied; got != orders*tags {
		t.Errorf("%d entries applied, want %d", got, orders*tags)
	}
}

// TestMemoryBusy: where nobody reads, what is kept is bounded and nothing falls out.
func TestMemoryBusy(t *testing.T) {
	t.Parallel()
	m := Memory(atEpoch)
	for i := range maxTail / 2 {
		mustAppend(t, m, i, tagged(i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	refused := make(chan error)
	const more = maxWaiting + 1
	for i := range more {
		go func() {
			_, err := m.Append(ctx, idOf(maxTail+i), []Entry{tagged(i)})
			refused <- err
		}()
	}
	for i := range more { // one too many waits, then those who waited give up
		if err := <-refused; !errors.Is(err, ErrBusy) {
			t.Errorf("an append that finds no room: %v, want %v", err, ErrBusy)
		}
		if i == 0 {
			cancel()
		}
	}
	if got := len(contents(t, m)); got != maxTail/2 {
		t.Errorf("%d entries, want %d", got, maxTail/2)
	}
	mustAppend(t, m, 2*maxTail, tagged(0)) // all has been read
}
