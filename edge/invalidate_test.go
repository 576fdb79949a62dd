package edge

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// post sends a POST and expects its status.
func (r *rig) post(target string, want int, fields ...string) answered {
	r.t.Helper()
	a, err := r.do(r.t.Context(), http.MethodPost, target, fields...)
	if err != nil || a.StatusCode != want {
		r.t.Fatalf("POST %s: %v, %v; want %d", target, a.Response, err, want)
	}
	return a
}

func TestUnsafeMethodsInvalidate(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D600"
		r.get(target)
		r.origin.Script("/size/100", testorigin.Answer{Status: 500})
		r.post(target, 500)
		r.get(target).expect(t, 200, "HIT", "hit; ttl=600")
		r.origin.Script("/size/100", testorigin.Answer{Status: 204})
		a, err := r.do(t.Context(), http.MethodDelete, target)
		if err != nil {
			t.Fatal(err)
		}
		a.expect(t, 204, "BYPASS", "fwd=method; fwd-status=204")
		r.origin.Unscript("/size/100")
		r.get(target).expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=600; stored")
	})
}

// What Location and Content-Location name on the same host changed too (RFC 9111
// §4.4); another site's objects are not this one's to touch.
func TestLocationInvalidates(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		other := *r.site
		other.Name, other.Aliases = "other.test", nil
		r.handler.Swap(NewSites([]*Site{r.site, &other}), Limits{})
		paths := []string{"/text/list", "/text/item", "/text/bystander"}
		for _, path := range paths {
			r.get(path + "?cc=max-age%3D600")
		}
		r.get("/text/far?cc=max-age%3D600", "Host: other.test")
		r.origin.Script("/new", testorigin.Answer{Status: 201, Fields: []string{"Location: /text/item?cc=max-age%3D600", "Content-Location: http://www.test/text/list?cc=max-age%3D600"}})
		r.post("/new", 201)
		r.origin.Script("/new", testorigin.Answer{Status: 201, Fields: []string{"Location: http://other.test/text/far?cc=max-age%3D600"}})
		r.post("/new", 201)
		for i, want := range []string{"MISS", "MISS", "HIT"} {
			if got := r.get(paths[i] + "?cc=max-age%3D600").Header.Get("X-Cache"); got != want {
				t.Errorf("%s: X-Cache %q, want %s", paths[i], got, want)
			}
		}
		if got := r.get("/text/far?cc=max-age%3D600", "Host: other.test").Header.Get("X-Cache"); got != "HIT" {
			t.Errorf("X-Cache %q for an object of another site, want HIT", got)
		}
	})
}

// A site may have been configured anew while the origin thought about a POST: it is
// the same site all the same, and so is what Location names on it.
func TestInvalidateAcrossAReload(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/text/list", testorigin.Answer{Fields: []string{"cache-control: max-age=600", "Location: /text/item?cc=max-age%3D600"}, Text: "list"})
		targets := []string{"/text/list", "/text/item?cc=max-age%3D600"}
		for _, target := range targets {
			r.get(target)
		}
		release := r.origin.Hold("/text/list")
		var wg sync.WaitGroup
		wg.Go(func() { r.post("/text/list", 200) })
		later(time.Second)
		r.reconfigure(func(*Site) {})
		release()
		wg.Wait()
		for _, target := range targets {
			r.get(target).expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=600; stored")
		}
	})
}

// The key is made of the path as it was spelled, so it has to be forgotten by that,
// and not by what a URL parser makes of it.
func TestInvalidateInOddSpelling(t *testing.T) {
	for _, path := range []string{"/text/a%2Fb|c", "/text/%C3%A9", "/text/%7Ea/../b"} {
		t.Run(path, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				target := path + "?cc=max-age%3D600"
				r.raw("GET " + target + " HTTP/1.1")
				if got := r.raw("GET " + target + " HTTP/1.1"); !strings.Contains(got, "X-Cache: HIT") {
					t.Fatalf("not stored:\n%s", got)
				}
				r.raw("POST "+target+" HTTP/1.1", "Content-Length: 0")
				if got := r.raw("GET " + target + " HTTP/1.1"); !strings.Contains(got, "X-Cache: MISS") {
					t.Errorf("still stored after POST:\n%s", got)
				}
			})
		})
	}
}

// A form in clear changes the page that others read over TLS.
func TestInvalidateBothSchemes(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "www.test/text/a?cc=max-age%3D600"
		for _, scheme := range []string{"http://", "https://"} {
			r.direct("GET", scheme+target)
			later(time.Second) // the fills end
			if got := r.direct("GET", scheme+target).Header.Get("X-Cache"); got != "HIT" {
				t.Fatalf("%s: X-Cache %q, want HIT", scheme, got)
			}
		}
		r.direct("POST", "http://"+target)
		for _, scheme := range []string{"http://", "https://"} {
			if got := r.direct("GET", scheme+target).Header.Get("X-Cache"); got != "MISS" {
				t.Errorf("%s after POST: X-Cache %q, want MISS", scheme, got)
			}
		}
	})
}

