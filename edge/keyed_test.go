package edge

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

func (r *rig) serve(path string, f http.HandlerFunc) {
	r.origin.Script(path, testorigin.Answer{Handler: f})
}

func say(w http.ResponseWriter, cc string, format string, args ...any) {
	w.Header().Set("Cache-Control", cc)
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, fmt.Sprintf(format, args...))
}

// Connection: X-Tenant takes the field from the origin but not from the key.
func TestKeyedConnectionDropsKeyedField(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Key.Headers = []string{"X-Tenant"}; s.Key.Cookies = []string{"design"} })
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			say(w, "max-age=600", "tenant=%q cookie=%q", q.Header.Get("X-Tenant"), q.Header.Get("Cookie"))
		})
		r.raw("GET /p HTTP/1.1", "X-Tenant: acme", "Cookie: design=b", "Connection: X-Tenant, Cookie")
		later(time.Second)
		if got := r.get("/p", "X-Tenant: acme", "Cookie: design=b"); got.body != `tenant="acme" cookie="design=b"` {
			t.Errorf("victim (%s) got %s", got.Header.Get("X-Cache"), got.body)
		}
	})
}

// spellings of a cookie that origins read and the key does not.
func TestKeyedCookieSpellings(t *testing.T) {
	for name, evil := range map[string]string{
		"space before =": "design =evil", "second of the name": "design=a; design=evil", "empty": "design=",
	} {
		victim := []string(nil)
		if strings.HasPrefix(evil, "design=a") {
			victim = []string{"Cookie: design=a"}
		}
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.reconfigure(func(s *Site) { s.Key.Cookies = []string{"design"} })
				r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
					say(w, "max-age=600", "page for %q", q.CookiesNamed("design")) // what Go, Django, Express parse
				})
				clean := "page for []"
				if victim != nil {
					clean = "page for [\"design=a\"]"
				}
				r.get("/p", "Cookie: "+evil)
				if got := r.get("/p", victim...); got.body != clean {
					t.Errorf("victim (%s) got %s, want %s", got.Header.Get("X-Cache"), got.body, clean)
				}
			})
		})
	}
}

// the same spelling goes past the documented {match: {cookie: session}, bypass: true}.
func TestKeyedCookieBypassEvaded(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(Rule{Match: Match{Cookies: [][]Named{{named("session")}}}, Bypass: true})
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			who := "nobody"
			if c, err := q.Cookie("session"); err == nil {
				who = c.Value
			}
			say(w, "max-age=600", "hello %s", who)
		})
		r.get("/p", "Cookie: session =mallory")
		if got := r.get("/p"); got.body != "hello nobody" {
			t.Errorf("anonymous (%s) got %q", got.Header.Get("X-Cache"), got.body)
		}
	})
}

// header facet: empty against absent.
func TestKeyedHeaderEmptyAgainstAbsent(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Key.Headers = []string{"X-Tenant"} })
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			if v, ok := q.Header["X-Tenant"]; ok && v[0] == "" {
				w.WriteHeader(404)
				return
			}
			say(w, "max-age=600", "fine")
		})
		r.ruled(Rule{Match: Match{Status: []StatusRange{{404, 404}}}, TTL: ptr(time.Minute)})
		r.get("/p", "X-Tenant: ")
		if got := r.get("/p"); got.StatusCode != 200 {
			t.Errorf("without the field (%s): %d", got.Header.Get("X-Cache"), got.StatusCode)
		}
	})
}

// bypass: "store nothing" and a POST that stores.
func TestKeyedBypassPostStores(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(Rule{Match: Match{Cookies: [][]Named{{named("session")}}}, Bypass: true})
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Location", "/p")
			say(w, "max-age=600", "%s of %q", q.Method, q.Header.Get("Cookie"))
		})
		r.post("/p", 200, "Cookie: session=bob")
		later(time.Second)
		if got := r.get("/p"); strings.Contains(got.body, "bob") {
			t.Errorf("anonymous (%s) got %s", got.Header.Get("X-Cache"), got.body)
		}
	})
}

// POST gets the whole query, and what it brings is stored under the reduced one.
func TestKeyedPostStoredUnderReducedQuery(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Key.Query.Exclude = globs("utm_*") })
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Location", q.URL.RequestURI())
			say(w, "max-age=600", "utm=%s", q.URL.Query().Get("utm_x"))
		})
		r.post("/p?utm_x=evil", 200)
		later(time.Second)
		if got := r.get("/p"); got.body != "utm=" {
			t.Errorf("GET /p (%s) got %s", got.Header.Get("X-Cache"), got.body)
		}
	})
}

