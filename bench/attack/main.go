// Attack holds and floods a perigee on loopback, in ways that have brought down
// others, and beside that asks it as a normal client does, to see what that client
// suffers. All of it is bounded in count and in time, and nothing but an address of
// 127.0.0.0/8 is ever dialled.
//
// "attack MODE" is the attacker; "attack watch … -- COMMAND" runs an attacker as a
// process of its own, is the normal client meanwhile, and judges. Start reading at
// modes, below, then h1.go and h2.go (attackers), watch.go and normal.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What bounds an attack, whatever its flags say.
const (
	longest         = 20 * time.Second
	mostConnections = 8000
	mostSent        = 1_000_000_000 // frames and requests
	mostDials       = 200_000
)

// attack is one run of a mode.
type attack struct {
	clear, tls  string // addresses of perigee
	connections int
	readers     int // of mode idle: slow readers beside it
	ramp        int // connections begun per second by modes that hold
	tally       tally
	dials       atomic.Int64
}

// tally is what an attacker counts. The JSON is what watch reads.
type tally struct {
	sent   atomic.Int64 // frames and requests written
	opened atomic.Int64 // connections
	cut    atomic.Int64 // of those, ended by the server while the attacker wanted to go on
	failed atomic.Int64 // dials and handshakes that came to nothing
	resets atomic.Int64 // RST_STREAM from the server

	mu     sync.Mutex     // guards goaway
	goaway map[string]int // by error code, from the server
}

// report is a tally at its end.
type report struct {
	Sent   int64          `json:"sent"`
	Opened int64          `json:"opened"`
	Cut    int64          `json:"cut"`
	Failed int64          `json:"failed"`
	Resets int64          `json:"resets"`
	Goaway map[string]int `json:"goaway,omitempty"`
}

func (t *tally) left(code string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.goaway == nil {
		t.goaway = make(map[string]int)
	}
	t.goaway[code]++
}

func (t *tally) report() report {
	t.mu.Lock()
	defer t.mu.Unlock()
	return report{t.sent.Load(), t.opened.Load(), t.cut.Load(), t.failed.Load(), t.resets.Load(), maps.Clone(t.goaway)}
}

// mode is one way of attacking. It returns when ctx ends, or when its bounds are
// reached.
type mode struct {
	connections int // unless flags say otherwise
	ramp        int // likewise
	run         func(*attack, context.Context)
}

// modes are the ways of attacking by name.
func modes() map[string]mode {
	return map[string]mode{
		"rapid-reset":      {16, 500, rapidReset("/size/1024?cc=max-age%3D3600&attack")},
		"rapid-reset-miss": {16, 500, rapidReset("/size/1024?delay=200ms&miss=")},
		"made-you-reset":   {16, 500, madeYouReset},
		"continuation":     {16, 500, continuation},
		"settings":         {16, 500, settings},
		"ping":             {16, 500, pings},
		"hpack-bomb":       {16, 500, hpackBomb},
		"crumbs-held":      {64, 500, crumbsHeld},
		"zero-window":      {64, 500, zeroWindow},
		"handshakes":       {16, 500, handshakes},
		"slow-headers":     {1000, 500, slowHeaders},
		"slow-body":        {1000, 500, slowBody},
		"slow-read":        {1000, 500, slowRead},
		"idle":             {5000, 1500, idle},
		"range-bomb":       {16, 500, rangeBomb},
		"pipeline":         {16, 500, pipeline},
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "attack: watch, or one of", strings.Join(slices.Sorted(maps.Keys(modes())), ", "))
		os.Exit(2)
	}
	name, run := os.Args[1], strike
	if name == "watch" {
		run = watch
	}
	if err := run(name, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "attack %s: %v\n", name, err)
		os.Exit(1)
	}
}

// strike runs the attacker of a mode and prints its tally as JSON.
func strike(name string, args []string) error {
	m, ok := modes()[name]
	if !ok {
		return errors.New("no such mode")
	}
	a := &attack{}
	f := flag.NewFlagSet(name, flag.ExitOnError)
	f.StringVar(&a.clear, "http", "", "`address` of perigee in clear")
	f.StringVar(&a.tls, "https", "", "`address` of perigee with TLS")
	f.IntVar(&a.connections, "connections", m.connections, "connections at once")
	f.IntVar(&a.readers, "readers", 1000, "slow readers beside the idle connections (mode idle)")
	f.IntVar(&a.ramp, "ramp", m.ramp, "connections begun in a second (modes that hold connections)")
	duration := f.Duration("duration", 10*time.Second, "how long, 20 s at most")
	f.Parse(args)
	for _, addr := range []string{a.clear, a.tls} {
		if err := onlyLoopback(addr); err != nil {
			return err
		}
	}
	if a.connections < 1 || a.readers < 0 || a.ramp < 1 || a.connections+a.readers > mostConnections {
		return fmt.Errorf("1 to %d connections, readers and a ramp that are not negative", mostConnections)
	}
	ctx, end := context.WithTimeout(context.Background(), min(*duration, longest))
	defer end()
	m.run(a, ctx)
	return json.NewEncoder(os.Stdout).Encode(a.tally.report())
}

// onlyLoopback refuses every address that is not a number in 127.0.0.0/8.
func onlyLoopback(addr string) error {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", addr, err)
	}
	if !at.Addr().Is4() || !at.Addr().IsLoopback() {
		return fmt.Errorf("address %s: only 127.0.0.0/8 is ever attacked", addr)
	}
	return nil
}

// source is the i-th address that attackers come from: 200 connections each, below
// what perigee takes from one client.
func source(i int) net.IP {
	const each = 200
	return net.IPv4(127, 0, byte(1+i/each/250), byte(1+i/each%250))
}

// dial opens the i-th connection, which is closed when ctx ends.
func (a *attack) dial(ctx context.Context, i int, addr string) (net.Conn, error) {
	if a.dials.Add(1) > mostDials {
		return nil, errSpent
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: source(i)}, Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		if ctx.Err() == nil {
			a.tally.failed.Add(1)
		}
		return nil, err
	}
	a.tally.opened.Add(1)
	return closing{c, context.AfterFunc(ctx, func() { _ = c.Close() })}, nil
}

// errSpent ends an attacker that has done as much as it may.
var errSpent = errors.New("the bound on what an attack may do is reached")

// closing is a connection that the end of a context closes.
type closing struct {
	net.Conn
	forget func() bool
}

func (c closing) Close() error {
	c.forget()
	return c.Conn.Close()
}

// each runs one attacker per connection, number by number at the ramp when it is
// slow, all at once otherwise, and waits for all.
func (a *attack) each(ctx context.Context, n int, slowly bool, one func(i int)) {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(time.Second / time.Duration(a.ramp))
	defer tick.Stop()
	for i := range n {
		if slowly {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		all.Go(func() { one(i) })
	}
}

// again runs one, which holds one connection until the server cuts it, over and over.
func (a *attack) again(ctx context.Context, one func() error) {
	for ctx.Err() == nil {
		if errors.Is(one(), errSpent) {
			return
		}
		wait(ctx, 10*time.Millisecond)
	}
}

// wait returns after d, or when ctx ends; it reports whether ctx still lives.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// count adds to what has been sent, until that is too much.
func (a *attack) count(n int64) error {
	if a.tally.sent.Add(n) > mostSent {
		return errSpent
	}
	return nil
}

// lost counts a connection that the server has ended, and is err.
func (a *attack) lost(ctx context.Context, err error) error {
	if ctx.Err() == nil && !errors.Is(err, errSpent) {
		a.tally.cut.Add(1)
	}
	return err
}
