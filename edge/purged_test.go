package edge

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/purge"
)

type orders struct {
	seq int64
	l   *purge.Ledger
}

func ordersOf(r *rig) *orders { return &orders{l: r.handler.ledger.(*purge.Ledger), seq: 1000} }

func (p *orders) apply(t *testing.T, e purge.Entry, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	p.seq++
	e.Seq = p.seq
	if !p.l.Apply(e) {
		t.Fatal("not applied")
	}
}

// url purges as purge.Service's compiler does: both schemes, URL and class.
func (p *orders) url(t *testing.T, h *Handler, site, host, path, query string) {
	t.Helper()
	for _, scheme := range []string{"https", "http"} {
		asked := host
		if host == "*" {
			asked = "host.invalid"
		}
		keyed, kpath, kquery, err := h.Target(site, scheme, asked, path, query)
		if err != nil {
			t.Fatal(err)
		}
		if host == "*" {
			keyed = "*"
		}
		e, err := purge.URL(site, keyed, kpath, kquery)
		p.apply(t, e, err)
		queries, classes := h.Forms(site, scheme, host, path, query)
		for _, each := range queries {
			e, err := purge.URL(site, keyed, kpath, each)
			p.apply(t, e, err)
		}
		for _, class := range classes {
			e, err := purge.Class(site, class)
			p.apply(t, e, err)
		}
	}
}

// A host that "*" served gets a site of its own by a reload.
func TestPurgedReloadToOwnSite(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p := ordersOf(r)
		all := *r.site
		all.Name, all.Aliases = CatchAll, nil
		r.handler.Swap(NewSites([]*Site{&all}), Limits{})
		r.get("/text/a?cc=max-age%3D600")
		later(time.Second)
		own := *r.site
		r.handler.Swap(NewSites([]*Site{&all, &own}), Limits{})
		e, err := purge.Site("www.test")
		p.apply(t, e, err)
		e, err = purge.Host("www.test", "www.test")
		p.apply(t, e, err)
		p.url(t, r.handler, "www.test", "www.test", "/text/a", "cc=max-age%3D600")
		if got := r.get("/text/a?cc=max-age%3D600").Header.Get("X-Cache"); got != "MISS" {
			t.Errorf("after purging all of the site, its host and the URL: X-Cache %q, want MISS", got)
		}
	})
}

// An alias under its own key (origin.host: client) becomes a site of its own.
func TestPurgedReloadAliasToOwnSite(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p := ordersOf(r)
		r.reconfigure(func(s *Site) { s.KeyByHost = true })
		r.get("/text/a?cc=max-age%3D600", "Host: test")
		later(time.Second)
		a := *r.site
		a.Aliases = nil
		b := *r.site
		b.Name, b.Aliases, b.KeyByHost = "test", nil, false
		r.handler.Swap(NewSites([]*Site{&a, &b}), Limits{})
		e, err := purge.Site("test")
		p.apply(t, e, err)
		if got := r.get("/text/a?cc=max-age%3D600", "Host: test").Header.Get("X-Cache"); got != "MISS" {
			t.Errorf("after purging all of the site: X-Cache %q, want MISS", got)
		}
	})
}

// A rule by cookie gives another form of the query.
func TestPurgedCookieRuleQuery(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p := ordersOf(r)
		r.reconfigure(func(s *Site) {
			s.RuleSet = []Rule{{
				Match: Match{Cookies: [][]Named{{{Name: "app"}}}},
				Key:   KeyChange{Query: &httpcache.QueryRule{Exclude: []httpcache.Glob{httpcache.NewGlob("x")}}},
			}}
		})
		r.get("/text/a?cc=max-age%3D600&x=1", "Cookie: app=1")
		later(time.Second)
		r.get("/text/a?cc=max-age%3D600&x=2", "Cookie: app=1").expect(t, 200, "HIT", "hit; ttl=599")
		p.url(t, r.handler, "www.test", "www.test", "/text/a", "cc=max-age%3D600&x=2")
		if got := r.get("/text/a?cc=max-age%3D600&x=2", "Cookie: app=1").Header.Get("X-Cache"); got != "MISS" {
			t.Errorf("purged URL with the rule's cookie: X-Cache %q, want MISS", got)
		}
	})
}