// invalidation uses the key rule of who POSTs.
func TestKeyedInvalidateUnderAnotherQueryRule(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(Rule{Match: Match{Cookies: [][]Named{{named("app")}}}, Key: KeyChange{Query: &httpcache.QueryRule{Exclude: globs("v")}}})
		state := "old"
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			if q.Method == "POST" {
				state = "new"
			}
			say(w, "max-age=600", "%s", state)
		})
		r.get("/p?id=1&v=2", "Cookie: app=1")
		r.post("/p?id=1&v=2", 200) // an editor without that cookie
		later(time.Second)
		if got := r.get("/p?id=1&v=2", "Cookie: app=1"); got.body != "new" {
			t.Errorf("after POST of the same URL (%s): %s", got.Header.Get("X-Cache"), got.body)
		}
	})
}

// groups of a 304 are in the fields and not among the marks.
func TestKeyedGroupsOf304(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Etag", `"1"`)
			if q.Header.Get("If-None-Match") != "" {
				w.Header().Set("Cache-Groups", `"g"`)
				w.Header().Set("Cache-Control", "max-age=600")
				w.WriteHeader(304)
				return
			}
			say(w, "max-age=5", "page")
		})
		r.serve("/edit", func(w http.ResponseWriter, q *http.Request) { w.Header().Set("Cache-Group-Invalidation", `"g"`) })
		r.get("/p")
		later(6 * time.Second)
		a := r.get("/p")
		t.Logf("second: %s, groups %q", a.Header.Get("X-Cache"), a.Header["Cache-Groups"])
		r.post("/edit", 200)
		if a := r.get("/p"); a.Header.Get("X-Cache") == "HIT" {
			t.Errorf("still a hit after its group %q was invalidated", a.Header["Cache-Groups"])
		}
	})
}

// groups and a flight that began before.
func TestKeyedGroupInFlight(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		state := "old"
		var mu sync.Mutex
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			mu.Lock()
			now := state
			mu.Unlock()
			later(5 * time.Second)
			w.Header().Set("Cache-Groups", `"g"`)
			say(w, "max-age=600", "%s", now)
		})
		r.serve("/edit", func(w http.ResponseWriter, q *http.Request) {
			mu.Lock()
			state = "new"
			mu.Unlock()
			w.Header().Set("Cache-Group-Invalidation", `"g"`)
		})
		var wg sync.WaitGroup
		wg.Go(func() { r.get("/p") })
		later(time.Second)
		r.post("/edit", 200)
		if a := r.get("/p"); a.body != "new" {
			t.Errorf("asked after the invalidation (%s, %s): %s", a.Header.Get("X-Cache"), a.Header.Get("Cache-Status"), a.body)
		}
		wg.Wait()
	})
}

// marks of combined parts
func TestKeyedGroupsOfParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		body := strings.Repeat("0123456789", 100)
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Etag", `"1"`)
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("Content-Type", "text/plain")
			if q.Header.Get("If-Range") == "" {
				w.Header().Set("Cache-Groups", `"g"`) // a 206 to If-Range leaves out what the client has (RFC 9110 15.3.7)
			}
			http.ServeContent(w, q, "", time.Time{}, strings.NewReader(body))
		})
		r.serve("/edit", func(w http.ResponseWriter, q *http.Request) { w.Header().Set("Cache-Group-Invalidation", `"g"`) })
		r.get("/p", "Range: bytes=0-99")
		later(time.Second)
		r.get("/p", "Range: bytes=100-199")
		later(time.Second)
		a := r.get("/p", "Range: bytes=0-199")
		t.Logf("%s groups %q", a.Header.Get("X-Cache"), a.Header["Cache-Groups"])
		r.post("/edit", 200)
		if a := r.get("/p", "Range: bytes=0-199"); a.Header.Get("X-Cache") == "HIT" {
			t.Errorf("still a hit after its group %q was invalidated", a.Header["Cache-Groups"])
		}
	})
}

// No-Vary-Search is learned while a sibling is invalidated
func TestKeyedNVSLearnedAfterInvalidation(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		var state atomic.Value
		state.Store("old")
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("No-Vary-Search", `params=("utm")`)
			if q.Method == "POST" {
				state.Store("new")
				return
			}
			now := state.Load()
			later(5 * time.Second)
			say(w, "max-age=600", "%s", now)
		})
		var wg sync.WaitGroup
		wg.Go(func() { r.get("/p?id=1&utm=a") })
		later(time.Second)
		r.post("/p?id=1&utm=b", 200)
		wg.Wait()
		later(time.Second)
		if a := r.get("/p?id=1&utm=b"); a.body != "new" {
			t.Errorf("after POST to it (%s): %s", a.Header.Get("X-Cache"), a.body)
		}
	})
}

