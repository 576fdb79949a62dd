package edge

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// seen is how the origin was asked last for a path.
func (r *rig) seen(path string) testorigin.Received {
	r.t.Helper()
	last, ok := r.origin.Last(path)
	if !ok {
		r.t.Fatalf("the origin was never asked for %s", path)
	}
	return last
}

// keyed makes the key of the site.
func (r *rig) keyed(key KeySpec) { r.reconfigure(func(s *Site) { s.Key = key }) }

// isHit checks whether an answer came from the store.
func (a answered) isHit(t *testing.T, what string, want bool) {
	t.Helper()
	if got := a.Header.Get("X-Cache") == "HIT"; got != want || a.StatusCode != 200 {
		t.Errorf("%s: %d, X-Cache %s, want a hit: %v (%s)", what, a.StatusCode, a.Header.Get("X-Cache"), want, a.Header.Get(httpcache.CacheStatusField))
	}
}

// Queries that a rule takes for equal share an object, and the origin gets what the
// key has and no more.
func TestQueryKeys(t *testing.T) {
	tests := map[string]struct {
		rule      httpcache.QueryRule
		first     string
		upstream  string   // the query that the origin gets for first
		same, not []string // queries that hit afterwards, and that do not
	}{
		"as it is": {httpcache.QueryRule{}, "b=1&a=2", "b=1&a=2", []string{"b=1&a=2"}, []string{"a=2&b=1", "b=1&a=2&", ""}},
		"sorted":   {httpcache.QueryRule{Sort: true}, "b=1&a=2", "a=2&b=1", []string{"a=2&b=1", "b=1&a=2"}, []string{"a=1&b=2", "a=2"}},
		"values stay in order": {
			httpcache.QueryRule{Sort: true}, "b=1&a=2&b=0", "a=2&b=1&b=0", []string{"b=1&b=0&a=2"}, []string{"b=0&b=1&a=2"},
		},
		"without": {
			httpcache.QueryRule{Exclude: globs("utm_*", "fbclid")},
			"utm_source=x&a=1&fbclid=2", "a=1",
			[]string{"a=1", "a=1&utm_medium=z", "%75tm_x=1&a=1"},
			[]string{"a=1&utm=2", "a=2", ""},
		},
		"only":   {httpcache.QueryRule{Include: globs("id", "page")}, "id=1&x=2&page=3", "id=1&page=3", []string{"id=1&page=3&y"}, []string{"id=1", "page=3&id=1"}},
		"both":   {httpcache.QueryRule{Include: globs("p*"), Exclude: globs("px")}, "px=1&py=2", "py=2", []string{"py=2&a"}, []string{"py=3"}},
		"ignore": {httpcache.QueryRule{Ignore: true}, "a=1", "", []string{"", "a=2", "?&&"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.keyed(KeySpec{Query: test.rule})
				r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60"}, Text: "hi"})
				at := func(query string) string {
					if query == "" {
						return "/x"
					}
					return "/x?" + query
				}
				r.get(at(test.first)).isHit(t, test.first, false)
				if got := strings.TrimPrefix(strings.TrimPrefix(r.seen("/x").URI, "/x"), "?"); got != test.upstream {
					t.Errorf("the origin got the query %q, want %q", got, test.upstream)
				}
				for _, query := range test.same {
					r.get(at(query)).isHit(t, query, true)
				}
				for _, query := range test.not {
					r.get(at(query)).isHit(t, query, false)
				}
			})
		})
	}
}

// What a POST is about may stand in the part of the query that keys leave out: it goes
// to the origin whole, and invalidates what the reduced one is stored under.
func TestPostWithReducedQuery(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.keyed(KeySpec{Query: httpcache.QueryRule{Exclude: globs("utm_*"), Sort: true}})
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60"}, Text: "hi"})
		r.get("/x?a=1")
		r.get("/x?a=2")
		r.post("/x?utm_source=z&a=1", 200)
		if got := r.seen("/x").URI; got != "/x?utm_source=z&a=1" {
			t.Errorf("the origin got POST %s, want the query as it was", got)
		}
		r.get("/x?a=2").isHit(t, "another query", true)
		r.get("/x?a=1").isHit(t, "the query of the POST", false)
	})
}

