package edge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

func (r *rig) by(h http.HandlerFunc) { r.origin.Script("/a", testorigin.Answer{Handler: h}) }

func cond(r *http.Request) bool { return r.Header.Get("If-None-Match") != "" }

// a 304 to somebody's Authorization gives his fields to all.
func TestLawAuthorized304(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.by(func(w http.ResponseWriter, q *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "max-age=10")
			h.Set("Etag", `"v"`)
			if a := q.Header.Get("Authorization"); a != "" {
				h.Set("X-Account", a)
			}
			if cond(q) {
				w.WriteHeader(304)
				return
			}
			w.Write([]byte("text"))
		})
		r.get("/a")
		later(11 * time.Second)
		r.get("/a", "Authorization: alice")
		a := r.get("/a")
		if got := a.Header.Get("X-Account"); got != "" {
			t.Errorf("304: a stranger got X-Account %q, %s", got, a.Header.Get("Cache-Status"))
		}
	})
}

// so does a 200 to HEAD.
func TestLawAuthorizedHead(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.by(func(w http.ResponseWriter, q *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "max-age=10")
			h.Set("Etag", `"v"`)
			h.Set("Content-Length", "4")
			if a := q.Header.Get("Authorization"); a != "" {
				h.Set("X-Account", a)
			}
			w.Write([]byte("text"))
		})
		r.get("/a")
		later(11 * time.Second)
		_, _ = r.do(t.Context(), "HEAD", "/a", "Authorization: alice")
		a := r.get("/a")
		if got := a.Header.Get("X-Account"); got != "" {
			t.Errorf("HEAD: a stranger got X-Account %q, %s", got, a.Header.Get("Cache-Status"))
		}
	})
}

// what the upstream varies by and we wrote.
func TestLawVaryForwardedFor(t *testing.T) {
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Perigee-Country", "X-Perigee-Device"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.by(func(w http.ResponseWriter, q *http.Request) {
					w.Header().Set("Cache-Control", "max-age=60")
					w.Header().Set("Vary", name)
					w.Write([]byte("for " + q.Header.Get(name)))
				})
				ask := func(addr string) string {
					w := httptest.NewRecorder()
					q := httptest.NewRequest("GET", "http://www.test/a", nil)
					q.RemoteAddr = addr
					r.handler.ServeHTTP(w, q)
					synctest.Wait()
					return w.Body.String()
				}
				one, two := ask("192.0.2.1:1"), ask("203.0.113.9:1")
				if name == "X-Forwarded-For" && one == two {
					t.Errorf("Vary: %s: both got %q", name, one)
				}
				t.Log(name, one, two)
			})
		})
	}
}