// redirect to https loses the excluded parameters
func TestKeyedRedirectLosesQuery(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.RedirectToHTTPS = true; s.Key.Query.Ignore = true })
		a, _ := r.do(t.Context(), "POST", "/order?id=5")
		if got := a.Header.Get("Location"); got != "https://www.test/order?id=5" {
			t.Errorf("%d Location %q", a.StatusCode, got)
		}
	})
}

// bypass and upgrade lose parameters too
func TestKeyedBypassLosesQuery(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Key.Query.Include = globs("page") })
		r.ruled(Rule{Match: Match{Params: [][]Named{{named("preview")}}}, Bypass: true})
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) { say(w, "no-store", "%s", q.URL.RawQuery) })
		if a := r.get("/p?preview=7&page=1"); a.body != "preview=7&page=1" {
			t.Errorf("%s: the origin got %q", a.Header.Get("X-Cache"), a.body)
		}
	})
}

// key facets and caches behind us
func TestKeyedNoVaryForFacets(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) {
			s.Key = KeySpec{Headers: []string{"X-Tenant"}, Cookies: []string{"design"}, Device: true}
		})
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			say(w, "public, max-age=600", "%s", q.Header.Get("X-Perigee-Device"))
		})
		if a := r.get("/p", "X-Tenant: a"); a.Header.Get("Vary") == "" {
			t.Errorf("Vary is missing: %v", a.Header)
		}
	})
}

// Accept-Language: the newest that is liked beats the exact one
func TestKeyedAcceptLanguagePoison(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Vary", "Accept-Language")
			w.Header().Set("Content-Language", "en")
			say(w, "max-age=600", "you asked for %s", q.Header.Get("Accept-Language"))
		})
		want := r.get("/p", "Accept-Language: en, de;q=0.5").body
		later(2 * time.Second)
		r.get("/p", "Accept-Language: x;<script>alert(1)</script>")
		later(2 * time.Second)
		if a := r.get("/p", "Accept-Language: en, de;q=0.5"); a.body != want {
			t.Errorf("%s: got %q, want %q", a.Header.Get("X-Cache"), a.body, want)
		}
	})
}

// reload and back again
func TestKeyedReloadAndBack(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		state := "old"
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			if q.Method == "POST" {
				state = "new"
			}
			say(w, "max-age=600", "%s", state)
		})
		r.get("/p?id=1&utm_x=2")
		r.reconfigure(func(s *Site) { s.Key.Query.Exclude = globs("utm_*") })
		r.post("/p?id=1&utm_x=2", 200)
		r.reconfigure(func(s *Site) { s.Key.Query.Exclude = nil })
		later(time.Second)
		if a := r.get("/p?id=1&utm_x=2"); a.body != "new" {
			t.Errorf("%s: %s", a.Header.Get("X-Cache"), a.body)
		}
	})
}

// fields in the key that the upstream never gets
func TestKeyedKeyedButDropped(t *testing.T) {
	for _, field := range []string{"X-Nextjs-Data", "Content-Type"} {
		t.Run(field, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.reconfigure(func(s *Site) { s.Key.Headers = []string{http.CanonicalHeaderKey(field)} })
				r.serve("/p", func(w http.ResponseWriter, q *http.Request) { say(w, "max-age=600", "%s", q.Header.Get(field)) })
				if a := r.get("/p", field+": 1"); a.body != "1" {
					t.Errorf("the origin did not get the field %s of the key", field)
				}
			})
		})
	}
}

// HEAD in the background has the policy of HEAD
func TestKeyedHeadRefreshPolicy(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleWhileRevalidate: time.Hour}, func(t *testing.T, r *rig) {
		r.ruled(Rule{Match: Match{Methods: []string{"GET"}}, TTL: ptr(10 * time.Second)})
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) { say(w, "max-age=86400", "x") })
		r.get("/p")
		later(11 * time.Second)
		_, _ = r.do(t.Context(), "HEAD", "/p")
		later(time.Second)
		a := r.get("/p")
		if got := a.Header.Get("Cache-Status"); !strings.Contains(got, "ttl=9") && !strings.Contains(got, "ttl=10") {
			t.Errorf("GET with ttl 10s: %s", got)
		}
	})
}
