package disk

// graves is what was removed while the index is being loaded: nothing older of it may
// come back. It is let go when the index is complete.
type graves struct {
	names map[name]uint64   // number up to which records of a variant do not count
	tags  map[uint64]uint64 // the same for all variants of a key
	full  bool
}

// maxGraveNames bounds what is remembered. Beyond it no older segment is read any more:
// what is in there is lost, since it might have been removed.
const maxGraveNames = 1 << 20

func newGraves() *graves {
	return &graves{names: make(map[name]uint64), tags: make(map[uint64]uint64)}
}

func (g *graves) add(n name, number uint64) {
	if len(g.names) >= maxGraveNames {
		g.full = true
		return
	}
	g.names[n] = max(g.names[n], number)
}

func (g *graves) addAll(tag, number uint64) {
	if len(g.tags) >= maxGraveNames {
		g.full = true
		return
	}
	g.tags[tag] = max(g.tags[tag], number)
}

// cover tells whether the record of a number has been removed since.
func (g *graves) cover(n name, number uint64) bool {
	return g.names[n] > number || g.tags[n.tag] > number
}
