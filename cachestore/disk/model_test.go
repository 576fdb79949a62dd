package disk

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"perigee/cachestore"
	"perigee/internal/faultfs"
	"perigee/internal/storetest"
)

// The model of a depot is a map. What a look-up shows is what the map has, with every
// byte, or nothing where something may have been let go or lost.

// slotOf is a key and a variant.
type slotOf struct {
	key  int
	vary string
}

type modelRun struct {
	*bare
	rt      *rapid.T
	story   []string         // what was done
	current map[slotOf]int64 // birth of what was stored last
	seed    int
	// lossy tells that something may be missing, because room was made or the disk failed
	// before the start.
	lossy bool
	// trouble tells that the disk has failed since the start: anything may be missing,
	// and at the next start what had left may be back.
	trouble bool
}

const modelKeys = 6

var modelSizes = []int{0, 1, 700, 20_000, blockBytes + 1, inlineBytes, inlineBytes + 1, 900_000}

// aSlot is any slot: some keys have variants.
func (m *modelRun) aSlot() slotOf {
	s := slotOf{key: rapid.IntRange(0, modelKeys-1).Draw(m.rt, "key")}
	if s.key >= modelKeys-2 {
		s.vary = rapid.SampledFrom([]string{"en", "sk"}).Draw(m.rt, "language")
	}
	return s
}

// aVersion is one that nobody has seen yet.
func (m *modelRun) aVersion(s slotOf, sizes ...int) version {
	m.seed++
	v := versionOf(s.key, m.seed%7, rapid.SampledFrom(sizes).Draw(m.rt, "bytes"))
	v.vary = s.vary
	v.etag = fmt.Sprint(m.seed)
	return v
}

// stored notes what became of a Put.
func (m *modelRun) stored(s slotOf, born int64, ok bool) {
	if !ok {
		if !m.trouble {
			m.t.Fatalf("%v is refused: %+v", s, m.depot.Stats())
		}
		delete(m.current, s)
		return
	}
	m.current[s] = born
	m.tell("birth %d is %v", born, s)
}

func (m *modelRun) tell(format string, args ...any) {
	m.story = append(m.story, fmt.Sprintf(format, args...))
}

func (m *modelRun) put() {
	s := m.aSlot()
	o, ok := m.bare.put(m.aVersion(s, modelSizes...))
	m.stored(s, o.Born().Seq, ok)
}

func (m *modelRun) spill() {
	s := m.aSlot()
	if m.bare.spill(m.aVersion(s, 0, 1000, pieceBytes, pieceBytes+1, 700_000)) {
		m.stored(s, m.births, true)
	} else if !m.trouble && m.depot.Stats().Evicted == 0 { // its own beginning may have gone
		m.t.Fatalf("a spill is refused: %+v", m.depot.Stats())
	} else {
		m.check(s.key) // what was there may be there still, if Put was not reached
	}
}

// parts stores some parts of a representation one after the other.
func (m *modelRun) parts() {
	s := m.aSlot()
	v := m.aVersion(s, 1000, 300_000, 900_000)
	at := 0
	for range rapid.IntRange(1, 3).Draw(m.rt, "parts") {
		first := at + rapid.IntRange(0, v.size/8).Draw(m.rt, "first")
		end := first + rapid.IntRange(1, v.size/5).Draw(m.rt, "length")
		at = end
		o, ok := m.putPart(v, first, end)
		if !ok && m.depot.Stats().Evicted > 0 {
			delete(m.current, s) // a part that is there already may have gone
			break
		}
		m.stored(s, o.Born().Seq, ok)
	}
	m.forge.Remove(v.key)
}

// kept is an object that is shown; nil if the key that was drawn shows none.
func (m *modelRun) kept() (s slotOf, v version, o *cachestore.Object) {
	s = m.aSlot()
	for _, o := range m.depot.Recall(storetest.Key(s.key), nil, nil) {
		if v, _ := m.bare.check(o.Key(), o); v.vary == s.vary {
			return s, v, o
		}
	}
	return s, v, nil
}

