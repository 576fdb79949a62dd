package disk

import (
	"testing"
)

// A segment that is let go of while somebody reads it must not be found at the next start:
// what was evicted with it, and removed later, would be there again.
func TestDyingSegmentIsNotFoundAgain(t *testing.T) {
	t.Parallel()
	b := newBare(t, 16<<20)
	v := versionOf(1, 1, 200_000)
	o := b.mustPut(v)
	b.settle()
	got := b.depot.Recall(v.key, nil, nil)
	if len(got) != 1 {
		t.Fatalf("%d found, want 1", len(got))
	}
	pinned := got[0].Pieces()[0].Source
	if !pinned.Pin() {
		t.Fatal("no pin")
	}
	for i := 100; b.depot.index.len() > 0 && i < 300; i++ {
		if _, there := b.depot.index.get(nameOf(v.key, o.Variant())); !there {
			break
		}
		b.mustPut(versionOf(i, i, 250_000))
	}
	b.settle()
	b.depot.Remove(v.key)
	b.settle()
	left := b.fs.Snapshot()
	pinned.Unpin()
	b.leave(left)
	if got, _ := b.look(v.key); len(got) != 0 {
		t.Errorf("after a crash %v is shown, which was removed", got)
	}
	b.end()
}
