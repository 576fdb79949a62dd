package edge

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// Whatever changes a response and is not in its key lets one client choose what all
// others get. The stories of this file are attempts at that.

// claimed are fields that say who asks, or by which way; applications believe them.
var claimed = strings.Fields(`Forwarded X-Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port
	X-Forwarded-Server X-Forwarded-Scheme X-Forwarded-Ssl X-Forwarded-By X-Forwarded-Prefix X-Forwarded-Path X-Forwarded-Uri
	X-Host X-Original-Host X-Http-Host-Override X-Url-Scheme X-Scheme Front-End-Https X-Real-Ip X-Client-Ip
	X-Cluster-Client-Ip Client-Ip True-Client-Ip Cf-Connecting-Ip Fastly-Client-Ip X-Originating-Ip X-Remote-Ip
	X-Remote-Addr Proxy X-Middleware-Subrequest X_Forwarded_Host X_Real_Ip X_Anything`)

// respelling are fields by which a request asks to be taken for another one.
var respelling = strings.Fields("X-Original-Url X-Rewrite-Url X-Http-Method X-Http-Method-Override X-Method-Override Max-Forwards")

// reached lists those of the names whose fields reached the origin with the value
// that the client gave them.
func (r *rig) reached(path string, names []string) (found []string) {
	last, ok := r.origin.Last(path)
	if !ok {
		r.t.Fatalf("the origin was not asked for %s", path)
	}
	for _, name := range names {
		if strings.Contains(strings.Join(last.Header[name], ","), "evil.test") {
			found = append(found, name)
		}
	}
	return found
}

// evil gives each of the names a value that no client should get to choose.
func evil(names ...[]string) (fields []string) {
	for _, each := range names {
		for _, name := range each {
			fields = append(fields, name+": evil.test")
		}
	}
	return fields
}

// The ways that a request can take to the origin are several, and none of them may
// let such a field through.
func TestUnkeyedFieldsDoNotReachTheOrigin(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		fields := evil(claimed, respelling)
		all := append(append([]string(nil), claimed...), respelling...)
		check := func(way, path string) {
			t.Helper()
			if got := r.reached(path, all); got != nil {
				t.Errorf("%s: the origin got %q", way, got)
			}
		}
		r.get("/text/miss?cc=max-age%3D60&etag=v1", fields...)
		check("a miss", "/text/miss")
		later(2 * time.Minute)
		r.get("/text/miss?cc=max-age%3D60&etag=v1", fields...)
		if n := r.origin.NotModified("/text/miss"); n != 1 {
			t.Fatalf("%d validations, want 1", n)
		}
		check("a validation", "/text/miss")
		r.get("/text/alone?cc=private")
		r.get("/text/alone?cc=private", fields...)
		check("a request of its own", "/text/alone")
		if _, err := r.do(t.Context(), http.MethodHead, "/text/head", fields...); err != nil {
			t.Fatal(err)
		}
		check("HEAD", "/text/head")
	})
}

// Responses to other methods are not stored, so those fields that only ask for
// another method are left to the origin. What a client says of itself is no more
// to be believed than elsewhere.
func TestClaimedFieldsDoNotPass(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		if _, err := r.do(t.Context(), http.MethodPost, "/text/post", evil(claimed, respelling)...); err != nil {
			t.Fatal(err)
		}
		if got := r.reached("/text/post", claimed); got != nil {
			t.Errorf("the origin got %q", got)
		}
		if got := r.reached("/text/post", []string{"X-Http-Method-Override"}); got == nil {
			t.Error("the origin did not get the X-Http-Method-Override of a POST")
		}
	})
}

// Cdn-Loop is how CDNs in a ring find out that they are one (RFC 8586 §2): who
// removes it makes the ring endless.
func TestCdnLoopGoesOn(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.get("/text/a", "Cdn-Loop: other-cdn")
		if last, _ := r.origin.Last("/text/a"); !strings.Contains(last.Header.Get("Cdn-Loop"), "other-cdn") {
			t.Errorf("Cdn-Loop %q, want other-cdn in it", last.Header.Get("Cdn-Loop"))
		}
	})
}

// One client's wish for another method must not become what all others get, also
// where the site's own rules store an error.
func TestMethodOverrideDoesNotPoison(t *testing.T) {
	inBubble(t, httpcache.Rules{DefaultTTL: time.Hour}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("X-Http-Method-Override") != "" {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			_, _ = io.WriteString(w, "page")
		}})
		r.get("/x", "X-Http-Method-Override: DELETE")
		a := r.get("/x")
		a.expect(t, 200, "HIT", "hit; ttl=3600")
		if a.body != "page" {
			t.Errorf("body %q, want page", a.body)
		}
	})
}

// encoder answers in the first coding that it is asked for, as origins do.
func encoder(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Vary", httpcache.AcceptEncodingField)
	w.Header().Set(httpcache.CacheControlField, "max-age=600")
	accepts := q.Header.Get(httpcache.AcceptEncodingField)
	for _, coding := range []string{"gzip", "deflate"} {
		if strings.Contains(accepts, coding) {
			w.Header().Set("Content-Encoding", coding)
			_, _ = io.WriteString(w, "<"+coding+">")
			return
		}
	}
	_, _ = io.WriteString(w, "plain")
}