// The site "*", a path, and No-Vary-Search.
func TestPurgedCatchAllPathClass(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p := ordersOf(r)
		r.reconfigure(func(s *Site) { s.Name, s.Aliases = CatchAll, nil })
		r.origin.Script("/page", testorigin.Answer{Fields: []string{"cache-control: max-age=600", `No-Vary-Search: params=("utm")`}, Text: "old"})
		r.get("/page?utm=1")
		later(time.Second)
		if got := r.get("/page").Header.Get("X-Cache"); got != "HIT" {
			t.Fatalf("X-Cache %q, want HIT", got)
		}
		p.url(t, r.handler, CatchAll, "*", "/page", "")
		if got := r.get("/page").Header.Get("X-Cache"); got != "MISS" {
			t.Errorf("/page of all hosts was purged: X-Cache %q, want MISS", got)
		}
	})
}

// A No-Vary-Search rule that is learned while a purge comes.
func TestPurgedClassLearnedInFlight(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p := ordersOf(r)
		r.origin.Script("/page", testorigin.Answer{Fields: []string{"cache-control: max-age=600", `No-Vary-Search: params=("utm")`}, Text: "old"})
		release := r.origin.Hold("/page")
		var wg sync.WaitGroup
		wg.Go(func() { r.get("/page?utm=1") })
		later(time.Second)
		p.url(t, r.handler, "www.test", "www.test", "/page", "") // before the fetch of ?utm=1 ends
		release()
		wg.Wait()
		later(time.Second)
		if got := r.get("/page").Header.Get("X-Cache"); got != "MISS" {
			t.Errorf("/page was purged while /page?utm=1 was on its way: X-Cache %q, want MISS", got)
		}
	})
}

// beforeNow runs something before a call of Now.
type beforeNow struct {
	*purge.Ledger
	before func()
	at     atomic.Int64
}

func (l *beforeNow) Now() cachestore.Birth {
	if l.at.Add(-1) == 0 {
		l.before()
	}
	return l.Ledger.Now()
}

// The purge falls between the look-up and the fetch's birth.
func TestPurgedPurgeBetweenLookAndBirth(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		t.Run(method, func(t *testing.T) {
			inBubble(t, httpcache.Rules{HonourRequest: true}, func(t *testing.T, r *rig) {
				p := ordersOf(r)
				l := &beforeNow{Ledger: p.l}
				r.handler.ledger = l
				r.origin.Script("/p", testorigin.Answer{Fields: []string{"cache-control: max-age=10", `ETag: "1"`}, Text: "purged"})
				r.get("/p")
				later(11 * time.Second)
				if method == "GET" {
					r.origin.Script("/p", testorigin.Answer{Status: 304, Fields: []string{"cache-control: max-age=600", `ETag: "1"`}})
				} else {
					r.origin.Script("/p", testorigin.Answer{Fields: []string{"cache-control: max-age=600", `ETag: "1"`, "Content-Length: 6"}})
				}
				l.before = func() { p.url(t, r.handler, "www.test", "www.test", "/p", "") }
				l.at.Store(2) // errandFor's, then ask's
				if _, err := r.do(t.Context(), method, "/p"); err != nil {
					t.Fatal(err)
				}
				later(time.Second)
				r.origin.Script("/p", testorigin.Answer{Fields: []string{"cache-control: max-age=600", `ETag: "2"`}, Text: "new"})
				for range 2 {
					if a := r.get("/p"); a.body == "purged" {
						t.Errorf("after the purge: %q, X-Cache %s", a.body, a.Header.Get("X-Cache"))
					}
				}
			})
		})
	}
}

// A follower goes on with what was purged while it waited: it validates with that,
// and, as long as somebody still reads the old body, gets it, and so does whoever comes
// after the purge and joins it.
func TestPurgedFollowerValidatesPurged(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p := ordersOf(r)
		purged := strings.Repeat("purged", 200_000)
		r.origin.Script("/p", testorigin.Answer{Fields: []string{"cache-control: max-age=10", `ETag: "1"`}, Text: purged})
		r.get("/p")
		later(2 * time.Second)
		slow := r.dial() // a client that takes its time
		r.ask(slow, "GET /p HTTP/1.1\r\nHost: www.test\r\n\r\n")
		stop := make(chan struct{})
		var reading sync.WaitGroup
		reading.Go(func() {
			buf := make([]byte, 8<<10)
			for {
				select {
				case <-stop:
					slow.Close()
					return
				case <-time.After(time.Second):
					_, _ = slow.Read(buf)
				}
			}
		})
		later(9 * time.Second)
		r.origin.Script("/p", testorigin.Answer{Status: 503, Fields: []string{"cache-control: no-store"}, Text: "sorry", Delay: 5 * time.Second})
		var wg sync.WaitGroup
		wg.Go(func() { r.get("/p") }) // leads
		later(time.Second)
		wg.Go(func() { b := r.get("/p"); t.Logf("follower: %.6q %s", b.body, b.Header.Get("Cache-Status")) }) // follows
		later(time.Second)
		r.origin.Script("/p", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			later(5 * time.Second)
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("ETag", `"1"`)
			if q.Header.Get("If-None-Match") == `"1"` {
				t.Errorf("the origin was asked with the entity tag of what was purged hard")
				w.WriteHeader(304)
				return
			}
			_, _ = w.Write([]byte("new"))
		}})
		p.url(t, r.handler, "www.test", "www.test", "/p", "")
		later(5 * time.Second) // the leader has its 503, the follower asks by itself
		a := r.get("/p")
		if a.body != "new" {
			t.Errorf("a request that came 5 s after the purge: %.6q, %s", a.body, a.Header.Get("Cache-Status"))
		}
		wg.Wait()
		close(stop)
		reading.Wait()
	})
}