// A key option on a path only.
func TestKeyOfRule(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(Rule{Match: Match{Paths: globs("/text/a")}, Key: KeyChange{Query: &httpcache.QueryRule{Exclude: globs("u")}, Cookies: &[]string{"plan"}}})
		for path, want := range map[string]bool{"/text/a": true, "/text/b": false} {
			r.get(path + "?cc=max-age%3D60&u=1")
			r.get(path+"?cc=max-age%3D60&u=2").isHit(t, path+" without u", want)
			r.get(path+"?cc=max-age%3D60&u=2", "Cookie: plan=pro").isHit(t, path+" with a plan", !want)
		}
	})
}

// Each facet of a key makes objects of its own, everything else does not; a POST
// invalidates all of them.
func TestFacets(t *testing.T) {
	const (
		phone = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148"
		desk  = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/130.0"
	)
	tests := map[string]struct {
		key     KeySpec
		apart   [][]string // requests with objects of their own
		as0     [][]string // requests that share with apart[0]
		told    string     // field that the origin gets
		telling []string   // its values for apart
	}{
		"a cookie": {
			key: KeySpec{Cookies: []string{"plan"}}, apart: [][]string{{"Cookie: plan=pro"}, {"Cookie: plan=free"}, nil},
			as0: [][]string{{"Cookie: a=b; plan=pro", "X-Any: 1"}},
		},
		"a field": {
			key: KeySpec{Headers: []string{"X-Tenant"}}, apart: [][]string{{"X-Tenant: a"}, {"X-Tenant: b"}, {"X-Tenant: a", "X-Tenant: b"}, nil},
			as0: [][]string{{"x-tenant: a", "Cookie: plan=pro"}},
		},
		"two fields": {
			key: KeySpec{Headers: []string{"X-A", "X-B"}}, apart: [][]string{{"X-A: ab", "X-B: c"}, {"X-A: a", "X-B: bc"}, {"X-A: abc"}, {"X-B: abc"}},
		},
		"a device": {
			key: KeySpec{Device: true}, apart: [][]string{{phone}, {desk}}, as0: [][]string{{phone + " Safari/604.1"}},
			told: "X-Perigee-Device", telling: []string{"mobile", "desktop"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.keyed(test.key)
				r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60"}, Text: "hi"})
				all := func(want bool) {
					for i, fields := range test.apart {
						r.get("/x", append(fields, "X-Perigee-Device: lie", "X-Perigee-Country: XX")...).isHit(t, strings.Join(fields, ", "), want)
						if test.told != "" && !want && r.seen("/x").Header.Get(test.told) != test.telling[i] {
							t.Errorf("%q: the origin was told %s %q, want %q", fields, test.told, r.seen("/x").Header.Get(test.told), test.telling[i])
						}
						if test.told == "" && r.seen("/x").Header.Get("X-Perigee-Device")+r.seen("/x").Header.Get("X-Perigee-Country") != "" {
							t.Error("the origin was told what a client made up")
						}
					}
				}
				all(false)
				all(true)
				for _, fields := range test.as0 {
					r.get("/x", fields...).isHit(t, strings.Join(fields, ", "), true)
				}
				r.hits("/x", len(test.apart))
				r.post("/x", 200)
				all(false)
			})
		})
	}
}

