package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

func TestExtentsAreBounded(t *testing.T) {
	t.Parallel()
	const bound = 64
	r := newRig(t, 16<<20)
	defer r.close()
	whole, meta := storetest.Content(1, 1000), storetest.Tagged(t, `"a"`, 0)
	blind := r.beginPart(meta, whole, 900, 904, nil) // does not know of the others
	for i := range int64(bound) {
		r.putPart(meta, whole, 10*i, 10*i+4)
	}
	full := r.found().Extents()
	if len(full) != bound {
		t.Fatalf("%d extents are stored, want %d", len(full), bound)
	}
	f := r.beginPart(meta, whole, 990, 994, r.found())
	if f.Stored() {
		t.Error("one more is to be stored")
	}
	checkPassedOn(t, f, whole, 990, 994)
	if err := blind.Copy(context.Background(), bytes.NewReader(whole[900:905])); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(full, r.found().Extents()); diff != "" || r.store.Stats().Refused != 2 {
		t.Errorf("Stats %+v; extents (-before +after):\n%s", r.store.Stats(), diff)
	}
	r.putPart(meta, whole, 980, 989) // is longer than those that are there
	if got := r.found().Extents(); len(got) != bound || !r.found().Covers(spans(980, 989)[0]) {
		t.Errorf("%d extents after a longer one came, want %d and that one: %v", len(got), bound, got)
	}
	r.putPart(meta, whole, 0, 98) // takes the place of ten
	if got := r.found().Extents(); len(got) > bound-8 {
		t.Errorf("%d extents after ten were joined, want no more than %d", len(got), bound-8)
	}
}

// checkPassedOn copies a part that is not stored and checks what a reader gets.
func checkPassedOn(t *testing.T, f *cachestore.Fill, whole []byte, first, last int64) {
	t.Helper()
	reader, err := f.Object().Open(first, last+1-first)
	if err != nil {
		t.Fatal(err)
	}
	if arrived, passing := f.Object().Passing(); arrived != first || !passing {
		t.Errorf("Passing = %d, %v before the first byte, want %d", arrived, passing, first)
	}
	ended := make(chan error)
	go func() { ended <- f.Copy(context.Background(), bytes.NewReader(whole[first:last+1])) }()
	checkReader(t, reader, whole[first:last+1])
	if err := <-ended; err != nil {
		t.Errorf("Copy: %v", err)
	}
}

// A part that the store does not take is passed on, and a reader that begins in
// what is stored keeps it from running away.
func TestPartThatIsNotStored(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole, meta := storetest.Content(1, 12<<20), storetest.Tagged(t, `"a"`, 0)
	r.putPart(meta, whole, 0, 99_999)
	f := r.beginPart(meta, whole, 100_000, 12<<20-1, r.found())
	if f.Stored() {
		t.Fatal("a part beyond half of the budget is to be stored")
	}
	reader, err := f.Object().Open(50_000, -1)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- f.Copy(context.Background(), bytes.NewReader(whole[100_000:])) }()
	checkReader(t, reader, whole[50_000:])
	if err := <-ended; err != nil {
		t.Errorf("Copy: %v", err)
	}
	if diff := cmp.Diff(spans(0, 99_999), r.found().Extents()); diff != "" {
		t.Errorf("extents (-want +got):\n%s", diff)
	}
	if st := r.store.Stats(); st.TooLarge != 1 || st.Windows != 0 || st.Fills != 0 {
		t.Errorf("Stats %+v", st)
	}
}

// The parts of one representation may not take more than a whole body might, and
// the site's bound is one on the representation.
func TestPartsTogetherTooLarge(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole, meta := storetest.Content(1, 12<<20), storetest.Tagged(t, `"a"`, 0)
	r.putPart(meta, whole, 0, 5<<20-1)
	r.putPart(meta, whole, 5<<20, 10<<20-1)
	if diff := cmp.Diff(spans(0, 5<<20-1), r.found().Extents()); diff != "" || r.store.Stats().TooLarge != 1 {
		t.Errorf("Stats %+v; extents (-want +got):\n%s", r.store.Stats(), diff)
	}
	f := r.store.Begin(cachestore.Beginning{
		Key: storetest.Key(2), Stored: meta, MaxBytes: 1000, Size: 1001, Part: httpcache.ByteRange{First: 0, Last: 9},
	})
	if f.Stored() {
		t.Error("a part of a representation beyond the caller's bound is to be stored")
	}
	_ = f.Copy(context.Background(), strings.NewReader(""))
}

// A part that is all of it is a whole body like any other.
func TestPartThatIsAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole := storetest.Content(1, 300)
	f := r.beginPart(storetest.Stored(t), whole, 0, 299, nil)
	if o := f.Object(); o.Partial() || o.Extents() != nil || o.Representation() == 0 {
		t.Errorf("partial %v, extents %v, representation %d", o.Partial(), o.Extents(), o.Representation())
	}
	if err := f.Copy(context.Background(), bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	if o := r.found(); o != f.Object() {
		t.Error("what is stored is not what arrived")
	}
	checkRead(t, r.found(), whole, 0, -1)
}

func TestTruncatedPart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole, meta := storetest.Content(1, 300), storetest.Tagged(t, `"a"`, 0)
	r.putPart(meta, whole, 0, 99)
	for _, n := range []int{99, 101} {
		f := r.beginPart(meta, whole, 100, 199, r.found())
		if err := f.Copy(context.Background(), bytes.NewReader(whole[100:100+n])); !errors.Is(err, cachestore.ErrTruncated) {
			t.Errorf("Copy of %d bytes for 100: %v, want ErrTruncated", n, err)
		}
	}
	if diff := cmp.Diff(spans(0, 99), r.found().Extents()); diff != "" {
		t.Errorf("extents (-want +got):\n%s", diff)
	}
	if got, want := r.budget.Used()-r.fixed, r.found().CostBytes(); got != want {
		t.Errorf("%d bytes are reserved for what costs %d", got, want)
	}
}

// A part does not depend on others who fetch the same bytes.
func TestPartBesideOneThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 16<<20)
		whole, meta := storetest.Content(1, 300), storetest.Tagged(t, `"a"`, 0)
		one := r.beginPart(meta, whole, 100, 199, nil)
		two := r.beginPart(meta, whole, 100, 199, one.Object())
		reader, err := two.Object().Open(100, 100)
		if err != nil {
			t.Fatal(err)
		}
		if err := one.Copy(t.Context(), strings.NewReader("")); !errors.Is(err, cachestore.ErrTruncated) {
			t.Errorf("Copy of nothing: %v, want ErrTruncated", err)
		}
		if err := two.Copy(t.Context(), bytes.NewReader(whole[100:200])); err != nil {
			t.Error(err)
		}
		checkReader(t, reader, whole[100:200])
		r.close()
	})
}
