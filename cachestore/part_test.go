package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

// spans are ranges as first and last byte.
func spans(bounds ...int64) (ranges []httpcache.ByteRange) {
	for i := 0; i < len(bounds); i += 2 {
		ranges = append(ranges, httpcache.ByteRange{First: bounds[i], Last: bounds[i+1]})
	}
	return ranges
}

// beginPart begins a fill of the bytes first to last of whole under key 1.
func (r *rig) beginPart(meta *httpcache.Stored, whole []byte, first, last int64, base *cachestore.Object) *cachestore.Fill {
	return r.store.Begin(cachestore.Beginning{
		Key: storetest.Key(1), Stored: meta, Base: base,
		Size: int64(len(whole)), Part: httpcache.ByteRange{First: first, Last: last},
	})
}

// putPart stores the bytes first to last of whole under key 1.
func (r *rig) putPart(meta *httpcache.Stored, whole []byte, first, last int64) {
	r.t.Helper()
	f := r.beginPart(meta, whole, first, last, r.found())
	if err := f.Copy(context.Background(), bytes.NewReader(whole[first:last+1])); err != nil {
		r.t.Fatalf("Copy of %d-%d: %v", first, last, err)
	}
}

// found is the object under key 1 that is shown last, behind those that arrive; nil
// for none.
func (r *rig) found() *cachestore.Object {
	if got := r.get(1); len(got) > 0 {
		return got[len(got)-1]
	}
	return nil
}

// checkRead reads from off what Open(off, n) gives and compares it with whole.
func checkRead(t *testing.T, o *cachestore.Object, whole []byte, off, n int64) {
	t.Helper()
	end := int64(len(whole))
	if n >= 0 {
		end = min(end, off+n)
	}
	got, err := storetest.Read(context.Background(), o, off, n)
	if err != nil || !bytes.Equal(got, whole[min(off, end):end]) {
		t.Errorf("reading %d bytes from %d: %d bytes, %v; want the %d right ones", n, off, len(got), err, end-off)
	}
}

func TestPartsMakeAWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole, meta := storetest.Content(1, 1000), storetest.Tagged(t, `"a"`, 0)
	steps := []struct {
		first, last int64
		want        []httpcache.ByteRange
		covered     []httpcache.ByteRange
		gone        []httpcache.ByteRange
	}{
		{500, 599, spans(500, 599), spans(500, 599, 550, 550), spans(499, 500, 599, 600, 0, 999)},
		{0, 99, spans(0, 99, 500, 599), spans(0, 0, 0, 99), spans(0, 100, 99, 500, 0, 599)},
		{100, 299, spans(0, 299, 500, 599), spans(0, 299, 50, 250), spans(0, 300)},
		{250, 549, spans(0, 599), spans(0, 599, 299, 300, 99, 580), spans(599, 600)},
	}
	for _, step := range steps {
		r.putPart(meta, whole, step.first, step.last)
		o := r.found()
		if diff := cmp.Diff(step.want, o.Extents()); diff != "" {
			t.Fatalf("after %d-%d the extents are (-want +got):\n%s", step.first, step.last, diff)
		}
		if size, ok := o.Size(); size != 1000 || !ok || !o.Partial() || o.Filling() || o.Representation() != 0 {
			t.Errorf("after %d-%d: size %d, %v; partial %v, filling %v, representation %d",
				step.first, step.last, size, ok, o.Partial(), o.Filling(), o.Representation())
		}
		for _, each := range step.covered {
			if !o.Covers(each) {
				t.Errorf("after %d-%d %v is not covered", step.first, step.last, each)
			}
			checkRead(t, o, whole, each.First, each.Length())
		}
		for _, each := range step.gone {
			if _, err := o.Open(each.First, each.Length()); o.Covers(each) || !errors.Is(err, cachestore.ErrGone) {
				t.Errorf("after %d-%d: %v is covered: %v; Open: %v, want ErrGone", step.first, step.last, each, o.Covers(each), err)
			}
		}
		if _, err := o.Open(0, -1); !errors.Is(err, cachestore.ErrGone) {
			t.Errorf("Open of all of a partial object: %v, want ErrGone", err)
		}
		if st := r.store.Stats(); st.Partial != 1 || st.Objects != 1 {
			t.Errorf("Stats %+v, want one object, partial", st)
		}
	}
	r.putPart(meta, whole, 600, 999)
	o := r.found()
	if o.Partial() || o.Extents() != nil || o.Filling() || o.Representation() == 0 {
		t.Errorf("whole: partial %v, extents %v, filling %v, representation %d", o.Partial(), o.Extents(), o.Filling(), o.Representation())
	}
	for _, each := range [][2]int64{{0, -1}, {0, 1000}, {99, 500}, {700, -1}, {0, 5000}, {1000, -1}, {999, 1}} {
		checkRead(t, o, whole, each[0], each[1])
	}
	if st := r.store.Stats(); st.Partial != 0 || st.Objects != 1 || st.Stored != 5 {
		t.Errorf("Stats %+v, want one object, whole, of five fills", st)
	}
	if got := r.budget.Used() - r.fixed; got != o.CostBytes() {
		t.Errorf("%d bytes are reserved for what costs %d", got, o.CostBytes())
	}
}

