package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"perigee/cachestore"
	"perigee/config"
	"perigee/edge"
	"perigee/purge"
)

const (
	// upkeepEvery is how often what cannot strike anything any more is forgotten.
	upkeepEvery = time.Minute
	// oldestFetch is for how long a fetch may be on its way before a purge that came
	// meanwhile may be forgotten: it counts as struck then.
	oldestFetch = 10 * time.Minute
	// spareEntries is how many entries beyond those that count a journal may have
	// before it is rewritten.
	spareEntries = 10_000
	// startWait is how long the start waits for the log to be read.
	startWait = 10 * time.Second
	// retryLog is how long a log that could not be read is left alone.
	retryLog = time.Second
)

// invalidationsName is the file of invalidations in the state folder.
const invalidationsName = "invalidations"

// purging is all that has to do with purges: the ledger, its log, the service above.
type purging struct {
	key     [16]byte // that marks are made with
	ledger  *purge.Ledger
	log     purge.Log
	journal *purge.Journal       // nil: nothing is kept
	kept    *purge.Invalidations // nil likewise
	service *purge.Service
	// away tells that the state folder cannot be used: what was purged meanwhile would come
	// back with it, so no purge is taken.
	away bool

	// oldest and newest are births before and after which nothing on disk was born, the
	// second as far as it is known; nil: nothing is stored on disk.
	oldest func() (born cachestore.Birth, known bool)
	newest func() cachestore.Birth

	end  context.CancelFunc
	work sync.WaitGroup
}

// beginPurging finds the key of marks, which a disk is asked by before it is opened.
func beginPurging(state string) (*purging, error) {
	p := &purging{}
	if state == "" {
		_, _ = rand.Read(p.key[:]) // never fails
		return p, nil
	}
	err := os.MkdirAll(state, 0o700)
	if err == nil {
		p.key, err = secretKey(filepath.Join(state, "purge.key"))
	}
	if err != nil {
		return nil, fmt.Errorf("node.state: %w", err)
	}
	return p, nil
}

// marksID names the key of marks.
func (p *purging) marksID() uint64 { return purge.MarksID(p.key) }

// onDisk tells, before open is called, of births before and after which nothing on disk
// was born.
func (p *purging) onDisk(oldest func() (born cachestore.Birth, known bool), newest func() cachestore.Birth) {
	p.oldest, p.newest = oldest, newest
}

// open opens what the state folder keeps of purges, if there is one. Nothing is followed
// yet.
func (p *purging) open(state string, log *slog.Logger) error {
	o := purge.Options{Key: p.key, Start: now()}
	p.log = purge.Memory(now)
	if p.away {
		p.log = refusing{p.log}
	}
	if state != "" {
		if err := p.openState(state, o.Start, log); err != nil {
			return fmt.Errorf("node.state: %w", err)
		}
		o.Invalidations = p.kept
	}
	p.ledger = purge.New(o)
	return nil
}

// refusing is a log that takes nothing.
type refusing struct{ purge.Log }

var errAway = errors.New("the purge log failed: node.state cannot be used; nothing was purged; make its folder writable and start the node again")

// Append implements [purge.Log].
func (refusing) Append(context.Context, purge.ID, []purge.Entry) (int64, error) { return 0, errAway }

// openState opens the journal, whose lock keeps other processes from the invalidations
// too, and these.
func (p *purging) openState(dir string, start time.Time, log *slog.Logger) error {
	var seen cachestore.Birth
	if p.newest != nil {
		seen = p.newest()
	}
	journal, damage, err := purge.OpenJournal(purge.JournalOptions{Dir: filepath.Join(dir, "purges"), Now: now, Seen: seen.Seq})
	if err != nil {
		return err
	}
	if damage != nil {
		log.Error(damage.String())
	}
	kept, lost, err := purge.OpenInvalidations(purge.InvalidationsOptions{
		File: filepath.Join(dir, invalidationsName), Start: start, Key: p.key, Seen: seen.Local, Doubt: damage != nil,
	})
	if err != nil {
		return errors.Join(err, journal.Close())
	}
	p.journal, p.log, p.kept = journal, journal, kept
	if lost != "" {
		log.Error("invalidations were lost (" + lost + "): " + lostWords)
	}
	if err := errors.Join(syncFolder(dir), syncFolder(filepath.Dir(dir))); err != nil {
		log.Warn("node.state: the folder may not outlive a power cut", "error", err)
	}
	return nil
}

// lostWords says what lost invalidations cost.
const lostWords = "nothing that was stored before this start is served unchecked"

// secretKey reads the key that marks are made with, or makes one.
func secretKey(path string) (key [16]byte, err error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, _ = rand.Read(key[:]) // never fails
		return key, writeDurably(path, key[:])
	case err != nil:
		return key, err
	case len(data) != len(key):
		return key, fmt.Errorf("%s is not a key of %d bytes: remove it, and nothing that is stored will be served", path, len(key))
	}
	return [16]byte(data), nil
}

