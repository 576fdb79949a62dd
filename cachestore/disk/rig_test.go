package disk

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/internal/faultfs"
	"perigee/internal/storetest"
)

const (
	testFolder = "/disk"
	testSize   = 64 << 20
)

// rig is a store over memory and a disk that a test can break.
type rig struct {
	t       testing.TB
	fs      *faultfs.FS
	folders []Folder
	ram     int64
	log     *slog.Logger
	marks   uint64

	budget *cachestore.Budget
	tier   *ram.Tier
	depot  *Depot
	store  *cachestore.Store
}

// newRig opens a store on one empty folder.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, fs: faultfs.New(1 << 40), folders: []Folder{{testFolder, testSize}}, ram: 64 << 20, log: slog.New(slog.DiscardHandler)}
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	if err := r.tryOpen(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) tryOpen() error {
	r.t.Helper()
	r.budget = cachestore.NewBudget(r.ram)
	tier, err := ram.New(r.budget)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tier = tier
	r.depot, err = Open(Options{
		Folders: r.folders, Budget: r.budget, MarksKey: r.marks, FS: faulty{r.fs}, Log: r.log, Now: time.Now,
	})
	if err != nil {
		_ = tier.Close()
		return err
	}
	r.store = cachestore.New(cachestore.Options{Budget: r.budget, Home: tier, Depot: r.depot})
	return nil
}

// loaded waits until the index is complete.
func (r *rig) loaded() {
	r.t.Helper()
	r.depot.loaded.Wait()
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.store.Close(context.Background()); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	if used := r.budget.Used(); used != 0 {
		r.t.Errorf("after Close %d bytes are still reserved", used)
	}
}

// reopen closes the store and opens it again: memory is empty then.
func (r *rig) reopen() {
	r.t.Helper()
	r.close()
	r.open()
	r.loaded()
}

// crash has the process end at once, and another one begin with what is left.
func (r *rig) crash() {
	r.t.Helper()
	left := r.fs.Snapshot()
	_ = r.store.Close(context.Background())
	r.fs = left
	r.open()
	r.loaded()
}

func (r *rig) put(i int, body []byte, vary ...string) *cachestore.Object {
	r.t.Helper()
	f := r.store.Begin(cachestore.Beginning{Key: storetest.Key(i), Stored: storetest.Stored(r.t, vary...), Length: int64(len(body))})
	if err := f.Copy(context.Background(), bytes.NewReader(body)); err != nil && !errors.Is(err, cachestore.ErrUnread) {
		r.t.Fatalf("Copy of object %d: %v", i, err)
	}
	return f.Object()
}

// want checks that object i is found, once, with a body.
func (r *rig) want(i int, body []byte) {
	r.t.Helper()
	got := r.store.Get(storetest.Key(i), nil)
	if len(got) != 1 {
		r.t.Fatalf("object %d: %d found, want 1", i, len(got))
	}
	all, err := storetest.Read(context.Background(), got[0], 0, -1)
	if err != nil || !bytes.Equal(all, body) {
		r.t.Fatalf("object %d: %d bytes, %v; want %d bytes", i, len(all), err, len(body))
	}
}

// found tells whether object i is found, and fails the test if its bytes are wrong.
func (r *rig) found(i int, body []byte) bool {
	r.t.Helper()
	for _, o := range r.store.Get(storetest.Key(i), nil) {
		all, err := storetest.Read(context.Background(), o, 0, -1)
		if err == nil && !bytes.Equal(all, body) {
			r.t.Fatalf("object %d: %d wrong bytes", i, len(all))
		}
		if err == nil {
			return true
		}
	}
	return false
}
