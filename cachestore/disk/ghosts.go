package disk

import (
	"math/rand/v2"
	"sync"
)

const (
	// minGhosts is how many names are remembered at least.
	minGhosts = 1 << 12
	// ghostBytes is what each costs.
	ghostBytes = 4
)

// ghosts is what was let go of not long ago: some hundreds of thousands of names, each as
// a number of 32 bits at a place of its own, where it stays until another one of that
// place comes. There are half as many places as objects, or a few more. What is forgotten
// wrongly or taken for another costs a place in the wrong log.
type ghosts struct {
	reserve func(n int64) bool
	release func(n int64)
	seed    uint64

	mu    sync.Mutex // guards slots
	slots []uint32
}

func newGhosts(reserve func(n int64) bool, release func(n int64)) *ghosts {
	return &ghosts{reserve: reserve, release: release, seed: rand.Uint64()}
}

// place is where a name is remembered among n places, and as what; never as 0.
func (g *ghosts) place(m name, n int) (i int, as uint32) {
	x := mix(g.seed, int64(m.tag), int64(m.variant))
	return int(x>>32) & (n - 1), uint32(x) | 1
}

// fit makes room for half of the objects that there are.
func (g *ghosts) fit(objects int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := max(len(g.slots), minGhosts)
	for int64(n) < objects/2 {
		n *= 2
	}
	if n == len(g.slots) || !g.reserve(int64(n)*ghostBytes) {
		return
	}
	g.release(int64(len(g.slots)) * ghostBytes)
	g.slots = make([]uint32, n) // what was remembered is known by its old place only
}

func (g *ghosts) add(m name) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.slots) > 0 {
		i, as := g.place(m, len(g.slots))
		g.slots[i] = as
	}
}

// knows tells whether a name was let go of not long ago.
func (g *ghosts) knows(m name) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.slots) == 0 {
		return false
	}
	i, as := g.place(m, len(g.slots))
	return g.slots[i] == as
}

func (g *ghosts) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.release(int64(len(g.slots)) * ghostBytes)
	g.slots = nil
}
