package purge

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perigee/cachestore"
)

// Bounds of a ledger where its options name none.
const (
	defaultMaxEntries = 1_000_000
	defaultMaxBytes   = 64 << 20
	defaultMaxLocal   = 1 << 19
)

// Options of a [Ledger].
type Options struct {
	// Key makes the marks. Where marks outlive the process, so must it; whoever knows
	// it can make responses be purged together.
	Key [16]byte
	// MaxEntries and MaxBytes bound the entries that are told apart; 0 = 1,000,000 and
	// 64 MiB. While a table is copied into another there are two.
	MaxEntries int
	MaxBytes   int64
	// MaxLocal bounds what [Ledger.Invalidate] remembers; 0 = 524,288 marks.
	MaxLocal int
	// Invalidations keep what [Ledger.Invalidate] is told beyond the process; they were
	// opened with the same Key. The ledger begins where they end.
	Invalidations *Invalidations
	// Start is when the process started, where there are no Invalidations: the first
	// [cachestore.Birth.Local] is its Unix time in milliseconds shifted by 20 bits, and
	// what was born before is in doubt. Zero = that begins at 0.
	Start time.Time
}

// Ledger is what was purged, by mark. A purge costs the same however much it strikes,
// since nothing is sought: each response is judged when it is met.
//
// It is bounded. At the bound the older entries fold into a floor: every response
// whose fetch began before the newest of them counts as struck, hard by the hard ones
// and softly by the soft ones. That is more than was asked for, and never weaker: a
// hard purge that became a soft one could let an erased response out once more.
// Invalidations have a table and a floor of their own.
//
// All methods may be called concurrently. Those that read ([Ledger.Now],
// [Ledger.Judge], [Ledger.Marks]) never wait.
type Ledger struct {
	// version changes with all that can change a verdict, after the tables: who has
	// read it sees at least what it stands for.
	version atomic.Uint64
	seq     atomic.Int64 // of the newest entry that was applied
	moment  atomic.Int64 // of the newest invalidation
	swept   atomic.Int64 // the newest that was forgotten after a sweep
	doubted atomic.Int64 // invalidations of before may be missing
	logged  atomic.Pointer[table]
	locals  atomic.Pointer[table]

	seed               sip
	maxLogged, maxMine int
	kept               *Invalidations // nil = what is invalidated ends with the process
	// Between the two nothing was born, unless invalidations were lost: the last moment
	// that the process before this one is known to have had, and the first of this one.
	known, start int64

	mu     sync.Mutex    // those who write: the tables, moved, counts
	moved  chan struct{} // closed with the next entry; nil = nobody waits
	counts counts
}

type counts struct{ applied, invalidated, folded, forgotten uint64 }

// New makes an empty ledger.
func New(o Options) *Ledger {
	l := &Ledger{seed: newSip(o.Key)}
	l.maxLogged = orDefault(o.MaxEntries, defaultMaxEntries)
	for slots := slotsFor(l.maxLogged); int64(slots)*slotBytes > orDefault(o.MaxBytes, defaultMaxBytes) && slots > minSlots; {
		slots /= 2
		l.maxLogged = min(l.maxLogged, slots*3/4)
	}
	l.maxMine = orDefault(o.MaxLocal, defaultMaxLocal)
	l.logged.Store(newTable(0))
	l.locals.Store(newTable(0))
	l.version.Store(1) // so that nothing was judged at 0
	l.resume(o)
	return l
}

func orDefault[N int | int64](n, other N) N {
	if n > 0 {
		return n
	}
	return other
}

// Now is the birth of what is fetched or validated from this moment on.
func (l *Ledger) Now() cachestore.Birth {
	return cachestore.Birth{Seq: l.seq.Load(), Local: l.moment.Load()}
}

// Judge says what became of a response since it was born. checked belongs to it and
// starts at 0: as long as the ledger does not move a valid one costs a compare. What
// was born above all numbers that the ledger knows is Soft: the log lost its end.
func (l *Ledger) Judge(born cachestore.Birth, marks []cachestore.Mark, checked *atomic.Uint64) cachestore.Verdict {
	if checked.Load() == l.version.Load() {
		return cachestore.Valid
	}
	return l.judge(born, marks, checked)
}

func (l *Ledger) judge(born cachestore.Birth, marks []cachestore.Mark, checked *atomic.Uint64) cachestore.Verdict {
	version := l.version.Load() // before the tables: what they gain meanwhile has another
	logged, locals := l.logged.Load(), l.locals.Load()
	if born.Seq < logged.hardFloor {
		return cachestore.Gone
	}
	verdict := l.judgeLocally(locals, born.Local, marks)
	if verdict == cachestore.Gone {
		return verdict
	}
	newest := l.seq.Load()
	if born.Seq < logged.softFloor || born.Seq > newest {
		verdict = max(verdict, cachestore.Soft)
	}
	if born.Seq >= newest {
		marks = nil // nothing came since
	}
	for _, m := range marks {
		hard, soft := logged.find(m)
		if hard > born.Seq {
			return cachestore.Gone
		}
		if soft > born.Seq {
			verdict = max(verdict, cachestore.Soft)
		}
	}
	if verdict == cachestore.Valid {
		checked.Store(version)
	}
	return verdict
}

