package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

const modelBytes = 200 // of each representation in the model

// model is what should be stored under key 1, and what is on its way.
type model struct {
	*rig
	t        *testing.T
	ops      []byte
	version  int           // of the representation that the upstream has now
	after    time.Duration // the clock
	home     *kept
	arriving []*arrival
	reading  sync.WaitGroup
}

// kept is what should be in the tier.
type kept struct {
	version int
	came    time.Duration
	bytes   [modelBytes]bool
}

func (k *kept) whole() bool { return k.ranges() == nil }

// ranges are the extents that Extents should give.
func (k *kept) ranges() (ranges []httpcache.ByteRange) {
	for i, here := range k.bytes {
		switch n := len(ranges); {
		case !here:
		case n > 0 && ranges[n-1].Last == int64(i)-1:
			ranges[n-1].Last++
		default:
			ranges = append(ranges, httpcache.ByteRange{First: int64(i), Last: int64(i)})
		}
	}
	if len(ranges) == 1 && ranges[0].Length() == modelBytes {
		return nil
	}
	return ranges
}

// arrival is a fill under way.
type arrival struct {
	fill    *cachestore.Fill
	src     *io.PipeWriter
	ended   chan error
	version int
	came    time.Duration
	part    httpcache.ByteRange
	written int64
	removed bool
}

// take takes a number below n from the operations.
func (m *model) take(n int) int {
	if len(m.ops) == 0 {
		return 0
	}
	op := int(m.ops[0])
	m.ops = m.ops[1:]
	return op % n
}

func etagOf(version int) string { return fmt.Sprintf(`"v%d"`, version) }

func versionOf(o *cachestore.Object) (version int) {
	_, _ = fmt.Sscanf(o.Stored().ETag(), `"v%d"`, &version)
	return version
}

func content(version int) []byte { return storetest.Content(1000+version, modelBytes) }

func (m *model) begin() {
	first := m.take(modelBytes)
	last := min(modelBytes-1, first+7+m.take(40))
	if m.take(16) == 0 {
		first, last = 0, modelBytes-1
	}
	a := &arrival{version: m.version, came: m.after, part: httpcache.ByteRange{First: int64(first), Last: int64(last)}}
	var base *cachestore.Object
	if got := m.get(1); len(got) > 0 {
		base = got[m.take(len(got))]
	}
	a.fill = m.store.Begin(cachestore.Beginning{
		Key: storetest.Key(1), Stored: storetest.Tagged(m.t, etagOf(a.version), a.came),
		Size: modelBytes, Part: a.part, Base: base,
	})
	if !a.fill.Stored() {
		m.t.Fatalf("%v is not to be stored", a.part)
	}
	a.src, a.ended = startCopy(m.t, a.fill)
	m.arriving = append(m.arriving, a)
}

// advance brings some bytes of a fill, or ends it.
func (m *model) advance() {
	if len(m.arriving) == 0 {
		return
	}
	i := m.take(len(m.arriving))
	a := m.arriving[i]
	if m.take(12) == 0 {
		m.fail(i)
		return
	}
	rest := a.part.Length() - a.written
	n := min(rest, int64(1+m.take(60)))
	from := a.part.First + a.written
	_, _ = a.src.Write(content(a.version)[from : from+n])
	if a.written += n; n < rest {
		return
	}
	a.src.Close()
	if err := <-a.ended; err != nil {
		m.t.Errorf("Copy of %v: %v", a.part, err)
	}
	m.arriving = append(m.arriving[:i], m.arriving[i+1:]...)
	if !a.removed {
		m.keep(a)
	}
}

func (m *model) fail(i int) {
	a := m.arriving[i]
	a.src.CloseWithError(errBrokenOff)
	if err := <-a.ended; !errors.Is(err, errBrokenOff) {
		m.t.Errorf("Copy of %v: %v, want %v", a.part, err, errBrokenOff)
	}
	m.arriving = append(m.arriving[:i], m.arriving[i+1:]...)
}

var errBrokenOff = errors.New("the upstream broke off")

// keep says what the tier should have when a has come.
func (m *model) keep(a *arrival) {
	h := m.home
	switch all := a.part.Length() == modelBytes; {
	case h == nil || all:
		h = &kept{version: a.version, came: a.came}
	case h.version == a.version:
		h.came = max(h.came, a.came)
	case h.came > a.came || h.came == a.came && h.whole():
		return
	default:
		h = &kept{version: a.version, came: a.came}
	}
	for i := a.part.First; i <= a.part.Last; i++ {
		h.bytes[i] = true
	}
	m.home = h
}

