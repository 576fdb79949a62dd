package disk

import (
	"context"
	"slices"
	"time"
)

// Report is what a look at everything that is kept has found.
type Report struct {
	Segments int   `json:"segments"`
	Records  int64 `json:"records"`
	Bytes    int64 `json:"bytes"`
	Damaged  int64 `json:"damaged"` // records
	Dropped  int64 `json:"dropped"` // objects that are not found any more because of it
	Skipped  int   `json:"skipped"` // segments that were let go meanwhile, or cannot be read
}

// Verify reads all that is kept and checks it against its checksums, at most rate bytes a
// second, 0 for no bound. What is damaged is dropped. It ends early with ctx, and says
// what was found until then.
func (d *Depot) Verify(ctx context.Context, rate int64) (r Report, err error) {
	began := d.now()
	var all []*segment
	for s := range d.segments.each {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *segment) int { return int(int64(a.number) - int64(b.number)) })
	for _, s := range all {
		if err := d.verifySegment(ctx, s, &r, func() error { return d.pace(ctx, began, r.Bytes, rate) }); err != nil {
			return r, err
		}
	}
	return r, ctx.Err()
}

// pace waits until n bytes may have been read since began.
func (d *Depot) pace(ctx context.Context, began time.Time, n, rate int64) error {
	if rate <= 0 {
		return ctx.Err()
	}
	due := time.Duration(float64(n) / float64(rate) * float64(time.Second))
	ahead := due - d.now().Sub(began)
	if ahead <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// verifySegment checks every record of one segment that is sealed, or has been written
// so far.
func (d *Depot) verifySegment(ctx context.Context, s *segment, r *Report, pace func() error) error {
	if !s.pin() {
		r.Skipped++
		return nil
	}
	defer s.unpin()
	written := s.written.Load() // before the file is looked at
	entries, ok := d.recordsOf(s)
	if !ok {
		r.Skipped++
		return nil
	}
	for _, e := range entries {
		if written > 0 && e.off+e.length > written {
			continue // it is just being written
		}
		p := make([]byte, e.length)
		if err := d.files.readAt(s.number, p, e.off); err != nil {
			r.Skipped++
			return nil
		}
		r.Records++
		r.Bytes += e.length
		if _, err := checkRecord(p, s.id, e.off); err != nil {
			r.Damaged++
			r.Dropped += d.dropRecord(s, e)
			s.volume.sayDamage(s, err)
		}
		if err := pace(); err != nil {
			return err
		}
	}
	r.Segments++
	return nil
}

// recordsOf is the records of a segment, without changing anything; ok is false if it
// cannot be read. Of one that is being written it is what has been found so far.
func (d *Depot) recordsOf(s *segment) (entries []entry, ok bool) {
	file, err := d.fs.Open(s.path, false)
	if err != nil {
		return nil, false
	}
	defer file.Close()
	if entries, _, err = readFoot(s.id, file); err != nil {
		entries, _, _, _, err = scan(s.id, file)
	}
	return entries, err == nil
}

// dropRecord drops the object that a damaged record belongs to.
func (d *Depot) dropRecord(s *segment, e entry) int64 {
	d.counts.dropped(dropChecksum)
	s.volume.blocks.forget(s.number)
	f, ok := d.index.get(e.name)
	switch {
	case !ok:
		return 0
	case e.kind == kindObject && f.at != newPlace(s.slot, e.off, e.length):
		return 0
	case e.kind == kindPiece && !s.volume.w.refersTo(f, s):
		return 0
	}
	if d.drop(f.name, f.at) {
		return 1
	}
	return 0
}
