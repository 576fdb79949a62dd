package edge

import (
	"sync"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/purge"
)

// Those who wait for a validation that is overtaken ask again, and not with what was
// purged: its validator would bring it back for all who come later.
func TestPurgeOvertakesAHerdOnStale(t *testing.T) {
	for _, kind := range purgeKinds {
		t.Run(kind.name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				p, d := new(press), r.desk()
				p.stubborn.Store(true)
				r.publishes("/a/x", p)
				r.get("/a/x")
				defer r.reading("/a/x")()
				later(time.Hour)
				p.slow = true
				var all sync.WaitGroup
				all.Go(func() { r.herd(20, "/a/x") })
				later(whileAsked)
				p.edition.Add(1)
				p.stubborn.Store(false)
				d.strike(kind.order, "/a/x", false)
				later(2 * time.Second)
				if got := editionOf(t, "who came after", r.get("/a/x")); got != 1 {
					t.Errorf("who came after the purge got edition %d", got)
				}
				all.Wait()
				if _, conditional := p.since(1); conditional != 0 {
					t.Errorf("%d requests had a condition that comes from what was purged", conditional)
				}
			})
		})
	}
}

// What a POST has made of its page is stored; not where it was purged meanwhile.
func TestPurgeOvertakesAPost(t *testing.T) {
	for _, kind := range purgeKinds {
		for moment, after := range map[string]time.Duration{"before": 0, "asked": whileAsked, "coming": whileComes, "there": whenThere} {
			t.Run(kind.name+", "+moment, func(t *testing.T) {
				inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
					p, d := &press{slow: true, fields: []string{"Content-Location: /a/x"}}, r.desk()
					r.publishes("/a/x", p)
					var all sync.WaitGroup
					if after == 0 {
						p.edition.Add(1)
						d.strike(kind.order, "/a/x", false)
					}
					all.Go(func() { r.post("/a/x", 200) })
					if after > 0 {
						later(after)
						p.edition.Add(1)
						d.strike(kind.order, "/a/x", false)
					}
					all.Wait()
					if got := editionOf(t, "a GET", r.get("/a/x")); got != 1 {
						t.Errorf("edition %d after the purge", got)
					}
				})
			})
		}
	}
}

// A rule that looks at fields may key some requests for a URL without its query.
func TestPurgeOfAKeyByARuleOnFields(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(ignoring(Match{Fields: [][]Named{{named("X-App")}}}))
		p, d := new(press), r.desk()
		r.publishes("/a/x", p)
		r.get("/a/x?n=1", "X-App: 1")
		r.get("/a/x?n=2", "X-App: 1").isHit(t, "before", true)
		p.edition.Add(1)
		d.order(purge.Order{URLs: []string{"/a/x?n=2"}})
		if got := editionOf(t, "a GET", r.get("/a/x?n=2", "X-App: 1")); got != 1 {
			t.Errorf("edition %d after the purge of this URL", got)
		}
	})
}

// A part that comes shows the parts that are there beside it; a tag that only those
// have strikes them all.
func TestPurgeOfATagThatOnlyTheOtherPartsHave(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		p, d := &press{fields: []string{"Cache-Tag: first"}}, r.desk()
		r.publishes("/a/x", p)
		r.get("/a/x", "Range: bytes=0-999")
		p.slow, p.fields = true, []string{"Cache-Tag: second"}
		var all sync.WaitGroup
		all.Go(func() { r.get("/a/x", "Range: bytes=1000-1999") })
		later(whileComes)
		p.edition.Add(1)
		d.order(purge.Order{Tags: []string{"first"}})
		if got := editionOf(t, "a GET", r.get("/a/x", "Range: bytes=0-999")); got != 1 {
			t.Errorf("edition %d after the purge", got)
		}
		all.Wait()
	})
}

// reading has a client hold on to what is stored for a target.
func (r *rig) reading(target string) (leave func()) {
	r.t.Helper()
	x, _ := r.exchange(target)
	defer r.handler.end(x)
	for _, o := range r.store.Get(x.key, nil) {
		reader, err := o.Open(0, -1)
		if err == nil {
			return reader.Close
		}
	}
	r.t.Fatalf("nothing is stored for %s", target)
	return nil
}
