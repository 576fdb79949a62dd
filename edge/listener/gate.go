package listener

import (
	"net/netip"
	"sync"
)

// Refusal is why a connection was closed right after it was accepted.
type Refusal uint8

// The refusals. The zero value is none.
const (
	RefusalNone  Refusal = iota
	RefusalTotal         // Limits.Connections were open
	RefusalPerIP         // Limits.ConnectionsPerIP were open from that client
	numRefusals
)

// String is the refusal as metrics and logs name it.
func (r Refusal) String() string {
	switch r {
	case RefusalNone:
		return "none"
	case RefusalTotal:
		return "connections"
	case RefusalPerIP:
		return "connections_per_ip"
	}
	return "unknown"
}

// gate counts connections. One lock for all: it is taken twice in the life of a
// connection, which costs next to nothing beside the accept itself (BenchmarkGate).
type gate struct {
	// mu guards everything below, and released and hijacked of each conn.
	mu       sync.Mutex
	limits   Limits
	open     int
	perIP    map[netip.Addr]int // only clients with open connections: never more than open
	hijacked int

	accepted uint64
	refused  [numRefusals]uint64
	taken    uint64 // hijacked ever
}

func (g *gate) setLimits(l Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = l
	if g.perIP == nil {
		g.perIP = make(map[netip.Addr]int)
	}
}

// admit counts c in, unless a limit is reached.
func (g *gate) admit(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limits.Connections > 0 && g.open >= g.limits.Connections {
		g.refused[RefusalTotal]++
		return false
	}
	if c.from.IsValid() {
		n := g.perIP[c.from]
		if g.limits.ConnectionsPerIP > 0 && n >= g.limits.ConnectionsPerIP {
			g.refused[RefusalPerIP]++
			return false
		}
		g.perIP[c.from] = n + 1
	}
	g.open++
	g.accepted++
	return true
}

// release counts c out, once.
func (g *gate) release(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.released {
		return
	}
	c.released = true
	g.open--
	if c.hijacked {
		g.hijacked--
	}
	if !c.from.IsValid() {
		return
	}
	if n := g.perIP[c.from]; n > 1 {
		g.perIP[c.from] = n - 1
	} else {
		delete(g.perIP, c.from)
	}
}

// hijack notes that c is now the Answerer's.
func (g *gate) hijack(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken++
	if !c.released {
		c.hijacked = true
		g.hijacked++
	}
}
