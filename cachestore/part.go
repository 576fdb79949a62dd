package cachestore

import "slices"

// A part (RFC 9111 §3.3) fills an extent of its own. While it arrives, the fill's
// object shows it beside the extents of its base. Once it is whole, the extents that
// the tier has at that moment and this one make a new object, whatever the base was:
// what has left the tier meanwhile does not come back, and what failed was never in.

const (
	// uniteTries is how often a part is fitted to what the tier has, when that changes
	// meanwhile.
	uniteTries = 4
	// maxMarks is how many marks an object may gather from its parts.
	maxMarks = 4096
)

func (f *Fill) beginPart(with Beginning) {
	length, o := with.Part.Length(), f.object
	tooLarge := with.MaxBytes > 0 && with.Size > with.MaxBytes
	if tooLarge {
		f.spillMax = 0
	}
	f.body = newBody(f.store.budget, &f.store.counts, length)
	f.part = extent{off: with.Part.First, end: with.Part.Last + 1, body: f.body}
	o.row, o.size = []extent{f.part}, with.Size
	var base []extent
	if f.shares(with.Base) && !f.store.gone(with.Base) {
		base = shown(with.Base.extents())
		// What strikes the bytes that are shown strikes who shows them.
		o.born, o.marks = o.born.earlier(with.Base.born), joinMarks(with.Base.marks, o.marks)
	}
	o.weigh(1 + len(base))
	if row := unite(base, f.part); row != nil && !slices.Contains(fit(row, f.part), f.part) {
		f.store.counts.refused.Add(1)
		f.pass()
	} else {
		f.prepay(tooLarge || length > f.maxBytes)
	}
	// Only now, so that the base could leave the tier to make room for the part.
	for _, e := range base {
		if e.body.retain() {
			o.row = append(o.row, e)
		}
	}
	// The part stays before an equal one that others fetch: that may fail them.
	slices.SortStableFunc(o.row, byOffset)
}

// shares tells whether o is of the representation that f brings a part of, so that
// the two may be combined (RFC 9111 §3.4).
func (f *Fill) shares(o *Object) bool {
	if o == nil || !f.object.stored.SameRepresentation(o.stored) {
		return false
	}
	size, known := o.Size()
	return known && size == f.object.size
}

// shown is what a part that arrives shows of its base: at most maxExtents extents,
// and before those that still arrive too those that are here.
func shown(base []extent) []extent {
	base = slices.Clone(liveRow(base))
	if len(base) <= maxExtents {
		return base
	}
	slices.SortStableFunc(base, func(a, b extent) int {
		switch {
		case a.body.sealed.Load() == b.body.sealed.Load():
			return 0
		case a.body.sealed.Load():
			return -1
		}
		return 1
	})
	base = base[:maxExtents]
	slices.SortFunc(base, byOffset)
	return base
}

// keepPart gives the tier an object of what it has and the part that has come, and
// returns it; nil if the tier did not take it.
func (f *Fill) keepPart() *Object {
	s := f.store
	for range uniteTries {
		there := s.atHome(f.object)
		row := f.rowBeside(there)
		if row == nil {
			return nil
		}
		o := f.united(there, row)
		if !o.retain() {
			continue
		}
		if !s.home.Reserve(o, o.metaBytes) {
			o.release()
			break
		}
		if s.home.Replace(there, o) {
			return o
		}
		o.Drop()
	}
	s.counts.refused.Add(1)
	return nil
}

// atHome is what the tier has under o's key and variant that is valid, nil for
// nothing.
func (s *Store) atHome(o *Object) *Object {
	var room [4]*Object
	for _, each := range s.home.Get(o.key, room[:0]) {
		if each.Variant() != o.Variant() {
			continue
		}
		switch {
		case s.gone(each):
			s.discard(each)
		case s.depot != nil && !each.sound():
			s.home.Discard(each)
		default:
			return each
		}
	}
	return nil
}

// rowBeside is the row in which the part is to be stored, given what is stored; nil,
// and counted, if it is not to be.
func (f *Fill) rowBeside(there *Object) []extent {
	counts := &f.store.counts
	switch {
	case there == nil:
		return []extent{f.part}
	case !f.shares(there):
		if f.yieldsTo(there) {
			counts.surplus.Add(1)
			return nil
		}
		return []extent{f.part}
	}
	row := fit(unite(there.extents(), f.part), f.part)
	switch {
	case row == nil:
		counts.surplus.Add(1)
	case f.store.tooLong(row):
		counts.tooLarge.Add(1)
		return nil
	case !slices.Contains(row, f.part) || len(f.marksBeside(there)) > maxMarks:
		counts.refused.Add(1)
		return nil
	}
	return row
}

// tooLong tells whether the bodies of row are too much for one representation: for
// memory, or where there is a depot for both.
func (s *Store) tooLong(row []extent) bool {
	most, held := s.maxBytes, cost(row)
	if s.depot != nil {
		most, held = max(most, s.depot.MaxBytes()), 0
		for _, e := range row {
			held += e.end - e.off
		}
	}
	return held > most
}

// cost is what the bodies of row take of the budget.
func cost(row []extent) (n int64) {
	for _, e := range row {
		n += e.body.cost()
	}
	return n
}

// yieldsTo tells whether there, another representation or one that cannot be told
// to be the same, is worth more than the part: the newer one is, and of two that
// came at once the whole one.
func (f *Fill) yieldsTo(there *Object) bool {
	order := there.stored.ResponseTime().Compare(f.object.stored.ResponseTime())
	return order > 0 || order == 0 && !there.Partial()
}

// united is a new object of row. Where there is of the same representation, the
// newer metadata stands for both (RFC 9111 §3.4), and what would invalidate either
// invalidates it.
func (f *Fill) united(there *Object, row []extent) *Object {
	part := f.object
	o := &Object{
		key: part.key, label: part.label, stored: part.stored, budget: part.budget,
		row: row, size: part.size, born: part.born, marks: part.marks,
	}
	if there != nil && f.shares(there) {
		if there.stored.ResponseTime().After(part.stored.ResponseTime()) {
			o.label, o.stored = there.label, there.stored
		}
		o.born = there.born.earlier(part.born)
		o.marks = f.marksBeside(there)
	}
	if covers(row, -1, 0, o.size) {
		o.representation = f.store.nameBody()
	}
	o.weigh(len(row))
	return o
}

// marksBeside are the marks of there and of the part, each once.
func (f *Fill) marksBeside(there *Object) []Mark {
	return joinMarks(there.marks, f.object.marks)
}

// joinMarks are all of both, each once.
func joinMarks(marks, more []Mark) []Mark {
	if len(marks) == 0 {
		return more
	}
	known := make(map[Mark]bool, len(marks))
	for _, mark := range marks {
		known[mark] = true
	}
	joined := slices.Clip(marks)
	for _, mark := range more {
		if !known[mark] {
			joined = append(joined, mark)
		}
	}
	return joined
}
