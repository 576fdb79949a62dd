package cachestore

import (
	"slices"

	"perigee/httpcache"
)

// Memory above, a depot beneath: what both have under a key and variant is the same, or
// memory has it alone. Whoever finds that it has become otherwise lets go what memory
// has, since the depot decides what is there after the next start.

// getBelow is Get for what has been found so far: what is arriving from the index from
// on, what memory has from home on.
func (s *Store) getBelow(key httpcache.Key, buf []*Object, from, home int) []*Object {
	buf = s.soundest(s.valid(buf, home), home)
	recalled := len(buf)
	buf = s.depot.Recall(key, buf[home:], buf)
	if len(buf) > recalled {
		s.counts.recalled.Add(int64(len(buf) - recalled))
		buf = s.valid(buf, recalled)
		buf = buf[:recalled+len(unlike(buf[recalled:], buf[from:home]))]
		buf = s.offer(buf, recalled)
	}
	if home == from {
		return buf
	}
	return s.valid(once(buf, from, home), from)
}

// soundest takes those out of objects, which memory has from the given index on, that are
// just on their way in, and those whose bytes are not to be had any more; these out of
// memory too: their place would be taken for ever.
func (s *Store) soundest(objects []*Object, from int) []*Object {
	kept := objects[:from]
	for _, o := range objects[from:] {
		if o.unproven.Load() {
			continue
		}
		if o.sound() {
			kept = append(kept, o)
			continue
		}
		s.depot.Discard(o)
		s.home.Discard(o)
	}
	return kept
}

// unlike is recalled without what is shown already, because its fill is just being kept.
func unlike(recalled, arriving []*Object) []*Object {
	if len(arriving) == 0 {
		return recalled
	}
	return slices.DeleteFunc(recalled, func(o *Object) bool {
		return slices.ContainsFunc(arriving, func(each *Object) bool {
			return each == o || each.ref.Load() != 0 && each.ref.Load() == o.ref.Load()
		})
	})
}

// once takes what is arriving, from the index from to that of home, out of objects where
// memory has it already.
func once(objects []*Object, from, home int) []*Object {
	for i := home - 1; i >= from; i-- {
		if slices.Contains(objects[home:], objects[i]) {
			objects = slices.Delete(objects, i, i+1)
			home--
		}
	}
	return objects
}

// atDepot is what the depot alone has under o's key and variant that is valid, nil for
// nothing.
func (s *Store) atDepot(o *Object) *Object {
	var room [4]*Object
	have := s.home.Get(o.key, room[:0])
	for _, each := range s.depot.Recall(o.key, have, have)[len(have):] {
		if each.Variant() != o.Variant() {
			continue
		}
		if !s.gone(each) {
			return each
		}
		s.discard(each)
	}
	return nil
}

// inMemory is what memory has under o's key and variant, nil for nothing.
func (s *Store) inMemory(o *Object) *Object {
	var room [4]*Object
	for _, each := range s.home.Get(o.key, room[:0]) {
		if each.Variant() == o.Variant() {
			return each
		}
	}
	return nil
}

// twin is another object in memory of the very record that o was made of, whose bytes
// have been brought up since o was found; nil for none.
func (s *Store) twin(o *Object) *Object {
	ref := o.ref.Load()
	if s.depot == nil || ref == 0 {
		return nil
	}
	if there := s.inMemory(o); there != nil && there != o && there.ref.Load() == ref {
		return there
	}
	return nil
}

// keepBelow gives both tiers what has come, and returns the object that it is stored as,
// nil if neither took it. owned tells that what the fill's object holds is memory's now.
func (f *Fill) keepBelow() (kept *Object, owned bool) {
	if !f.store.turns.take(f.object.key) {
		f.store.counts.refused.Add(1)
		return nil, false
	}
	defer f.store.turns.give(f.object.key)
	if f.object.body == nil {
		return f.keepPartBelow(), false
	}
	if f.spill == nil {
		return f.keepWhole()
	}
	return f.keepSpilled()
}

// keepWhole is keepBelow for a body in memory.
func (f *Fill) keepWhole() (kept *Object, owned bool) {
	s, o := f.store, f.object
	if !o.retain() { // memory may let it go while the disk writes
		return nil, false
	}
	defer o.release()
	if owned = s.home.Put(o); owned && f.removed.Load() {
		return o, owned // and not seen for as long as the disk takes
	}
	took := s.putBelow(o)
	if !owned && !took {
		s.counts.refused.Add(1)
		return nil, false
	}
	if !owned {
		s.leaveOthers(o)
	} else if there := s.inMemory(o); took && there != nil && there != o && there.body == o.body {
		s.depot.Freshen(o, there) // it was freshened before the depot knew it
	}
	return o, owned
}

