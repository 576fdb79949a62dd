package edge

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"perigee/httpcache"
)

// Which site a host gets: its own, else the one for all others.
func TestSitesMatch(t *testing.T) {
	t.Parallel()
	www, other, rest := &Site{Name: "www.test", Aliases: []string{"test", "other.test"}}, &Site{Name: "other.test"}, &Site{Name: CatchAll}
	for _, test := range []struct {
		host            string
		without, within *Site // a site for all others
	}{
		{"www.test", www, www},
		{"test", www, www},
		{"other.test", www, www}, // named first by www.test
		{"else.test", nil, rest},
	} {
		if got := NewSites([]*Site{www, other}).Match(test.host); got != test.without {
			t.Errorf("%s: %+v, want %+v", test.host, got, test.without)
		}
		if got := NewSites([]*Site{rest, www, other}).Match(test.host); got != test.within {
			t.Errorf("%s with a site for all others: %+v, want %+v", test.host, got, test.within)
		}
	}
	if got := NewSites([]*Site{www, rest}).All(); !slices.Equal(got, []*Site{www, rest}) {
		t.Errorf("All() = %v, want the order of the configuration", got)
	}
}

// The hosts of a site for all others are as many sites as far as keys go.
func TestCatchAllKeepsHostsApart(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Name, s.Aliases = CatchAll, nil })
		if got := r.handler.Sites().Match("a.test"); got != r.site {
			t.Fatalf("a.test is served by %+v", got)
		}
		const target = "/echo?cc=max-age%3D60"
		for _, host := range []string{"a.test", "b.test"} {
			a := r.get(target, "Host: "+host)
			if a.Header.Get("X-Cache") != "MISS" || !strings.Contains(a.body, "X-Forwarded-Host: "+host+"\n") {
				t.Errorf("%s: X-Cache %q, the origin got\n%s", host, a.Header.Get("X-Cache"), a.body)
			}
		}
	})
}

// Health is told for any host, also one that is redirected or not served, and is
// never stored on the way: whoever routes to us needs it as it is now.
func TestHealth(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.RedirectToHTTPS = true })
		check := func(status int, body string) {
			t.Helper()
			for _, host := range []string{"www.test", "elsewhere.test", "a..b"} {
				synctest.Wait() // the request before has ended
				a := r.get(HealthPath, "Host: "+host)
				if a.StatusCode != status || a.body != body || a.Header.Get(httpcache.CacheControlField) != "no-store" {
					t.Errorf("%s: %d, %q, %s %q; want %d, %q, no-store", host,
						a.StatusCode, a.body, httpcache.CacheControlField, a.Header.Get(httpcache.CacheControlField), status, body)
				}
			}
		}
		check(200, "load=1\nok\n")
		r.handler.Drain()
		check(503, "load=1\ndraining\n")
		if record := r.last(); record.Cache != ResultNone || record.Reason != "health" || record.Path != HealthPath {
			t.Errorf("record %+v", record)
		}
	})
}

// OPTIONS * asks about the server (RFC 9110 §9.3.7), so no site is asked; OPTIONS of
// a path is the origin's to answer.
func TestOptions(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		got := r.raw("OPTIONS * HTTP/1.1")
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, "\r\nAllow: GET, HEAD, ") || !strings.Contains(got, "\r\nContent-Length: 0\r\n") {
			t.Errorf("OPTIONS *:\n%s", got)
		}
		if n := r.origin.Total(); n != 0 {
			t.Errorf("it reached the origin %d times", n)
		}
		if got := r.raw("OPTIONS /text/a HTTP/1.1"); !strings.Contains(got, "X-Cache: BYPASS") {
			t.Errorf("OPTIONS /text/a:\n%s", got)
		}
		r.hits("/text/a", 1)
	})
}

// The redirect goes to the host that was asked for, without a port, to the same
// path and query. 308 keeps the method (RFC 9110 §15.4.9). Over TLS nothing is
// redirected.
func TestRedirectToHTTPS(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.RedirectToHTTPS = true })
		for _, test := range []struct{ method, target, host, location string }{
			{"GET", "/a/./b%20c?d=e&f", "www.test:8080", "https://www.test/a/b%20c?d=e&f"},
			{"POST", "/", "test", "https://test/"},
			{"HEAD", "//evil.test/", "www.test", "https://www.test//evil.test/"},
		} {
			a, err := r.do(t.Context(), test.method, test.target, "Host: "+test.host)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Header.Get("Location"); a.StatusCode != 308 || got != test.location {
				t.Errorf("%s %s of %s: %d to %q, want 308 to %q", test.method, test.target, test.host, a.StatusCode, got, test.location)
			}
		}
		if n := r.origin.Total(); n != 0 {
			t.Errorf("%d requests in clear reached the origin", n)
		}
		if record := r.last(); record.Status != 308 || record.Reason != "redirect-to-https" || record.Cache != ResultNone {
			t.Errorf("record %+v", record)
		}
		if a := r.direct("GET", "https://www.test/text/a"); a.StatusCode != 200 || a.body != "/text/a" {
			t.Errorf("over TLS: %d, %q", a.StatusCode, a.body)
		}
	})
}

