package disk

import (
	"errors"
	"io/fs"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// restTime is for how long nothing is written after the medium was full or refused.
	restTime = 5 * time.Second
	// maxErrors within errorTime have a folder taken out until the next start.
	maxErrors = 16
	errorTime = 10 * time.Minute
)

// State is what a folder can do.
type State uint8

const (
	Working State = iota
	Resting       // reads; writes are tried again soon
	Out           // nothing, until the next start
)

// String returns the words of the log and the metrics.
func (s State) String() string {
	switch s {
	case Working:
		return "working"
	case Resting:
		return "resting"
	}
	return "out"
}

// health is what became of a folder's operations lately.
type health struct {
	mu     sync.Mutex // guards all that follows
	state  State
	until  time.Time // of a rest
	why    string    // said last
	errors int       // since first
	first  time.Time

	hungUntil time.Time
}

// State tells what the folder can do now.
func (v *volume) State() State {
	h := &v.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == Resting && !v.depot.now().Before(h.until) {
		h.state = Working
	}
	return h.state
}

func (v *volume) writable() bool { return v.State() == Working }

// worked tells that something was written: what is said of the next trouble is said
// again.
func (v *volume) worked() {
	v.health.mu.Lock()
	why := v.health.why
	v.health.why = ""
	v.health.mu.Unlock()
	if why != "" {
		v.depot.log.Info("the disk takes responses again", "folder", v.path)
	}
}

// failed counts an error of the file system, says it once, and rests or takes the
// folder out.
func (v *volume) failed(op string, err error) {
	v.depot.counts.errors.Add(1)
	now := v.depot.now()
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	refused := errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
	h := &v.health
	h.mu.Lock()
	if h.state == Out {
		h.mu.Unlock()
		return
	}
	h.state, h.until = Resting, now.Add(restTime)
	if !full && !refused {
		if h.errors == 0 || now.Sub(h.first) > errorTime {
			h.errors, h.first = 0, now
		}
		h.errors++
	}
	over := h.errors >= maxErrors
	if errors.Is(err, errLate) {
		h.hungUntil = now.Add(hangTimeout)
	}
	why := op + ": " + cause(err)
	said := h.why == why
	h.why = why
	h.mu.Unlock()
	switch {
	case over:
		v.takeOut("too many errors", err)
	case !said:
		v.depot.log.Error("the disk fails; responses that it does not take are kept in memory only", "folder", v.path, "operation", op, "error", err)
	}
}

// hangTimeout is for how long nothing new is read after a read did not come to an end.
const hangTimeout = 5 * time.Second

// hangs tells that a read did not come to an end not long ago.
func (v *volume) hangs() bool {
	h := &v.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return v.depot.now().Before(h.hungUntil)
}

// cause is the innermost text of err, so that one trouble with many files is one.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// takeOut gives a folder up until the next start. What it has is not found any more.
func (v *volume) takeOut(why string, err error) {
	v.health.mu.Lock()
	was := v.health.state
	v.health.state = Out
	v.health.mu.Unlock()
	if was == Out {
		return
	}
	v.depot.log.Error("a disk has been taken out; serving goes on without it until the next start", "folder", v.path, "why", why, "error", err)
	v.mu.Lock()
	segments := slices.Concat(v.segments[logSmall], v.segments[logMain], v.dying)
	v.segments, v.held, v.dying, v.bytes = [logKinds][]*segment{}, [logKinds]int64{}, nil, 0
	v.unread = nil
	v.mu.Unlock()
	for _, s := range segments {
		s.gone.Store(true)
		v.depot.segments.remove(s)
		v.blocks.forget(s.number)
		v.depot.files.remove(s.number)
	}
	for f := range v.depot.index.all {
		if v.depot.segments.at(f.at) == nil && v.depot.index.drop(f.name, f.at) {
			v.depot.counts.dropped(dropTakenOut)
		}
	}
	v.depot.noteAbsence(v)
}

// sayDamage says, once for each segment, that some of it is damaged.
func (v *volume) sayDamage(s *segment, err error) {
	if s.damaged.Swap(true) {
		return
	}
	v.depot.log.Warn("a stored response is damaged and was dropped", "file", s.path, "error", err)
}
