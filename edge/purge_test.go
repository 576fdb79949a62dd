package edge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/purge"
)

// A soft purge of any kind marks what is stored: it is served at once, with one
// conditional request behind it, and is fresh after that. Several do not pile up.
func TestPurgeSoft(t *testing.T) {
	for _, kind := range purgeKinds {
		t.Run(kind.name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				p, d := new(press), r.desk()
				r.publishes("/a/x", p)
				r.get("/a/x")
				later(10 * time.Second)
				for range 5 {
					d.strike(kind.order, "/a/x", true)
				}
				r.get("/a/x").expect(t, 200, "STALE", "hit; ttl=590; detail=soft-purged")
				synctest.Wait()
				r.get("/a/x").expect(t, 200, "HIT", "hit; ttl=600")
				r.hits("/a/x", 2)
				if _, conditional := p.since(0); conditional != 1 {
					t.Errorf("%d conditional requests, want 1", conditional)
				}
			})
		})
	}
}

// A hundred at once on what was purged softly cost the origin one conditional
// request, and nobody waits for that.
func TestPurgeSoftHerd(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p, d := new(press), r.desk()
		r.publishes("/a/x", p)
		r.get("/a/x")
		later(10 * time.Second)
		d.order(purge.Order{Tags: []string{"news"}, Soft: true})
		p.slow = true
		began := time.Now()
		for _, a := range r.herd(100, "/a/x") {
			if a.err != nil || a.Header.Get("X-Cache") != "STALE" {
				t.Fatalf("X-Cache %q, %v", a.Header.Get("X-Cache"), a.err)
			}
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("they waited %v", took)
		}
		later(5 * time.Second)
		r.hits("/a/x", 2)
		r.get("/a/x").isHit(t, "after the refresh", true)
	})
}

// What must not be served stale is validated first (RFC 9111 §4.2.4); what has no
// validator then is fetched.
func TestPurgeSoftOfStrict(t *testing.T) {
	const validated = "fwd=stale; fwd-status=304; ttl=600"
	tests := map[string]struct {
		control string
		tagless bool
		xCache  string
		status  string
	}{
		"must-revalidate":     {"max-age=600, must-revalidate", false, "REVALIDATED", validated},
		"proxy-revalidate":    {"max-age=600, proxy-revalidate", false, "REVALIDATED", validated},
		"s-maxage":            {"s-maxage=600", false, "REVALIDATED", validated},
		"without a validator": {"max-age=600, must-revalidate", true, "MISS", "fwd=stale; fwd-status=200; ttl=600; stored"},
		"none, and not bound": {"max-age=600", true, "STALE", "hit; ttl=590; detail=soft-purged"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
				p, d := &press{fields: []string{"Cache-Control: " + test.control}, tagless: test.tagless}, r.desk()
				r.publishes("/a/x", p)
				r.get("/a/x")
				later(10 * time.Second)
				d.order(purge.Order{Tags: []string{"news"}, Soft: true})
				r.get("/a/x").expect(t, 200, test.xCache, test.status)
				synctest.Wait()
				r.hits("/a/x", 2)
				r.get("/a/x").isHit(t, "afterwards", true)
			})
		})
	}
}

// no-cache is validated each time, purged or not.
func TestPurgeSoftOfNoCache(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p, d := &press{fields: []string{"Cache-Control: no-cache"}}, r.desk()
		r.publishes("/a/x", p)
		r.get("/a/x")
		d.order(purge.Order{Tags: []string{"news"}, Soft: true})
		for range 2 {
			if a := r.get("/a/x"); a.Header.Get("X-Cache") != "REVALIDATED" {
				t.Errorf("X-Cache %q, want REVALIDATED", a.Header.Get("X-Cache"))
			}
		}
		r.hits("/a/x", 3)
	})
}

