package faultfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Snapshot is a copy as a killed process leaves it: everything that was written, no
// open file, no lock, and no rule. What was not synced can still be lost to a power
// cut of the copy. f stays as it is.
func (f *FS) Snapshot() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.empty()
	clones := map[*node]*node{}
	clone := func(n *node) *node {
		if clones[n] == nil {
			clones[n] = n.clone()
		}
		return clones[n]
	}
	for name, n := range f.names {
		c.names[name] = clone(n)
	}
	for name, n := range f.safe {
		c.safe[name] = clone(n)
	}
	for _, each := range f.pending {
		c.pending = append(c.pending, change{clone(each.node), each.from, each.to})
	}
	c.account()
	return c
}

// PowerCut is a copy as a power cut may leave it, one of many that rng chooses among.
// Of each page of 4 KiB that was not synced, the bytes written since may be there,
// absent, zero, garbage, or there in some of its sectors of 512 bytes only. Of the
// names that were not synced, new ones may be missing and removed ones be back, in
// any combination; a rename is whole or absent. f stays as it is.
func (f *FS) PowerCut(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.empty()
	names := f.namesAfterCut(rng)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c.names[name] = names[name].afterCut(rng)
	}
	c.account()
	if f.capacity > 0 && c.used > f.capacity {
		// Room is given to other files only when the removal that freed it is safe, so
		// this combination cannot be.
		clear(c.names)
		for name, n := range f.names {
			c.names[name] = n.clone()
			c.names[name].settle()
		}
		c.account()
	}
	maps.Copy(c.safe, c.names)
	return c
}

// empty is a file system like f without any files. The lock is held.
func (f *FS) empty() *FS {
	c := New(f.capacity)
	c.sparse, c.readOnly = f.sparse, f.readOnly
	maps.Copy(c.folders, f.folders)
	return c
}

// account counts the room in use by what has a name. Nobody else knows f.
func (f *FS) account() {
	f.used = int64(len(f.folders)-2) * pageSize
	for _, n := range f.names {
		f.used += n.taken
	}
}

// namesAfterCut applies some of the changes that are pending: the first ones, as a
// journal does, or any. The lock is held.
func (f *FS) namesAfterCut(rng *rand.Rand) map[string]*node {
	names := maps.Clone(f.safe)
	inOrder, first := rng.IntN(2) == 0, rng.IntN(len(f.pending)+1)
	for i, c := range f.pending {
		if inOrder && i < first || !inOrder && rng.IntN(2) == 0 {
			c.apply(names)
		}
	}
	return names
}

// afterCut is a file as a power cut may leave it.
func (n *node) afterCut(rng *rand.Rand) *node {
	c := newNode()
	c.links = 1
	fate := []pageFate{keep, lose, nil, nil}[rng.IntN(4)]
	c.size = n.sizeAfterCut(fate, rng)
	indexes := maps.Clone(n.old)
	maps.Copy(indexes, n.pages)
	for _, index := range slices.Sorted(maps.Keys(indexes)) {
		now := n.pages[index]
		if old, altered := n.old[index]; altered {
			now = pageAfterCut(fate, old, now, rng)
		}
		if now != nil && index*pageSize < c.size {
			c.pages[index] = now.clone()
		}
	}
	if last := c.pages[c.size/pageSize]; last != nil {
		clear(last[c.size%pageSize:])
	}
	c.reserved = min(max(n.reserved, n.safeReserved), roundUp(c.size))
	c.account()
	c.settle()
	return c
}

// sizeAfterCut is the size that was synced, the last one, or one on the way.
func (n *node) sizeAfterCut(fate pageFate, rng *rand.Rand) int64 {
	sizes := []int64{n.size, n.safeSize}
	if between := (n.size - n.safeSize) / sectorSize; between > 0 {
		sizes = append(sizes, n.safeSize+rng.Int64N(between)*sectorSize)
	}
	if fate != nil {
		// A file that keeps or loses everything does so with its size most of the time.
		sizes = append(sizes, sizes[:2]...)
	}
	return sizes[rng.IntN(len(sizes))]
}

// pageFate makes of a page as it was synced and as it is what a power cut leaves.
type pageFate func(old, now *page, rng *rand.Rand)

// The fates alter now, which is a copy.
func keep(_, _ *page, _ *rand.Rand)     {}
func lose(old, now *page, _ *rand.Rand) { *now = *old }

func zero(old, now *page, _ *rand.Rand) {
	spoilNew(old, now, func() byte { return 0 })
}

func garble(old, now *page, rng *rand.Rand) {
	spoilNew(old, now, func() byte { return byte(rng.Uint32()) })
}

// tear loses some sectors.
func tear(old, now *page, rng *rand.Rand) {
	for at := 0; at < pageSize; at += sectorSize {
		if rng.IntN(2) == 0 {
			copy(now[at:at+sectorSize], old[at:])
		}
	}
}

// spoilNew replaces the bytes that were not synced, and no other.
func spoilNew(old, now *page, with func() byte) {
	for i := range now {
		if now[i] != old[i] {
			now[i] = with()
		}
	}
}

// pageAfterCut is a page that was altered since the last sync, by a fate of its own if
// fate is nil; nil where it was not there and is not.
func pageAfterCut(fate pageFate, old, now *page, rng *rand.Rand) *page {
	if old == nil && now == nil {
		return nil
	}
	if fate == nil {
		fate = []pageFate{keep, keep, lose, lose, zero, tear, tear, garble}[rng.IntN(8)]
	}
	was, is := &page{}, &page{}
	if old != nil {
		*was = *old
	}
	if now != nil {
		*is = *now
	}
	fate(was, is, rng)
	return is
}