// Where each name of a site has its own objects, a POST to one says nothing of the
// others; each can be invalidated.
func TestInvalidateByHost(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		pool := r.pool(origin.Options{Upstream: "http://origin.test", Host: origin.HostClient})
		r.reconfigure(func(s *Site) { s.Origin, s.KeyByHost = pool, true })
		const target = "/text/a?cc=max-age%3D600"
		r.get(target)
		r.get(target, "Host: test")
		r.post(target, 200, "Host: test")
		if got := r.get(target, "Host: test").Header.Get("X-Cache"); got != "MISS" {
			t.Errorf("the name that was asked: X-Cache %q, want MISS", got)
		}
		if got := r.get(target).Header.Get("X-Cache"); got != "HIT" {
			t.Errorf("the other name: X-Cache %q, want HIT", got)
		}
	})
}

// versioned is an origin that takes two seconds to tell the version that it had
// when it was asked, and counts POSTs up.
type versioned struct{ posts atomic.Int64 }

func (v *versioned) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method == http.MethodPost {
		v.posts.Add(1)
		return
	}
	version := string(rune('0' + v.posts.Load()))
	later(2 * time.Second)
	w.Header().Set(httpcache.CacheControlField, "max-age=600")
	w.Header().Set("Etag", `"same"`)
	if q.Header.Get("If-None-Match") != "" {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = io.WriteString(w, version)
}

// What the origin was asked for before a POST may be of before the POST: it may go
// to who asked, but not stay.
func TestInvalidateOvertakesAFetch(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Handler: new(versioned).ServeHTTP})
		var wg sync.WaitGroup
		wg.Go(func() {
			a := r.get("/x")
			a.expect(t, 200, "MISS", "fwd=miss; fwd-status=200; detail=invalidated")
			if a.body != "0" {
				t.Errorf("body %q, want that of before", a.body)
			}
		})
		later(time.Second)
		r.post("/x", 200)
		wg.Wait()
		a := r.get("/x")
		a.expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=598; stored")
		if a.body != "1" {
			t.Errorf("after the POST: body %q, want 1", a.body)
		}
		r.get("/x").expect(t, 200, "HIT", "hit; ttl=598")
	})
}

// A 304 that was asked for before a POST must not bring back what the POST made
// invalid: neither its body nor, for HEAD, its fields.
func TestInvalidateOvertakesAValidation(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		t.Run(method, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.origin.Script("/x", testorigin.Answer{Handler: new(versioned).ServeHTTP})
				r.get("/x")
				later(time.Hour)
				var wg sync.WaitGroup
				wg.Go(func() {
					a, err := r.do(t.Context(), method, "/x")
					if err != nil {
						t.Error(err)
						return
					}
					if method == http.MethodGet {
						a.expect(t, 200, "MISS", "fwd=stale; fwd-status=200; ttl=598; stored")
					} else {
						a.expect(t, 200, "MISS", "fwd=stale; fwd-status=200; detail=method")
					}
					if method == http.MethodGet && a.body != "1" {
						t.Errorf("body %q, want that of the version after the POST", a.body)
					}
				})
				later(time.Second)
				r.post("/x", 200)
				wg.Wait()
				if a := r.get("/x"); a.body != "1" {
					t.Errorf("X-Cache %q, body %q; want 1", a.Header.Get("X-Cache"), a.body)
				}
			})
		})
	}
}

// A body that is arriving when its key is invalidated goes on for who reads it, and
// is not stored.
func TestInvalidateEndsAFill(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/30000?cc=max-age%3D600&gap=1s&chunk=5000"
		var wg sync.WaitGroup
		wg.Go(func() {
			if a := r.get(target); a.err != nil || len(a.body) != 30000 {
				t.Errorf("the reader got %d bytes, %v", len(a.body), a.err)
			}
		})
		later(2500 * time.Millisecond)
		r.post("/size/30000?cc=max-age%3D600&gap=1s&chunk=5000", 200)
		wg.Wait()
		if a := r.get(target); a.Header.Get("X-Cache") != "MISS" {
			t.Errorf("X-Cache %q, want MISS", a.Header.Get("X-Cache"))
		}
	})
}

// Location names what was stored in the spelling of whoever wrote it.
func TestLocationInvalidatesHoweverItIsSpelled(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, target := range []string{"/text/a?cc=max-age%3D600", "/text/a%2Fb?cc=max-age%3D600&x=1"} {
			r.get(target)
			r.get(target).expect(t, 200, "HIT", "hit; ttl=600")
			r.origin.Script("/new", testorigin.Answer{Status: 201, Fields: []string{"Location: " + target}})
			if _, err := r.do(t.Context(), "POST", "/new"); err != nil {
				t.Fatal(err)
			}
			if a := r.get(target); a.Header.Get("X-Cache") != "MISS" {
				t.Errorf("%s: X-Cache %q after a POST whose Location names it", target, a.Header.Get("X-Cache"))
			}
		}
	})
}
