package purge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"perigee/cachestore"
)

// stored is a response in a test.
type stored struct {
	subject cachestore.Subject
	marks   []cachestore.Mark
	born    cachestore.Birth
	checked atomic.Uint64
}

func (o *stored) judge(l *Ledger) cachestore.Verdict { return l.Judge(o.born, o.marks, &o.checked) }

func fetched(l *Ledger, s cachestore.Subject) *stored {
	return &stored{subject: s, marks: l.Marks(s), born: l.Now()}
}

// with gives an entry its number and its hardness.
func with(seq int64, soft bool, m made) Entry {
	m.Seq, m.Soft = seq, soft
	return m.Entry
}

func TestJudge(t *testing.T) {
	t.Parallel()
	l := testLedger()
	tag := make2(Tag(testSite, "item-1"))
	expect := func(when string, o *stored, want cachestore.Verdict) {
		t.Helper()
		for range 2 { // the second time it may have been checked
			if got := o.judge(l); got != want {
				t.Errorf("%s: verdict %d, want %d", when, got, want)
			}
		}
	}
	first := fetched(l, answerAt("/", ""))
	expect("nothing was purged", first, cachestore.Valid)
	l.Apply(with(10, false, make2(Tag(testSite, "item"))))
	expect("another tag", first, cachestore.Valid)
	l.Apply(with(11, true, tag))
	expect("soft", first, cachestore.Soft)
	second := fetched(l, answerAt("/", ""))
	expect("fetched after it", second, cachestore.Valid)
	l.Apply(with(12, false, tag))
	expect("hard after soft", first, cachestore.Gone)
	expect("hard", second, cachestore.Gone)
	third := fetched(l, answerAt("/", ""))
	l.Apply(with(13, true, tag))
	expect("soft after hard", third, cachestore.Soft)
	expect("soft after hard, older", second, cachestore.Gone)
	l.Apply(with(14, true, make2(Site(testSite))))
	expect("two soft ones", third, cachestore.Soft)
	fourth := fetched(l, answerAt("/", ""))
	l.Invalidate(l.GroupMark(testSite, "https", "www.example.com", "scripts"))
	expect("its group", fourth, cachestore.Gone)
	expect("fetched after that", fetched(l, answerAt("/", "")), cachestore.Valid)
	ahead := fetched(l, answerAt("/", ""))
	ahead.born.Seq = 20
	expect("born after all that the log has", ahead, cachestore.Soft)
}

func TestApplyInOrder(t *testing.T) {
	t.Parallel()
	l := testLedger()
	o := fetched(l, answerAt("/", ""))
	if !l.Apply(with(10, false, make2(Tag(testSite, "x")))) {
		t.Error("the first entry is not applied")
	}
	for _, seq := range []int64{10, 9} {
		if l.Apply(with(seq, false, make2(Site(testSite)))) {
			t.Errorf("entry %d is applied after entry 10", seq)
		}
	}
	if got := o.judge(l); got != cachestore.Valid {
		t.Errorf("verdict %d by an entry that came twice", got)
	}
	if got := l.Stats(); got.Applied != 1 || got.Seq != 10 || got.Entries != 1 {
		t.Errorf("stats %+v, want one entry", got)
	}
}

// An entry of a kind that a newer version knows purges everything.
func TestApplyUnknownKind(t *testing.T) {
	t.Parallel()
	l := testLedger()
	o := fetched(l, answerAt("/", ""))
	l.Apply(Entry{Seq: 1, Site: "other", Kind: 200, Value: "x"})
	if got := o.judge(l); got != cachestore.Gone {
		t.Errorf("verdict %d, want %d", got, cachestore.Gone)
	}
}