// writeDurably writes a file that is there whole or not at all, whenever the power
// goes.
func writeDurably(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	return errors.Join(err, syncFolder(filepath.Dir(path)))
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// serve makes the service that takes orders, and begins to follow the log.
func (p *purging) serve(conf *config.Node, handler *edge.Handler, log *slog.Logger) {
	p.service = purge.NewService(purge.ServiceOptions{
		Log: p.log, Ledger: p.ledger, Names: handler, Count: handler.Count, Now: now, Audit: log, Edge: nodeName(conf),
	})
	ctx, end := context.WithCancel(context.Background())
	p.end = end
	p.follow(ctx, log, func() error { return p.ledger.Follow(ctx, p.log) })
	p.follow(ctx, log, func() error { return p.service.Run(ctx) })
	p.catchUp(ctx, log)
}

// catchUp waits until the ledger has what the journal had at the start, so that nothing
// is fetched before it that what was purged earlier seems to strike.
func (p *purging) catchUp(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	first, last, err := p.log.State(ctx)
	if err == nil && first <= last {
		err = p.ledger.Wait(ctx, last)
	}
	if err != nil {
		log.Warn("the purge log is slow; serving begins without all of it", "error", err)
	}
}

// nodeName is what this node is called in receipts.
func nodeName(conf *config.Node) string {
	if conf.Name != "" {
		return conf.Name
	}
	if host, err := os.Hostname(); err == nil {
		return host
	}
	return "perigee"
}

// follow has something read the log until the end, again whenever that fails.
func (p *purging) follow(ctx context.Context, log *slog.Logger, read func() error) {
	p.work.Go(func() {
		for ctx.Err() == nil {
			if err := read(); err != nil && ctx.Err() == nil {
				log.Error("the purge log cannot be read; trying again", "error", err)
			}
			_ = pause(ctx, retryLog)
		}
	})
}

// keep lets go, now and then, what was purged, forgets what cannot strike anything any
// more, and rewrites the journal without it.
func (p *purging) keep(store *cachestore.Store, log *slog.Logger) {
	ctx, end := context.WithCancel(context.Background())
	before := p.end
	p.end = func() { before(); end() }
	p.work.Go(func() {
		var births []cachestore.Birth // of each upkeep, the oldest first
		var failing bool
		for ctx.Err() == nil {
			births = append(births, p.ledger.Now())
			store.Sweep()
			if len(births) > int(oldestFetch/upkeepEvery) {
				p.forget(store, births[0], log)
				births = births[1:]
			}
			p.compact(ctx, log)
			failing = p.tell(failing, log)
			_ = pause(ctx, upkeepEvery)
		}
	})
}

// forget lets the ledger forget what strikes nothing any more, memory having been swept
// of what was struck before a birth; what began to be fetched since is late. A disk is not
// swept: what strikes something there is kept.
func (p *purging) forget(store *cachestore.Store, swept cachestore.Birth, log *slog.Logger) {
	limit := swept
	if p.oldest != nil {
		kept, known := p.oldest()
		if !known {
			return
		}
		if p.ledger.Saw(p.newest()) {
			log.Error("invalidations were lost (what is stored knows of later ones): " + lostWords)
		}
		limit = earlier(limit, kept)
	}
	p.ledger.ForgetSwept(limit.Local)
	if inMemory, known := store.Oldest(); known {
		p.ledger.Forget(earlier(limit, inMemory))
	}
}

// earlier is a birth that neither of two has before it.
func earlier(a, b cachestore.Birth) cachestore.Birth {
	return cachestore.Birth{Seq: min(a.Seq, b.Seq), Local: min(a.Local, b.Local)}
}

// tell logs once that invalidations cannot be written, and once that they can again.
func (p *purging) tell(failing bool, log *slog.Logger) bool {
	if p.kept == nil {
		return false
	}
	why := p.kept.Stats().Failing
	switch {
	case why != nil && !failing:
		log.Error("invalidations cannot be written, and end with this process; trying again", "error", why)
	case why == nil && failing:
		log.Info("invalidations are written again")
	}
	return why != nil
}

func (p *purging) compact(ctx context.Context, log *slog.Logger) {
	if p.journal == nil || p.journal.Stats().Entries <= 2*p.ledger.Stats().Entries+spareEntries {
		return
	}
	if err := p.journal.Compact(ctx, p.ledger); err != nil && ctx.Err() == nil {
		log.Warn("the purge log could not be rewritten; it stays as it is", "error", err)
	}
}

// swap tells the service of the sites in force.
func (p *purging) swap(conf *config.Node) {
	sites := make([]purge.SiteOptions, len(conf.Sites))
	for i, site := range conf.Sites {
		sites[i] = purge.SiteOptions{Name: site.Name, IDs: site.Purge.IDs, Hosts: hostsOf(site)}
		for _, t := range site.Purge.Tokens {
			token := purge.Token{
				Name: t.Name, Secret: t.Secret, SoftOnly: t.SoftOnly, Networks: t.Networks, Expires: t.Expires, Rate: t.Rate,
			}
			for _, scope := range t.Scopes {
				token.Scopes = append(token.Scopes, purge.Scope(scope))
			}
			sites[i].Tokens = append(sites[i].Tokens, token)
		}
	}
	p.service.Swap(sites)
}

// stats are the ledger's and, where there is one, the journal's.
func (p *purging) stats() (purge.Stats, *purge.JournalStats) {
	if p.journal == nil {
		return p.ledger.Stats(), nil
	}
	journal := p.journal.Stats()
	return p.ledger.Stats(), &journal
}

// close ends everything and closes the journal.
func (p *purging) close() {
	if p.end != nil {
		p.end()
	}
	p.work.Wait()
	if p.kept != nil {
		_ = p.kept.Close()
	}
	if p.journal != nil { // last: its lock is for both
		_ = p.journal.Close()
	}
}

// purger gives the edge the service, which is made after it.
type purger struct{ *purging }

// Public implements [edge.Purger].
func (p purger) Public() http.Handler { return p.service.Public() }

// Method implements [edge.Purger].
func (p purger) Method(w http.ResponseWriter, r *http.Request, site, host, path, query string) {
	p.service.Method(w, r, site, host, path, query)
}