// A site without TLS is not served over a connection that was made for another
// site: its certificate does not name it (RFC 9110 §7.4).
func TestClearOnly(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.ClearOnly = true })
		r.direct("GET", "https://www.test/text/a").expect(t, 421, "ERROR", "detail=not-over-tls")
		if record := r.last(); record.Scheme != "https" || record.TLS != "TLS 1.2" || record.Site != "www.test" {
			t.Errorf("record %+v", record)
		}
		if a := r.get("/text/a"); a.StatusCode != 200 {
			t.Errorf("in clear: %d", a.StatusCode)
		}
	})
}

// In clear and over TLS are two objects, as the origin may answer by
// X-Forwarded-Proto.
func TestSchemesShareNothing(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, scheme := range []string{"http", "https"} {
			a := r.direct("GET", scheme+"://www.test/echo?cc=max-age%3D60")
			if got := a.Header.Get("X-Cache"); got != "MISS" || !strings.Contains(a.body, "X-Forwarded-Proto: "+scheme+"\n") {
				t.Errorf("%s: X-Cache %q, the origin got\n%s", scheme, got, a.body)
			}
		}
	})
}

// A site's changes to fields: removed first, then set, both ways, on hits and on
// answers of our own too; what is stored is not changed.
func TestFieldEdits(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) {
			s.Request = FieldEdits{Remove: []string{"X-Secret", "X-Added"}, Set: map[string]string{"X-Added": "1"}}
			s.Response = FieldEdits{Remove: []string{"Server", "X-Powered-By"}, Set: map[string]string{"X-Frame-Options": "DENY"}}
		})
		const target = "/echo?cc=max-age%3D60&h=Server:o&h=X-Powered-By:p&h=X-Frame-Options:ALLOWALL"
		for _, want := range []string{"MISS", "HIT"} {
			a := r.get(target, "X-Secret: s", "X-Added: 2", "X-Added: 3")
			if strings.Contains(a.body, "X-Secret") || strings.Count(a.body, "X-Added") != 1 || !strings.Contains(a.body, "X-Added: 1\n") {
				t.Errorf("the origin got\n%s", a.body)
			}
			checkEdited(t, want, a.Header)
			if got := a.Header.Get("X-Cache"); got != want {
				t.Errorf("X-Cache %q, want %s", got, want)
			}
		}
		a, err := r.do(t.Context(), http.MethodPost, target, "X-Secret: s")
		if err != nil || strings.Contains(a.body, "X-Secret") || !strings.Contains(a.body, "X-Added: 1\n") {
			t.Errorf("POST: %v, the origin got\n%s", err, a.body)
		}
		checkEdited(t, "POST", a.Header)
		checkEdited(t, "an answer of our own", r.get("/.perigee/else").Header)
		r.reconfigure(func(s *Site) { s.Response = FieldEdits{} })
		if got := r.get("/echo?cc=max-age%3D60&h=Server:o").Header.Get("Server"); got != "o" {
			t.Errorf("Server %q without the edits, want the origin's", got)
		}
	})
}

func checkEdited(t *testing.T, way string, h http.Header) {
	t.Helper()
	got := [3]string{h.Get("Server"), h.Get("X-Powered-By"), h.Get("X-Frame-Options")}
	if diff := cmp.Diff([3]string{"", "", "DENY"}, got); diff != "" {
		t.Errorf("%s: Server, X-Powered-By, X-Frame-Options (-want +got):\n%s", way, diff)
	}
}

// Caches in a row each add a member, the one nearest to the origin first (RFC 9211
// §2), and Via tells the way and each hop's protocol (RFC 9110 §7.6.3). Adding one
// must not touch what is stored.
func TestCachesInARow(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D60&h=Cache-Status:shield%3B+hit&h=Via:1.1+shield"
		for range 3 {
			a := r.get(target)
			status, via := a.Header[httpcache.CacheStatusField], a.Header["Via"]
			if len(status) != 2 || status[0] != "shield; hit" || !strings.HasPrefix(status[1], "perigee; ") {
				t.Errorf("%s %q", httpcache.CacheStatusField, status)
			}
			if diff := cmp.Diff([]string{"1.1 shield", "1.1 perigee"}, via); diff != "" {
				t.Errorf("Via (-want +got):\n%s", diff)
			}
		}
	})
	t.Run("protocols", func(t *testing.T) {
		for _, test := range []struct{ proto, old, want string }{
			{"HTTP/1.1", "", "1.1 perigee"},
			{"HTTP/1.0", "", "1.1 perigee"},
			{"HTTP/2.0", "", "2 perigee"},
			{"HTTP/3.0", "1.0 fred", "1.0 fred|3 perigee"},
		} {
			h := make(http.Header)
			set(h, "Via", test.old)
			addVia(h, test.proto)
			if got := strings.Join(h["Via"], "|"); got != test.want {
				t.Errorf("addVia(%q, %q): %q, want %q", test.old, test.proto, got, test.want)
			}
		}
	})
}