func (m *modelRun) freshenOne() {
	s, v, o := m.kept()
	if o == nil {
		return
	}
	fresh := m.freshen(v, o)
	m.settle()
	if m.depot.Current(fresh) {
		m.current[s] = fresh.Born().Seq
		m.tell("%v from %d to %d", s, o.Born().Seq, fresh.Born().Seq)
	} else if !m.trouble && !m.lossy {
		m.t.Fatalf("%v is not freshened: %+v", s, m.depot.Stats())
	}
}

func (m *modelRun) remove() {
	s := m.aSlot()
	m.depot.Remove(storetest.Key(s.key))
	m.forget(s.key)
	m.tell("key %d", s.key)
}

func (m *modelRun) forget(key int) {
	for s := range m.current {
		if s.key == key {
			delete(m.current, s)
		}
	}
}

func (m *modelRun) discard() {
	s, _, o := m.kept()
	if o == nil {
		return
	}
	if !m.depot.Discard(o) {
		m.t.Fatalf("%v was shown a moment ago, and Discard finds nothing", s)
	}
	delete(m.current, s)
	m.tell("%v", s)
}

func (m *modelRun) touch() {
	if _, _, o := m.kept(); o != nil {
		m.depot.Touch(o)
	}
}

// flood has room be made.
func (m *modelRun) flood() {
	for i := range rapid.IntRange(1, 12).Draw(m.rt, "bodies") {
		m.seed++
		m.bare.put(versionOf(100+m.seed%50, i, 250_000))
	}
}

// check compares what a key shows with the map.
func (m *modelRun) check(key int) {
	m.settle()
	m.lossy = m.lossy || m.depot.Stats().Evicted > 0
	got, broken := m.look(storetest.Key(key))
	for vary, born := range got {
		if want := m.current[slotOf{key, vary}]; born != want {
			m.t.Fatalf("key %d %q: birth %d is shown, want %d (0 is none)", key, vary, born, want)
		}
	}
	if broken > 0 && !m.trouble && !m.lossy {
		m.t.Fatalf("key %d: %d cannot be read: %s", key, broken, m.why)
	}
	for s, born := range m.current {
		if s.key != key || got[s.vary] == born {
			continue
		}
		if !m.trouble && !m.lossy {
			m.t.Fatalf("%v: birth %d is missing: %+v", s, born, m.depot.Stats())
		}
		if broken == 0 {
			delete(m.current, s)
		}
	}
}

func (m *modelRun) checkAll() {
	for key := range modelKeys {
		m.check(key)
	}
	m.du()
	oldest, ok := m.depot.Oldest()
	if !ok {
		m.t.Fatal("Oldest is not known after everything was loaded")
	}
	for o := range m.depot.All() {
		if born := o.Born(); born.Seq < oldest.Seq || born.Local < oldest.Local {
			m.t.Fatalf("birth %v is before the oldest, %v", born, oldest)
		}
	}
}

// adopt takes what is shown for what is: after trouble it need not be the last.
func (m *modelRun) adopt() {
	clear(m.current)
	for key := range modelKeys {
		got, _ := m.look(storetest.Key(key))
		for vary, born := range got {
			m.current[slotOf{key, vary}] = born
			m.tell("key %d %q has %d", key, vary, born)
		}
	}
}

// begin is after each start.
func (m *modelRun) begin() {
	if m.trouble {
		m.adopt()
	}
	m.trouble = false
	m.checkAll()
}

func (m *modelRun) recover() {
	m.fs.LiftAll()
	m.advance(2 * restTime)
	if m.trouble && m.depot.Stats().Folders[0].State == Out.String() {
		m.restart()
	}
}

func (m *modelRun) restart() {
	m.fs.LiftAll()
	m.close()
	m.advance(restTime)
	m.open()
	m.begin()
}

func (m *modelRun) kill() {
	m.fs.LiftAll()
	m.settle()
	m.leave(m.fs.Snapshot())
	m.begin()
}

func (m *modelRun) powerCut() {
	m.fs.LiftAll()
	m.trouble, m.lossy = true, true
	m.leave(m.fs.PowerCut(rand.New(rand.NewPCG(rapid.Uint64().Draw(m.rt, "cut"), 1))))
	m.begin()
}

