package disk

// add puts in an entry that is not there, in a shard that is locked, and tells whether
// it could.
func (x *index) add(s *indexShard, order uint64, e indexSlot) bool {
	t := &s.table
	if s.closed || e.at == 0 || t.n >= t.limit() && !x.grow(s) {
		x.denied.Add(1)
		return false
	}
	i, gap, variants := t.room(&x.seeds, order, e.tag)
	if variants >= maxIndexVariants || gap == t.slots() && !x.extend(t, 1) {
		x.denied.Add(1)
		return false
	}
	t.insert(order, i, gap, e)
	x.entries.Add(1)
	return true
}

// grow adds a quarter to a table that is full. A smaller step moves each entry more
// often, a larger one leaves more empty.
func (x *index) grow(s *indexShard) bool {
	t := &s.table
	if len(t.pages) == 0 {
		return x.begin(s)
	}
	more := max(1, len(t.pages)/4)
	if !x.extend(t, more) {
		return false
	}
	t.grow(&x.seeds, more)
	return true
}

// begin gives a shard its first page.
func (x *index) begin(s *indexShard) bool {
	if !x.take(shardBytes) {
		return false
	}
	if !x.extend(&s.table, 1) {
		x.give(shardBytes)
		return false
	}
	s.table.homes = indexPageSlots - tailSlots
	return true
}

// extend appends empty pages to a table.
func (x *index) extend(t *indexTable, more int) bool {
	n := len(t.pages) + more
	if n > maxTablePages {
		return false
	}
	need, before := int64(more)*indexPageBytes, listBytes(cap(t.pages))
	room := cap(t.pages)
	if n > room {
		room = n + n/4 + 4
		need += listBytes(room)
	}
	if !x.take(need) {
		return false
	}
	if room != cap(t.pages) {
		t.pages = append(make([]*indexPage, 0, room), t.pages...)
		x.give(before)
	}
	for range more {
		t.pages = append(t.pages, new(indexPage))
	}
	return true
}

// shrink takes a quarter from a table that has become much emptier.
func (x *index) shrink(s *indexShard) {
	t := &s.table
	if t.n == 0 {
		x.empty(s)
		return
	}
	fewer := max(1, len(t.pages)/4)
	homes := t.homes - fewer*indexPageSlots
	if homes <= 0 || t.n >= t.homes*7/16 || t.n > homes*5/8 {
		return
	}
	before, keep := len(t.pages), t.shrink(&x.seeds, fewer)
	clear(t.pages[keep:])
	t.pages = t.pages[:keep]
	x.give(int64(before-keep) * indexPageBytes)
	x.trim(t)
}

// trim gives a table a shorter list of its pages where that is worth it. It needs
// memory for a moment, and does nothing if there is none.
func (x *index) trim(t *indexTable) {
	before, room := cap(t.pages), len(t.pages)+len(t.pages)/4+4
	if before < 2*room || !x.take(listBytes(room)) {
		return
	}
	t.pages = append(make([]*indexPage, 0, room), t.pages...)
	x.give(listBytes(before))
}

// empty takes all memory from a shard.
func (x *index) empty(s *indexShard) {
	t := &s.table
	if len(t.pages) == 0 {
		return
	}
	bytes := shardBytes + int64(len(t.pages))*indexPageBytes + listBytes(cap(t.pages))
	*t = indexTable{}
	x.give(bytes)
}

// listBytes is at least what the allocator takes for a list of pages: its size classes
// and headers waste less than a quarter and 16 bytes, whole pages of 8 KiB less than
// one.
func listBytes(room int) int64 {
	if room == 0 {
		return 0
	}
	n := int64(room) * 8
	if n > 32<<10-16 {
		return n + 8192 + 16
	}
	return n + n/4 + 16
}

// take reserves n bytes, of the index's own bound and of the budget.
func (x *index) take(n int64) bool {
	for {
		taken := x.taken.Load()
		if x.options.MaxBytes > 0 && taken+n > x.options.MaxBytes {
			return false
		}
		if x.taken.CompareAndSwap(taken, taken+n) {
			break
		}
	}
	if x.options.Reserve != nil && !x.options.Reserve(n) {
		x.taken.Add(-n)
		return false
	}
	return true
}

// give releases n bytes.
func (x *index) give(n int64) {
	x.taken.Add(-n)
	if x.options.Release != nil {
		x.options.Release(n)
	}
}
