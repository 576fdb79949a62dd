package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

const (
	chaosKeys     = 4
	chaosVersions = 64
)

// chaos is a store with a depot in which everything happens at once. Each version of what
// is under a key has its own bytes, and its number is its entity tag.
type chaos struct {
	*deepRig
	t      *testing.T
	bodies [chaosVersions][]byte
	keys   [chaosKeys]chaosKey
}

type chaosKey struct {
	writing sync.Mutex   // one fill at a time, so that it is known which one is the latest
	begin   sync.Mutex   // held while a version is chosen and begun
	version atomic.Int64 // that was begun last
	latest  atomic.Int64 // that has been found stored: nothing older is found any more
	floor   atomic.Int64 // nothing before this one is found any more, because it was removed
}

var chaosSizes = []int{0, 700, 60_000, 150_000, 300_000, 900_000}

func newChaos(t *testing.T) *chaos {
	c := &chaos{deepRig: newDeepRig(t, deepRAM), t: t}
	for v := range c.bodies {
		c.bodies[v] = storetest.Content(v, chaosSizes[v%len(chaosSizes)])
	}
	return c
}

func (c *chaos) meta(version int64, later time.Duration) *httpcache.Stored {
	return storetest.Tagged(c.t, etagOf(int(version)), time.Duration(version)*time.Hour+later)
}

func (c *chaos) body(version int64) []byte { return c.bodies[version%chaosVersions] }

// fill brings a new version, or a part of the one that is there, which may fail.
func (c *chaos) fill(i int, rnd *rand.Rand) {
	k := &c.keys[i]
	k.writing.Lock()
	defer k.writing.Unlock()
	k.begin.Lock()
	version := k.version.Load()
	part := version > 0 && rnd.IntN(3) == 0
	if !part {
		version = k.version.Add(1)
	}
	body := c.body(version)
	with := cachestore.Beginning{Key: storetest.Key(i), Stored: c.meta(version, 0), Length: int64(len(body))}
	if rnd.IntN(2) == 0 {
		with.Length = -1
	}
	if part && len(body) > 10 {
		first := rnd.IntN(len(body))
		last := min(len(body)-1, first+rnd.IntN(len(body)))
		with.Size, with.Part = int64(len(body)), httpcache.ByteRange{First: int64(first), Last: int64(last)}
		if got := c.get(i); len(got) > 0 {
			with.Base = got[0]
		}
		body = body[first : last+1]
	}
	f := c.store.Begin(with)
	k.begin.Unlock()
	followed, all := make(chan struct{}), rnd.IntN(2) == 0
	go func() { c.read(f.Object(), all); close(followed) }()
	var src io.Reader = bytes.NewReader(body)
	broken := rnd.IntN(8) == 0
	if broken {
		src = io.MultiReader(io.LimitReader(src, int64(len(body)/2)), iotest.ErrReader(errBrokenOff))
	}
	if err := f.Copy(context.Background(), src); err == nil && !broken {
		for _, o := range c.store.Get(storetest.Key(i), nil) {
			if int64(versionOf(o)) == version {
				k.latest.Store(version)
			}
		}
	}
	<-followed
}

// find gets what is under key i, and checks that nothing of it is older than it may be.
func (c *chaos) find(i int) []*cachestore.Object {
	k := &c.keys[i]
	latest, floor := k.latest.Load(), k.floor.Load()
	got := c.get(i)
	removed := false
	for _, o := range got {
		v := int64(versionOf(o))
		if v < latest {
			c.t.Errorf("version %d of object %d was found, after %d", v, i, latest)
		}
		removed = removed || v < floor
	}
	if removed && k.writing.TryLock() {
		// What is being kept while it is removed may be seen for a moment, and no longer.
		for _, o := range c.get(i) {
			if v := int64(versionOf(o)); v < floor {
				c.t.Errorf("version %d of object %d was found, which had been removed before %d", v, i, floor)
			}
		}
		k.writing.Unlock()
	}
	return got
}

// read reads all of o, or some range of it, as far as it comes, and compares it.
func (c *chaos) read(o *cachestore.Object, all bool) {
	body := c.body(int64(versionOf(o)))
	off, n := int64(0), int64(-1)
	if !all && len(body) > 0 {
		off = rand.Int64N(int64(len(body)))
		n = rand.Int64N(int64(len(body)))
	}
	want := body[off:]
	if n >= 0 {
		want = want[:min(n, int64(len(want)))]
	}
	got, err := storetest.Read(context.Background(), o, off, n)
	whole := len(got) == len(want)
	switch {
	case !bytes.HasPrefix(want, got), err == nil && !whole:
		c.t.Errorf("version %d from %v: %d+%d gave %d bytes, equal %v, and %v", versionOf(o), o.Tier(), off, n, len(got), bytes.HasPrefix(want, got), err)
	case err == nil, errors.Is(err, cachestore.ErrGone) && len(got) == 0, errors.Is(err, cachestore.ErrDamaged),
		errors.Is(err, cachestore.ErrDetached), errors.Is(err, errBrokenOff), errors.Is(err, cachestore.ErrTruncated):
	default:
		c.t.Errorf("version %d: %d+%d ended with %v", versionOf(o), off, n, err)
	}
}

// step does something.
func (c *chaos) step(rnd *rand.Rand) {
	i := rnd.IntN(chaosKeys)
	switch op := rnd.IntN(20); {
	case op < 4:
		c.fill(i, rnd)
	case op < 13:
		for _, o := range c.find(i) {
			c.store.Use(o)
			c.read(o, rnd.IntN(2) == 0)
		}
	case op < 15:
		for _, o := range c.find(i) {
			c.store.FreshenAt(o, c.meta(int64(versionOf(o)), time.Duration(rnd.IntN(1e9))), o.Born(), nil)
		}
	case op < 17:
		c.evict(i)
	default:
		c.trouble(i, rnd)
	}
}

func (c *chaos) trouble(i int, rnd *rand.Rand) {
	k := &c.keys[i]
	switch rnd.IntN(6) {
	case 0:
		k.begin.Lock()
		floor := k.version.Add(1)
		k.begin.Unlock()
		c.store.Remove(storetest.Key(i))
		for {
			if old := k.floor.Load(); old >= floor || k.floor.CompareAndSwap(old, floor) {
				return
			}
		}
	case 1:
		c.depot.Evict(storetest.Key(i))
	case 2:
		c.depot.Damage(storetest.Key(i), int64(rnd.IntN(200_000)))
	case 3:
		c.depot.Refuse(true)
		c.fill(i, rnd)
		c.depot.Refuse(false)
	case 4:
		c.store.Sweep()
	default:
		for range c.store.All() {
			break
		}
	}
}

// Everything happens at once in both tiers: no wrong byte is read, nothing comes back
// that was removed or replaced, and everything that was taken is given back.
func TestDepotChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := newChaos(t)
			if seed%2 == 0 {
				c.depot.Share()
			}
			var work sync.WaitGroup
			for worker := range uint64(6) {
				work.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, worker))
					for range 100 {
						c.step(rnd)
					}
				})
			}
			work.Wait()
			c.depot.Flush()
			for i := range chaosKeys {
				for _, o := range c.find(i) {
					c.read(o, true)
				}
			}
			st := c.store.Stats()
			t.Logf("Stats %+v", st)
			if st.Recalled == 0 || st.Spilled == 0 || st.Promoted == 0 {
				t.Errorf("too little happened: Stats %+v", st)
			}
			c.close()
		})
	}
}
