package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/internal/faultfs"
	"perigee/internal/storetest"
)

// bare is a depot without memory above it: whatever is read comes from the disk, and
// fails the test at once if it is not what was stored. Objects are forged in a
// store of their own.
type bare struct {
	t       testing.TB
	fs      *faultfs.FS
	folders []Folder
	limit   int64 // of memory
	marks   uint64
	log     *slog.Logger
	late    atomic.Int64 // how far the clock is advanced

	budget *cachestore.Budget
	depot  *Depot

	forgeBudget *cachestore.Budget
	forgeTier   *ram.Tier
	forge       *cachestore.Store
	births      int64
	why         string            // the last object could not be read
	versions    map[int64]version // of everything that was ever stored, by birth
}

// version is what was stored once.
type version struct {
	key  httpcache.Key
	vary string
	etag string
	seed int
	size int
}

func (v version) content() []byte { return contentOf(v.seed, v.size) }

// contents of the tests, made once.
var contents sync.Map

// contentOf is storetest.Content, made once for each seed and size.
func contentOf(seed, n int) []byte {
	type id struct{ seed, n int }
	if p, ok := contents.Load(id{seed, n}); ok {
		return p.([]byte)
	}
	p := storetest.Content(seed, n)
	contents.Store(id{seed, n}, p)
	return p
}

// newBare opens a depot on one empty folder of size bytes.
func newBare(t testing.TB, size int64) *bare {
	t.Helper()
	b := unopened(t, Folder{testFolder, size})
	b.open()
	return b
}

// unopened is a bare whose depot has yet to be opened.
func unopened(t testing.TB, folders ...Folder) *bare {
	t.Helper()
	b := &bare{
		t: t, fs: faultfs.New(1 << 40), folders: folders, limit: 64 << 20, marks: 7,
		log: slog.New(slog.DiscardHandler), versions: make(map[int64]version),
	}
	b.forgeBudget = cachestore.NewBudget(1 << 30)
	tier, err := ram.New(b.forgeBudget)
	if err != nil {
		t.Fatal(err)
	}
	b.forgeTier = tier
	b.forge = cachestore.New(cachestore.Options{Budget: b.forgeBudget, Home: tier})
	return b
}

var bareEpoch = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func (b *bare) now() time.Time { return bareEpoch.Add(time.Duration(b.late.Load())) }

// advance lets time go by, so that a folder that rests works again.
func (b *bare) advance(d time.Duration) { b.late.Add(int64(d)) }

func (b *bare) open() {
	b.t.Helper()
	if err := b.tryOpen(); err != nil {
		b.t.Fatal(err)
	}
	b.depot.loaded.Wait()
}

func (b *bare) tryOpen() error {
	b.budget = cachestore.NewBudget(b.limit)
	var err error
	b.depot, err = Open(Options{
		Folders: b.folders, Budget: b.budget, MarksKey: b.marks, FS: faulty{b.fs}, Log: b.log, Now: b.now,
	})
	if err != nil && b.budget.Used() != 0 {
		b.t.Errorf("after Open failed %d bytes are still reserved", b.budget.Used())
	}
	return err
}

// close closes the depot and checks that nothing is held any more.
func (b *bare) close() {
	b.t.Helper()
	b.settle()
	for s := range b.depot.segments.each {
		s.mu.Lock()
		if s.pins != 0 {
			b.t.Errorf("%s is pinned %d times, and nobody reads", s.path, s.pins)
		}
		s.mu.Unlock()
	}
	if err := b.depot.Close(context.Background()); err != nil {
		b.t.Errorf("Close: %v", err)
	}
	if used := b.budget.Used(); used != 0 {
		b.t.Errorf("after Close %d bytes are still reserved", used)
	}
	if n := b.fs.OpenFiles(); n != 0 {
		b.t.Errorf("after Close %d files are open", n)
	}
}

// end closes the depot and the forge.
func (b *bare) end() {
	b.t.Helper()
	b.close()
	if err := b.forge.Close(context.Background()); err != nil {
		b.t.Errorf("Close of the forge: %v", err)
	}
}

// reopen is a restart.
func (b *bare) reopen() {
	b.t.Helper()
	b.close()
	b.open()
}

// leave has the process killed, and a depot opened on what is left.
func (b *bare) leave(left *faultfs.FS) {
	b.t.Helper()
	_ = b.depot.Close(context.Background())
	if used := b.budget.Used(); used != 0 {
		b.t.Errorf("after Close %d bytes are still reserved", used)
	}
	b.fs = left
	b.open()
}