func TestFloor(t *testing.T) {
	t.Parallel()
	const most = 100
	l := New(Options{MaxEntries: most})
	var all []*stored
	for i := range 1000 {
		s := answerAt("/", "")
		s.Tags = []string{fmt.Sprint("tag-", i)}
		all = append(all, fetched(l, s))
		l.Apply(with(int64(i+1), i%3 > 0, make2(Tag(testSite, fmt.Sprint("tag-", i)))))
		if n := l.Stats().Entries; n > most {
			t.Fatalf("%d entries, %d are the most", n, most)
		}
	}
	hard, soft := l.Floors()
	for i, o := range all {
		got := o.judge(l)
		switch own := i%3 > 0; {
		case o.born.Seq < hard || !own:
			if got != cachestore.Gone {
				t.Errorf("object %d: verdict %d, want gone", i, got)
			}
		case got != cachestore.Soft:
			t.Errorf("object %d: verdict %d, want soft", i, got)
		}
	}
	if hard < 500 || soft < 500 || hard == soft || l.Stats().Folded != uint64(1000-l.Stats().Entries) {
		t.Errorf("floors %d and %d, stats %+v", hard, soft, l.Stats())
	}
	if got := fetched(l, answerAt("/", "")).judge(l); got != cachestore.Valid {
		t.Errorf("a new object: verdict %d, want valid", got)
	}
}

func TestLocalFloor(t *testing.T) {
	t.Parallel()
	l := New(Options{MaxLocal: 10})
	before := fetched(l, answerAt("/", ""))
	for i := range 100 {
		l.Invalidate(l.MarkOf(testSite, KindURL, fmt.Sprint("a.test/", i)))
	}
	if s := l.Stats(); s.LocalEntries > 10 || s.Invalidated != 100 || s.Entries != 0 {
		t.Errorf("stats %+v, want 10 local entries at most", s)
	}
	if got := before.judge(l); got != doubtful {
		t.Errorf("verdict %d on what was fetched before forgotten invalidations, want doubtful", got)
	}
	if got := fetched(l, answerAt("/", "")).judge(l); got != cachestore.Valid {
		t.Errorf("a new object: verdict %d, want valid", got)
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	l := testLedger()
	for i := range int64(5000) {
		l.Apply(with(i+1, i%2 == 0, make2(Tag(testSite, fmt.Sprint("tag-", i)))))
		l.Invalidate(cachestore.Mark(i + 1))
	}
	l.Forget(cachestore.Birth{Seq: 4000, Local: 4900})
	s := l.Stats()
	if s.Entries != 1000 || s.LocalEntries != 5000 || s.Forgotten != 4000 || s.Folded != 0 || s.HardFloor != 4000 || s.SoftFloor != 3999 {
		t.Errorf("stats %+v", s)
	}
	o := fetched(l, answerAt("/", ""))
	o.born = cachestore.Birth{Seq: 4000, Local: 4900}
	if got := o.judge(l); got != cachestore.Valid {
		t.Errorf("the oldest object: verdict %d, want valid", got)
	}
	o = fetched(l, answerAt("/", ""))
	o.born = cachestore.Birth{Seq: 3999, Local: 4900}
	if got := o.judge(l); got != cachestore.Gone {
		t.Errorf("one that is older than was said: verdict %d, want gone", got)
	}
	l.Forget(cachestore.Birth{Seq: 5000})
	l.ForgetSwept(5000)
	if s := l.Stats(); s.Entries != 0 || s.LocalEntries != 0 || s.Bytes != 2*minSlots*slotBytes {
		t.Errorf("stats %+v, want an empty ledger", s)
	}
}

// TestForgetSwept: what is stored outlives the invalidations that did not strike it,
// and what was on its way meanwhile is told.
func TestForgetSwept(t *testing.T) {
	t.Parallel()
	l := testLedger()
	stored := fetched(l, answerAt("/", ""))
	for i := range int64(10) {
		l.Invalidate(cachestore.Mark(i + 1))
	}
	between := l.Now()
	l.Invalidate(stored.marks...)
	l.ForgetSwept(between.Local)
	if s := l.Stats(); s.LocalEntries != len(stored.marks) || s.Forgotten != 10 || s.Folded != 0 {
		t.Errorf("stats %+v", s)
	}
	for _, c := range []struct {
		born int64
		late bool
	}{{0, true}, {9, true}, {10, false}, {11, false}} {
		if got := l.Late(cachestore.Birth{Local: c.born}); got != c.late {
			t.Errorf("born at %d: late %v, want %v", c.born, got, c.late)
		}
	}
	if got := stored.judge(l); got != cachestore.Gone {
		t.Errorf("what was struck since: verdict %d, want gone", got)
	}
	l.ForgetSwept(5) // goes back
	l.ForgetSwept(1 << 40)
	if got := stored.judge(l); got != cachestore.Valid {
		t.Errorf("a response that the sweep has left: verdict %d, want valid", got)
	}
	if l.Late(l.Now()) || !l.Late(between) {
		t.Errorf("late: now %v, before the last invalidations %v; want false, true", l.Late(l.Now()), l.Late(between))
	}
}

func TestLedgerBounds(t *testing.T) {
	t.Parallel()
	const maxBytes = 64 << 10
	l := New(Options{MaxBytes: maxBytes})
	for i := range int64(10000) {
		l.Apply(with(i+1, false, make2(Tag(testSite, fmt.Sprint("tag-", i)))))
		if s := l.Stats(); s.Bytes-minSlots*slotBytes > maxBytes {
			t.Fatalf("entry %d: %d bytes, %d are the most", i, s.Bytes, maxBytes)
		}
	}
	l = New(Options{})
	for i := range int64(100_000) {
		l.Apply(with(i+1, false, make2(Tag(testSite, fmt.Sprint("tag-", i)))))
		if s := l.Stats(); s.Entries > 1000 && (s.Bytes-minSlots*slotBytes)/int64(s.Entries) > 96 {
			t.Fatalf("%d entries take %d bytes, more than 96 each", s.Entries, s.Bytes)
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := testLedger()
		var done atomic.Bool
		go func() {
			if err := l.Wait(t.Context(), 3); err != nil {
				t.Error(err)
			}
			done.Store(true)
		}()
		for seq := range int64(4) {
			synctest.Wait()
			if got := done.Load(); got != (seq > 3) {
				t.Errorf("before entry %d: done %v", seq, got)
			}
			l.Apply(with(seq, false, make2(Site(testSite))))
		}
		synctest.Wait()
		if !done.Load() {
			t.Error("still waiting for what was applied")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Wait(ctx, 4); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait: %v", err)
		}
	})
}

// TestConcurrent: who was told that a purge is applied never gets what it struck, nor
// does anybody get back what was gone, while the table grows, folds and forgets.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	l := New(Options{MaxEntries: 2000, MaxLocal: 500})
	const tags = 5000
	var purged [tags]atomic.Int64 // by which number at least
	var stop atomic.Bool
	var wg sync.WaitGroup
	for seed := range uint64(2) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			for !stop.Load() {
				tag := random.IntN(tags)
				s := answerAt("/", "")
				s.Tags = []string{fmt.Sprint("tag-", tag)}
				o := fetched(l, s)
				for range 100 {
					must := purged[tag].Load() > o.born.Seq
					if got := o.judge(l); must && got != cachestore.Gone {
						t.Errorf("verdict %d on an object born at %d and purged since", got, o.born.Seq)
						return
					} else if got != cachestore.Valid {
						break
					}
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(3, 4))
	for seq := int64(1); seq < 30000; seq++ {
		tag := random.IntN(tags)
		l.Apply(with(seq, false, make2(Tag(testSite, fmt.Sprint("tag-", tag)))))
		purged[tag].Store(seq)
		if seq%1000 == 0 {
			l.Forget(cachestore.Birth{Seq: seq - 500})
		}
		l.Invalidate(cachestore.Mark(seq))
	}
	stop.Store(true)
	wg.Wait()
}

// TestModel holds ledger and journal against a list of all that was purged, over
// kills, power cuts, failing disks, compactions and restarts.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, seed)
			for range 12 {
				m.live()
				m.restart()
			}
		})
	}
}