// what POST stores.
func TestLawPosted(t *testing.T) {
	post := func(w http.ResponseWriter, q *http.Request, text string) {
		h := w.Header()
		h.Set("Cache-Control", "max-age=60")
		if q.Method == "POST" {
			h.Set("Content-Location", q.URL.RequestURI())
			w.Write([]byte("posted " + text))
			return
		}
		w.Write([]byte("got"))
	}
	t.Run("deflate", func(t *testing.T) {
		inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
			r.by(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Vary", "Accept-Encoding")
				if strings.Contains(q.Header.Get("Accept-Encoding"), "deflate") {
					w.Header().Set("Content-Encoding", "deflate")
				}
				post(w, q, "")
			})
			_, _ = r.do(t.Context(), "POST", "/a", "Accept-Encoding: deflate")
			if a := r.get("/a"); a.Header.Get("Content-Encoding") != "" {
				t.Errorf("a GET without Accept-Encoding got coding %q: %s", a.Header.Get("Content-Encoding"), a.Header.Get("Cache-Status"))
			}
		})
	})
	t.Run("bypass", func(t *testing.T) {
		inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
			r.reconfigure(func(s *Site) {
				s.RuleSet = []Rule{{Match: Match{Cookies: [][]Named{{{Name: "session"}}}}, Bypass: true}}
			})
			r.by(func(w http.ResponseWriter, q *http.Request) { post(w, q, q.Header.Get("Cookie")) })
			_, _ = r.do(t.Context(), "POST", "/a", "Cookie: session=alice")
			if a := r.get("/a"); a.body != "got" {
				t.Errorf("bypass: a stranger got %q: %s", a.body, a.Header.Get("Cache-Status"))
			}
		})
	})
	t.Run("query", func(t *testing.T) {
		inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
			r.reconfigure(func(s *Site) {
				s.Key.Query.Exclude = []httpcache.Glob{httpcache.NewGlob("utm_*")}
			})
			r.by(func(w http.ResponseWriter, q *http.Request) { post(w, q, q.URL.RawQuery) })
			_, _ = r.do(t.Context(), "POST", "/a?utm_x=evil")
			if a := r.get("/a"); strings.Contains(a.body, "evil") {
				t.Errorf("query: a stranger got %q: %s", a.body, a.Header.Get("Cache-Status"))
			}
		})
	})
	t.Run("unkeyed", func(t *testing.T) {
		inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
			r.by(func(w http.ResponseWriter, q *http.Request) {
				post(w, q, q.Header.Get("X-Original-Url")+q.Header.Get("X-Http-Method-Override"))
			})
			_, _ = r.do(t.Context(), "POST", "/a", "X-HTTP-Method-Override: evil")
			if a := r.get("/a"); strings.Contains(a.body, "evil") {
				t.Errorf("unkeyed: a stranger got %q: %s", a.body, a.Header.Get("Cache-Status"))
			}
		})
	})
}

// cache groups that a 304 or a part brings, or leaves out.
func TestLawGroupsOf304(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/act", testorigin.Answer{Status: 204, Fields: []string{`cache-group-invalidation: "g"`}})
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Etag", `"v"`)
			if cond(q) {
				w.Header().Set("Cache-Groups", `"g"`)
				w.WriteHeader(304)
				return
			}
			w.Write([]byte("text"))
		})
		r.get("/a")
		later(61 * time.Second)
		r.get("/a")
		a := r.get("/a")
		a.isHit(t, "after 304", true)
		if a.Header.Get("Cache-Groups") == "" {
			t.Fatal("no groups")
		}
		_, _ = r.do(t.Context(), "POST", "/act")
		r.get("/a").isHit(t, "304: group struck", false)
	})
}

func TestLawGroupsOfParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/act", testorigin.Answer{Status: 204, Fields: []string{`cache-group-invalidation: "g"`}})
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Etag", `"v"`)
			w.Header().Set("Cache-Control", "max-age=60")
			if q.Header.Get("If-Range") == "" {
				w.Header().Set("Cache-Groups", `"g"`)
			}
			http.ServeContent(w, q, "a.bin", time.Time{}, strings.NewReader(strings.Repeat("x", 1000)))
		})
		r.get("/a", "Range: bytes=0-99")
		r.get("/a", "Range: bytes=100-199")
		synctest.Wait()
		a := r.get("/a", "Range: bytes=0-199")
		t.Log(a.Header)
		_, _ = r.do(t.Context(), "POST", "/act")
		a = r.get("/a", "Range: bytes=0-199")
		if strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Errorf("parts: group struck, still %s", a.Header.Get("Cache-Status"))
		}
	})
}

// Content-Digest of a part from the cache; suffix of nothing.
func TestLawDigestOfRange(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/a", testorigin.Answer{Fields: []string{"cache-control: max-age=60", "content-digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"}, Text: ""})
		r.get("/a")
		synctest.Wait()
		a := r.get("/a", "Range: bytes=-5")
		t.Log("suffix of nothing", a.StatusCode, a.Header)
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Digest", "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:") // of "hello world"
			w.Write([]byte("hello world"))
		})
		r.get("/a?1")
		synctest.Wait()
		a = r.get("/a?1", "Range: bytes=0-4")
		if a.StatusCode == 206 && a.Header.Get("Content-Digest") != "" {
			t.Errorf("206 of %q with the Content-Digest of the whole: %s", a.body, a.Header.Get("Content-Digest"))
		}
		a = r.get("/a?1", "Range: bytes=0-1,4-5")
		if a.StatusCode == 206 && a.Header.Get("Content-Digest") != "" {
			t.Errorf("multipart 206 with the Content-Digest of the whole: %s", a.Header.Get("Content-Digest"))
		}
	})
}

