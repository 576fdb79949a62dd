package disk

import "testing"

// What was removed costs memory while the index is loaded; without it no older segment is
// read, rather than something that was removed be shown.
func TestGravesAreBounded(t *testing.T) {
	t.Parallel()
	taken, most := int64(0), int64(2*graveStep*graveBytes)
	g := newGraves(func(n int64) bool {
		if taken+n > most {
			return false
		}
		taken += n
		return true
	}, func(n int64) { taken -= n })
	s := &segment{}
	for i := range uint64(2 * graveStep) {
		g.add(nameIn{name: name{tag: i}}, i+10)
	}
	if g.full || taken != most {
		t.Fatalf("full %v with %d bytes taken, want false with %d", g.full, taken, most)
	}
	if until, _ := g.cover(s, name{tag: 7}); until != 17 {
		t.Errorf("records up to %d are covered, want 17", until)
	}
	g.addAll(tagIn{tag: 7}, 100)
	if until, _ := g.cover(s, name{tag: 7}); !g.full || until != 17 {
		t.Errorf("full %v, covered up to %d; want true, 17", g.full, until)
	}
	g.close()
	if taken != 0 {
		t.Errorf("%d bytes are still taken", taken)
	}
}

// Segments that cannot be read because of it stay, unseen, and are the first to go.
func TestSegmentsAreLeftWithoutMemoryForGraves(t *testing.T) {
	t.Parallel()
	b := newBare(t, testSize)
	var all []version
	for i := range 600 {
		v := versionOf(i, i, 20_000)
		b.mustPut(v)
		all = append(all, v)
	}
	b.depot.Remove(all[0].key) // a grave in the newest segment
	b.settle()
	limit := b.limit
	b.limit = 400 << 10 // too little for one
	b.reopen()
	shown := 0
	for _, v := range all {
		if got, broken := b.look(v.key); broken > 0 {
			t.Fatalf("%d broken", broken)
		} else if len(got) > 0 {
			shown++
		}
	}
	if shown == 0 || shown == len(all) {
		t.Errorf("%d of %d objects are shown, want those of the newest segments", shown, len(all))
	}
	left := len(b.fs.Paths())
	b.limit = limit
	b.reopen()
	again := 0
	for _, v := range all {
		if got, _ := b.look(v.key); len(got) > 0 {
			again++
		}
	}
	if again != len(all)-1 || left < 10 {
		t.Errorf("with memory %d of %d objects are shown, want all but one; %d files were left", again, len(all), left)
	}
	b.end()
}