// A tag is purged while a POST, whose answer is stored, is on its way.
func TestPurgedPostedTag(t *testing.T) {
	for _, kind := range []string{"tag", "site", "prefix", "url"} {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				p := ordersOf(r)
				r.origin.Script("/p", testorigin.Answer{Fields: []string{"cache-control: max-age=600", "Cache-Tag: a", "Content-Location: /p"}, Text: "old"})
				release := r.origin.Hold("/p")
				var wg sync.WaitGroup
				wg.Go(func() { r.post("/p", 200) })
				later(time.Second)
				switch kind {
				case "tag":
					e, err := purge.Tag("www.test", "a")
					p.apply(t, e, err)
				case "site":
					e, err := purge.Site("www.test")
					p.apply(t, e, err)
				case "prefix":
					e, err := purge.Prefix("www.test", "www.test", "/p")
					p.apply(t, e, err)
				case "url":
					p.url(t, r.handler, "www.test", "www.test", "/p", "")
				}
				release()
				wg.Wait()
				later(time.Second)
				if got := r.get("/p").Header.Get("X-Cache"); got != "MISS" {
					t.Errorf("purge by %s during the POST: X-Cache %q, want MISS", kind, got)
				}
			})
		})
	}
}

// Tags beyond the bound.
func TestPurgedTagsBeyond(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p := ordersOf(r)
		var tags []string
		for i := range 1200 {
			tags = append(tags, fmt.Sprint("t", i))
		}
		r.origin.Script("/p", testorigin.Answer{Fields: []string{"cache-control: max-age=600", "Cache-Tag: " + strings.Join(tags, ",")}, Text: "old"})
		r.get("/p")
		later(time.Second)
		e, err := purge.Tag("www.test", "t1100")
		p.apply(t, e, err)
		if got := r.get("/p").Header.Get("X-Cache"); got != "MISS" {
			t.Errorf("purge by the 1,101st tag: X-Cache %q, want MISS", got)
		}
	})
}

// A part that is arriving shows its base's bytes without the base's tags.
func TestPurgedPartShowsBaseWithoutItsTags(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p := ordersOf(r)
		tag, first := "a", "aaaaaaaaaa"
		r.origin.Script("/p", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "max-age=600")
			h.Set("ETag", `"1"`)
			h.Set("Cache-Tag", tag)
			h.Set("Content-Length", "10")
			if q.Header.Get("Range") == "bytes=0-9" {
				h.Set("Content-Range", "bytes 0-9/20")
				w.WriteHeader(206)
				_, _ = w.Write([]byte(first))
				return
			}
			h.Set("Content-Range", "bytes 10-19/20")
			w.WriteHeader(206)
			_, _ = w.Write([]byte("bb"))
			w.(http.Flusher).Flush()
			later(time.Minute)
			_, _ = w.Write([]byte("bbbbbbbb"))
		}})
		r.get("/p", "Range: bytes=0-9")
		later(time.Second)
		tag, first = "b", "nnnnnnnnnn"
		var wg sync.WaitGroup
		wg.Go(func() { r.get("/p", "Range: bytes=10-19") })
		later(time.Second)
		e, err := purge.Tag("www.test", "a")
		p.apply(t, e, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		a, err := r.do(ctx, http.MethodGet, "/p", "Range: bytes=0-9")
		cancel()
		if err != nil || a.body != "nnnnnnnnnn" {
			t.Errorf("bytes 0-9 after the purge of their tag: %q %v %s", a.body, err, a.Header.Get("Cache-Status"))
		}
		wg.Wait()
	})
}
