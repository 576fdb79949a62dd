package cachestore

import (
	"cmp"
	"slices"

	"perigee/httpcache"
)

// maxExtents is how many extents an object may be stored in, and how many of its
// base's a part that arrives shows beside its own.
const maxExtents = 64

// extent is a body at its place in the representation. Extents of one object may
// overlap: their bytes are the same, since their strong validator is.
type extent struct {
	off, end int64 // its bytes in the representation, end not included
	body     *body
}

func byOffset(a, b extent) int {
	return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(a.end, b.end))
}

// cursor is the place at off of the representation, to be read until end.
func (e extent) cursor(off, end int64) cursor {
	return cursor{body: e.body, base: e.off, off: off - e.off, end: end - e.off}
}

// live tells that e can still be read from its beginning to its end, as far as is
// known.
func (e extent) live() bool {
	b := e.body
	if b.sealed.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost == 0 && (!b.done || b.err == nil)
}

// liveRow is row without the extents that have failed or lost bytes.
func liveRow(row []extent) []extent {
	dead := func(e extent) bool { return !e.live() }
	if !slices.ContainsFunc(row, dead) {
		return row
	}
	return slices.DeleteFunc(slices.Clone(row), dead)
}

// covers tells whether all bytes from off to end are in row, one of whose extents
// may be left out of account; -1 for none.
func covers(row []extent, except int, off, end int64) bool {
	for i, e := range row {
		if i == except {
			continue
		}
		if off >= end || e.off > off {
			break
		}
		off = max(off, e.end)
	}
	return off >= end
}

// with is row and e, in order.
func with(row []extent, e extent) []extent {
	joined := append(slices.Clone(row), e)
	slices.SortFunc(joined, byOffset)
	return joined
}

// unite returns row and e together without those extents that others cover; nil if
// row covers e. What was there first is kept where either would do.
func unite(row []extent, e extent) []extent {
	if covers(row, -1, e.off, e.end) {
		return nil
	}
	joined := with(row, e)
	for i := 0; i < len(joined); {
		if covers(joined, i, joined[i].off, joined[i].end) {
			joined = slices.Delete(joined, i, i+1)
			continue
		}
		i++
	}
	return joined
}

// fit is row with at most maxExtents extents: the shortest are left out, the new one
// first of those that are equally short. A client that asks for single bytes must not
// keep out who wants more.
func fit(row []extent, latest extent) []extent {
	for len(row) > maxExtents {
		shortest := max(0, slices.Index(row, latest))
		for i, e := range row {
			if e.end-e.off < row[shortest].end-row[shortest].off {
				shortest = i
			}
		}
		row = slices.Delete(row, shortest, shortest+1)
	}
	return row
}

// pick chooses the extent to read from at off: one that is sealed before one that
// has yet to be waited for, then the one that reaches farthest.
func pick(row []extent, off int64) (best extent, ok bool) {
	whole := false
	for _, e := range row {
		if e.off > off {
			break
		}
		if e.end <= off {
			continue
		}
		sealed := e.body.sealed.Load()
		if !ok || sealed && !whole || sealed == whole && e.end > best.end {
			best, whole, ok = e, sealed, true
		}
	}
	return best, ok
}

// ranges are the bytes of row, joined where they touch.
func ranges(row []extent) []httpcache.ByteRange {
	var joined []httpcache.ByteRange
	for _, e := range row {
		if n := len(joined); n > 0 && e.off <= joined[n-1].Last+1 {
			joined[n-1].Last = max(joined[n-1].Last, e.end-1)
			continue
		}
		joined = append(joined, httpcache.ByteRange{First: e.off, Last: e.end - 1})
	}
	return joined
}
