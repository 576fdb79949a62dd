package main

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/purge"
)

// startPurging opens what a state folder keeps, as a node does. newest is the highest
// birth on disk, nil where there is none. What is logged comes with it.
func startPurging(t *testing.T, state string, newest *cachestore.Birth) (*purging, *bytes.Buffer) {
	t.Helper()
	var told bytes.Buffer
	p, err := beginPurging(state)
	if err != nil {
		t.Fatal(err)
	}
	if newest != nil {
		p.onDisk(func() (cachestore.Birth, bool) { return *newest, true }, func() cachestore.Birth { return *newest })
	}
	if err := p.open(state, slog.New(slog.NewTextHandler(&told, nil))); err != nil {
		t.Fatal(err)
	}
	return p, &told
}

// verdictOn is the verdict on a response with one mark.
func (p *purging) verdictOn(born cachestore.Birth, mark cachestore.Mark) cachestore.Verdict {
	var checked atomic.Uint64
	return p.ledger.Judge(born, []cachestore.Mark{mark}, &checked)
}

// TestInvalidationsRestart: what was invalidated is, in the next process; where the file
// is gone and something is stored, all of it is, and the log says so.
func TestInvalidationsRestart(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	p, told := startPurging(t, state, nil)
	id := p.marksID()
	before := p.ledger.Now()
	p.ledger.Invalidate(1)
	last := p.ledger.Now()
	p.close()

	p, told2 := startPurging(t, state, &last)
	if told.Len()+told2.Len() > 0 || p.marksID() != id {
		t.Errorf("told %q and %q; the keys are %d and %d", told, told2, id, p.marksID())
	}
	if got := p.verdictOn(before, 1); got != cachestore.Gone {
		t.Errorf("what was struck: verdict %d, want %d", got, cachestore.Gone)
	}
	if got := p.verdictOn(before, 2); got != cachestore.Valid {
		t.Errorf("what was not: verdict %d, want %d", got, cachestore.Valid)
	}
	last = p.ledger.Now()
	p.close()

	if err := os.Remove(filepath.Join(state, invalidationsName)); err != nil {
		t.Fatal(err)
	}
	p, told = startPurging(t, state, &last)
	defer p.close()
	if got := p.verdictOn(before, 2); got == cachestore.Valid || !strings.Contains(told.String(), lostWords) {
		t.Errorf("without the file: verdict %d, told %q", got, told)
	}
}

// TestForgetOnDisk: while something on disk is older than an invalidation, that is kept.
func TestForgetOnDisk(t *testing.T) {
	t.Parallel()
	budget := cachestore.NewBudget(1 << 24)
	tier, err := ram.New(budget)
	if err != nil {
		t.Fatal(err)
	}
	store := cachestore.New(cachestore.Options{Budget: budget, Home: tier})
	t.Cleanup(func() { _ = tier.Close() })
	const struck = 10
	for _, test := range []struct {
		name   string
		oldest int64 // how many invalidations came before what is oldest on disk
		known  bool
		want   int // what is remembered
	}{
		{"not known yet", 0, false, struck},
		{"older than all", 0, true, struck},
		{"in between", 4, true, struck - 4},
		{"nothing on disk", math.MaxInt64 >> 1, true, 2}, // those since the sweep
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &purging{ledger: purge.New(purge.Options{})}
			var told bytes.Buffer
			p.onDisk(func() (cachestore.Birth, bool) {
				return cachestore.Birth{Seq: math.MaxInt64, Local: test.oldest}, test.known
			},
				func() cachestore.Birth { return cachestore.Birth{} })
			var swept cachestore.Birth
			for i := range struck {
				if i == struck-2 {
					swept = p.ledger.Now()
				}
				p.ledger.Invalidate(cachestore.Mark(i + 1))
			}
			p.forget(store, swept, slog.New(slog.NewTextHandler(&told, nil)))
			if got := p.ledger.Stats().LocalEntries; got != test.want || told.Len() > 0 {
				t.Errorf("%d of %d are remembered, want %d; told %q", got, struck, test.want, &told)
			}
		})
	}
}

// TestTellOnce: that invalidations cannot be written is one line, and so is the end.
func TestTellOnce(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	inTheWay := filepath.Join(state, invalidationsName+".tmp")
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	p, _ := startPurging(t, state, nil)
	defer p.close()
	var told bytes.Buffer
	log := slog.New(slog.NewTextHandler(&told, nil))
	if !p.tell(p.tell(false, log), log) || strings.Count(told.String(), "\n") != 1 {
		t.Errorf("told %q, want one line", &told)
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := p.kept.Close(); err != nil { // which tries once more
		t.Fatal(err)
	}
	if p.tell(true, log) || strings.Count(told.String(), "\n") != 2 {
		t.Errorf("told %q, want two lines", &told)
	}
}
