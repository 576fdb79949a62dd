package main

import "slices"

// segments is how many a disk is divided into.
const segments = 128

// policy says what becomes of the objects of a segment whose turn it is to go. The
// zero value forgets all of them.
type policy struct {
	name      string
	heat      uint8   // the most that an object can have; 0 keeps nothing
	threshold uint8   // heat from which an object is written again
	limit     float64 // of a segment's bytes that may be written again; 0 for no limit
	smallest  bool    // among those of equal heat, the smallest are written first
	carry     float64 // segments' worth of unused limit that are kept for later ones
	small     float64 // part of the disk that new objects must prove themselves in
	prove     uint8   // heat with which they have
	twice     float64 // if not 0, capacities of bytes within which an object must be asked for again to be taken
	ghost     float64 // capacities of bytes forgotten since, within which an object that comes again needs no proof
	lru, best bool    // references that have no segments
}

// place is what the index has of an object.
type place struct {
	log   uint8 // 0 for none, else number of the log + 1
	heat  uint8
	epoch uint32 // of the last touch from memory
}

// segment is what was written in a row.
type segment struct {
	ids   []uint32
	bytes int64
}

// queue is one log: segments from the oldest to the open one.
type queue struct {
	sealed []segment
	open   segment
	used   int64
}

// disk is a store of one or two logs.
type disk struct {
	policy
	size     sizes
	capacity int64
	logs     [2]queue // main, small
	places   []place
	epoch    uint32 // segments that were sealed
	spare    int64  // bytes of unused limit

	gone   int64   // bytes forgotten so far, from 1
	goneAt []int64 // gone when the object was; 0 for never
	door   *doorkeeper

	fresh, again int64 // bytes written of new objects, and of those that were there
}

func newDisk(p policy, top uint32, capacity int64, size sizes) *disk {
	d := &disk{
		policy: p, size: size, capacity: capacity, places: make([]place, top+1),
		gone: 1, goneAt: make([]int64, top+1),
	}
	if p.twice > 0 {
		d.door = &doorkeeper{seen: make([]uint32, top+1), turn: 2, half: int64(p.twice * float64(capacity) / 2)}
	}
	return d
}

func (d *disk) has(id uint32) bool { return d.places[id].log != 0 }

// hit is a touch by a request that is answered from here.
func (d *disk) hit(id uint32) {
	if p := &d.places[id]; p.heat < d.heat {
		p.heat++
	}
}

// hitAbove is a touch by a request that memory answers.
func (d *disk) hitAbove(id uint32) {
	if p := &d.places[id]; p.log != 0 {
		if p.epoch != d.epoch {
			p.epoch = d.epoch
			d.hit(id)
		}
		return
	}
	if d.door != nil { // refused before, and now asked for again
		d.store(id)
	}
}

// store takes an object that is not here, or refuses it.
func (d *disk) store(id uint32) {
	// While nothing has to leave for it, everything is taken.
	full := d.logs[0].used+d.logs[1].used > d.capacity-2*d.capacity/segments
	if d.door != nil && !d.door.open(id, d.size.of(id)) && full {
		return
	}
	log := 0
	if d.small > 0 && (d.goneAt[id] == 0 || d.gone-d.goneAt[id] >= int64(d.ghost*float64(d.capacity))) {
		log = 1
	}
	d.fresh += d.size.of(id)
	d.write(id, log, 0)
	for d.logs[0].used+d.logs[1].used > d.capacity {
		d.evict()
	}
}

func (d *disk) write(id uint32, log int, heat uint8) {
	q, n := &d.logs[log], d.size.of(id)
	d.places[id] = place{log: uint8(log + 1), heat: heat, epoch: d.epoch}
	q.open.ids = append(q.open.ids, id)
	q.open.bytes += n
	q.used += n
	if q.open.bytes >= d.capacity/segments {
		q.sealed = append(q.sealed, q.open)
		q.open = segment{}
		d.epoch++
	}
}

// evict takes the oldest segment away, from the small log if that has its share.
func (d *disk) evict() {
	log := 0
	if d.small > 0 && (d.logs[1].used > int64(d.small*float64(d.capacity)) || len(d.logs[0].sealed) == 0) {
		log = 1
	}
	q := &d.logs[log]
	s := q.sealed[0]
	q.sealed = q.sealed[1:]
	q.used -= s.bytes
	threshold := d.threshold
	if log == 1 {
		threshold = d.prove
	}
	kept := d.keep(s, threshold)
	for _, id := range s.ids[len(kept):] {
		d.places[id] = place{}
		d.gone += d.size.of(id)
		d.goneAt[id] = d.gone
	}
	for _, id := range kept {
		d.again += d.size.of(id)
		heat := d.places[id].heat
		if heat > 0 {
			heat--
		}
		if log == 1 {
			heat = 0
		}
		d.write(id, 0, heat)
	}
}

// keep brings what is to be written again to the front of s and returns it.
func (d *disk) keep(s segment, threshold uint8) []uint32 {
	if d.heat == 0 {
		return nil
	}
	left := s.bytes
	if d.limit > 0 {
		left = int64(d.limit*float64(s.bytes)) + d.spare
		slices.SortStableFunc(s.ids, d.before)
	}
	n := 0
	for i, id := range s.ids {
		if d.places[id].heat < threshold || d.size.of(id) > left {
			continue
		}
		left -= d.size.of(id)
		s.ids[n], s.ids[i] = id, s.ids[n]
		n++
	}
	if d.limit > 0 {
		d.spare = min(left, int64(d.carry*d.limit*float64(d.capacity/segments)))
	}
	return s.ids[:n]
}

// before orders by what is kept first.
func (d *disk) before(a, b uint32) int {
	c := int(d.places[b].heat) - int(d.places[a].heat)
	if c == 0 && d.smallest {
		c = int(d.size.of(a) - d.size.of(b))
	}
	return c
}

// doorkeeper knows what was asked for lately, in two halves that take turns. It
// stands for a Bloom filter without errors.
type doorkeeper struct {
	seen      []uint32 // turn in which the object was seen
	turn      uint32
	sum, half int64 // bytes seen in this turn, and those that end it
}

// open tells whether id has been seen.
func (k *doorkeeper) open(id uint32, bytes int64) bool {
	known := k.seen[id]+1 >= k.turn
	k.seen[id] = k.turn
	if k.sum += bytes; k.sum >= k.half {
		k.sum = 0
		k.turn++
	}
	return known
}