// Apply adds an entry of the log. Entries come in the order of their numbers: one that
// is not above all before it was applied already, and is not again. Nobody is served
// what it strikes once Apply returns.
func (l *Ledger) Apply(e Entry) (applied bool) {
	m := l.MarkOf(e.Site, e.Kind, e.Value)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Seq <= l.seq.Load() {
		return false
	}
	l.counts.applied++
	l.write(&l.logged, l.maxLogged, m, e.Seq, e.Soft)
	l.move(e.Seq)
	return true
}

// move publishes that all up to the number was applied. The caller holds mu.
func (l *Ledger) move(seq int64) {
	l.seq.Store(seq)
	l.version.Add(1)
	if l.moved != nil {
		close(l.moved)
		l.moved = nil
	}
}

// write strikes a mark in one of the tables, which it replaces where it is full. The
// caller holds mu.
func (l *Ledger) write(at *atomic.Pointer[table], most int, m cachestore.Mark, number int64, soft bool) {
	t := at.Load()
	switch _, found := t.slot(m); {
	case found:
	case t.live >= most:
		kept := t.after(oldest(t.newest(), most), most)
		l.counts.folded += uint64(t.live - kept.live)
		t = kept
		at.Store(t)
	case t.full():
		t = t.after(0, min(2*t.live, most))
		at.Store(t)
	}
	t.strike(m, number, soft)
}

// oldest is the number that an eighth of all, and all but most-1, do not exceed: the
// fewer are folded, the less is struck by their floor.
func oldest(numbers []int64, most int) int64 {
	slices.Sort(numbers)
	return numbers[max((len(numbers)-1)/8, len(numbers)-most)]
}

// Forget drops the entries of the log that are not above before.Seq, before being the
// birth of the oldest response that is stored or being fetched: they can strike
// nothing any more. A response that is older nonetheless counts as struck. It reads
// all entries: now and then is enough. Invalidations are not its business, but that of
// [Ledger.ForgetSwept]; before.Local does not count.
func (l *Ledger) Forget(before cachestore.Birth) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if kept := l.without(l.logged.Load(), before.Seq); kept != nil {
		l.logged.Store(kept)
	}
}

// without is a table without what is up to the limit, nil where there is nothing. The
// caller holds mu.
func (l *Ledger) without(t *table, limit int64) *table {
	if t.live == 0 || !slices.ContainsFunc(t.newest(), func(n int64) bool { return n <= limit }) {
		return nil
	}
	kept := t.after(limit, 0)
	l.counts.forgotten += uint64(t.live - kept.live)
	return kept
}

// Seq is the number of the newest entry that was applied.
func (l *Ledger) Seq() int64 { return l.seq.Load() }

// Wait returns when all up to the number is applied, or with the error of ctx.
func (l *Ledger) Wait(ctx context.Context, seq int64) error {
	for !l.applied(seq) {
		moved := l.next()
		if l.applied(seq) { // it came before next
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// applied tells whether all up to the number is applied. It looks under mu: the number
// of an entry is there a moment before its version, and who took it for applied in
// between would still find what it strikes remembered as valid.
func (l *Ledger) applied(seq int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq.Load() >= seq
}

// next is closed when something is applied.
func (l *Ledger) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.moved == nil {
		l.moved = make(chan struct{})
	}
	return l.moved
}

// Follow applies what is in the log and what comes, until ctx ends or the log fails.
// Responses of an earlier process must not be judged before [Ledger.Wait] for the
// log's last number has returned.
func (l *Ledger) Follow(ctx context.Context, log Log) error {
	first, last, err := log.State(ctx)
	if err != nil {
		return err
	}
	if first > last {
		l.reach(last)
	}
	return log.Follow(ctx, l.Seq()+1, func(e Entry) error {
		l.Apply(e)
		return nil
	})
}

// reach notes that the log has nothing up to the number.
func (l *Ledger) reach(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq > l.seq.Load() {
		l.move(seq)
	}
}

// Floors returns the numbers below which a birth counts as struck. They only rise.
func (l *Ledger) Floors() (hard, soft int64) {
	t := l.logged.Load()
	return t.hardFloor, t.softFloor
}

// Superseded tells that a newer entry strikes all that e does, and as hard.
func (l *Ledger) Superseded(e Entry) bool {
	hard, soft := l.logged.Load().find(l.MarkOf(e.Site, e.Kind, e.Value))
	return hard > e.Seq || e.Soft && soft > e.Seq
}

// Stats is a view of the ledger at one moment.
type Stats struct {
	Entries, LocalEntries int   // that are told apart
	Bytes                 int64 // of their tables
	HardFloor, SoftFloor  int64 // numbers of the log; 0 = nothing was folded
	Seq                   int64 // of the newest entry
	Moment                int64 // of the newest invalidation, as births count them
	LocalFloor            int64 // of the moments: what was born before is in doubt
	Applied, Invalidated  uint64
	Folded                uint64 // entries and invalidations, at the bound
	Forgotten             uint64 // of those that could strike nothing any more
}

// Stats returns the figures of now.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	logged, locals := l.logged.Load(), l.locals.Load()
	return Stats{
		Entries: logged.live, LocalEntries: locals.live, Bytes: logged.sizeBytes() + locals.sizeBytes(),
		HardFloor: logged.hardFloor, SoftFloor: logged.softFloor, Seq: l.seq.Load(), Moment: l.moment.Load(),
		LocalFloor: max(locals.hardFloor, l.doubted.Load()),
		Applied:    l.counts.applied, Invalidated: l.counts.invalidated, Folded: l.counts.folded, Forgotten: l.counts.forgotten,
	}
}
