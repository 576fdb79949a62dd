package edge

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// two rules on one path: every answer forgets the others
func TestKeyedNVSChurn(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("No-Vary-Search", `params=("`+q.URL.Query().Get("nvs")+`")`)
			say(w, "max-age=600", "x")
		})
		for range 3 {
			r.get("/p?nvs=a")
			r.get("/p?nvs=b")
		}
		r.hits("/p", 2)
	})
}

// a stale response that was invalidated, given to one who joins the flight after that
func TestKeyedFallbackAfterInvalidation(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			if q.Method == "POST" {
				return
			}
			say(w, "max-age=5", "old")
		})
		r.get("/p")
		later(6 * time.Second)
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			if q.Method == "POST" {
				return
			}
			later(5 * time.Second)
			w.WriteHeader(503)
		})
		var wg sync.WaitGroup
		wg.Go(func() { r.get("/p") })
		later(time.Second)
		r.post("/p", 200)
		if a := r.get("/p"); a.body == "old" {
			t.Errorf("asked after the POST (%s): old", a.Header.Get("Cache-Status"))
		}
		wg.Wait()
	})
}

// fields taken out of responses stand in interim ones
func TestKeyedEditsOfInterim(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Response.Remove = []string{"Link", "X-Powered-By"} })
		r.origin.Script("/p", testorigin.Answer{Early: true, Links: []string{"</internal.css>; rel=preload"}, Text: "x", Fields: []string{"cache-control: max-age=60"}})
		for range 2 {
			if got := r.raw("GET /p HTTP/1.1"); strings.Contains(got, "internal.css") {
				t.Errorf("Link was to be taken out:\n%s", got)
			}
			later(time.Second)
		}
	})
}

// slow readers of uncacheable pages hold every encoder
func TestKeyedEncodersHeld(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) {
			s.Compress = &Compression{Types: globs("text/*"), Encodings: []Coding{Gzip}}
		})
		text := strings.Repeat("some text that is easily made smaller. ", 1000)
		r.serve("/cached", func(w http.ResponseWriter, q *http.Request) { say(w, "max-age=600", "%s", text) })
		r.serve("/private", func(w http.ResponseWriter, q *http.Request) { // thinks between two pieces
			w.Header().Set("Cache-Control", "private")
			w.Header().Set("Content-Type", "text/html")
			for range 1000 {
				_, _ = io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				later(10 * time.Second)
			}
		})
		for i := range maxEncoders {
			conn := r.dial()
			defer conn.Close()
			go io.Copy(io.Discard, conn)
			r.ask(conn, fmt.Sprintf("GET /private?%d HTTP/1.1\r\nHost: www.test\r\nAccept-Encoding: gzip\r\n\r\n", i))
		}
		later(time.Minute)
		r.get("/cached")
		if a := r.get("/cached", "Accept-Encoding: gzip"); a.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%d open pages, and nobody gets anything compressed: %v", maxEncoders, a.Header)
		}
	})
}

// Vary on a field that never reaches the upstream
func TestKeyedVaryOnDropped(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Key.Device = true })
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Vary", "X-Perigee-Device, X-Forwarded-Proto")
			say(w, "max-age=600", "x")
		})
		for i := range 5 {
			r.get("/p", fmt.Sprintf("X-Perigee-Device: %d", i))
			r.get("/p", fmt.Sprintf("X-Forwarded-Proto: %d", i))
		}
		r.hits("/p", 1)
		if a := r.get("/p"); !slices.Contains(a.Header["Vary"], "User-Agent") {
			t.Errorf("Vary towards clients: %q", a.Header["Vary"])
		}
	})
}

// bypassed pages and compression
func TestKeyedBypassCompressed(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Compress = &Compression{Types: globs("text/*"), Encodings: []Coding{Gzip}} })
		r.ruled(Rule{Match: Match{Cookies: [][]Named{{named("session")}}}, Bypass: true})
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) { say(w, "private", "%s", strings.Repeat("abc ", 3000)) })
		for _, cookie := range []string{"Cookie: x=1", "Cookie: session=1"} {
			a := r.get("/p", cookie, "Accept-Encoding: gzip")
			if a.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s: %s, not compressed, Vary %q", cookie, a.Header.Get("X-Cache"), a.Header.Get("Vary"))
			}
		}
	})
}

func TestKeyedBypassedThenShared(t *testing.T) { // the TTL of who asked first
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(Rule{Match: Match{Fields: [][]Named{{named("X-Long")}}}, TTL: ptr(720 * time.Hour), OverridePrivate: true, SetCookie: ptr(httpcache.SetCookieStore)})
		r.serve("/p", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Set-Cookie", "sid="+q.Header.Get("Cookie"))
			say(w, "private, max-age=5", "x")
		})
		r.get("/p", "X-Long: 1", "Cookie: a=secret")
		if a := r.get("/p"); a.Header.Get("X-Cache") == "HIT" {
			t.Errorf("who sent no X-Long: %s %q", a.Header.Get("Cache-Status"), a.Header.Get("Set-Cookie"))
		}
	})
}

func BenchmarkKeyedLanguages(b *testing.B) {
	req, _ := http.NewRequest("GET", "http://a/", nil)
	var langs []string
	for i := range 64 {
		langs = append(langs, fmt.Sprintf("a%c%c;q=0.%d", 'a'+i%26, 'a'+i/26, 1+i%9))
	}
	var all []st
	for i := range 64 {
		v, _ := http.NewRequest("GET", "http://a/", nil)
		v.Header.Set("Accept-Language", fmt.Sprintf("zz-%d", i))
		s, why := httpcache.NewStored(&httpcache.Rules{}, httpcache.NewRequest(v), httpcache.Response{Status: 200, Header: http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Language"}, "Content-Language": {"en"}}, RequestTime: time.Now(), ResponseTime: time.Now()})
		if s == nil {
			b.Fatal(why)
		}
		all = append(all, st{s})
	}
	req.Header.Set("Accept-Language", strings.Join(langs, ", "))
	q := httpcache.NewRequest(req)
	b.ResetTimer()
	for b.Loop() {
		httpcache.Select(q, all)
	}
}

type st struct{ s *httpcache.Stored }

func (s st) Stored() *httpcache.Stored { return s.s }

func BenchmarkKeyedQuery(b *testing.B) {
	rule := &httpcache.QueryRule{Sort: true}
	for i := range 64 {
		rule.Include = append(rule.Include, httpcache.NewGlob(fmt.Sprintf("*p%d*x*", i)))
		rule.Exclude = append(rule.Exclude, httpcache.NewGlob(fmt.Sprintf("*q%d*y*", i)))
	}
	query := strings.Repeat("ppp&", 4000)
	for b.Loop() {
		rule.Reduce(query)
	}
}

func BenchmarkKeyedParams(b *testing.B) {
	var rules []Match
	for i := range 64 {
		rules = append(rules, Match{Params: [][]Named{{named(fmt.Sprint("p", i), "x*")}}})
	}
	req, _ := http.NewRequest("GET", "http://a/?"+strings.Repeat("%61&", 4000), nil)
	for b.Loop() {
		q := &asking{path: "/", host: "a", r: req}
		for i := range rules {
			rules[i].request(q)
		}
	}
}
