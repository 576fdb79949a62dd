package cachestore_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/storetest"
)

// A body that its check refuses reaches those who read it, but is not stored.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		bytes   int
		right   bool
		objects int64
		corrupt int64
	}{
		{"right", 1000, true, 1, 0},
		{"wrong", 1000, false, 0, 1},
		{"right, not to be stored", 9 << 20, true, 0, 0},
		{"wrong, not to be stored", 9 << 20, false, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 16<<20)
			defer r.close()
			body, asked := storetest.Content(1, test.bytes), 0
			f := r.store.Begin(cachestore.Beginning{
				Key: storetest.Key(1), Stored: storetest.Stored(t), Length: -1,
				Check: func() bool { asked++; return test.right },
			})
			reader, err := f.Object().Open(0, -1)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { checkReader(t, reader, body); close(done) }()
			if err := f.Copy(context.Background(), bytes.NewReader(body)); err != nil {
				t.Errorf("Copy: %v", err)
			}
			<-done
			st := r.store.Stats()
			if asked != 1 || st.Objects != test.objects || st.Corrupt != test.corrupt || st.Failed != 0 || int64(len(r.get(1))) != test.objects {
				t.Errorf("asked %d times; Stats %+v; want %d objects, %d corrupt", asked, st, test.objects, test.corrupt)
			}
		})
	}
}

func TestCheckIsNotAskedAboutWhatFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	f := r.store.Begin(cachestore.Beginning{
		Key: storetest.Key(1), Stored: storetest.Stored(t), Length: 10,
		Check: func() bool { t.Error("the check was asked"); return true },
	})
	if err := f.Copy(context.Background(), bytes.NewReader(nil)); err == nil {
		t.Error("Copy of nothing for 10 bytes went well")
	}
}

// A check that panics ends the fill for its readers before the panic goes on.
func TestPanicInCheck(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	f := r.store.Begin(cachestore.Beginning{
		Key: storetest.Key(1), Stored: storetest.Stored(t), Length: 0,
		Check: func() bool { panic("a broken check") },
	})
	func() {
		defer func() { _ = recover() }()
		_ = f.Copy(context.Background(), bytes.NewReader(nil))
	}()
	if _, err := storetest.Read(context.Background(), f.Object(), 0, -1); err == nil || len(r.get(1)) != 0 {
		t.Errorf("its reader got %v; Get found %d", err, len(r.get(1)))
	}
}

func TestBornMarksAndRepresentation(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	marks := []cachestore.Mark{cachestore.Mark(7), cachestore.Mark(8)}
	begin := func(key int, with cachestore.Beginning) *cachestore.Object {
		with.Key, with.Stored, with.Length = storetest.Key(key), storetest.Stored(t), 1
		f := r.store.Begin(with)
		if err := f.Copy(context.Background(), bytes.NewReader([]byte("x"))); err != nil {
			t.Fatal(err)
		}
		return f.Object()
	}
	plain := begin(1, cachestore.Beginning{})
	old := begin(2, cachestore.Beginning{Born: cachestore.Birth{Local: 5}, Marks: marks})
	if old.Born() != (cachestore.Birth{Local: 5}) || !cmp.Equal(old.Marks(), marks) {
		t.Errorf("born %v with marks %v, want 5 with %v", old.Born(), old.Marks(), marks)
	}
	if got := old.CostBytes() - plain.CostBytes(); got != 2*8 {
		t.Errorf("two marks cost %d bytes", got)
	}
	if old.Representation() == 0 || old.Representation() == plain.Representation() {
		t.Errorf("two bodies have the names %d and %d", plain.Representation(), old.Representation())
	}
	fresh := r.store.FreshenAt(old, storetest.Stored(t), cachestore.Birth{Local: 9}, nil)
	if fresh.Born() != (cachestore.Birth{Local: 9}) || !cmp.Equal(fresh.Marks(), marks) || fresh.Representation() != old.Representation() {
		t.Errorf("freshened: born %v, marks %v, representation %d after %d", fresh.Born(), fresh.Marks(), fresh.Representation(), old.Representation())
	}
	if again := r.store.Freshen(fresh, storetest.Stored(t)); again.Born() != (cachestore.Birth{Local: 9}) {
		t.Errorf("freshened without a moment: born %v, want 9", again.Born())
	}
	if newer := begin(2, cachestore.Beginning{}); newer.Representation() == old.Representation() {
		t.Error("a new body has the old one's name")
	}
}