// fields that no-cache names in a 304 do not reach who asked.
func TestLawWithheldOf304(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", `max-age=10, no-cache="Set-Cookie"`)
			w.Header().Set("Etag", `"v"`)
			w.Header().Set("Set-Cookie", "a=1")
			if cond(q) {
				w.WriteHeader(304)
				return
			}
			w.Write([]byte("text"))
		})
		a := r.get("/a")
		t.Log("first", a.Header["Set-Cookie"])
		later(11 * time.Second)
		a = r.get("/a")
		if a.Header.Get("Set-Cookie") == "" {
			t.Errorf("who validated did not get Set-Cookie: %s", a.Header.Get("Cache-Status"))
		}
	})
}

// the refresh says gone, or private, and the stale response goes on being served.
func TestLawRefreshSaysGone(t *testing.T) {
	for _, test := range []struct {
		status int
		cc     string
	}{{404, ""}, {410, "no-store"}, {200, "private, no-store"}, {451, "no-store"}} {
		inBubbleNow(t, func(t *testing.T, r *rig) {
			first := true
			r.by(func(w http.ResponseWriter, q *http.Request) {
				if first {
					first = false
					w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=86400, stale-if-error=86400")
					w.Write([]byte("old"))
					return
				}
				if test.cc != "" {
					w.Header().Set("Cache-Control", test.cc)
				}
				w.WriteHeader(test.status)
				w.Write([]byte("new"))
			})
			r.get("/a")
			for range 5 {
				later(1000 * time.Second)
				r.get("/a")
				synctest.Wait()
			}
			if a := r.get("/a"); a.body == "old" {
				t.Errorf("refreshes said %d %q %d times, still %q: %s", test.status, test.cc, r.origin.Hits("/a")-1, a.body, a.Header.Get("Cache-Status"))
			}
		})
	}
}

func inBubbleNow(t *testing.T, outer func(t *testing.T, r *rig)) {
	t.Run("", func(t *testing.T) { inBubbleThen(t, outer) })
}

func inBubbleThen(t *testing.T, story func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, httpcache.Rules{})
		story(t, r)
		r.close()
	})
}

// an error with a lifetime, in the background, displaces what is still fresh or may stand in.
func TestLawRefreshError(t *testing.T) {
	inBubbleNow(t, func(t *testing.T, r *rig) {
		first := true
		r.by(func(w http.ResponseWriter, q *http.Request) {
			if first {
				first = false
				w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=86400, stale-if-error=86400")
				w.Write([]byte("old"))
				return
			}
			w.Header().Set("Cache-Control", "max-age=30")
			w.WriteHeader(503)
		})
		r.get("/a")
		later(20 * time.Second)
		r.get("/a")
		synctest.Wait()
		if a := r.get("/a"); a.StatusCode != 200 {
			t.Errorf("within stale-if-error got %d: %s", a.StatusCode, a.Header.Get("Cache-Status"))
		}
	})
	inBubbleNow(t, func(t *testing.T, r *rig) {
		first := true
		r.by(func(w http.ResponseWriter, q *http.Request) {
			if first {
				first = false
				w.Header().Set("Cache-Control", "max-age=100, stale-while-revalidate=86400")
				w.Write([]byte("old"))
				return
			}
			w.Header().Set("Cache-Control", "max-age=30")
			w.WriteHeader(503)
		})
		r.get("/a")
		later(99500 * time.Millisecond)
		r.get("/a")
		synctest.Wait()
		if a := r.get("/a"); a.StatusCode != 200 {
			t.Errorf("while fresh got %d: %s", a.StatusCode, a.Header.Get("Cache-Status"))
		}
	})
}