// The country of a client is what the site's places say, and counts in the key and at
// the origin only where the site wants that.
func TestCountryInKey(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		site := *r.site
		site.Key.Country = true
		r.handler.Swap(NewSites([]*Site{&site}).Locating(func(a netip.Addr) string {
			return map[string]string{"192.0.2.1": "DE", "192.0.2.2": "DE", "198.51.100.1": "FR"}[a.String()]
		}), Limits{})
		handle := func(from string) answered {
			request := httptest.NewRequest(http.MethodGet, "http://www.test/text/a?cc=max-age%3D60", nil)
			request.RemoteAddr = from + ":1234"
			w := httptest.NewRecorder()
			r.handler.ServeHTTP(w, request)
			return answered{Response: w.Result(), body: w.Body.String()}
		}
		for _, test := range []struct {
			from, country string
			hit           bool
		}{{"192.0.2.1", "DE", false}, {"192.0.2.2", "DE", true}, {"198.51.100.1", "FR", false}, {"203.0.113.1", "", false}, {"203.0.113.2", "", true}} {
			handle(test.from).isHit(t, test.from, test.hit)
			if got := r.seen("/text/a").Header.Get("X-Perigee-Country"); !test.hit && got != test.country {
				t.Errorf("%s: the origin was told the country %q, want %q", test.from, got, test.country)
			}
		}
	})
}

// A host's aliases share its objects and their invalidation, in clear and over TLS.
func TestAliasesAndSchemes(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.keyed(KeySpec{Query: httpcache.QueryRule{Sort: true}})
		const target = "/text/a?b=1&cc=max-age%3D60"
		r.get(target)
		r.get(target, "Host: test").isHit(t, "the alias", true)
		secure := func() answered { return r.direct(http.MethodGet, "https://www.test"+target) }
		secure().isHit(t, "over TLS", false)
		secure().isHit(t, "over TLS", true)
		r.post("/text/a?cc=max-age%3D60&b=1", 200, "Host: test")
		secure().isHit(t, "over TLS after a POST in clear", false)
		r.get(target).isHit(t, "after a POST to the alias", false)
	})
}

// No-Vary-Search: queries that a response takes for equal find it, from the second
// request on.
func TestNoVarySearch(t *testing.T) {
	tests := map[string]struct {
		field     string
		first     string
		same, not []string
	}{
		"a parameter":  {`params=("utm_source")`, "utm_source=1&a=1", []string{"utm_source=2&a=1", "a=1", "a=%31"}, []string{"a=2", "a=1&utm_medium=1"}},
		"the order":    {`key-order`, "a=1&b=2", []string{"b=2&a=1"}, []string{"a=2&b=1", "a=1"}},
		"everything":   {`params`, "a=1", []string{"", "b=2", "a=9&c"}, nil},
		"all but one":  {`params, except=("id")`, "id=1&x=2", []string{"id=1", "y=3&id=1"}, []string{"id=2", ""}},
		"nothing":      {`params=()`, "a=1", nil, []string{"a=2", ""}},
		"what is not":  {`params=1`, "a=1", nil, []string{"a=2"}},
		"order and it": {`key-order, params=("u")`, "u=1&b=1&a=2", []string{"a=2&b=1&u=4", "a=2&b=1"}, []string{"a=1&b=1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", "no-vary-search: " + test.field}, Text: "hi"})
				r.get("/x?"+test.first).isHit(t, test.first, false)
				if got := r.seen("/x").URI; got != "/x?"+test.first {
					t.Errorf("the origin got %s, want the query as it was", got)
				}
				r.get("/x?"+test.first).isHit(t, test.first, true)
				for _, query := range test.same {
					r.get("/x?"+query).isHit(t, query, true)
				}
				for _, query := range test.not {
					r.get("/x?"+query).isHit(t, query, false)
				}
				r.hits("/x", 1+len(test.not))
			})
		})
	}
}