// A reader that walks from part to part knows where it is.
func TestReaderWalks(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole, meta := storetest.Content(1, 300), storetest.Tagged(t, `"a"`, 0)
	r.putPart(meta, whole, 100, 199)
	r.putPart(meta, whole, 200, 299)
	reader, err := r.found().Open(150, 100)
	if err != nil {
		t.Fatal(err)
	}
	r.store.Remove(storetest.Key(1)) // the reader keeps what it has to read
	for _, want := range [][2]int64{{150, 200}, {200, 250}} {
		if at := reader.Offset(); at != want[0] || !reader.Ready() {
			t.Errorf("the next byte is %d, ready %v; want %d", at, reader.Ready(), want[0])
		}
		piece, err := reader.Next(context.Background())
		if err != nil || !bytes.Equal(piece, whole[want[0]:want[1]]) {
			t.Errorf("Next: %d bytes, %v; want %d-%d", len(piece), err, want[0], want[1])
		}
	}
	if _, err := reader.Next(context.Background()); err != io.EOF || reader.Offset() != 250 {
		t.Errorf("at %d Next: %v, want EOF at 250", reader.Offset(), err)
	}
	reader.Close()
	reader.Close()
	if used := r.budget.Used() - r.fixed; used != 0 {
		t.Errorf("%d bytes are reserved for nothing", used)
	}
}