// settle waits until all that waits to be written is: records of a folder are written
// in the order in which they came.
func (b *bare) settle() {
	// The first is answered before what came with it is written, the second after it.
	for _, v := range slices.Concat(b.depot.volumes, b.depot.volumes) {
		i := &item{kind: itemReplace, name: name{tag: 1<<63 | 1}, old: new(cachestore.Object), done: make(chan bool, 1)}
		if v.queue.add(i) {
			<-i.done
		}
	}
}

// forged is an object of the i-th key that has not been put yet.
func (b *bare) forged(v version) *cachestore.Object {
	b.t.Helper()
	b.births++
	b.versions[b.births] = v
	f := b.forge.Begin(cachestore.Beginning{
		Key: v.key, Label: cachestore.Label{Site: "s", URL: fmt.Sprint("http://a.test/", v.etag)},
		Stored: b.meta(v), Length: int64(v.size),
		Born:  cachestore.Birth{Seq: b.births, Local: b.births},
		Marks: []cachestore.Mark{cachestore.Mark(b.births), cachestore.Mark(v.seed)},
	})
	if err := f.Copy(context.Background(), bytes.NewReader(v.content())); err != nil {
		b.t.Fatalf("Copy: %v", err)
	}
	return f.Object()
}

func (b *bare) meta(v version) *httpcache.Stored {
	etag := `"` + v.etag + `"`
	if v.vary == "" {
		return storetest.Tagged(b.t, etag, 0)
	}
	return storetest.Tagged(b.t, etag, 0, "Accept-Language: "+v.vary)
}

// versionOf is a version of the i-th key with content of its own.
func versionOf(i, seed, size int) version {
	return version{key: storetest.Key(i), etag: fmt.Sprintf("%d-%d", seed, size), seed: seed, size: size}
}

// put stores a version and tells whether it was taken.
func (b *bare) put(v version) (o *cachestore.Object, ok bool) {
	b.t.Helper()
	o = b.forged(v)
	ok = b.depot.Put(o)
	b.forge.Remove(v.key)
	return o, ok
}

// mustPut is put where nothing goes wrong.
func (b *bare) mustPut(v version) *cachestore.Object {
	b.t.Helper()
	o, ok := b.put(v)
	if !ok {
		b.t.Fatalf("%s of %d bytes is refused: %+v", v.etag, v.size, b.depot.Stats())
	}
	return o
}

// spill stores a version as it arrives.
func (b *bare) spill(v version) (ok bool) {
	b.t.Helper()
	o := b.forged(v)
	defer b.forge.Remove(v.key)
	s := b.depot.Spill(o)
	if s == nil {
		return false
	}
	p := v.content()
	for len(p) > 0 {
		n := min(len(p), 256<<10)
		if !s.Write(p[:n]) {
			break
		}
		p = p[n:]
		for int64(v.size-len(p))-s.Source().Size() > 2<<20 {
			before := s.Source().Size()
			if <-s.Grown(); s.Source().Size() == before {
				break // it may have failed
			}
		}
	}
	if !s.End() || s.Source().Size() != int64(v.size) {
		s.Drop()
		return false
	}
	o.Pieces()[0].Settle(s.Source())
	return b.depot.Put(o)
}

// freshen gives o newer metadata, and returns the object that has it.
func (b *bare) freshen(v version, o *cachestore.Object) *cachestore.Object {
	b.t.Helper()
	b.births++
	b.versions[b.births] = v
	n := cachestore.Birth{Seq: b.births, Local: b.births}
	fresh := b.forge.FreshenAt(o, b.meta(v), n, []cachestore.Mark{cachestore.Mark(b.births)})
	b.depot.Freshen(o, fresh)
	return fresh
}

// look is what a look-up of a key shows, by variant: births. All bytes of it are
// checked; broken tells that some could not be read.
func (b *bare) look(key httpcache.Key) (born map[string]int64, broken int) {
	b.t.Helper()
	born = make(map[string]int64)
	for _, o := range b.depot.Recall(key, nil, nil) {
		v, at := b.check(key, o)
		if _, twice := born[v.vary]; twice {
			b.t.Fatalf("variant %q is shown twice", v.vary)
		}
		if !b.readAll(v, o) {
			broken++
			continue
		}
		born[v.vary] = at
	}
	return born, broken
}

