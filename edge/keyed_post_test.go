package edge

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/httpcache"
)

// who waits for a POST's store: fields that shared fetches never send
func TestKeyedPostUnkeyed(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Location", "/p")
			say(w, "max-age=600", "path %s", q.Header.Get("X-Matched-Path"))
		})
		r.post("/p", 200, "X-Matched-Path: /evil")
		later(time.Second)
		if a := r.get("/p"); strings.Contains(a.body, "evil") {
			t.Errorf("%s: %s", a.Header.Get("X-Cache"), a.body)
		}
	})
}

// private override stays in force after its rule is gone
func TestKeyedRuleGone(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(Rule{Match: Match{Paths: globs("/p")}, OverridePrivate: true, TTL: ptr(720 * time.Hour)})
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			say(w, "private", "account of %s", q.Header.Get("Cookie"))
		})
		r.get("/p", "Cookie: a=bob")
		r.ruled()
		later(24 * time.Hour)
		if a := r.get("/p"); a.Header.Get("X-Cache") == "HIT" {
			t.Errorf("a day after the rule was taken out: %s, %s", a.Header.Get("Cache-Status"), a.body)
		}
	})
}

// HEAD removes what is stored of all queries of a class and of all variants
func TestKeyedHeadRemoves(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Vary", "Accept-Language")
			say(w, "max-age=5", "%s", strings.Repeat("x", len(q.Header.Get("Accept-Language"))))
		})
		r.get("/p", "Accept-Language: de")
		r.get("/p", "Accept-Language: fr-fr")
		later(time.Second)
		r.hits("/p", 2)
	})
}
