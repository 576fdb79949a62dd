package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/config"
)

// A storm: 10,000 purges of tags, each written to disk before it is acknowledged, while
// clients read the pages that they strike. Nobody gets an error, nor a page that is
// older than a purge that was acknowledged before he asked. How long each took is told,
// not judged.
func TestPurgeStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("a storm takes seconds")
	}
	const orders, senders, readers = 10_000, 16, 20
	s := newPurgeStorm(t)
	reading, over := context.WithCancel(t.Context())
	defer over()
	var clients, storm sync.WaitGroup
	quiet := s.read(context.Background(), 0, 200)
	reads := make([][]time.Duration, readers)
	for i := range readers {
		clients.Go(func() { reads[i] = s.read(reading, i, 0) })
	}
	var next atomic.Int64
	sent := make([][]time.Duration, senders)
	for i := range senders {
		storm.Go(func() {
			for n := next.Add(1); n <= orders && !t.Failed(); n = next.Add(1) {
				began := time.Now()
				s.purge(int(n) % stormPages)
				sent[i] = append(sent[i], time.Since(began))
			}
		})
	}
	began := time.Now()
	storm.Wait()
	took := time.Since(began)
	over()
	clients.Wait()
	stats, journal := s.node.purging.stats()
	if stats.Applied != orders || journal == nil || journal.Appends != orders {
		t.Errorf("%d of %d purges were applied; the journal says %+v", stats.Applied, orders, journal)
	}
	t.Logf("%d purges in %v; %d times flushed to disk", orders, took.Round(time.Millisecond), journal.Syncs)
	t.Logf("purge: %s", spread(slices.Concat(sent...)))
	t.Logf("read:  %s; before the storm %s", spread(slices.Concat(reads...)), spread(quiet))
}

const stormPages = 100

// purgeStorm is a node with a journal, before an origin whose pages say how many purges
// had been ordered when they were made.
type purgeStorm struct {
	t       *testing.T
	node    *node
	client  *http.Client
	edge    string
	admin   string
	ordered atomic.Int64
	atLeast [stormPages]atomic.Int64 // what each page says by now, for purges were acknowledged
}

func newPurgeStorm(t *testing.T) *purgeStorm {
	s := &purgeStorm{t: t}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = []string{"max-age=600"}
		w.Header().Set("Cache-Tag", "page-"+strings.TrimPrefix(r.URL.Path, "/"))
		fmt.Fprint(w, s.ordered.Load())
	}))
	t.Cleanup(origin.Close)
	conf, err := config.Proxy(config.ProxyOptions{To: origin.URL, Listen: []string{"127.0.0.1:0"}, Admin: "127.0.0.1:0", RAM: "64MiB"})
	if err != nil {
		t.Fatal(err)
	}
	conf.Log.Access, conf.State = "off", t.TempDir()
	if s.node, err = start(conf, nil, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	s.client = &http.Client{Transport: transport, Timeout: patience}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s.node.stop(ctx)
	})
	clear, _ := s.node.listeners.Addrs()
	s.edge, s.admin = "http://"+clear[0].String(), "http://"+s.node.adminAddr.String()
	return s
}

// purge strikes a page by its tag.
func (s *purgeStorm) purge(page int) {
	now := s.ordered.Add(1)
	body := fmt.Sprintf(`{"tags":["page-%d"]}`, page)
	resp, err := s.client.Post(s.admin+"/v1/sites/*/purge", "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Errorf("a purge: %v", err)
		return
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Errorf("a purge: %s %s, %v", resp.Status, text, err)
		return
	}
	for {
		was := s.atLeast[page].Load()
		if was >= now || s.atLeast[page].CompareAndSwap(was, now) {
			return
		}
	}
}

// read reads pages until ctx ends, or so many, and returns how long each took.
func (s *purgeStorm) read(ctx context.Context, page, most int) (took []time.Duration) {
	for n := 0; ctx.Err() == nil && (most == 0 || n < most); n++ {
		page = (page + 7) % stormPages
		bound, began := s.atLeast[page].Load(), time.Now()
		resp, err := s.client.Get(s.edge + "/" + strconv.Itoa(page))
		if err != nil {
			s.t.Errorf("a read: %v", err)
			return took
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		took = append(took, time.Since(began))
		if made, _ := strconv.ParseInt(string(text), 10, 64); err != nil || resp.StatusCode != http.StatusOK || made < bound {
			s.t.Errorf("page %d: %s, %v, made at purge %q, and purge %d was acknowledged before (%s)",
				page, resp.Status, err, text, bound, resp.Header.Get("X-Cache"))
			return took
		}
	}
	return took
}

// spread says how long things took.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(of float64) time.Duration { return all[int(of*float64(len(all)-1))].Round(time.Microsecond) }
	return fmt.Sprintf("%d, half within %v, 99 %% within %v, 99.9 %% within %v, the longest %v", len(all), at(.5), at(.99), at(.999), at(1))
}
