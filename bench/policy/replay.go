package main

import "slices"

// memoryPart is how much memory there is for each byte of disk.
const memoryPart = 0.05

// result is what one replay counted, warming aside.
type result struct {
	asked, hit           int64 // requests for hot objects
	askedBytes, hitBytes int64
	allBytes             int64 // asked for, scans included
	fresh, again         int64 // bytes written to disk for the first time, and again
}

func (r result) objectRatio() float64 { return 100 * float64(r.hit) / float64(r.asked) }
func (r result) byteRatio() float64   { return 100 * float64(r.hitBytes) / float64(r.askedBytes) }

// amplification is bytes written for each byte of an object that was not there.
func (r result) amplification() float64 {
	if r.fresh == 0 {
		return 1
	}
	return 1 + float64(r.again)/float64(r.fresh)
}

// wear is bytes written for each byte asked for.
func (r result) wear() float64 { return float64(r.fresh+r.again) / float64(r.allBytes) }

// count adds a request.
func (r *result) count(t *trace, id uint32, size int64, hit bool) {
	r.allBytes += size
	if id > t.hot {
		return
	}
	r.asked++
	r.askedBytes += size
	if hit {
		r.hit++
		r.hitBytes += size
	}
}

// replay runs t through memory and a disk of so many bytes. Memory counts how often
// objects are asked for unless it is recent.
func replay(t *trace, p policy, capacity int64, size sizes, recent bool) result {
	room := int64(memoryPart * float64(capacity))
	m := memory{list: newList(t.top, room, size)}
	if !recent {
		m.counts = newSketch(int(room / (16 << 10)))
	}
	switch {
	case p.best:
		return bestSet(t, capacity+room, size)
	case p.lru:
		return replayLRU(t, m, newList(t.top, capacity, size))
	}
	d := newDisk(p, t.top, capacity, size)
	var r, cold result
	for i, id := range t.requests {
		if i == t.warm {
			cold = result{fresh: d.fresh, again: d.again}
		}
		above, hit := m.has(id), true
		m.asked(id)
		switch {
		case above:
			m.use(id)
			d.hitAbove(id)
		case d.has(id):
			d.hit(id)
			m.offer(id)
		default:
			hit = false
			d.store(id)
			m.offer(id)
		}
		if i >= t.warm {
			r.count(t, id, size.of(id), hit)
		}
	}
	r.fresh, r.again = d.fresh-cold.fresh, d.again-cold.again
	return r
}

// replayLRU has a disk that costs nothing to reorder and sees every request.
func replayLRU(t *trace, m memory, disk *list) result {
	var r result
	for i, id := range t.requests {
		above, hit := m.has(id), disk.has(id)
		m.asked(id)
		if above {
			m.use(id)
		} else {
			m.offer(id)
		}
		size := disk.size.of(id)
		if hit {
			disk.use(id)
		} else if !above {
			disk.add(id)
		}
		if i < t.warm {
			continue
		}
		r.count(t, id, size, hit || above)
		if !hit && !above {
			r.fresh += size
		}
	}
	return r
}

// bestSet is what could be had if those objects that are asked for most often for
// their size had been there all the time.
func bestSet(t *trace, capacity int64, size sizes) result {
	counts := make([]int64, t.top+1)
	for _, id := range t.requests[t.warm:] {
		counts[id]++
	}
	ids := make([]uint32, 0, t.hot)
	for id := uint32(1); id <= t.hot; id++ {
		if counts[id] > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b uint32) int {
		return int(counts[b]*size.of(a) - counts[a]*size.of(b))
	})
	in := make([]bool, t.top+1)
	for _, id := range ids {
		if capacity -= size.of(id); capacity < 0 {
			break
		}
		in[id] = true
	}
	var r result
	for _, id := range t.requests[t.warm:] {
		r.count(t, id, size.of(id), in[id])
	}
	return r
}