// The metadata that came last stands for all parts; what invalidates one of them
// invalidates all.
func TestMetadataOfParts(t *testing.T) {
	t.Parallel()
	whole := storetest.Content(1, 300)
	for _, test := range []struct {
		name          string
		first, second time.Duration
		newest        time.Duration
	}{{"in order", 0, time.Hour, time.Hour}, {"out of order", time.Hour, 0, time.Hour}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 16<<20)
			defer r.close()
			put := func(after time.Duration, born int64, first int64, marks ...cachestore.Mark) {
				f := r.store.Begin(cachestore.Beginning{
					Key: storetest.Key(1), Stored: storetest.Tagged(t, `"a"`, after), Born: cachestore.Birth{Local: born}, Marks: marks,
					Size: 300, Part: httpcache.ByteRange{First: first, Last: first + 99},
				})
				if err := f.Copy(context.Background(), bytes.NewReader(whole[first:first+100])); err != nil {
					t.Fatal(err)
				}
			}
			put(test.first, 4, 0, cachestore.Mark(7), cachestore.Mark(8))
			put(test.second, 6, 200, cachestore.Mark(8), cachestore.Mark(9))
			o := r.found()
			want := storetest.Tagged(t, `"a"`, test.newest).ResponseTime()
			if !o.Stored().ResponseTime().Equal(want) || o.Born() != (cachestore.Birth{Local: 4}) {
				t.Errorf("metadata of %v, born %v; want %v, 4", o.Stored().ResponseTime(), o.Born(), want)
			}
			if diff := cmp.Diff([]cachestore.Mark{cachestore.Mark(7), cachestore.Mark(8), cachestore.Mark(9)}, o.Marks()); diff != "" {
				t.Errorf("marks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMarksAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole := storetest.Content(1, 300)
	for i := range 2 {
		var marks []cachestore.Mark
		for j := range int64(2500) {
			marks = append(marks, cachestore.Mark(int64(10000*i)+j))
		}
		f := r.store.Begin(cachestore.Beginning{
			Key: storetest.Key(1), Stored: storetest.Tagged(t, `"a"`, 0), Marks: marks,
			Size: 300, Part: httpcache.ByteRange{First: int64(100 * i), Last: int64(100*i) + 99},
		})
		if err := f.Copy(context.Background(), bytes.NewReader(whole[:100])); err != nil {
			t.Fatal(err)
		}
	}
	if o := r.found(); !cmp.Equal(o.Extents(), spans(0, 99)) || len(o.Marks()) != 2500 || r.store.Stats().Refused != 1 {
		t.Errorf("extents %v, %d marks, Stats %+v", o.Extents(), len(o.Marks()), r.store.Stats())
	}
}

// Freshening the parts of a representation keeps them, and a part that arrived
// meanwhile is united with the freshened object.
func TestFreshenParts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole := storetest.Content(1, 300)
	r.putPart(storetest.Tagged(t, `"a"`, 0), whole, 0, 99)
	r.putPart(storetest.Tagged(t, `"a"`, 0), whole, 200, 249)
	old := r.found()
	f := r.beginPart(storetest.Tagged(t, `"a"`, time.Hour), whole, 100, 199, old)
	fresh := r.store.FreshenAt(old, storetest.Tagged(t, `"a"`, 2*time.Hour), cachestore.Birth{Local: 3}, nil)
	if got := r.get(1); len(got) != 2 || got[1] != fresh || !cmp.Equal(fresh.Extents(), spans(0, 99, 200, 249)) {
		t.Fatalf("Get found %d objects; the freshened one has %v", len(got), fresh.Extents())
	}
	checkRead(t, fresh, whole, 200, 50)
	if err := f.Copy(context.Background(), bytes.NewReader(whole[100:200])); err != nil {
		t.Fatal(err)
	}
	o := r.found()
	if !cmp.Equal(o.Extents(), spans(0, 249)) || !o.Stored().ResponseTime().Equal(fresh.Stored().ResponseTime()) {
		t.Errorf("extents %v of %v, want 0-249 of %v", o.Extents(), o.Stored().ResponseTime(), fresh.Stored().ResponseTime())
	}
	checkRead(t, o, whole, 0, 250)
	if got := r.budget.Used() - r.fixed; got != o.CostBytes() {
		t.Errorf("%d bytes are reserved for what costs %d", got, o.CostBytes())
	}
	// A fill cannot be freshened: the result serves one request.
	f = r.beginPart(storetest.Tagged(t, `"a"`, 0), whole, 250, 299, o)
	alone := r.store.FreshenAt(f.Object(), storetest.Tagged(t, `"a"`, 3*time.Hour), cachestore.Birth{Local: 4}, nil)
	if got := r.get(1); len(got) != 2 || got[0] != f.Object() || got[1] != o {
		t.Errorf("freshening a fill changed what is found: %v", got)
	}
	checkRead(t, alone, whole, 0, 250)
	if err := f.Copy(context.Background(), bytes.NewReader(whole[250:])); err != nil {
		t.Fatal(err)
	}
}

// Of an object some of whose bytes have been let go nothing is held, neither by who
// opens it nor by who freshens it.
func TestPartsHalfGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16<<20)
	defer r.close()
	whole, meta := storetest.Content(1, 300), storetest.Tagged(t, `"a"`, 0)
	r.putPart(meta, whole, 0, 99)
	f := r.beginPart(meta, whole, 200, 299, r.found()) // holds 0-99
	r.putPart(meta, whole, 100, 199)
	o := r.found()
	r.store.Remove(storetest.Key(1))
	if _, err := o.Open(0, 200); !errors.Is(err, cachestore.ErrGone) {
		t.Errorf("Open of what is half gone: %v, want ErrGone", err)
	}
	checkRead(t, o, whole, 0, 100)
	r.store.FreshenAt(o, meta, cachestore.Birth{Local: 1}, nil)
	if got := r.get(1); len(got) != 0 {
		t.Errorf("freshening brought %d objects back", len(got))
	}
	if err := f.Copy(context.Background(), bytes.NewReader(whole[200:])); err != nil {
		t.Fatal(err)
	}
	if used := r.budget.Used() - r.fixed; used != 0 {
		t.Errorf("%d bytes are reserved for nothing", used)
	}
}