// What becomes of a part depends on what is stored when it has come.
func TestPartBeside(t *testing.T) {
	t.Parallel()
	const size = 100
	type there struct {
		etag  string
		after time.Duration
		size  int
		parts []httpcache.ByteRange // nil for a whole body
	}
	for _, test := range []struct {
		name    string
		there   *there
		etag    string
		want    []httpcache.ByteRange // extents in the end; nil for whole
		seed    int                   // of the content in the end: 1 is there, 2 the part's
		surplus int64
	}{
		{"nothing", nil, `"b"`, spans(10, 19), 2, 0},
		{"the whole of the same", &there{`"b"`, 0, size, nil}, `"b"`, nil, 1, 1},
		{"the whole of the same, but of another size", &there{`"b"`, 0, size + 1, nil}, `"b"`, spans(10, 19), 2, 0},
		{"a whole newer one", &there{`"a"`, 2 * time.Hour, size, nil}, `"b"`, nil, 1, 1},
		{"a whole one that came at once", &there{`"a"`, time.Hour, size, nil}, `"b"`, nil, 1, 1},
		{"a whole older one", &there{`"a"`, 0, size, nil}, `"b"`, spans(10, 19), 2, 0},
		{"a newer part of another", &there{`"a"`, 2 * time.Hour, size, spans(50, 59)}, `"b"`, spans(50, 59), 1, 1},
		{"an older part of another", &there{`"a"`, 0, size, spans(50, 59)}, `"b"`, spans(10, 19), 2, 0},
		{"a part of another that came at once", &there{`"a"`, time.Hour, size, spans(50, 59)}, `"b"`, spans(10, 19), 2, 0},
		{"a part of another size", &there{`"b"`, 0, size + 1, spans(50, 59)}, `"b"`, spans(10, 19), 2, 0},
		{"an older part, none with a validator", &there{"", 0, size, spans(50, 59)}, "", spans(10, 19), 2, 0},
		{"an older part, both with a weak one", &there{`W/"b"`, 0, size, spans(50, 59)}, `W/"b"`, spans(10, 19), 2, 0},
		{"the same part", &there{`"b"`, 0, size, spans(5, 25)}, `"b"`, spans(5, 25), 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 16<<20)
			defer r.close()
			content := map[int][]byte{2: storetest.Content(2, size)}
			f := r.beginPart(storetest.Tagged(t, test.etag, time.Hour), content[2], 10, 19, nil)
			if th := test.there; th != nil {
				content[1] = storetest.Content(1, th.size)
				meta := storetest.Tagged(t, th.etag, th.after)
				for _, each := range th.parts {
					r.putPart(meta, content[1], each.First, each.Last)
				}
				if th.parts == nil {
					r.putPart(meta, content[1], 0, int64(th.size)-1)
				}
			}
			if err := f.Copy(context.Background(), bytes.NewReader(content[2][10:20])); err != nil {
				t.Fatal(err)
			}
			o := r.found()
			if diff := cmp.Diff(test.want, o.Extents()); diff != "" {
				t.Errorf("extents in the end (-want +got):\n%s", diff)
			}
			want := content[test.seed]
			if size, _ := o.Size(); size != int64(len(want)) {
				t.Errorf("the size is %d, want %d", size, len(want))
			}
			if test.want == nil {
				checkRead(t, o, want, 0, -1)
			}
			for _, each := range test.want {
				checkRead(t, o, want, each.First, each.Length())
			}
			if st := r.store.Stats(); st.Surplus != test.surplus || st.Objects != 1 {
				t.Errorf("Stats %+v, want one object, surplus %d", st, test.surplus)
			}
			if got := r.budget.Used() - r.fixed; got != o.CostBytes() {
				t.Errorf("%d bytes are reserved for what costs %d", got, o.CostBytes())
			}
		})
	}
}

// While parts arrive each one's object shows what is stored and what is on its way;
// readers wait for that, and what fails takes nothing else with it.
func TestPartsArriving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 16<<20)
		whole, meta := storetest.Content(1, 400), storetest.Tagged(t, `"a"`, 0)
		r.putPart(meta, whole, 0, 99)
		home := r.found()
		one := r.beginPart(meta, whole, 100, 199, home)
		if got := r.get(1); len(got) != 2 || got[0] != one.Object() || got[1] != home {
			t.Fatalf("Get found %v, want the fill's object and the stored one", got)
		}
		two := r.beginPart(meta, whole, 200, 399, one.Object())
		o := two.Object()
		if o.Partial() || o.Extents() != nil || !o.Filling() || o.Representation() != 0 {
			t.Errorf("arriving whole: partial %v, extents %v, filling %v, representation %d", o.Partial(), o.Extents(), o.Filling(), o.Representation())
		}
		if diff := cmp.Diff(spans(0, 199), one.Object().Extents()); diff != "" {
			t.Errorf("extents of the first fill (-want +got):\n%s", diff)
		}
		reader, err := o.Open(50, -1)
		if err != nil {
			t.Fatal(err)
		}
		oneSrc, oneEnd := startCopy(t, one)
		twoSrc, twoEnd := startCopy(t, two)
		next := func(first, end int64) {
			t.Helper()
			piece, err := reader.Next(t.Context())
			if err != nil || !bytes.Equal(piece, whole[first:end]) {
				t.Errorf("Next: %d bytes, %v; want %d-%d", len(piece), err, first, end)
			}
		}
		_, _ = twoSrc.Write(whole[200:400])
		next(50, 100)
		if reader.Ready() {
			t.Error("the reader is ready for what has not come")
		}
		_, _ = oneSrc.Write(whole[100:150])
		next(100, 150)
		broken := errors.New("the upstream broke off")
		oneSrc.CloseWithError(broken)
		if err := <-oneEnd; !errors.Is(err, broken) {
			t.Errorf("Copy of the first: %v, want %v", err, broken)
		}
		if _, err := reader.Next(t.Context()); !errors.Is(err, broken) {
			t.Errorf("the reader got %v, want %v", err, broken)
		}
		reader.Close()
		if diff := cmp.Diff(spans(0, 99, 200, 399), o.Extents()); diff != "" || !o.Partial() {
			t.Errorf("partial %v, extents when the first has failed (-want +got):\n%s", o.Partial(), diff)
		}
		twoSrc.Close()
		if err := <-twoEnd; err != nil {
			t.Errorf("Copy of the second: %v", err)
		}
		if got := r.get(1); len(got) != 1 || !cmp.Equal(got[0].Extents(), spans(0, 99, 200, 399)) {
			t.Errorf("in the end Get found %d objects, the first with %v", len(got), got[0].Extents())
		}
		r.close()
	})
}

