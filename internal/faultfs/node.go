package faultfs

import "maps"

const (
	pageSize   = 4096
	sectorSize = 512
)

type page [pageSize]byte

// node is a file without its name.
type node struct {
	size int64
	// reserved is how far pages are taken whether written or not, in whole pages.
	reserved int64
	// taken is the room that the file takes: reserved and the pages beyond.
	taken int64
	// pages are those that were written; the others are zero.
	pages   map[int64]*page
	links   int
	handles int
	locked  bool
	// safeSize, safeReserved and old are what a power cut leaves: of the pages altered
	// since the last sync, what they were, nil for none.
	safeSize, safeReserved int64
	old                    map[int64]*page
}

func newNode() *node {
	return &node{pages: map[int64]*page{}, old: map[int64]*page{}}
}

// roundUp is n in whole pages, in bytes.
func roundUp(n int64) int64 {
	return (n + pageSize - 1) / pageSize * pageSize
}

// read copies what there is at off.
func (n *node) read(p []byte, off int64) int {
	p = p[:clamp64(n.size-off, len(p))]
	for done := 0; done < len(p); {
		at := off + int64(done)
		part := p[done:min(len(p), done+int(pageSize-at%pageSize))]
		if held := n.pages[at/pageSize]; held != nil {
			copy(part, held[at%pageSize:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(p)
}

// write writes to a file as far as there is room. The lock is held.
func (f *FS) write(n *node, p []byte, off int64) int {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		index := at / pageSize
		if n.pages[index] == nil && index*pageSize >= n.reserved {
			if !f.take(1) {
				break
			}
			n.taken += pageSize
		}
		done += copy(n.alter(index)[at%pageSize:], p[done:])
	}
	if done > 0 {
		n.size = max(n.size, off+int64(done))
	}
	return done
}

// alter is a page that may be written to; what it was is kept until the next sync.
func (n *node) alter(index int64) *page {
	held := n.pages[index]
	if _, ok := n.old[index]; ok && held != nil {
		return held
	}
	fresh := &page{}
	if held != nil {
		*fresh = *held
	}
	if _, ok := n.old[index]; !ok {
		n.old[index] = held
	}
	n.pages[index] = fresh
	return fresh
}

// truncate gives the file a size and returns how much less room it takes.
func (n *node) truncate(size int64) int64 {
	was := n.taken
	if size < n.size {
		for index, held := range n.pages {
			if index*pageSize >= size {
				if _, ok := n.old[index]; !ok {
					n.old[index] = held
				}
				delete(n.pages, index)
			}
		}
		if last := size / pageSize; n.pages[last] != nil {
			clear(n.alter(last)[size%pageSize:])
		}
		n.reserved = min(n.reserved, roundUp(size))
	}
	n.size = size
	n.account()
	return was - n.taken
}

// account counts the room that the file takes.
func (n *node) account() {
	n.taken = n.reserved
	for index := range n.pages {
		if index*pageSize >= n.reserved {
			n.taken += pageSize
		}
	}
}

// settle makes all that was written outlive a power cut.
func (n *node) settle() {
	n.safeSize, n.safeReserved = n.size, n.reserved
	clear(n.old)
}

// clone is a copy that nobody has open.
func (n *node) clone() *node {
	c := *n
	c.pages, c.old = maps.Clone(n.pages), maps.Clone(n.old)
	for _, pages := range []map[int64]*page{c.pages, c.old} {
		for index, held := range pages {
			pages[index] = held.clone()
		}
	}
	c.handles, c.locked = 0, false
	return &c
}

func (p *page) clone() *page {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// clamp is n, but at least 0 and at most limit.
func clamp(n, limit int) int {
	return max(0, min(n, limit))
}

func clamp64(n int64, limit int) int {
	return int(max(0, min(n, int64(limit))))
}