// While the origin is away what was purged softly goes on serving, with one attempt a
// second; what was purged hard does not, whatever stale-if-error allows.
func TestPurgeWhileTheOriginIsAway(t *testing.T) {
	tests := map[string]struct {
		control string
		soft    bool
		status  int
	}{
		"soft":                       {"max-age=600", true, 200},
		"soft, stale-if-error":       {"max-age=600, stale-if-error=600", true, 200},
		"soft, must-revalidate":      {"max-age=600, must-revalidate, stale-if-error=600", true, 503},
		"hard":                       {"max-age=600", false, 503},
		"hard, stale-if-error":       {"max-age=600, stale-if-error=86400", false, 503},
		"hard, stale in both ways":   {"max-age=600, stale-if-error=86400, stale-while-revalidate=86400", false, 503},
		"hard, stale from the start": {"max-age=0, stale-if-error=86400", false, 503},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{StaleIfError: 24 * time.Hour}, func(t *testing.T, r *rig) {
				p, d := &press{fields: []string{"Cache-Control: " + test.control}}, r.desk()
				r.publishes("/a/x", p)
				r.get("/a/x")
				p.down.Store(true)
				d.order(purge.Order{Tags: []string{"news"}, Soft: test.soft})
				for range 3 {
					a := r.get("/a/x")
					if a.StatusCode != test.status || test.status == 200 && editionOf(t, name, a) != 0 {
						t.Errorf("status %d, want %d (%s)", a.StatusCode, test.status, a.Header.Get(httpcache.CacheStatusField))
					}
					later(100 * time.Millisecond)
				}
				if n := r.origin.Hits("/a/x"); test.status == 200 && n != 2 {
					t.Errorf("%d requests to an origin that is away, want 2", n)
				}
			})
		})
	}
}

// The harder of two purges counts, in whatever order they come.
func TestPurgeSoftAndHard(t *testing.T) {
	for name, soft := range map[string][]bool{"soft, then hard": {true, false}, "hard, then soft": {false, true}} {
		for _, kind := range purgeKinds {
			t.Run(name+", "+kind.name, func(t *testing.T) {
				inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
					p, d := new(press), r.desk()
					r.publishes("/a/x", p)
					r.get("/a/x")
					p.edition.Add(1)
					d.order(purge.Order{Tags: []string{"news"}, Soft: soft[0]})
					d.strike(kind.order, "/a/x", soft[1])
					a := r.get("/a/x")
					a.expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=600; stored")
					if got := editionOf(t, "afterwards", a); got != 1 {
						t.Errorf("edition %d, want 1", got)
					}
					if n, conditional := p.since(1); n != 1 || conditional != 0 {
						t.Errorf("the origin was asked %d times, %d with a condition; want once, without", n, conditional)
					}
					r.get("/a/x").isHit(t, "afterwards", true)
				})
			})
		}
	}
}

// A purge strikes what it names and nothing beside it, and a dry run counts just that.
func TestPurgeIsExact(t *testing.T) {
	pages := []string{"/a/b", "/a/b/", "/a/b/c", "/a/bc", "/a/b?q=1", "/a", "/", "/item", "/item-1"}
	below := []string{"/a/b", "/a/b/", "/a/b/c", "/a/b?q=1"}
	tests := map[string]struct {
		order  purge.Order
		strike []string
	}{
		"url":                     {purge.Order{URLs: []string{"/a/b"}}, []string{"/a/b"}},
		"url with its query":      {purge.Order{URLs: []string{"/a/b?q=1"}}, []string{"/a/b?q=1"}},
		"url with another query":  {purge.Order{URLs: []string{"/a/b?q=2"}}, nil},
		"url with any query":      {purge.Order{URLs: []string{"/a/b"}, IgnoreQuery: true}, []string{"/a/b", "/a/b?q=1"}},
		"url, spelled otherwise":  {purge.Order{URLs: []string{"HTTP://WWW.Test:80/%61/./b#top"}}, []string{"/a/b"}},
		"prefix":                  {purge.Order{Prefixes: []string{"/a/b"}}, below},
		"prefix of the host":      {purge.Order{Prefixes: []string{"test/a/b/"}}, below},
		"prefix of everything":    {purge.Order{Prefixes: []string{"/"}}, pages},
		"tag":                     {purge.Order{Tags: []string{"/item"}}, []string{"/item"}},
		"tag of another case":     {purge.Order{Tags: []string{"/ITEM"}}, nil},
		"tag that is a beginning": {purge.Order{Tags: []string{"/ite"}}, nil},
		"status":                  {purge.Order{Tags: []string{"status=404"}}, []string{"/item-1"}},
		"type":                    {purge.Order{Tags: []string{"type=TEXT/css"}}, []string{"/a/b/c"}},
		"host":                    {purge.Order{Hosts: []string{"TEST"}}, pages},
		"site":                    {purge.Order{Everything: true}, pages},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				d := r.desk()
				r.stock(pages)
				dry := test.order
				dry.DryRun = true
				if counted := d.order(dry); counted.Count == nil || *counted.Count != len(test.strike) || counted.AtLeast {
					t.Errorf("a dry run counts %+v, want %d", counted, len(test.strike))
				}
				d.order(test.order)
				struck := make(map[string]bool)
				for _, page := range test.strike {
					struck[page] = true
				}
				for _, page := range pages {
					if got := r.get(page).Header.Get("X-Cache"); (got == "MISS") != struck[page] {
						t.Errorf("%s: X-Cache %q, want a miss: %t", page, got, struck[page])
					}
				}
			})
		})
	}
}