// parts under No-Vary-Search when the 206 to If-Range leaves the field out.
func TestLawSearchOfParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Etag", `"v"`)
			w.Header().Set("Cache-Control", "max-age=60")
			if q.Header.Get("If-Range") == "" {
				w.Header().Set("No-Vary-Search", `params=("x")`)
			}
			http.ServeContent(w, q, "a.bin", time.Time{}, strings.NewReader(strings.Repeat("x", 1000)))
		})
		r.get("/a?x=1", "Range: bytes=0-99")
		synctest.Wait()
		r.get("/a?x=2", "Range: bytes=100-199")
		synctest.Wait()
		for _, q := range []string{"1", "2", "2", "3", "3", "1", "1"} {
			a := r.get("/a?x="+q, "Range: bytes=0-199")
			synctest.Wait()
			t.Log(q, a.StatusCode, a.Header.Get("Cache-Status"), len(a.body))
		}
	})
}

// preconditions of the client are dropped where the answer is not stored.
func TestLawIfMatchPrivate(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "private")
			w.Header().Set("Etag", `"v"`)
			http.ServeContent(w, q, "a.bin", time.Time{}, strings.NewReader(strings.Repeat("x", 1000)))
		})
		a := r.get("/a", `If-Match: "other"`)
		b := r.get("/a", `If-Match: "other"`)
		t.Log("If-Match", a.StatusCode, b.StatusCode)
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "private")
			w.Header().Set("Etag", `"v"`)
			http.ServeContent(w, q, "a.bin", time.Time{}, strings.NewReader(strings.Repeat("x", 1000)))
		})
		a = r.get("/a?1", `If-None-Match: "v"`)
		b = r.get("/a?1", `If-None-Match: "v"`)
		t.Log("If-None-Match", a.StatusCode, b.StatusCode)
	})
}

// If-None-Match of a client whose weak tag is of our own compression, etc. Honour: fallback for who forbids it.
func TestLawFallbackForOthers(t *testing.T) {
	inBubble(t, httpcache.Rules{HonourRequest: true}, func(t *testing.T, r *rig) {
		first := true
		r.by(func(w http.ResponseWriter, q *http.Request) {
			if first {
				first = false
				w.Header().Set("Cache-Control", "max-age=10, stale-if-error=86400")
				w.Write([]byte("old"))
				return
			}
			later(time.Second)
			w.WriteHeader(503)
		})
		r.get("/a")
		later(20 * time.Second)
		done := make(chan answered)
		go func() { a, _ := r.do(t.Context(), "GET", "/a"); done <- a }()
		later(100 * time.Millisecond)
		b := r.get("/a", "Cache-Control: no-cache")
		a := <-done
		t.Log(a.StatusCode, a.Header.Get("Cache-Status"), b.StatusCode, b.Header.Get("Cache-Status"))
		if b.body == "old" {
			t.Errorf("no-cache got the stale response of another's flight: %s", b.Header.Get("Cache-Status"))
		}
	})
}

// a body with 200 to a conditional request that went alone is not stored.
func TestLawAloneConditional(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		n := 0
		r.by(func(w http.ResponseWriter, q *http.Request) {
			if n++; n == 1 {
				w.Header().Set("Cache-Control", "no-store")
			} else {
				w.Header().Set("Cache-Control", "max-age=600")
			}
			w.Header().Set("Etag", `"v"`)
			http.ServeContent(w, q, "a.bin", time.Time{}, strings.NewReader("text"))
		})
		r.get("/a")
		for range 3 {
			a := r.get("/a", `If-None-Match: "v"`)
			t.Log(a.StatusCode, a.Header.Get("Cache-Status"))
			later(100 * time.Second)
		}
		t.Log(r.origin.Hits("/a"))
	})
}

