package purge

import (
	"context"

	"perigee/cachestore"
)

// This file is the half of a ledger that is this node's alone: what RFC 9111 §4.4 and
// cache groups (RFC 9875) make invalid.

// doubtful is the verdict on a response that an invalidation may have struck of which
// nothing is known any more. What RFC 9111 §4.4 calls invalid needs a mandatory
// validation before it is sent; a soft purge lets it be served once more meanwhile.
const doubtful = cachestore.Doubtful

// resume begins where the process before this one ended.
func (l *Ledger) resume(o Options) {
	if k := o.Invalidations; k != nil {
		l.known, l.start = k.known, k.start
		l.doubted.Store(k.floor)
		l.locals.Store(k.found.fold(l.maxMine))
		l.kept = k
	} else if !o.Start.IsZero() {
		l.start = o.Start.UnixMilli() << numberBits
		l.doubted.Store(l.start)
	}
	l.moment.Store(l.start)
	if l.kept != nil {
		l.kept.attach(l)
	}
}

// judgeLocally is what invalidations make of a response.
func (l *Ledger) judgeLocally(locals *table, born int64, marks []cachestore.Mark) cachestore.Verdict {
	if l.known < born && born < l.start {
		l.doubt() // a process was here of which nothing else is known
	}
	moment := l.moment.Load()
	for _, m := range marks {
		if born >= moment {
			break
		}
		if struck, _ := locals.find(m); struck > born {
			return cachestore.Gone
		}
	}
	if born < max(locals.hardFloor, l.doubted.Load()) || born > moment {
		return doubtful
	}
	return cachestore.Valid
}

// doubt has all that was born before this process count as struck, and tells whether it
// did not already.
func (l *Ledger) doubt() bool {
	if !raise(&l.doubted, l.start) {
		return false
	}
	l.version.Add(1)
	if l.kept != nil {
		l.kept.doubt(l.start)
	}
	return true
}

// view is what there is to say of the invalidations.
func (l *Ledger) view() view {
	moment := l.moment.Load() // before the table, which may have more then
	t := l.locals.Load()      // before swept, which is lifted first
	return view{moment: moment, floor: max(t.hardFloor, l.doubted.Load(), l.swept.Load()), marks: t}
}

// Invalidate strikes marks hard, on this node only: for RFC 9111 §4.4 and cache groups
// (RFC 9875). It does not wait for the disk.
func (l *Ledger) Invalidate(marks ...cachestore.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range marks {
		l.counts.invalidated++
		moment := l.moment.Load() + 1
		l.write(&l.locals, l.maxMine, m, moment, false)
		l.moment.Store(moment)
		if l.kept != nil {
			l.kept.add(struck{moment, m}) // after the table and the moment: see view
		}
	}
	l.version.Add(1)
}

// Written returns when what was invalidated before outlives a kill of the process, where
// it can, or when ctx ends. It does not wait for the medium.
func (l *Ledger) Written(ctx context.Context) {
	if l.kept != nil {
		l.kept.wait(ctx)
	}
}

// ForgetSwept drops the invalidations up to a moment, a [cachestore.Birth.Local],
// after which the caller has removed from the store all that they struck, or before
// which nothing stored was born. What is
// stored stays valid, however old. What is still being fetched was not there to be
// removed: [Ledger.Late] tells it.
func (l *Ledger) ForgetSwept(moment int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	moment = min(moment, l.moment.Load())
	if moment <= l.swept.Load() {
		return
	}
	l.swept.Store(moment) // before they are gone: see Late
	t := l.locals.Load()
	if kept := l.without(t, moment); kept != nil {
		kept.hardFloor, kept.softFloor = t.hardFloor, t.softFloor
		l.locals.Store(kept)
	}
}

// Late tells that what was born then and is not stored yet must not be: invalidations
// that came since were forgotten. Ask after [Ledger.Judge]: of an invalidation that is
// forgotten meanwhile one of the two knows.
func (l *Ledger) Late(born cachestore.Birth) bool { return born.Local < l.swept.Load() }

// Saw tells of a birth that something has which an earlier process stored, where it was
// not known when the log and the [Invalidations] were opened. It tells whether that was
// news: invalidations were lost then, and all that was stored before this process is in
// doubt.
func (l *Ledger) Saw(born cachestore.Birth) (lost bool) {
	if born.Local <= l.known || born.Local >= l.start {
		return false
	}
	return l.doubt()
}