var modelFaults = []faultfs.Rule{
	{Op: faultfs.OpWrite, Err: syscall.EIO},
	{Op: faultfs.OpWrite, Err: syscall.ENOSPC, Short: true},
	{Op: faultfs.OpWrite, Short: true},
	{Op: faultfs.OpWrite, Lie: true},
	{Op: faultfs.OpWrite, Flip: true, FlipAt: 300},
	{Op: faultfs.OpWrite, Flip: true, FlipAt: -20},
	{Op: faultfs.OpWrite, Torn: tears["in a block"]},
	{Op: faultfs.OpWrite, Torn: tears["in metadata"]},
	{Op: faultfs.OpRead, Err: syscall.EIO},
	{Op: faultfs.OpRead, Flip: true, FlipAt: 150},
	{Op: faultfs.OpRead, Short: true},
	{Op: faultfs.OpOpen, Err: syscall.EIO},
	{Op: faultfs.OpCreate, Err: syscall.ENOSPC},
	{Op: faultfs.OpTruncate, Err: syscall.EIO},
	{Op: faultfs.OpRemove, Err: syscall.EIO},
	{Op: faultfs.OpSync, Err: syscall.EIO},
	{Op: faultfs.OpUsed, Err: syscall.EIO},
}

func (m *modelRun) fault() {
	rule := rapid.SampledFrom(modelFaults).Draw(m.rt, "fault")
	rule.PathContains = segmentPrefix
	rule.After = rapid.IntRange(0, 4).Draw(m.rt, "after")
	rule.Times = rapid.IntRange(1, 3).Draw(m.rt, "times")
	m.fs.Inject(rule)
	m.tell("%s %v torn %t lie %t flip %d", rule.Op, rule.Err, rule.Torn != nil, rule.Lie, rule.FlipAt)
	m.trouble, m.lossy = true, true // what was spoilt is found out when it is read, maybe much later
}

// checks has rapid run as many times, unless the command line says otherwise.
func checks(t *testing.T, n int) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if given {
		return
	}
	if err := flag.Set("rapid.checks", fmt.Sprint(n)); err != nil {
		t.Fatal(err)
	}
}

func TestDepotAgainstAModel(t *testing.T) {
	if raceDetector {
		checks(t, 12)
	}
	rapid.Check(t, func(rt *rapid.T) {
		folders := [][]Folder{{{testFolder, 6 << 20}}, {{"/a", 5 << 20}, {"/b", 7 << 20}}}
		m := &modelRun{
			bare: unopened(t, rapid.SampledFrom(folders).Draw(rt, "folders")...), rt: rt, current: make(map[slotOf]int64),
		}
		m.t = outcome{t, m}
		m.open()
		defer func() {
			m.fs.LiftAll()
			m.end()
		}()
		does := map[string]func(*rapid.T){"": func(*rapid.T) {
			m.check(m.seed % modelKeys)
		}}
		for name, act := range map[string]func(){
			"put": m.put, "put another": m.put, "spill": m.spill, "parts": m.parts, "freshen": m.freshenOne, "remove": m.remove,
			"discard": m.discard, "touch": m.touch, "flood": m.flood, "look": m.checkAll, "restart": m.restart, "kill": m.kill,
			"power cut": m.powerCut, "fault": m.fault, "recover": m.recover,
		} {
			does[name] = func(*rapid.T) {
				m.story = append(m.story, name)
				act()
			}
		}
		rt.Repeat(does)
	})
}

// outcome fails a check of rapid, so that it looks for the shortest way to fail.
type outcome struct {
	testing.TB
	m *modelRun
}

func (o outcome) Fatalf(format string, args ...any) { o.Fatal(fmt.Sprintf(format, args...)) }
func (o outcome) Errorf(format string, args ...any) { o.m.rt.Errorf(format, args...) }
func (o outcome) Error(args ...any)                 { o.m.rt.Error(args...) }

func (o outcome) Fatal(args ...any) {
	o.m.rt.Fatalf("%s\nafter: %s", fmt.Sprint(args...), strings.Join(o.m.story, ", "))
}