// model is a node in a test: what it was told, and what it has.
type model struct {
	t       *testing.T
	w       world
	disk    *fakeDisk
	journal *Journal
	ledger  *Ledger
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup

	objects   []*stored
	acked     []Entry // with their numbers
	struck    map[*stored]cachestore.Verdict
	ids       int
	unchecked bool // something may have been purged beyond what was asked for
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, w: world{rand.New(rand.NewPCG(seed, 77))}, disk: newFakeDisk(), struck: map[*stored]cachestore.Verdict{}}
	m.start()
	t.Cleanup(m.end)
	return m
}

func (m *model) start() {
	var damage *Damage
	var err error
	m.journal, damage, err = OpenJournal(JournalOptions{Dir: "state", Now: atEpoch, fs: m.disk})
	if err != nil {
		m.t.Fatal(err)
	}
	if damage != nil {
		m.unchecked = true
	}
	m.ledger = New(Options{Key: [16]byte{4}, MaxEntries: []int{0, 8}[m.w.IntN(2)]})
	m.ctx, m.stop = context.WithCancel(context.Background())
	journal, ledger, ctx := m.journal, m.ledger, m.ctx
	m.wg.Go(func() { _ = ledger.Follow(ctx, journal) })
	m.wait()
}

func (m *model) wait() {
	_, last, _ := m.journal.State(m.ctx)
	if err := m.ledger.Wait(m.ctx, last); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) end() {
	m.stop()
	m.wg.Wait()
	_ = m.journal.Close()
}