// stock has the rig store pages that have their path as tag; one is a 404, one CSS.
func (r *rig) stock(pages []string) {
	for _, page := range pages {
		path, _, _ := strings.Cut(page, "?")
		a := testorigin.Answer{Fields: []string{"cache-control: max-age=600", "cache-tag: " + path, "content-type: text/plain"}, Text: page}
		switch path {
		case "/item-1":
			a.Status = 404
		case "/a/b/c":
			a.Fields[2] = "content-type: text/css; charset=utf-8"
		}
		r.origin.Script(path, a)
		r.get(page)
	}
}

// Purges of one site leave others alone.
func TestPurgeOfAnotherSite(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		other := *r.site
		other.Name, other.Aliases = "other.test", nil
		r.handler.Swap(NewSites([]*Site{r.site, &other}), Limits{})
		p, d := new(press), r.desk()
		r.publishes("/a/x", p)
		for _, kind := range purgeKinds {
			r.get("/a/x")
			r.get("/a/x", "Host: other.test")
			d.strike(kind.order, "/a/x", false)
			r.get("/a/x").isHit(t, kind.name+": the site", false)
			r.get("/a/x", "Host: other.test").isHit(t, kind.name+": another site", kind.order != nil)
		}
	})
}

// A URL is purged also where its key holds less than the URL, or more.
func TestPurgeOfReducedKeys(t *testing.T) {
	tests := map[string]struct {
		site   func(*Site)
		nvs    string
		stored string   // is asked for and stored
		fields []string // of that request
		purged string   // is purged
		hit    bool     // nonetheless
	}{
		"left out":               {site: func(s *Site) { s.Key.Query.Include = globs("id") }, stored: "/a/x?id=1&utm=a", purged: "/a/x?utm=b&id=1"},
		"another, left out":      {site: func(s *Site) { s.Key.Query.Include = globs("id") }, stored: "/a/x?id=1&utm=a", purged: "/a/x?id=2&utm=a", hit: true},
		"without any":            {site: func(s *Site) { s.Key.Query.Ignore = true }, stored: "/a/x?id=1", purged: "/a/x"},
		"by a rule for the path": {site: func(s *Site) { s.RuleSet = []Rule{ignoring(Match{Paths: globs("/a/*")})} }, stored: "/a/x?id=1", purged: "/a/x?id=2"},
		"equal":                  {nvs: `params=("utm")`, stored: "/a/x?id=1&utm=a", purged: "/a/x?id=1&utm=b"},
		"equal, another":         {nvs: `params=("utm")`, stored: "/a/x?id=1&utm=a", purged: "/a/x?id=2&utm=a", hit: true},
		"a cookie in the key":    {site: func(s *Site) { s.Key.Cookies = []string{"design"} }, stored: "/a/x", fields: []string{"Cookie: design=new"}, purged: "/a/x"},
		"a field in the key":     {site: func(s *Site) { s.Key.Headers = []string{"X-Tenant"} }, stored: "/a/x", fields: []string{"X-Tenant: b"}, purged: "/a/x"},
		"a device in the key":    {site: func(s *Site) { s.Key.Device = true }, stored: "/a/x", fields: []string{"User-Agent: Mozilla/5.0 (iPhone) Mobile"}, purged: "/a/x"},
		"the host in the key":    {site: func(s *Site) { s.KeyByHost = true }, stored: "/a/x", fields: []string{"Host: test"}, purged: "/a/x"},
		"another host in it":     {site: func(s *Site) { s.KeyByHost = true }, stored: "/a/x", fields: []string{"Host: test"}, purged: "http://www.test/a/x", hit: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				if test.site != nil {
					r.reconfigure(test.site)
				}
				p, d := new(press), r.desk()
				if test.nvs != "" {
					p.fields = []string{"No-Vary-Search: " + test.nvs}
				}
				r.publishes("/a/x", p)
				r.get(test.stored, test.fields...)
				r.get(test.stored, test.fields...).isHit(t, "before", true)
				d.order(purge.Order{URLs: []string{test.purged}})
				r.get(test.stored, test.fields...).isHit(t, "after", test.hit)
			})
		})
	}
}

