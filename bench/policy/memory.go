package main

// list keeps objects in the order of their last use, within a bound in bytes. Number
// 0 is its anchor.
type list struct {
	prev, next []uint32 // 0 and 0 for what is not in it, the only one aside
	in         []bool
	size       sizes
	used, most int64
}

func newList(top uint32, most int64, size sizes) *list {
	return &list{
		prev: make([]uint32, top+1), next: make([]uint32, top+1), in: make([]bool, top+1),
		size: size, most: most,
	}
}

func (l *list) has(id uint32) bool { return l.in[id] }

// oldest is 0 if there is none.
func (l *list) oldest() uint32 { return l.prev[0] }

func (l *list) unlink(id uint32) {
	p, n := l.prev[id], l.next[id]
	l.next[p], l.prev[n] = n, p
}

func (l *list) link(id uint32) {
	first := l.next[0]
	l.prev[id], l.next[id] = 0, first
	l.next[0], l.prev[first] = id, id
}

// use makes id the newest.
func (l *list) use(id uint32) {
	l.unlink(id)
	l.link(id)
}

func (l *list) remove(id uint32) {
	l.unlink(id)
	l.in[id] = false
	l.used -= l.size.of(id)
}

// add puts id in, whatever has to leave for it.
func (l *list) add(id uint32) {
	need := l.size.of(id)
	if need > l.most {
		return
	}
	for l.used+need > l.most {
		l.remove(l.oldest())
	}
	l.in[id] = true
	l.used += need
	l.link(id)
}

// memory is the tier above the disk: a list that, if it counts, refuses what is asked
// for less often than what would have to leave.
type memory struct {
	*list
	counts *sketch // nil if everything is taken
}

func (m memory) asked(id uint32) {
	if m.counts != nil {
		m.counts.add(id)
	}
}

func (m memory) offer(id uint32) {
	need := m.size.of(id)
	if need > m.most/8 {
		return
	}
	if m.counts != nil {
		for m.used+need > m.most {
			v := m.oldest()
			if m.counts.of(id) <= m.counts.of(v) {
				return
			}
			m.remove(v)
		}
	}
	m.add(id)
}

// sketch counts approximately how often each object was asked for lately.
type sketch struct {
	cells       []uint8
	added, half int // all counts are halved after so many
}

// newSketch counts for a tier of about so many objects.
func newSketch(objects int) *sketch {
	n := 1024
	for n < 16*objects {
		n *= 2
	}
	return &sketch{cells: make([]uint8, n), half: 10 * max(objects, 64)}
}

func (s *sketch) places(id uint32) (a, b int) {
	h := mix(uint64(id) + 77)
	return int(h % uint64(len(s.cells))), int(h >> 32 % uint64(len(s.cells)))
}

func (s *sketch) of(id uint32) uint8 {
	a, b := s.places(id)
	return min(s.cells[a], s.cells[b])
}

func (s *sketch) add(id uint32) {
	a, b := s.places(id)
	for _, c := range [...]int{a, b} {
		if s.cells[c] < 15 {
			s.cells[c]++
		}
	}
	if s.added++; s.added >= s.half {
		s.added = 0
		for i := range s.cells {
			s.cells[i] /= 2
		}
	}
}