// live is some time of a node.
func (m *model) live() {
	for range 60 {
		switch n := m.w.IntN(20); {
		case n < 8:
			m.objects = append(m.objects, fetched(m.ledger, m.w.subject()))
		case n < 15:
			m.purge()
		case n < 16:
			m.disk.mu.Lock()
			m.disk.fail = m.fault()
			m.disk.mu.Unlock()
		case n < 17:
			_ = m.journal.Compact(m.ctx, m.ledger)
		case n < 18 && len(m.objects) > 0:
			m.forget()
		default:
			m.check()
		}
	}
	m.check()
}

func (m *model) fault() func(int, string, string) error {
	if m.w.IntN(2) == 0 {
		return nil
	}
	failing := m.w.Uint64()
	return func(op int, _, _ string) error {
		if failing>>(op%64)&1 == 1 {
			return errors.New("broken")
		}
		return nil
	}
}

func (m *model) purge() {
	entries := make([]Entry, 1+m.w.IntN(3))
	for i := range entries {
		entries[i] = m.w.entry()
		if m.w.IntN(20) > 0 && entries[i].Kind >= KindHost {
			entries[i] = with(0, entries[i].Soft, make2(URL("one", "a.test", "/a", "")))
		}
	}
	m.ids++
	last, err := m.journal.Append(m.ctx, idOf(m.ids), entries)
	if err != nil {
		m.unchecked = true // it may come to pass, after a restart
		return
	}
	for i, e := range entries {
		e.Seq = last - int64(len(entries)-1-i)
		m.acked = append(m.acked, e)
	}
	if err := m.ledger.Wait(m.ctx, last); err != nil {
		m.t.Fatal(err)
	}
	for _, o := range m.objects {
		for _, e := range entries {
			if covers(e, o.subject) {
				m.strike(o, e.Soft)
			}
		}
	}
}

func (m *model) strike(o *stored, soft bool) {
	verdict := cachestore.Gone
	if soft {
		verdict = cachestore.Soft
	}
	m.struck[o] = max(m.struck[o], verdict)
}

// forget drops the oldest objects and then what can strike none of the others.
func (m *model) forget() {
	m.objects = m.objects[len(m.objects)/2:]
	m.ledger.Forget(m.objects[0].born)
}

func (m *model) check() {
	for _, o := range m.objects {
		got, want := o.judge(m.ledger), m.struck[o]
		hard, soft := m.ledger.Floors()
		over := m.unchecked || o.born.Seq < max(hard, soft)
		if got < want || got > want && !over {
			m.t.Fatalf("object %+v born at %d: verdict %d, want %d (floors %d, %d, %d entries)\n%v",
				o.subject, o.born.Seq, got, want, hard, soft, len(m.acked), m.disk.log)
		}
	}
}

// restart ends the node in one way or another and begins the next.
func (m *model) restart() {
	disk := m.disk.killed()
	switch m.w.IntN(3) {
	case 0:
		m.end()
		disk = m.disk
	case 1:
		disk = m.disk.unpowered(m.w.Rand)
		m.end()
	default:
		m.end()
	}
	disk.fail = nil
	if m.w.IntN(4) == 0 {
		disk.fail = m.fault()
	}
	m.disk = disk
	m.start()
	for _, o := range m.objects { // as they lie on a disk
		o.checked.Store(0)
		o.born.Local = 0
	}
	if hard, soft := m.ledger.Floors(); hard > 0 || soft > 0 {
		m.unchecked = true
	}
	for _, e := range contentsFrom(m.t, m.journal, 0) {
		m.unchecked = m.unchecked || e.Kind == KindEverything && e.ID == ID{}
	}
}