// check fails the test unless o is what was stored under key and its birth, but for
// its bytes.
func (b *bare) check(key httpcache.Key, o *cachestore.Object) (v version, born int64) {
	b.t.Helper()
	born = o.Born().Seq
	v, ok := b.versions[born]
	switch {
	case !ok || o.Born().Local != born:
		b.t.Fatalf("an object of birth %v was never stored", o.Born())
	case o.Key() != key || v.key != key:
		b.t.Fatalf("object %d of another key", born)
	case o.Stored().ETag() != `"`+v.etag+`"`:
		b.t.Fatalf("object %d has the validator %s, want %q", born, o.Stored().ETag(), v.etag)
	case o.Variant() != b.meta(v).Variant():
		b.t.Fatalf("object %d is of another variant", born)
	}
	if size, known := o.Size(); !known || size != int64(v.size) {
		b.t.Fatalf("object %d has a size of %d bytes, want %d", born, size, v.size)
	}
	if marks := o.Marks(); len(marks) == 0 || !slices.Contains(marks, cachestore.Mark(born)) {
		b.t.Fatalf("object %d has the marks %v", born, marks)
	}
	return v, born
}

// readAll tells whether all bytes of o can be read; wrong ones fail the test.
func (b *bare) readAll(v version, o *cachestore.Object) bool {
	b.t.Helper()
	whole := v.content()
	extents := o.Extents()
	if extents == nil && v.size > 0 {
		extents = []httpcache.ByteRange{{First: 0, Last: int64(v.size) - 1}}
	}
	for _, e := range extents {
		got, err := storetest.Read(context.Background(), o, e.First, e.Last+1-e.First)
		want := whole[e.First : e.Last+1]
		switch {
		case errors.Is(err, cachestore.ErrGone), errors.Is(err, cachestore.ErrDamaged):
			if !bytes.HasPrefix(want, got) {
				b.t.Fatalf("%s: wrong bytes before %v", v.etag, err)
			}
			b.why = fmt.Sprintf("%s, birth %d, from %d: %d bytes, then %v; drops %v", v.etag, o.Born().Seq, e.First, len(got), err, b.depot.Stats().Drops)
			return false
		case err != nil:
			b.t.Fatalf("%s: %v", v.etag, err)
		case !bytes.Equal(got, want):
			b.t.Fatalf("%s: %d wrong bytes", v.etag, len(got))
		}
	}
	return true
}

// shows tells whether a look-up of the version's key shows birth born, whole.
func (b *bare) shows(v version, born int64) bool {
	b.t.Helper()
	got, _ := b.look(v.key)
	return got[v.vary] == born
}

// du checks that no folder takes more than it may.
func (b *bare) du() {
	b.t.Helper()
	for _, f := range b.folders {
		if used, err := b.fs.UsedBytes(f.Path); err == nil && used > f.Size {
			b.t.Fatalf("%s takes %d bytes, of %d", f.Path, used, f.Size)
		}
	}
}

// dropped is how much was dropped, for any reason.
func dropped(s Stats) (n int64) {
	for _, each := range s.Drops {
		n += each
	}
	return n
}

// segmentFiles are the paths of all segments, in order.
func segmentFiles(fs *faultfs.FS) (paths []string) {
	for _, p := range fs.Paths() {
		if strings.HasPrefix(filepath.Base(p), segmentPrefix) {
			paths = append(paths, p)
		}
	}
	return paths
}

// putPart stores the bytes from first to end of a version, beside those that are there.
func (b *bare) putPart(v version, first, end int) (o *cachestore.Object, ok bool) {
	b.t.Helper()
	b.births++
	b.versions[b.births] = v
	with := cachestore.Beginning{
		Key: v.key, Stored: b.meta(v), Size: int64(v.size), Length: int64(end - first),
		Part: httpcache.ByteRange{First: int64(first), Last: int64(end) - 1},
		Born: cachestore.Birth{Seq: b.births, Local: b.births}, Marks: []cachestore.Mark{cachestore.Mark(b.births)},
	}
	for _, o := range b.forge.Get(v.key, nil) {
		if o.Variant() == with.Stored.Variant() {
			with.Base = o
		}
	}
	f := b.forge.Begin(with)
	if err := f.Copy(context.Background(), bytes.NewReader(v.content()[first:end])); err != nil {
		b.t.Fatalf("Copy: %v", err)
	}
	for _, o := range b.forge.Get(v.key, nil) {
		if o.Variant() == with.Stored.Variant() {
			return o, b.depot.Put(o)
		}
	}
	b.t.Fatalf("the forge keeps no part of %s", v.etag)
	return nil, false
}