// startCopy runs a fill that copies what is written to the pipe.
func startCopy(t *testing.T, f *cachestore.Fill) (*io.PipeWriter, chan error) {
	src, dst := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- f.Copy(t.Context(), src) }()
	return dst, ended
}

func TestRemoveWhilePartArrives(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole, meta := storetest.Content(1, 300), storetest.Tagged(t, `"a"`, 0)
	r.putPart(meta, whole, 0, 99)
	f := r.beginPart(meta, whole, 100, 199, r.found())
	if n := r.store.Remove(storetest.Key(1)); n != 2 {
		t.Errorf("Remove = %d, want the stored object and the fill", n)
	}
	checkRead(t, f.Object(), whole, 0, 100) // who had it may go on
	if err := f.Copy(context.Background(), bytes.NewReader(whole[100:200])); err != nil {
		t.Fatal(err)
	}
	if got := r.get(1); len(got) != 0 {
		t.Errorf("Get found %d objects after Remove", len(got))
	}
	if used := r.budget.Used() - r.fixed; used != 0 {
		t.Errorf("%d bytes are reserved for nothing", used)
	}
}

// What left the tier while a part of it arrived does not come back with the part.
func TestPartBringsNothingBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole, meta := storetest.Content(1, 300), storetest.Tagged(t, `"a"`, 0)
	r.putPart(meta, whole, 0, 99)
	base := r.found()
	r.tier.Remove(storetest.Key(1)) // as eviction would: the fill is not told
	f := r.beginPart(meta, whole, 100, 199, base)
	if err := f.Copy(context.Background(), bytes.NewReader(whole[100:200])); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spans(100, 199), r.found().Extents()); diff != "" {
		t.Errorf("extents (-want +got):\n%s", diff)
	}
}

func TestBaseOfAnotherRepresentation(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	old, whole := storetest.Content(1, 300), storetest.Content(2, 300)
	r.putPart(storetest.Tagged(t, `"a"`, 0), old, 0, 99)
	for _, etag := range []string{`"b"`, `W/"a"`, ""} {
		f := r.beginPart(storetest.Tagged(t, etag, 0), whole, 100, 199, r.found())
		if diff := cmp.Diff(spans(100, 199), f.Object().Extents()); diff != "" {
			t.Errorf("extents of a part of %s beside one of \"a\" (-want +got):\n%s", etag, diff)
		}
		_ = f.Copy(context.Background(), strings.NewReader(""))
	}
	if diff := cmp.Diff(spans(0, 99), r.found().Extents()); diff != "" {
		t.Errorf("extents after parts of others that failed (-want +got):\n%s", diff)
	}
}