// read opens a range of something that can be found, and reads it as far as it comes.
func (m *model) read() {
	got := m.get(1)
	if len(got) == 0 {
		return
	}
	o := got[m.take(len(got))]
	first := int64(m.take(modelBytes))
	r := httpcache.ByteRange{First: first, Last: min(modelBytes-1, first+int64(m.take(modelBytes)))}
	reader, err := o.Open(r.First, r.Length())
	if covered := o.Covers(r); covered != (err == nil) {
		m.t.Errorf("%v is covered by %v: %v; Open: %v", r, o.Extents(), covered, err)
	}
	if err != nil {
		return
	}
	want := content(versionOf(o))[r.First : r.Last+1]
	m.reading.Go(func() {
		defer reader.Close()
		for {
			if at := reader.Offset(); at != r.Last+1-int64(len(want)) {
				m.t.Errorf("the reader of %v is at %d with %d to go", r, at, len(want))
			}
			piece, err := reader.Next(context.Background())
			if !bytes.HasPrefix(want, piece) {
				m.t.Errorf("wrong bytes of %v, %d before the end", r, len(want))
				return
			}
			if want = want[len(piece):]; err != nil {
				if err == io.EOF && len(want) > 0 || err != io.EOF && !errors.Is(err, errBrokenOff) {
					m.t.Errorf("the reader of %v got %v with %d to go", r, err, len(want))
				}
				return
			}
		}
	})
}

// other changes something beside the parts.
func (m *model) other() {
	switch m.take(6) {
	case 0:
		m.store.Remove(storetest.Key(1))
		m.home = nil
		for _, a := range m.arriving {
			a.removed = true
		}
	case 1:
		m.version++
	case 2, 3:
		if m.home != nil {
			o := m.found()
			m.home.came = m.after
			m.store.FreshenAt(o, storetest.Tagged(m.t, etagOf(m.home.version), m.after), o.Born(), nil)
		}
	default:
		m.tier.Remove(storetest.Key(1)) // as eviction would
		m.home = nil
	}
}

// check compares what can be found with what should be.
func (m *model) check() {
	m.t.Helper()
	synctest.Wait()
	var o *cachestore.Object
	for o = range m.store.All() {
		if m.home == nil {
			m.t.Fatalf("%v of %s are stored, want nothing", o.Extents(), o.Stored().ETag())
		}
		if versionOf(o) != m.home.version || !cmp.Equal(o.Extents(), m.home.ranges()) || o.Partial() == m.home.whole() || o.Filling() {
			m.t.Fatalf("%v of %s are stored, partial %v, filling %v; want %v of version %d", o.Extents(), o.Stored().ETag(), o.Partial(), o.Filling(), m.home.ranges(), m.home.version)
		}
		for off := range int64(modelBytes) {
			got, err := storetest.Read(context.Background(), o, off, 9)
			if err == nil && !bytes.Equal(got, content(m.home.version)[off:min(modelBytes, off+9)]) {
				m.t.Fatalf("wrong bytes from %d", off)
			}
		}
	}
	if o == nil && m.home != nil {
		m.t.Fatalf("nothing is stored, want %v of version %d", m.home.ranges(), m.home.version)
	}
	for _, a := range m.arriving {
		if !a.fill.Object().Covers(a.part) {
			m.t.Fatalf("%v is on its way, but only %v are shown", a.part, a.fill.Object().Extents())
		}
	}
}

// quiet lets everything end, and checks that what is reserved is what is stored.
func (m *model) quiet() {
	for len(m.arriving) > 0 {
		m.fail(0)
	}
	m.reading.Wait()
	var cost int64
	for o := range m.store.All() {
		cost += o.CostBytes()
	}
	if used := m.budget.Used() - m.fixed; used != cost {
		m.t.Errorf("%d bytes are reserved for what costs %d", used, cost)
	}
}

func runModel(t *testing.T, ops []byte) {
	m := &model{rig: newRig(t, 16<<20), t: t, ops: ops}
	for len(m.ops) > 0 && !t.Failed() {
		m.after += time.Second
		switch m.take(10) {
		case 0, 1, 2:
			m.begin()
		case 3, 4, 5, 6:
			m.advance()
		case 7, 8:
			m.read()
		case 9:
			if m.take(3) == 0 {
				m.other()
			}
		}
		m.check()
		if m.take(25) == 0 {
			m.quiet()
		}
	}
	m.quiet()
	m.close()
}

// Parts of a representation that changes come, fail and are removed in any order
// and at any pace: what is stored is what should be, every byte that can be read is
// the right one, and every byte reserved is stored.
func FuzzParts(f *testing.F) {
	for seed := range 40 {
		f.Add(storetest.Content(seed, 300))
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 2000 {
			return
		}
		synctest.Test(t, func(t *testing.T) { runModel(t, ops) })
	})
}
