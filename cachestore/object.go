package cachestore

import (
	"sync/atomic"

	"perigee/httpcache"
)

const (
	// objectBytes is what an object costs beyond its metadata and bodies: the Object
	// and body values, its place in the filling list, and a tier's index and policy
	// entry.
	objectBytes = 1 << 10
	// extentBytes is what each extent of a row costs beyond its bytes.
	extentBytes = 512
	// markBytes is what each of an object's marks costs.
	markBytes = 8
)

// Label says where an object belongs, for those who look into the store.
type Label struct {
	Site string // name of the site as configured
	URL  string // target URI it was fetched for
}

// Object is a stored response: metadata that never changes and a body that may
// still be arriving, or the parts of one. It is immutable after [Store.Begin] but for
// the growth of what arrives: whatever adds a part or new metadata makes a new Object
// that shares the bytes of the old one. Holding an *Object keeps no bytes reserved:
// [Object.Open] does.
type Object struct {
	key       httpcache.Key
	label     Label
	stored    *httpcache.Stored
	body      *body // the whole body, nil where there is a row
	budget    *Budget
	metaBytes int64

	row  []extent // of a representation that did not come in one body, by offset
	size int64    // of that representation

	born           Birth
	marks          []Mark
	checked        atomic.Uint64 // see Checked
	ref            atomic.Uint64 // see Ref
	epoch          atomic.Uint32 // see FirstIn
	unproven       atomic.Bool   // in memory, but not yet found to be what the depot has
	offered        atomic.Bool   // to memory, by who recalled it
	lifted         atomic.Uint32 // how often its bytes were wanted in memory, see useBelow
	representation uint64
}

// weigh reckons the bytes of o's metadata, in a row of up to the given length.
func (o *Object) weigh(extents int) {
	o.metaBytes = o.stored.SizeBytes() + objectBytes + markBytes*int64(len(o.marks)) + extentBytes*int64(extents)
}

// Key is the primary cache key under which o is stored.
func (o *Object) Key() httpcache.Key { return o.key }

// Variant tells o apart from others under the same key.
func (o *Object) Variant() httpcache.VariantID { return o.stored.Variant() }

// Label says where o belongs.
func (o *Object) Label() Label { return o.label }

// Stored is o's metadata, as the law sees it.
func (o *Object) Stored() *httpcache.Stored { return o.stored }

// Born is when the fetch of o, or the validation that freshened it, began.
func (o *Object) Born() Birth { return o.born }

// Marks are the names that a purge can strike o by. They must not be written to.
func (o *Object) Marks() []Mark { return o.marks }

// Checked is where a [Guard] remembers when it judged o last.
func (o *Object) Checked() *atomic.Uint64 { return &o.checked }

// Representation names the bytes of a whole body: no two bodies have the same name
// while the process runs, and metadata that is freshened does not change it. It is
// 0 where o is made of parts and not whole.
func (o *Object) Representation() uint64 { return o.representation }

// Size is the length of the whole representation in bytes; ok is false while it is
// unknown, because the upstream did not say and the body is still arriving.
func (o *Object) Size() (n int64, ok bool) {
	if o.body == nil {
		return o.size, true
	}
	return o.body.length()
}

// Filling tells whether some of the body is still arriving.
func (o *Object) Filling() bool {
	if o.body != nil {
		return !o.body.sealed.Load()
	}
	for _, e := range o.row {
		if !e.body.sealed.Load() {
			return true
		}
	}
	return false
}

// Passing tells that bytes of o are only passed on to those who read them now, and
// where in the representation the first of them stands that has not come yet.
func (o *Object) Passing() (arrived int64, passing bool) {
	if o.body != nil {
		return o.body.passing()
	}
	for _, e := range o.row {
		if arrived, passing := e.body.passing(); passing {
			return e.off + arrived, true
		}
	}
	return 0, false
}

// CostBytes is what o takes of the budget: metadata and bodies, also where other
// objects share these.
func (o *Object) CostBytes() int64 {
	cost := o.metaBytes
	for b := range o.bodies {
		cost += b.cost()
	}
	return cost
}

// Drop gives back what o holds. The tier that had it calls it, once, when o left.
func (o *Object) Drop() {
	o.budget.Release(o.metaBytes)
	o.release()
}