// expectPlain checks that a client which takes no coding gets none.
func (r *rig) expectPlain(path string) {
	r.t.Helper()
	if a := r.get(path); a.Header.Get("Content-Encoding") != "" || a.body != "plain" {
		r.t.Errorf("a client without %s got %q in %q", httpcache.AcceptEncodingField, a.body, a.Header.Get("Content-Encoding"))
	}
}

// A field that Connection lists is removed on the way to the origin. If it selected
// the variant all the same, the origin's plain answer would be stored as gzip, or
// the other way round.
func TestConnectionCannotListASelectingField(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Handler: encoder})
		r.get("/x", "Connection: "+httpcache.AcceptEncodingField, "Accept-Encoding: gzip")
		r.expectPlain("/x")
		if a := r.get("/x", "Accept-Encoding: gzip"); a.body != "<gzip>" {
			t.Errorf("a client that takes gzip got %q", a.body)
		}
	})
}

// A coding that is not among those that keys know must not be asked for, also when
// the request goes alone because the last response could not be shared.
func TestUnknownCodingIsNotAskedForAlone(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		var first atomic.Bool
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			if first.CompareAndSwap(false, true) {
				w.Header().Set("Set-Cookie", "a=b") // so this is for one client only
			}
			encoder(w, q)
		}})
		r.get("/x")
		r.get("/x", "Accept-Encoding: deflate")
		if last, _ := r.origin.Last("/x"); last.Header.Get(httpcache.AcceptEncodingField) != "" {
			t.Errorf("the origin was asked for %q", last.Header.Get(httpcache.AcceptEncodingField))
		}
		r.expectPlain("/x")
	})
}

// An origin that is sent the client's Host may answer each of a site's names in its
// own way, by a redirect from one to the other most of all. Were the names one key,
// the redirect would be what the other gets, and point to itself.
func TestAliasesShareNothingWhereTheOriginSeesThem(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		pool := r.pool(origin.Options{Upstream: "http://origin.test", Host: origin.HostClient})
		r.reconfigure(func(s *Site) { s.Origin, s.KeyByHost = pool, true })
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set(httpcache.CacheControlField, "max-age=600")
			if q.Host == "test" {
				w.Header().Set("Location", "http://www.test/x")
				w.WriteHeader(http.StatusMovedPermanently)
				return
			}
			_, _ = io.WriteString(w, "page")
		}})
		for _, want := range []string{"MISS", "HIT"} {
			if a := r.get("/x", "Host: test"); a.StatusCode != 301 || a.Header.Get("X-Cache") != want {
				t.Errorf("test/x: %d, X-Cache %q; want 301, %s", a.StatusCode, a.Header.Get("X-Cache"), want)
			}
			if a := r.get("/x"); a.StatusCode != 200 || a.Header.Get("X-Cache") != want {
				t.Errorf("www.test/x: %d, X-Cache %q, Location %q; want 200, %s", a.StatusCode, a.Header.Get("X-Cache"), a.Header.Get("Location"), want)
			}
		}
		r.hits("/x", 2)
	})
}

// One host in all its spellings is one site and one key.
func TestHostForms(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/10?cc=max-age%3D60"
		r.get(target)
		for _, host := range []string{"WWW.Test", "www.test.", "www.test:8080", "test", "TEST.:80"} {
			r.get(target, "Host: "+host).expect(t, 200, "HIT", "hit; ttl=60")
		}
		r.get("/./size/../size/10?cc=max-age%3D60").expect(t, 200, "HIT", "hit; ttl=60")
	})
}

// What a client says of itself does not reach the origin; what we know does. An
// alias is not told: the response is for all names of the site.
func TestForwardedFields(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		a := r.get("/echo", "Host: test:81", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https", "X-Real-Ip: 9.9.9.9",
			"Forwarded: for=9.9.9.9", "Connection: X-Hop", "X-Hop: h", "Via: 1.1 before", "Accept-Encoding: br;q=0.5, x-none, gzip")
		for _, want := range []string{"Host: origin.test\n", "X-Forwarded-Host: www.test\n", "X-Forwarded-Proto: http\n", "X-Forwarded-For: 192.0.2.1\n", "Via: 1.1 before\n", "Via: 1.1 perigee\n", "Accept-Encoding: br, gzip\n"} {
			if !strings.Contains(a.body, want) {
				t.Errorf("the origin did not get %q; it got\n%s", want, a.body)
			}
		}
		for _, never := range []string{"9.9.9.9", "evil", "X-Hop", "Forwarded: for"} {
			if strings.Contains(a.body, never) {
				t.Errorf("the origin got %q:\n%s", never, a.body)
			}
		}
	})
}

// An encoded slash is not a slash, also beside a character that a URL should not
// hold.
func TestEncodedSlashStays(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		got := r.raw(`GET /text/a%2Fb"c HTTP/1.1`)
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("got %.200q, want a 200", got)
		}
		if last, ok := r.origin.Last(`/text/a/b"c`); !ok || !strings.Contains(last.URI, "%2F") {
			t.Errorf("the origin was asked for %q, %v; want an encoded slash", last.URI, ok)
		}
	})
}
