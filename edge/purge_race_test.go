package edge

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/purge"
)

// overtaken is a way in which something comes from the origin while it is purged.
type overtaken struct {
	name   string
	site   func(*Site)
	fields []string // of the origin's answers
	// stubborn and tagless are the press's.
	stubborn, tagless bool
	stored            func(r *rig)            // what is stored before, while the origin is quick
	target            string                  // "" = /a/x
	ask               func(r *rig) answered   // goes to the origin, and is overtaken
	probes            []func(r *rig) answered // must be answered with what was fetched after the purge
}

func getting(target string, fields ...string) func(*rig) answered {
	return func(r *rig) answered { return r.get(target, fields...) }
}

func storing(after time.Duration, targets ...string) func(*rig) {
	return func(r *rig) {
		for _, target := range targets {
			r.get(target)
		}
		later(after)
	}
}

// overtakens are all of them.
func overtakens() []*overtaken {
	plain := getting("/a/x")
	probes := []func(*rig) answered{plain}
	return []*overtaken{
		{name: "miss", ask: plain, probes: probes},
		{name: "confirmed", stored: storing(time.Hour, "/a/x"), ask: plain, probes: probes},
		{name: "replaced", stubborn: true, stored: storing(time.Hour, "/a/x"), ask: plain, probes: probes},
		{
			name: "refreshed once stale", fields: []string{"Cache-Control: max-age=600, stale-while-revalidate=86400"},
			stored: storing(time.Hour, "/a/x"), ask: plain, probes: probes,
		},
		{
			name: "refreshed ahead of time", fields: []string{"Cache-Control: max-age=1000, stale-while-revalidate=60"},
			stored: storing(999*time.Second, "/a/x"), ask: plain, probes: probes,
		},
		{
			name: "updated by HEAD", tagless: true, stored: storing(time.Hour, "/a/x"),
			ask: func(r *rig) answered {
				a, err := r.do(r.t.Context(), http.MethodHead, "/a/x")
				if err != nil {
					r.t.Error(err)
				}
				a.body = "A" // it has none
				return a
			},
			probes: probes,
		},
		{
			name: "a part", ask: getting("/a/x", "Range: bytes=0-2999"),
			probes: []func(*rig) answered{getting("/a/x", "Range: bytes=0-2999"), plain, getting("/a/x", "Range: bytes=1000-3999")},
		},
		{
			name: "a further part", stored: func(r *rig) { r.get("/a/x", "Range: bytes=0-999") }, ask: getting("/a/x", "Range: bytes=500-1999"),
			probes: []func(*rig) answered{getting("/a/x", "Range: bytes=0-1999"), plain},
		},
		{
			name: "compressed", site: func(s *Site) { s.Compress = testCompression() }, ask: getting("/a/x", "Accept-Encoding: gzip"),
			probes: []func(*rig) answered{getting("/a/x", "Accept-Encoding: gzip"), getting("/a/x", "Accept-Encoding: br"), plain},
		},
		{
			name: "variants", fields: []string{"Vary: Accept-Language"}, stored: func(r *rig) { r.get("/a/x", "Accept-Language: de") },
			ask:    getting("/a/x", "Accept-Language: en"),
			probes: []func(*rig) answered{getting("/a/x", "Accept-Language: en"), getting("/a/x", "Accept-Language: de")},
		},
		{
			name: "keyed by cookie and field", site: func(s *Site) { s.Key.Cookies, s.Key.Headers = []string{"design"}, []string{"X-Tenant"} },
			stored: func(r *rig) { r.get("/a/x", "X-Tenant: b") }, ask: getting("/a/x", "Cookie: design=new"),
			probes: []func(*rig) answered{getting("/a/x", "Cookie: design=new"), getting("/a/x", "X-Tenant: b")},
		},
		{
			name: "a class of queries", fields: []string{`No-Vary-Search: params=("utm")`}, target: "/a/x?id=1&utm=b",
			stored: storing(time.Hour, "/a/x?id=1&utm=a"), ask: getting("/a/x?id=1&utm=c"),
			probes: []func(*rig) answered{getting("/a/x?id=1&utm=a"), getting("/a/x?utm=c&id=1")},
		},
		{
			name: "by an alias", ask: getting("/a/x", "Host: test"),
			probes: []func(*rig) answered{plain, getting("/a/x", "Host: test")},
		},
		{
			name: "over TLS", ask: func(r *rig) answered { return r.direct(http.MethodGet, "https://www.test/a/x") },
			probes: []func(*rig) answered{func(r *rig) answered { return r.direct(http.MethodGet, "https://test/a/x") }, plain},
		},
	}
}

// Whatever is on its way when it is purged hard, and however far it has come: no
// request that comes later gets it. Who was reading goes on.
func TestPurgeOvertakes(t *testing.T) {
	for _, kind := range purgeKinds {
		t.Run(kind.name, func(t *testing.T) {
			for _, o := range overtakens() {
				for moment, after := range map[string]time.Duration{"before": 0, "asked": whileAsked, "coming": whileComes, "there": whenThere} {
					t.Run(o.name+", "+moment, func(t *testing.T) {
						inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) { r.overtake(t, o, kind.order, after) })
					})
				}
			}
		})
	}
}

// overtake tells one story of a purge.
func (r *rig) overtake(t *testing.T, o *overtaken, order func(string) purge.Order, after time.Duration) {
	if o.site != nil {
		r.reconfigure(o.site)
	}
	p, d := &press{tagless: o.tagless, fields: o.fields}, r.desk()
	p.stubborn.Store(o.stubborn)
	r.publishes("/a/x", p)
	if o.stored != nil {
		o.stored(r)
	}
	p.slow = true
	target := o.target
	if target == "" {
		target = "/a/x"
	}
	strike := func() {
		p.edition.Add(1)
		d.strike(order, target, false)
	}
	var all sync.WaitGroup
	if after == 0 {
		strike()
	}
	all.Go(func() { editionOf(t, "who was there before", o.ask(r)) })
	if after > 0 {
		later(after)
		strike()
	}
	for i, probe := range o.probes {
		all.Go(func() {
			if got := editionOf(t, fmt.Sprintf("probe %d", i), probe(r)); got != 1 {
				t.Errorf("probe %d came after the purge and got edition %d", i, got)
			}
		})
	}
	all.Wait()
	synctest.Wait()
	for i, probe := range o.probes {
		a := probe(r)
		if got := editionOf(t, fmt.Sprintf("probe %d", i), a); got != 1 {
			t.Errorf("probe %d, later: edition %d (%s)", i, got, a.Header.Get(httpcache.CacheStatusField))
		}
	}
	if _, conditional := p.since(1); conditional != 0 {
		t.Errorf("%d requests had a condition that comes from what was purged", conditional)
	}
}

// A response may teach, while its sibling is purged, that the two count as equal.
func TestPurgeBeforeAClassIsKnown(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p, d := &press{slow: true, fields: []string{`No-Vary-Search: params=("utm")`}}, r.desk()
		r.publishes("/a/x", p)
		var all sync.WaitGroup
		all.Go(func() { r.get("/a/x?id=1&utm=a") })
		later(whileAsked)
		p.edition.Add(1)
		d.order(purge.Order{URLs: []string{"/a/x?id=1&utm=b"}})
		all.Wait()
		if got := editionOf(t, "a GET", r.get("/a/x?id=1&utm=b")); got != 1 {
			t.Errorf("edition %d after the purge of this URL", got)
		}
	})
}
