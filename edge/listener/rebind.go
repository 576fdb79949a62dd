package listener

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// want is an address to be bound and what is spoken on it.
type want struct {
	addr   string
	secure bool
}

func (s *Set) wants(http, https []string) ([]want, error) {
	if len(https) > 0 && s.options.Certificates == nil {
		return nil, errors.New("listener: HTTPS addresses need Certificates")
	}
	var ws []want
	for _, a := range http {
		ws = append(ws, want{addr: a})
	}
	for _, a := range https {
		ws = append(ws, want{addr: a, secure: true})
	}
	seen := make(map[string]bool)
	for _, w := range ws {
		// Port 0 is another port each time.
		if seen[w.addr] && !strings.HasSuffix(w.addr, ":0") {
			return nil, fmt.Errorf("listen on %s: the address is listed twice; remove one", w.addr)
		}
		seen[w.addr] = true
	}
	return ws, nil
}

// bind gives a door for each want, taking those of held whose address is the same
// and binding the others. On an error nothing new stays bound.
func (s *Set) bind(wants []want, held []*door) ([]*door, error) {
	held = slices.Clone(held)
	var doors, fresh []*door
	for _, w := range wants {
		if d := takeDoor(&held, w); d != nil {
			doors = append(doors, d)
			continue
		}
		l, err := s.options.Listen("tcp", w.addr)
		if err != nil {
			for _, d := range fresh {
				_ = d.listener.Close() // never served: nothing can be lost
			}
			return nil, explainBind(w.addr, err, held)
		}
		d := newDoor(s, w.addr, l)
		doors, fresh = append(doors, d), append(fresh, d)
	}
	return doors, nil
}

// takeDoor removes and returns the held door for w: one that speaks the same if
// there is one, else any on that address.
func takeDoor(held *[]*door, w want) *door {
	i := slices.IndexFunc(*held, func(d *door) bool { return d.addr == w.addr && d.secure() == w.secure })
	if i < 0 {
		i = slices.IndexFunc(*held, func(d *door) bool { return d.addr == w.addr })
	}
	if i < 0 {
		return nil
	}
	d := (*held)[i]
	*held = slices.Delete(*held, i, i+1)
	return d
}

// Rebind changes the addresses while serving. New ones are bound first; if one
// cannot be, nothing changes. Addresses are compared as written; unchanged ones keep
// their sockets, also when they change between HTTP and HTTPS. Connections of
// removed ones finish their running responses in the background, at most
// Options.Drain long.
func (s *Set) Rebind(http, https []string) error {
	s.change.Lock()
	defer s.change.Unlock()
	if s.closed {
		return ErrClosed
	}
	wants, err := s.wants(http, https)
	if err != nil {
		return err
	}
	old := s.doors
	doors, err := s.bind(wants, old)
	if err != nil {
		return err
	}
	for i, d := range doors {
		if !slices.Contains(old, d) {
			s.open(d, wants[i].secure)
		} else if d.secure() != wants[i].secure {
			s.swap(d, wants[i].secure)
		}
	}
	s.mu.Lock()
	s.doors = doors
	s.mu.Unlock()
	for _, d := range old {
		if !slices.Contains(doors, d) {
			d.close()
			s.retire(d.engine.Load(), s.drainBounded)
		}
	}
	return nil
}

// SetLimits changes the limits while serving. Fewer connections than are open means
// that new ones are refused until enough have closed. New times and sizes hold for
// new connections. The present ones keep theirs: on HTTP/1.1 until the next response,
// which asks the client to close, on HTTP/2 until they end. None is cut.
func (s *Set) SetLimits(l Limits) {
	l = l.withDefaults()
	s.change.Lock()
	defer s.change.Unlock()
	if s.closed {
		return
	}
	same := s.limits.sameEngine(l)
	s.limits = l
	s.gate.setLimits(l)
	if same {
		return
	}
	for _, d := range s.doors {
		s.swap(d, d.secure())
	}
}

// open gives a bound door its first engine and starts its accept loop, which waits
// for Serve. The caller holds change.
func (s *Set) open(d *door, secure bool) {
	d.engine.Store(s.newEngine(secure))
	s.tasks.Go(d.accept)
}

// swap sends a door's new connections to a new engine and lets the old one fade. The
// caller holds change.
func (s *Set) swap(d *door, secure bool) {
	old := d.engine.Swap(s.newEngine(secure))
	s.retire(old, func(e *engine) { e.fade(s.life) })
}

func (s *Set) drainBounded(e *engine) {
	ctx, cancel := context.WithTimeout(s.life, s.options.Drain)
	defer cancel()
	if cut := e.drain(ctx); cut > 0 && s.life.Err() == nil {
		s.log.Warn("connections of a removed address were cut", "connections", cut, "after", s.options.Drain)
	}
}

// retire ends e in the background, by drain or fade.
func (s *Set) retire(e *engine, end func(*engine)) {
	s.tasks.Go(func() {
		end(e)
		s.mu.Lock()
		delete(s.engines, e)
		s.mu.Unlock()
	})
}
