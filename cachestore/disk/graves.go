package disk

// graves is what was removed while the index is being loaded: nothing older of it may
// come back. It is let go when the index is complete.
//
// What a folder says has been removed counts in that folder alone: each is told of what
// it has, and they do not write at the same pace. A removal that is late in one must not
// strike what has been stored in another since.
type graves struct {
	names map[nameIn]uint64 // number up to which records of a variant do not count
	tags  map[tagIn]uint64  // the same for all variants of a key
	full  bool

	reserve func(n int64) bool
	release func(n int64)
	paid    int // for how many there is memory
}

// nameIn is a name, as a log of a folder has it; without one in all of them.
type nameIn struct {
	volume *volume
	log    logKind
	name
}

type tagIn struct {
	volume *volume
	log    logKind
	tag    uint64
}

const (
	// maxGraves, and the memory budget, bound what is remembered. Beyond it no older segment
	// is read any more: what is in there might have been removed. It is the first to go
	// when room is made, and what is left of it has another chance at the next start.
	maxGraveNames = 1 << 22
	// graveBytes is what each costs, and graveStep for how many memory is taken at once.
	graveBytes = 128
	graveStep  = 1 << 12
)

func newGraves(reserve func(n int64) bool, release func(n int64)) *graves {
	return &graves{names: make(map[nameIn]uint64), tags: make(map[tagIn]uint64), reserve: reserve, release: release}
}

// fits tells whether there is memory for one more.
func (g *graves) fits() bool {
	n := len(g.names) + len(g.tags)
	if n < g.paid {
		return true
	}
	if n >= maxGraveNames || !g.reserve(graveStep*graveBytes) {
		g.full = true
		return false
	}
	g.paid += graveStep
	return true
}

func (g *graves) add(at nameIn, number uint64) {
	if g.fits() {
		g.names[at] = max(g.names[at], number)
	}
}

func (g *graves) addAll(at tagIn, number uint64) {
	if g.fits() {
		g.tags[at] = max(g.tags[at], number)
	}
}

// close gives the memory back.
func (g *graves) close() { g.release(int64(g.paid) * graveBytes) }

// cover is the number up to which records of n in s have been removed since; lasting is
// what the segment's own log says of it, which it does as long as it has the records.
func (g *graves) cover(s *segment, n name) (until, lasting uint64) {
	until = max(g.names[nameIn{name: n}], g.tags[tagIn{tag: n.tag}])
	for log := range logKinds {
		number := max(g.names[nameIn{s.volume, log, n}], g.tags[tagIn{s.volume, log, n.tag}])
		if until = max(until, number); log == s.log {
			lasting = number
		}
	}
	return until, lasting
}