// The rule of a path changes when no response has borne the old one for a while, and
// what was stored under one counts under no other unless it is the very same query.
// Until then a response with another rule, like one without, speaks for its own query
// only: pages of one path that contradict each other do not empty the cache.
func TestNoVarySearchChanges(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		serve := func(text, field string) {
			answer := testorigin.Answer{Fields: []string{"cache-control: max-age=6000"}, Text: text}
			if field != "" {
				answer.Fields = append(answer.Fields, "no-vary-search: "+field)
			}
			r.origin.Script("/x", answer)
		}
		get := func(query, want string) {
			t.Helper()
			if a := r.get("/x?" + query); a.body != want {
				t.Errorf("%s: %q, want %q (%s)", query, a.body, want, a.Header.Get(httpcache.CacheStatusField))
			}
		}
		serve("one", `params=("u")`)
		get("a=1&u=1", "one")
		get("a=1&u=2", "one")
		serve("two", `params=("v")`)
		get("a=2&v=1", "two") // for itself alone: the rule is that of u
		get("a=2&v=1", "two")
		get("a=1&u=3", "one")
		r.hits("/x", 2)
		serve("three", "")
		get("a=2&v=2", "three")
		get("a=2&v=1", "two")
		r.hits("/x", 3)

		later(ruleRest)
		serve("four", `params=("v")`)
		get("a=4&v=1", "four") // teaches the other rule
		get("a=4&v=2", "four")
		get("a=1&u=4", "four") // not "one": u counts now
		get("a=2&v=1", "two")  // its very own
		r.hits("/x", 5)
		later(ruleRest)
		serve("five", `params=("u")`)
		get("a=5&u=1", "five")
		get("a=5&u=2", "five")
		get("a=1&u=5", "five") // nor does "one" come back: who knows what was invalidated meanwhile
		r.hits("/x", 7)
	})
}

// An invalidation strikes what is stored for an equal query too: it names the target
// by the query as it was.
func TestNoVarySearchInvalidation(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `no-vary-search: params=("u")`}, Text: "one"})
		r.get("/x?a=1&u=1")
		r.get("/x?a=2&u=1")
		r.get("/x?a=1&u=2").isHit(t, "an equal query", true)
		r.post("/x?a=1&u=7", 200)
		r.get("/x?a=2&u=9").isHit(t, "another query", true)
		r.get("/x?a=1&u=2").isHit(t, "an equal query after the POST", false)
		r.get("/x?a=1&u=1").isHit(t, "the first query after the POST", true)
	})
}

// A herd on equal queries, before and after the rule is known: nobody gets what is not
// equal, and once it is known one question is enough.
func TestNoVarySearchHerd(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `no-vary-search: params=("u")`}, Text: "one", Delay: time.Second})
		r.get("/x?a=1&u=0")
		later(2 * time.Minute)
		for _, a := range r.herd(20, "/x?a=1&u=1") {
			if a.err != nil || a.body != "one" {
				t.Errorf("%q, %v", a.body, a.err)
			}
		}
		r.hits("/x", 2)
		synctest.Wait()
		r.get("/x?"+url.Values{"a": {"1"}, "u": {"x y"}}.Encode()).isHit(t, "an equal query", true)
	})
}

// A learned rule beside the site's own key: each takes out what it says, facets stay
// apart, and an invalidation strikes them all.
func TestNoVarySearchBesideKeyOptions(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.keyed(KeySpec{Query: httpcache.QueryRule{Exclude: globs("utm_*")}, Cookies: []string{"plan"}})
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `no-vary-search: params=("u")`}, Text: "hi"})
		ask := func(want bool) {
			t.Helper()
			for i, plan := range []string{"pro", "free"} {
				query := "a=1&utm_x=1&u=" + itoa(int64(i))
				r.get("/x?"+query, "Cookie: plan="+plan).isHit(t, plan+": "+query, want)
				if got := r.seen("/x").URI; strings.Contains(got, "utm_") || !strings.Contains(got, "u=") {
					t.Errorf("the origin got %s, want it without what the key leaves out, and with what the rule does", got)
				}
				r.get("/x?u=9&utm_y=2&a=1", "Cookie: plan="+plan).isHit(t, plan+", an equal query", true)
			}
		}
		ask(false)
		ask(true)
		r.post("/x?a=1&utm_z=1&u=5", 200)
		r.get("/x?a=1&u=7", "Cookie: plan=pro").isHit(t, "an equal query after the POST", false)
		r.get("/x?a=1&u=7", "Cookie: plan=free").isHit(t, "another plan after the POST", false)
		r.get("/x?a=1&u=8", "Cookie: plan=free").isHit(t, "stored again", true)
	})
}
