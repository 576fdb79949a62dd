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

// purging is all that has to do with purges: the ledger, its log, the service above.
type purging struct {
	ledger  *purge.Ledger
	log     purge.Log
	journal *purge.Journal // nil: nothing is kept
	service *purge.Service

	end  context.CancelFunc
	work sync.WaitGroup
}

// openPurging opens the journal in the state folder, if there is one. Nothing is
// followed yet.
func openPurging(conf *config.Node, log *slog.Logger) (*purging, error) {
	p := &purging{}
	var o purge.Options
	if conf.State == "" {
		_, _ = rand.Read(o.Key[:]) // never fails
		p.log = purge.Memory(now)
	} else {
		if err := os.MkdirAll(conf.State, 0o700); err != nil {
			return nil, fmt.Errorf("node.state: %w", err)
		}
		key, err := secretKey(filepath.Join(conf.State, "purge.key"))
		if err != nil {
			return nil, fmt.Errorf("node.state: %w", err)
		}
		o.Key = key
		journal, damage, err := purge.OpenJournal(purge.JournalOptions{Dir: filepath.Join(conf.State, "purges"), Now: now})
		if err != nil {
			return nil, fmt.Errorf("node.state: %w", err)
		}
		if damage != nil {
			log.Error(damage.String())
		}
		p.journal, p.log = journal, journal
		if err := errors.Join(syncFolder(conf.State), syncFolder(filepath.Dir(conf.State))); err != nil {
			log.Warn("node.state: the folder may not outlive a power cut", "error", err)
		}
	}
	p.ledger = purge.New(o)
	return p, nil
}

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
		for ctx.Err() == nil {
			births = append(births, p.ledger.Now())
			store.Sweep()
			if len(births) > int(oldestFetch/upkeepEvery) {
				p.ledger.Forget(oldest(store, births[0]))
				p.ledger.ForgetSwept(births[0].Local) // what was stored since began later, or is late
				births = births[1:]
			}
			p.compact(ctx, log)
			_ = pause(ctx, upkeepEvery)
		}
	})
}

// oldest is a birth that nothing stored has before it, nor what began to be fetched
// after limit.
func oldest(store *cachestore.Store, limit cachestore.Birth) cachestore.Birth {
	for o := range store.All() {
		born := o.Born()
		limit.Seq, limit.Local = min(limit.Seq, born.Seq), min(limit.Local, born.Local)
	}
	return limit
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
	if p.journal != nil {
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
