package faultfs

import (
	"slices"
	"strings"
)

// Op is a kind of operation.
type Op string

// The operations. OpUsed is [FS.UsedBytes]; OpClose is also the end of a lock.
const (
	OpOpen       Op = "open"
	OpCreate     Op = "create"
	OpRead       Op = "read"
	OpWrite      Op = "write"
	OpTruncate   Op = "truncate"
	OpSync       Op = "sync"
	OpRename     Op = "rename"
	OpRemove     Op = "remove"
	OpList       Op = "list"
	OpUsed       Op = "used"
	OpMkdir      Op = "mkdir"
	OpSyncFolder Op = "syncfolder"
	OpLock       Op = "lock"
	OpSize       Op = "size"
	OpClose      Op = "close"
)

// Ops lists all operations, for tests that let each of them fail.
func Ops() []Op {
	return []Op{
		OpOpen, OpCreate, OpRead, OpWrite, OpTruncate, OpSync, OpRename, OpRemove, OpList, OpUsed, OpMkdir,
		OpSyncFolder, OpLock, OpSize, OpClose,
	}
}

// liable are the operations that can report success and have done nothing.
var liable = map[Op]bool{
	OpWrite: true, OpTruncate: true, OpSync: true, OpRename: true, OpRemove: true, OpMkdir: true, OpSyncFolder: true,
}

// alters are the operations on names that a read-only file system refuses.
var alters = map[Op]bool{OpCreate: true, OpRename: true, OpRemove: true, OpMkdir: true, OpLock: true}

// Rule says which calls go wrong, and how. The zero Rule strikes every call and does
// it no harm.
type Rule struct {
	// Op is the operation; "" means any.
	Op Op
	// PathContains is a part of the path, of either path in a rename; "" means any.
	PathContains string
	// After is how many calls that match go well first.
	After int
	// Times is how many calls are struck then; 0 means all.
	Times int

	// Delay holds the call up until the channel is closed; nil for none.
	Delay <-chan struct{}
	// Call is called before the operation, with no lock held: the place for a snapshot
	// or a power cut at just this call. nil for none.
	Call func()
	// Err is what the call returns instead of doing its work; nil for none.
	Err error
	// Done lets the call do its work before it returns Err. Closing is always done.
	Done bool
	// ShortBytes is how many bytes a read or write handles before it returns Err, or
	// io.EOF or io.ErrShortWrite where Err is nil; Short means half of them. Neither
	// means none, and no shortness where Err is nil.
	ShortBytes int
	Short      bool
	// Torn says for a write of n bytes at off how many of them, from the first, reach
	// the file, which grows by all of them; the call reports success. nil for all. See
	// [TornAt].
	Torn func(off int64, n int) int
	// Lie lets a call without a result (write, truncate, sync, rename, remove, mkdir,
	// syncfolder) report success and do nothing.
	Lie bool
	// Flip turns one bit over in what is read or written, silently: in the byte FlipAt
	// of the call's data, modulo its length; from the end if negative.
	Flip   bool
	FlipAt int
}

// TornAt lets the first k bytes of each write reach the file; for [Rule].Torn.
func TornAt(k int) func(off int64, n int) int {
	return func(int64, int) int { return k }
}

// Fault is a rule in force. Its methods may be called concurrently.
type Fault struct {
	fs     *FS
	rule   Rule
	seen   int
	struck int
}

// Inject puts a rule in force, besides those that are. Where several strike one call,
// the first Err and the first Torn count.
func (f *FS) Inject(r Rule) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := &Fault{fs: f, rule: r}
	f.faults = append(f.faults, x)
	return x
}

// Struck counts the calls that were struck: a test in which it is 0 shows nothing.
func (x *Fault) Struck() int {
	x.fs.mu.Lock()
	defer x.fs.mu.Unlock()
	return x.struck
}

// Lift takes the rule out of force. Calls that it delays stay delayed.
func (x *Fault) Lift() {
	x.fs.mu.Lock()
	defer x.fs.mu.Unlock()
	x.fs.faults = slices.DeleteFunc(x.fs.faults, func(each *Fault) bool { return each == x })
}

// LiftAll takes all rules out of force.
func (f *FS) LiftAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Calls counts the calls of an operation so far, struck ones too; of all for "".
func (f *FS) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op != "" {
		return f.calls[op]
	}
	sum := 0
	for _, n := range f.calls {
		sum += n
	}
	return sum
}

// effect is what all rules do to one call.
type effect struct {
	err       error
	done, lie bool
	short     bool
	half      bool
	first     int
	torn      func(off int64, n int) int
	flips     []int
}

// strike counts a call and returns what becomes of it, after its delays.
func (f *FS) strike(op Op, paths ...string) effect {
	var e effect
	var before []func()
	f.mu.Lock()
	f.calls[op]++
	for _, x := range f.faults {
		if x.strikes(op, paths) {
			e.add(x.rule)
			before = append(before, x.rule.before)
		}
	}
	f.mu.Unlock()
	e.lie = e.lie && liable[op]
	for _, wait := range before {
		wait()
	}
	return e
}

// strikes counts a call that matches and reports whether it is struck. The lock is
// held.
func (x *Fault) strikes(op Op, paths []string) bool {
	r := x.rule
	if r.Op != "" && r.Op != op {
		return false
	}
	if !slices.ContainsFunc(paths, func(p string) bool { return strings.Contains(p, r.PathContains) }) {
		return false
	}
	x.seen++
	if x.seen <= r.After || r.Times > 0 && x.seen > r.After+r.Times {
		return false
	}
	x.struck++
	return true
}

func (r Rule) before() {
	if r.Call != nil {
		r.Call()
	}
	if r.Delay != nil {
		<-r.Delay
	}
}

func (e *effect) add(r Rule) {
	if short := r.Short || r.ShortBytes > 0; (r.Err != nil || short) && !e.fails() {
		e.err, e.done = r.Err, r.Done
		e.short, e.half, e.first = short, r.Short, r.ShortBytes
	}
	if e.torn == nil {
		e.torn = r.Torn
	}
	e.lie = e.lie || r.Lie
	if r.Flip {
		e.flips = append(e.flips, r.FlipAt)
	}
}

// fails reports whether a read or write does not handle all of its bytes, or is an
// error.
func (e *effect) fails() bool {
	return e.err != nil || e.short
}

// bytes is how many of n bytes a read or write that fails handles.
func (e *effect) bytes(n int) int {
	switch {
	case e.half:
		return n / 2
	case e.short:
		return clamp(e.first, n)
	case e.done:
		return n
	}
	return 0
}

// spoil turns bits over in p.
func (e *effect) spoil(p []byte) {
	for _, at := range e.flips {
		if len(p) > 0 {
			p[(at%len(p)+len(p))%len(p)] ^= 1
		}
	}
}
