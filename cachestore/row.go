package cachestore

import (
	"context"

	"perigee/httpcache"
)

// An object that did not come in one body is a row of extents. Its bodies may stand
// in other objects' rows too: in those that it was made from, and in those that are
// made from it while a further part arrives.

// bodies yields each of o's bodies.
func (o *Object) bodies(yield func(*body) bool) {
	if o.body != nil {
		yield(o.body)
		return
	}
	for _, e := range o.row {
		if !yield(e.body) {
			return
		}
	}
}

// extents are o's bodies at their places; nil while it is not known where they end.
func (o *Object) extents() []extent {
	if o.body == nil {
		return o.row
	}
	size, known := o.body.length()
	if !known {
		return nil
	}
	return []extent{{end: size, body: o.body}}
}

// retain takes a reference to each body; false if one has been let go, and then
// none is taken.
func (o *Object) retain() bool {
	taken := 0
	for b := range o.bodies {
		if b.retain() {
			taken++
			continue
		}
		for b := range o.bodies {
			if taken--; taken < 0 {
				break
			}
			b.release()
		}
		return false
	}
	return true
}

// release gives back a reference to each body.
func (o *Object) release() {
	for b := range o.bodies {
		b.release()
	}
}

// Partial tells that some bytes of the representation are neither here nor on
// their way.
func (o *Object) Partial() bool {
	return o.body == nil && !covers(liveRow(o.row), -1, 0, o.size)
}

// Extents are the ranges that are here or on their way, in ascending order and
// joined where they touch; nil for an object that is whole or arriving whole. A
// part that arrives counts with all its bytes until it fails.
func (o *Object) Extents() []httpcache.ByteRange {
	if o.body != nil {
		return nil
	}
	row := liveRow(o.row)
	if covers(row, -1, 0, o.size) {
		return nil
	}
	return ranges(row)
}

// Covers tells that every byte of r, which must not be empty, is here or on its
// way. Where the size is unknown, because o is arriving whole, every range is.
func (o *Object) Covers(r httpcache.ByteRange) bool {
	if o.body != nil {
		size, known := o.body.length()
		return !known || r.Last < size
	}
	return r.Last < o.size && covers(liveRow(o.row), -1, r.First, r.Last+1)
}

// openRow is OpenInto for a row: r gets a cursor for each body on its way.
func (o *Object) openRow(ctx context.Context, r *Reader, off, n int64) error {
	end := o.size
	if n >= 0 {
		end = min(end, off+n)
	}
	row := liveRow(o.row)
	if !covers(row, -1, off, end) {
		return ErrGone
	}
	if off >= end {
		*r = Reader{sole: cursor{base: off}}
		return nil
	}
	if e, _ := pick(row, off); e.end >= end {
		*r = Reader{sole: e.cursor(off, end)}
		return r.openSole(ctx)
	}
	// A cursor must stay where it is once its body knows it, so there is room for
	// all of them at once: a step reads past the end of at least one extent.
	*r = Reader{path: make([]cursor, 0, len(row))}
	for off < end {
		e, _ := pick(row, off)
		r.path = append(r.path, e.cursor(off, min(end, e.end)))
		if last := len(r.path) - 1; !r.path[last].open() {
			r.path = r.path[:last]
			return r.fail(ErrGone)
		} else if !r.path[last].pinSettled() {
			return r.fail(ErrGone)
		}
		off = e.end
	}
	if err := r.path[0].prime(ctx); err != nil {
		r.at = 1 // the first has been closed
		return r.fail(err)
	}
	return nil
}

// fail closes a reader that could not be opened.
func (r *Reader) fail(err error) error {
	r.Close()
	*r = Reader{}
	return err
}
