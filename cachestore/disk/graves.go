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

// maxGraveNames bounds what is remembered. Beyond it no older segment is read any more:
// what is in there is lost, since it might have been removed.
const maxGraveNames = 1 << 20

func newGraves() *graves {
	return &graves{names: make(map[nameIn]uint64), tags: make(map[tagIn]uint64)}
}

func (g *graves) add(at nameIn, number uint64) {
	if len(g.names) >= maxGraveNames {
		g.full = true
		return
	}
	g.names[at] = max(g.names[at], number)
}

func (g *graves) addAll(at tagIn, number uint64) {
	if len(g.tags) >= maxGraveNames {
		g.full = true
		return
	}
	g.tags[at] = max(g.tags[at], number)
}

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
