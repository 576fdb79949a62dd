package cachestore

// Verdict is what a Guard says of an object.
type Verdict uint8

const (
	Valid    Verdict = iota
	Soft             // past its lifetime, whatever it was
	Doubtful         // may have been made invalid: it is validated before it is sent (RFC 9111 §4.4)
	Gone             // nobody gets it any more, and it validates nothing
)

// Guard says what was invalidated since it was fetched. It is asked on each look-up,
// by many goroutines at once, and must not wait for anything.
type Guard interface {
	Verdict(o *Object) Verdict
}

// Watch makes g the one that is asked. It is called once, before anything is stored.
func (s *Store) Watch(g Guard) { s.guard = g }

// gone tells whether o is not to be seen any more.
func (s *Store) gone(o *Object) bool { return s.guard != nil && s.guard.Verdict(o) == Gone }

// valid takes what is gone out of objects, those before the index from aside, and out
// of the tier: it would else be joined with parts that are fetched anew.
func (s *Store) valid(objects []*Object, from int) []*Object {
	kept := objects[:from]
	for _, o := range objects[from:] {
		switch {
		case !s.gone(o):
			kept = append(kept, o)
		case !o.Filling():
			s.discard(o)
		}
	}
	return kept
}

// Sweep looks at everything that is stored or arriving and lets go what is gone, so
// that its room is free before anybody asks for it. What the guard knew before a sweep
// began strikes nothing in memory after it; what is in the depot alone is let go when
// somebody asks for it. It returns how much was let go.
func (s *Store) Sweep() (n int) {
	swept := s.fills.sweep(s.gone)
	s.counts.removed.Add(int64(swept))
	n = swept
	for o := range s.home.All() {
		if s.gone(o) {
			s.discard(o)
			n++
		}
	}
	return n
}

func (s *Store) discard(o *Object) {
	below := s.depot != nil && s.depot.Discard(o)
	if s.home.Discard(o) || below {
		s.counts.removed.Add(1)
	}
}
