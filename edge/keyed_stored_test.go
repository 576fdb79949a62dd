package edge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/httpcache"
)

// an error page of one query teaches the rule for all
func TestKeyedNVSFromErrorPage(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.serve("/search", func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.RawQuery, "bad") {
				w.Header().Set("No-Vary-Search", "params")
				w.Header().Set("Cache-Control", "max-age=60")
				w.WriteHeader(404)
				return
			}
			say(w, "max-age=600", "%s", q.URL.RawQuery)
		})
		r.get("/search?q=good")
		later(time.Second)
		r.get("/search?bad")
		later(time.Second)
		for _, q := range []string{"q=good", "q=other"} {
			a := r.get("/search?" + q)
			if a.StatusCode != 200 {
				t.Errorf("%s: %d %s", q, a.StatusCode, a.Header.Get("X-Cache"))
			}
		}
	})
}

// a 304 that takes No-Vary-Search back
func TestKeyedNVSTakenBackBy304(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		nvs := `params=("utm")`
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Etag", `"1"`)
			if nvs != "" {
				w.Header().Set("No-Vary-Search", nvs)
			} else {
				w.Header().Set("No-Vary-Search", "params=()")
			}
			if q.Header.Get("If-None-Match") != "" {
				w.Header().Set("Cache-Control", "max-age=600")
				w.WriteHeader(304)
				return
			}
			say(w, "max-age=5", "%s", q.URL.RawQuery)
		})
		r.get("/p?utm=a")
		later(6 * time.Second)
		nvs = ""
		r.get("/p?utm=a")
		if a := r.get("/p?utm=b"); a.body != "utm=b" {
			t.Errorf("%s: %s, No-Vary-Search %q", a.Header.Get("X-Cache"), a.body, a.Header.Get("No-Vary-Search"))
		}
	})
}

// a bypassed or refused answer of one client keeps others from sharing
func TestKeyedCompress304AndHead(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Compress = &Compression{Types: globs("text/*"), Encodings: []Coding{Brotli, Gzip}} })
		text := strings.Repeat("abc ", 3000)
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Etag", `"v1"`)
			say(w, "max-age=600", "%s", text)
		})
		r.get("/p")
		for _, each := range [][]string{
			{"Accept-Encoding: br"},
			{"Accept-Encoding: br", `If-None-Match: W/"v1"`},
			{"Accept-Encoding: br", "Range: bytes=0-9"},
			{"Accept-Encoding: br", "Range: bytes=0-9", `If-Range: W/"v1"`},
			{"Accept-Encoding: br", `If-Match: W/"v1"`},
			{"Accept-Encoding: br", "Range: lines=0-9"},
			{"Accept-Encoding: br", "Range: bytes=0-9", "Range: bytes=4-5"},
			{"Accept-Encoding: br", "Cache-Control: no-transform"},
			{"Accept-Encoding: gzip;q=1.0, br;q=0.5"},
		} {
			a := r.get("/p", each...)
			t.Logf("%q: %d %s etag %s vary %q ce %q cl %d ar %q", each, a.StatusCode, a.Header.Get("X-Cache"), a.Header.Get("Etag"), a.Header.Get("Vary"), a.Header.Get("Content-Encoding"), a.ContentLength, a.Header.Get("Accept-Ranges"))
		}
		a, _ := r.do(t.Context(), "HEAD", "/p", "Accept-Encoding: br")
		t.Log("HEAD", a.StatusCode, a.Header)
	})
}

// a sibling key of other rules: what is stored for a scheme
func TestKeyedGroupAcrossSchemes(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Groups", `"g"`)
			say(w, "max-age=600", "x")
		})
		r.serve("/edit", func(w http.ResponseWriter, q *http.Request) { w.Header().Set("Cache-Group-Invalidation", `"g"`) })
		r.direct("GET", "http://www.test/p")
		later(time.Second)
		r.direct("POST", "https://www.test/edit")
		if a := r.direct("GET", "http://www.test/p"); a.Header.Get("X-Cache") == "HIT" {
			t.Error("in clear it is still there")
		}
	})
}

// Authorization with a rule's override
func TestKeyedKeyHeaderTwoLines(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Key.Headers = []string{"X-Tenant"} })
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			say(w, "max-age=600", "%d lines: %q", len(q.Header["X-Tenant"]), q.Header["X-Tenant"])
		})
		r.get("/p", "X-Tenant: a", "X-Tenant: b")
		if a := r.get("/p", "X-Tenant: a, b"); !strings.HasPrefix(a.body, "1 lines") {
			t.Errorf("%s %s", a.Header.Get("X-Cache"), a.body)
		}
	})
}

// responses edits by content type and 304 of the upstream that is relayed; 16 KiB of User-Agent
func TestKeyedDeviceTail(t *testing.T) {
	h := http.Header{"User-Agent": {fmt.Sprint(strings.Repeat("x", 1024), " iPhone Mobile")}}
	t.Log(deviceClass(h))
}

// A rule that looks at a cookie and changes what is stored has its word in the key;
// caches behind us learn of it, where the rule may apply, from Vary.
func TestKeyedRuleIsInVary(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		ttl := time.Hour
		r.ruled(Rule{Match: Match{Paths: globs("/a*"), Cookies: [][]Named{{named("plan")}}, Fields: [][]Named{{named("X-Beta")}}}, TTL: &ttl})
		for target, want := range map[string]string{"/a": "X-Beta,Cookie", "/b": ""} {
			for range 2 {
				a := r.get(target + "?size=1&cc=max-age%3D60")
				if got := strings.Join(a.Header["Vary"], ","); got != want {
					t.Errorf("%s (%s): Vary %q, want %q", target, a.Header.Get("X-Cache"), got, want)
				}
			}
		}
	})
}
