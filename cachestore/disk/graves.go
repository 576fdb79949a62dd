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

// nameIn is a name in a folder, nil for all of them.
type nameIn struct {
	volume *volume
	name
}

type tagIn struct {
	volume *volume
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

// cover tells whether the record of a number has been removed since from the folder v.
func (g *graves) cover(v *volume, n name, number uint64) bool {
	return max(g.names[nameIn{v, n}], g.names[nameIn{nil, n}], g.tags[tagIn{v, n.tag}], g.tags[tagIn{nil, n.tag}]) > number
}