// Range+If-Range misses; HEAD misses, and others that always go upstream.
func TestLawNeedless(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("Etag", `"v"`)
			http.ServeContent(w, q, "a.bin", time.Time{}, strings.NewReader(strings.Repeat("x", 1000)))
		})
		for i, f := range [][]string{{"HEAD"}, {"GET", "Range: bytes=0-9", `If-Range: "v"`}, {"GET", "Range: bytes=0-0,-1"}, {"GET", "Authorization: a"}, {"GET", `If-None-Match: "v"`}, {"GET", "Range: bytes=0-9"}, {"GET", "Range: bytes=-9"}} {
			u := "/a?" + string(rune('0'+i))
			a, _ := r.do(t.Context(), f[0], u, f[1:]...)
			synctest.Wait()
			b, _ := r.do(t.Context(), f[0], u, f[1:]...)
			t.Log(f, a.StatusCode, a.Header.Get("Cache-Status"), "|", b.StatusCode, b.Header.Get("Cache-Status"))
		}
	})
}

// E11 with the field always there, for comparison.
func TestLawSearchOfPartsBase(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Etag", `"v"`)
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("No-Vary-Search", `params=("x")`)
			http.ServeContent(w, q, "a.bin", time.Time{}, strings.NewReader(strings.Repeat("x", 1000)))
		})
		r.get("/a?x=1", "Range: bytes=0-99")
		synctest.Wait()
		r.get("/a?x=2", "Range: bytes=100-199")
		synctest.Wait()
		for _, q := range []string{"1", "2", "2", "3", "3"} {
			a := r.get("/a?x="+q, "Range: bytes=0-199")
			synctest.Wait()
			t.Log(q, a.StatusCode, a.Header.Get("Cache-Status"), len(a.body))
		}
	})
}

// two No-Vary-Search values on one path.
func TestLawSearchFlips(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=6000")
			w.Header().Set("No-Vary-Search", `params=("`+q.URL.Query().Get("p")+`")`)
			w.Write([]byte("text"))
		})
		for range 5 {
			r.get("/a?p=1")
			r.get("/a?p=2")
		}
		if n := r.origin.Hits("/a"); n > 4 {
			t.Errorf("two fresh targets, 10 requests, %d fetches", n)
		}
	})
}

// honour no-store: the 304 to such a request must not be stored.
func TestLawNoStore304(t *testing.T) {
	inBubble(t, httpcache.Rules{HonourRequest: true}, func(t *testing.T, r *rig) {
		r.by(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			w.Header().Set("Etag", `"v"`)
			if cond(q) {
				w.Header().Set("X-Secret", q.Header.Get("X-Me"))
				w.WriteHeader(304)
				return
			}
			w.Write([]byte("text"))
		})
		r.get("/a")
		later(11 * time.Second)
		r.get("/a", "Cache-Control: no-store", "X-Me: alice")
		a := r.get("/a")
		if a.Header.Get("X-Secret") != "" {
			t.Errorf("stored from a no-store request: %q %s", a.Header.Get("X-Secret"), a.Header.Get("Cache-Status"))
		}
	})
}

// a Range request and a rule's TTL on an error etc: what a 404 to a part does.
func TestLawPartErrors(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, status := range []int{404, 416, 403, 301, 204, 200} {
			u := "/a"
			r.by(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				if q.Header.Get("Range") != "" {
					w.WriteHeader(status)
					w.Write([]byte("ranged"))
					return
				}
				w.Write([]byte("whole"))
			})
			u += "?" + http.StatusText(status)
			u = strings.ReplaceAll(u, " ", "_")
			a := r.get(u, "Range: bytes=0-1")
			b := r.get(u)
			t.Log(status, a.StatusCode, a.Header.Get("Cache-Status"), "|", b.StatusCode, b.body, b.Header.Get("Cache-Status"))
		}
	})
}
