package disk

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"perigee/cachestore"
	"perigee/internal/faultfs"
	"perigee/internal/storetest"
)

// churn is what many do with one store at once. A body is told by its entity tag, so that
// every byte that is read can be checked, whatever is stored at that moment.
type churn struct {
	*rig
	keys int
}

func (c *churn) store1(rng *rand.Rand) {
	seed, n := rng.IntN(5), []int{0, 300, 5000, 80_000, 300_000, 1_200_000}[rng.IntN(6)]
	etag := strconv.Itoa(seed) + "-" + strconv.Itoa(n)
	f := c.store.Begin(cachestore.Beginning{
		Key: storetest.Key(rng.IntN(c.keys)), Stored: storetest.Tagged(c.t, `"`+etag+`"`, 0), Length: []int64{int64(n), -1}[rng.IntN(2)],
	})
	var wg sync.WaitGroup
	o := f.Object()
	wg.Go(func() { c.read(o, rng.IntN(n+1)) })
	err := f.Copy(context.Background(), bytes.NewReader(contentOf(seed, n)))
	if err != nil && !errors.Is(err, cachestore.ErrUnread) {
		c.t.Errorf("Copy: %v", err)
	}
	wg.Wait()
}

// read reads an object from off on.
func (c *churn) read(o *cachestore.Object, off int) {
	seedText, nText, _ := strings.Cut(strings.Trim(o.Stored().ETag(), `"`), "-")
	seed, _ := strconv.Atoi(seedText)
	n, _ := strconv.Atoi(nText)
	off = min(off, n)
	got, err := storetest.Read(context.Background(), o, int64(off), -1)
	if !bytes.HasPrefix(contentOf(seed, n)[off:], got) || err == nil && len(got) != n-off {
		c.t.Errorf("%s from %d: %d wrong bytes, %v", o.Stored().ETag(), off, len(got), err)
	}
	switch {
	case err == nil, errors.Is(err, cachestore.ErrGone), errors.Is(err, cachestore.ErrDamaged), errors.Is(err, cachestore.ErrDetached):
	case errors.Is(err, cachestore.ErrUnread):
	default:
		c.t.Errorf("%s: %v", o.Stored().ETag(), err)
	}
}

func (c *churn) step(rng *rand.Rand) {
	key := storetest.Key(rng.IntN(c.keys))
	switch rng.IntN(10) {
	case 0, 1, 2:
		c.store1(rng)
	case 3:
		c.store.Remove(key)
	case 4:
		for _, o := range c.store.Get(key, nil) {
			c.store.Freshen(o, storetest.Tagged(c.t, o.Stored().ETag(), 0))
		}
	default:
		for _, o := range c.store.Get(key, nil) {
			c.store.Use(o)
			c.read(o, rng.IntN(100_000))
		}
	}
}

func TestChurn(t *testing.T) {
	t.Parallel()
	faults := map[string][]faultfs.Rule{
		"sound": nil,
		"failing": {
			{Op: faultfs.OpRead, Err: syscall.EIO, After: 40, Times: 3},
			{Op: faultfs.OpWrite, Err: syscall.EIO, After: 10, Times: 2},
			{Op: faultfs.OpCreate, Err: syscall.ENOSPC, After: 5, Times: 3},
			{Op: faultfs.OpRemove, Err: syscall.EIO, After: 2, Times: 2},
			{Op: faultfs.OpOpen, Err: syscall.EMFILE, After: 20, Times: 2},
		},
		"lying": {
			{Op: faultfs.OpRead, Flip: true, FlipAt: 333, After: 20, Times: 20},
			{Op: faultfs.OpWrite, Flip: true, FlipAt: 3333, After: 3, Times: 5},
			{Op: faultfs.OpWrite, Torn: tears["in a block"], After: 12, Times: 2},
		},
	}
	steps := 250
	if raceDetector {
		steps = 60
	}
	for name, rules := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &churn{keys: 25, rig: &rig{
				t: t, fs: faultfs.New(1 << 40), ram: 8 << 20,
				folders: []Folder{{"/a", 10 << 20}, {"/b", 6 << 20}}, log: slog.New(slog.DiscardHandler),
			}}
			for round := range 3 {
				c.open()
				for _, rule := range rules {
					rule.PathContains = segmentPrefix
					c.fs.Inject(rule)
				}
				var wg sync.WaitGroup
				for w := range uint64(4) {
					wg.Go(func() {
						rng := rand.New(rand.NewPCG(w, uint64(round)))
						for range steps {
							c.step(rng)
						}
					})
				}
				wg.Wait()
				for _, f := range c.folders {
					if used, err := c.fs.UsedBytes(f.Path); err != nil || used > f.Size {
						t.Errorf("%s takes %d bytes, %v", f.Path, used, err)
					}
				}
				c.fs.LiftAll()
				c.close() // memory copies from disk in the background until then
				for s := range c.depot.segments.each {
					s.mu.Lock()
					pins := s.pins
					s.mu.Unlock()
					if pins != 0 {
						t.Errorf("%s is pinned %d times, and nobody reads", s.path, pins)
					}
				}
				if n := c.fs.OpenFiles(); n != 0 {
					t.Errorf("after Close %d files are open", n)
				}
			}
		})
	}
}