// What is purged hard is gone for a HEAD, a range and a condition too.
func TestPurgeForEveryQuestion(t *testing.T) {
	questions := map[string][]string{
		http.MethodGet: nil, http.MethodHead: nil,
		"range": {"Range: bytes=0-9"}, "condition": {`If-None-Match: "same"`}, "max-stale": {httpcache.CacheControlField + ": max-stale"},
	}
	for name, fields := range questions {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{HonourRequest: true}, func(t *testing.T, r *rig) {
				p, d := new(press), r.desk()
				r.publishes("/a/x", p)
				r.get("/a/x")
				p.edition.Add(1)
				d.order(purge.Order{Prefixes: []string{"/a"}})
				method := http.MethodGet
				if name == http.MethodHead {
					method = name
				}
				a, err := r.do(t.Context(), method, "/a/x", fields...)
				if err != nil || strings.Contains(a.Header.Get(httpcache.CacheStatusField), "hit") {
					t.Errorf("%v, %v", a.Header, err)
				}
				if n, _ := p.since(1); n == 0 {
					t.Error("the origin was not asked")
				}
				if got := editionOf(t, "a GET", r.get("/a/x")); got != 1 {
					t.Errorf("edition %d, want 1", got)
				}
			})
		})
	}
}

// What was purged takes no part in a dry run, and its room is given back when it is
// met.
func TestPurgeGivesRoomBack(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p, d := new(press), r.desk()
		empty := r.store.Stats().UsedBytes
		for i := range 20 {
			r.publishes(fmt.Sprintf("/a/%d", i), p)
			r.get(fmt.Sprintf("/a/%d", i))
		}
		all := purge.Order{Everything: true, DryRun: true}
		if counted := d.order(all); *counted.Count != 20 {
			t.Errorf("a dry run counts %d, want 20", *counted.Count)
		}
		d.order(purge.Order{Everything: true})
		if counted := d.order(all); *counted.Count != 0 {
			t.Errorf("a dry run counts %d that were purged", *counted.Count)
		}
		p.down.Store(true)
		for i := range 20 {
			r.get(fmt.Sprintf("/a/%d", i))
		}
		if st := r.store.Stats(); st.Objects != 0 || st.UsedBytes != empty {
			t.Errorf("%d objects and %d bytes are left, want none and %d", st.Objects, st.UsedBytes, empty)
		}
	})
}

// Count ends when it is told to, and says so.
func TestPurgeCountStops(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const pages = 5000
		for i := range pages {
			r.get(fmt.Sprintf("/text/%d?cc=max-age%%3D600", i))
		}
		marks := []cachestore.Mark{r.handler.ledger.(*purge.Ledger).MarkOf("www.test", purge.KindSite, "")}
		if n, atLeast := r.handler.Count("www.test", marks, time.Now().Add(time.Hour)); n != pages || atLeast {
			t.Errorf("counted %d, at least: %t; want %d", n, atLeast, pages)
		}
		if n, atLeast := r.handler.Count("www.test", marks, time.Now().Add(-time.Second)); n >= pages || !atLeast {
			t.Errorf("counted %d, at least: %t; want fewer than %d, and to hear it", n, atLeast, pages)
		}
	})
}
