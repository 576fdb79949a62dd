package cachestore

import (
	"perigee/httpcache"
)

// objectBytes is what an object costs beyond its metadata and body: the Object and
// Body values, its place in the filling list, and a tier's index and policy entry.
const objectBytes = 1 << 10

// Label says where an object belongs, for those who look into the store.
type Label struct {
	Site string // name of the site as configured
	URL  string // target URI it was fetched for
}

// Object is a stored response: metadata that never changes and a body that may
// still be arriving. It is immutable after [Store.Begin] but for its body's growth.
// Holding an *Object keeps no bytes reserved: [Object.Open] does.
type Object struct {
	key       httpcache.Key
	label     Label
	stored    *httpcache.Stored
	body      *body
	metaBytes int64

	born           int64
	marks          []httpcache.Key
	representation uint64
}

// Key is the primary cache key under which o is stored.
func (o *Object) Key() httpcache.Key { return o.key }

// Variant tells o apart from others under the same key.
func (o *Object) Variant() httpcache.VariantID { return o.stored.Variant() }

// Label says where o belongs.
func (o *Object) Label() Label { return o.label }

// Stored is o's metadata, as the law sees it.
func (o *Object) Stored() *httpcache.Stored { return o.stored }

// Born is when the fetch of o began, in the reckoning of who began it.
func (o *Object) Born() int64 { return o.born }

// Marks are further names by which o can be invalidated. They must not be written to.
func (o *Object) Marks() []httpcache.Key { return o.marks }

// Representation names the bytes of a whole body: no two bodies have the same name
// while the process runs, and metadata that is freshened does not change it. It is
// 0 where o is made of parts and not whole.
func (o *Object) Representation() uint64 { return o.representation }

// Partial tells that some bytes of the representation are neither here nor on
// their way.
func (o *Object) Partial() bool { return false }

// Extents are the ranges that are here or on their way, in ascending order and
// joined where they touch; nil for an object that is whole or arriving whole.
func (o *Object) Extents() []httpcache.ByteRange { return nil }

// Covers tells that every byte of r is here or on its way.
func (o *Object) Covers(r httpcache.ByteRange) bool {
	size, known := o.Size()
	return !known || r.Last < size
}

// Size is the length of the whole body in bytes; ok is false while it is unknown,
// because the upstream did not say and the body is still arriving.
func (o *Object) Size() (n int64, ok bool) { return o.body.length() }

// Filling tells whether the body is still arriving.
func (o *Object) Filling() bool { return !o.body.sealed.Load() }

// Passing tells that the body is only passed on to those who read it now, and how
// much of it has come.
func (o *Object) Passing() (arrived int64, passing bool) {
	if o.body.sealed.Load() {
		return 0, false
	}
	o.body.mu.Lock()
	defer o.body.mu.Unlock()
	return o.body.written, o.body.windowed
}

// CostBytes is what o takes of the budget: metadata and body.
func (o *Object) CostBytes() int64 { return o.metaBytes + o.body.cost() }

// Drop gives back what o holds. The tier that had it calls it, once, when o left.
func (o *Object) Drop() {
	o.body.budget.Release(o.metaBytes)
	o.body.release()
}