// keepSpilled is keepBelow for a body that is in the depot already.
func (f *Fill) keepSpilled() (kept *Object, owned bool) {
	s, o := f.store, f.object
	if f.removed.Load() {
		return nil, false
	}
	if !s.putBelow(o) {
		s.counts.refused.Add(1)
		return nil, false
	}
	f.body.keepSpill()
	if owned = !f.bare && s.home.Put(o); !owned {
		s.leaveOthers(o)
	}
	return o, owned
}

// putBelow is the depot's Put, counted.
func (s *Store) putBelow(o *Object) bool {
	return s.countBelow(s.depot.Put(o))
}

func (s *Store) countBelow(took bool) bool {
	if took {
		s.counts.depotStored.Add(1)
	} else {
		s.counts.depotRefused.Add(1)
	}
	return took
}

// leaveOthers lets go what memory has in the place of o, which the depot alone has. It
// looks again each time: what is there may just have been freshened or brought up.
func (s *Store) leaveOthers(o *Object) {
	for there := s.inMemory(o); there != nil && there != o; there = s.inMemory(o) {
		s.home.Discard(there)
	}
}

// keepPartBelow is keepPart for both tiers.
func (f *Fill) keepPartBelow() *Object {
	s := f.store
	for range uniteTries {
		if f.removed.Load() {
			return nil
		}
		there := s.atHome(f.object)
		inMemory := there != nil
		if there == nil {
			there = s.atDepot(f.object)
		}
		row := f.rowBeside(there)
		if row == nil {
			return nil
		}
		o := f.united(there, row)
		if !o.retain() {
			continue
		}
		reserved := cost(row) <= s.maxBytes && s.home.Reserve(o, o.metaBytes)
		var kept, owned bool
		if inMemory && reserved {
			kept, owned = f.uniteAbove(there, o)
		} else {
			kept, owned = f.uniteBelow(there, o, inMemory, reserved)
		}
		switch {
		case !owned && reserved:
			o.Drop()
		case !owned:
			o.release()
		}
		if kept {
			return o
		}
		if owned {
			break
		}
	}
	s.counts.refused.Add(1)
	return nil
}

// uniteAbove puts o, which is there and the part that has come, in the place of there, which
// memory has. That nothing has changed means that it is to be tried again.
func (f *Fill) uniteAbove(there, o *Object) (kept, owned bool) {
	s := f.store
	if !o.retain() { // memory may let it go while the disk writes
		return false, false
	}
	defer o.release()
	if !s.home.Replace(there, o) {
		return false, false
	}
	if f.removed.Load() {
		return true, true
	}
	took := s.putBelow(o)
	switch {
	case f.spill == nil:
	case took:
		f.body.keepSpill()
	default:
		s.home.Discard(o) // its part is not in memory, and nowhere else
		return false, true
	}
	return true, true
}

// uniteBelow puts o in the place of there, which is nil or in the depot alone, or which
// memory has but has no room for o.
func (f *Fill) uniteBelow(there, o *Object, inMemory, reserved bool) (kept, owned bool) {
	s := f.store
	var took bool
	if there == nil || inMemory {
		took = s.depot.Put(o)
	} else {
		took = s.depot.Replace(there, o)
	}
	if s.countBelow(took) {
		if f.spill != nil {
			f.body.keepSpill()
		}
		s.leaveOthers(o)
		return true, reserved && s.home.Replace(nil, o)
	}
	if there == nil && reserved && f.spill == nil {
		owned = s.home.Replace(nil, o)
	}
	return owned, owned
}

// freshenBelow puts o, which has the bodies of old and holds them, in the place of old in
// both tiers. The depot comes first: what is just on its way up into memory asks whether
// it is still there when it has arrived.
//
// Where memory does not have old, o comes into it only if old is what the depot has, and
// nobody is about to change that: the depot may yet refuse o.
func (s *Store) freshenBelow(old, o *Object) {
	alone := s.turns.try(o.key)
	if alone {
		defer s.turns.give(o.key)
	}
	current := alone && s.depot.Current(old)
	s.depot.Freshen(old, o)
	if !s.home.Reserve(o, o.metaBytes) {
		o.release()
		s.counts.refused.Add(1)
		if s.depot.Current(o) {
			s.home.Discard(old)
		}
		return
	}
	if s.home.Replace(old, o) {
		return
	}
	if twin := s.twin(old); twin != nil && s.home.Replace(twin, o) {
		return
	}
	if !current || !s.place(o) {
		o.Drop()
		s.counts.refused.Add(1)
	}
}

// allBelow is All where there is a depot.
func (s *Store) allBelow(yield func(*Object) bool) {
	for o := range s.home.All() {
		if !yield(o) {
			return
		}
	}
	for o := range s.depot.All() {
		if s.inMemory(o) == nil && !yield(o) {
			return
		}
	}
}
