package disk

import (
	"runtime"
	"testing"

	"perigee/internal/faultfs"
)

// One disk that hangs must not keep the others from being read.
func TestADiskThatHangsHoldsUpItself(t *testing.T) {
	t.Parallel()
	b := unopened(t, Folder{"/a", 16 << 20}, Folder{"/b", 16 << 20})
	b.open()
	at := map[string][]version{}
	for i := range 200 {
		v := versionOf(i, i, 1000)
		o := b.mustPut(v)
		f, _ := b.depot.index.get(nameOf(o.Key(), o.Variant()))
		p := b.depot.segments.at(f.at).volume.path
		at[p] = append(at[p], v)
	}
	b.settle()
	b.reopen() // nothing is in memory
	gate := make(chan struct{})
	done := make(chan int, 100)
	b.fs.Inject(faultfs.Rule{Op: faultfs.OpRead, PathContains: "/a/", Delay: gate})
	for _, v := range at["/a"][:maxReads] {
		go func() { done <- len(b.depot.Recall(v.key, nil, nil)) }()
	}
	for b.depot.volumes[0].blocks.stats().Reads < maxReads {
		runtime.Gosched()
	}
	late := b.depot.Stats().Late
	got := len(b.depot.Recall(at["/b"][0].key, nil, nil))
	if got != 1 {
		t.Errorf("an object of /b: %d found, %d late", got, b.depot.Stats().Late-late)
	}
	close(gate)
	for range maxReads {
		<-done
	}
	b.end()
}
