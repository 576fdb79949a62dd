package edge

import (
	"net/http"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// globs are patterns, as rules hold them.
func globs(patterns ...string) []httpcache.Glob {
	all := make([]httpcache.Glob, len(patterns))
	for i, each := range patterns {
		all[i] = httpcache.NewGlob(each)
	}
	return all
}

// named is something that must be there, with a value that fits a pattern if one is
// given.
func named(name string, patterns ...string) Named {
	if len(patterns) == 0 {
		return Named{Name: name}
	}
	value := httpcache.NewGlob(patterns[0])
	return Named{Name: name, Value: &value}
}

// ruled puts rules in force.
func (r *rig) ruled(rules ...Rule) { r.reconfigure(func(s *Site) { s.RuleSet = rules }) }

// marking is a rule that shows on the response that it applies.
func marking(m Match) Rule {
	return Rule{Match: m, Response: FieldEdits{Set: map[string]string{"X-Rule": "yes"}}}
}

// Each kind of match, with a request that it is about and one that it is not.
func TestRuleMatches(t *testing.T) {
	type ask struct {
		method, target string
		fields         []string
	}
	get := func(target string, fields ...string) ask { return ask{http.MethodGet, target, fields} }
	tests := map[string]struct {
		match   Match
		yes, no []ask
	}{
		"everything":   {Match{}, []ask{get("/text/a"), {http.MethodPost, "/text/a", nil}}, nil},
		"a path":       {Match{Paths: globs("/text/a")}, []ask{get("/text/a"), get("/text/a?q=1"), get("/text/./a"), get("/text/%61")}, []ask{get("/text/a/b"), get("/text/b")}},
		"a path glob":  {Match{Paths: globs("/img/*", "*.css")}, []ask{get("/img/a/b?body=x"), get("/text/a.css")}, []ask{get("/text/a"), get("/text/a.css/b")}},
		"a host":       {Match{Hosts: globs("test")}, []ask{get("/text/a", "Host: test"), get("/text/a", "Host: TEST:80")}, []ask{get("/text/a")}},
		"a host glob":  {Match{Hosts: globs("www.*")}, []ask{get("/text/a")}, []ask{get("/text/a", "Host: test")}},
		"a method":     {Match{Methods: []string{"POST", "PUT"}}, []ask{{http.MethodPost, "/text/a", nil}}, []ask{get("/text/a"), {http.MethodHead, "/text/a", nil}}},
		"a field":      {Match{Fields: [][]Named{{named("X-A")}}}, []ask{get("/text/a", "X-A: 1"), get("/text/a", "x-a: ")}, []ask{get("/text/a")}},
		"its value":    {Match{Fields: [][]Named{{named("X-A", "on*")}}}, []ask{get("/text/a", "X-A: one")}, []ask{get("/text/a", "X-A: two"), get("/text/a")}},
		"one of two":   {Match{Fields: [][]Named{{named("X-A"), named("X-B")}}}, []ask{get("/text/a", "X-B: 1")}, []ask{get("/text/a")}},
		"both of two":  {Match{Fields: [][]Named{{named("X-A")}, {named("X-B")}}}, []ask{get("/text/a", "X-B: 1", "X-A: 1")}, []ask{get("/text/a", "X-B: 1")}},
		"a cookie":     {Match{Cookies: [][]Named{{named("id")}}}, []ask{get("/text/a", "Cookie: a=1; id=2"), get("/text/a", "Cookie: a=1", "Cookie: id=")}, []ask{get("/text/a", "Cookie: ID=1; xid=1; x=id"), get("/text/a")}},
		"its content":  {Match{Cookies: [][]Named{{named("plan", "pro")}}}, []ask{get("/text/a", "Cookie: plan=pro ;a=b"), get("/text/a", "Cookie: plan=free; plan =pro")}, []ask{get("/text/a", "Cookie: plan=free")}},
		"a parameter":  {Match{Params: [][]Named{{named("q")}}}, []ask{get("/text/a?q"), get("/text/a?x=1&q=2"), get("/text/a?%71=2")}, []ask{get("/text/a?qq=1"), get("/text/a")}},
		"its argument": {Match{Params: [][]Named{{named("q", "a b*")}}}, []ask{get("/text/a?q=a%20bc"), get("/text/a?q=a+b")}, []ask{get("/text/a?q=ab")}},
		"a status":     {Match{Status: []StatusRange{{404, 404}, {500, 599}}}, []ask{get("/text/a?status=404"), get("/text/a?status=503")}, []ask{get("/text/a"), get("/text/a?status=403")}},
		"a type":       {Match{MediaTypes: globs("image/*")}, []ask{get("/text/a?type=image/png"), get("/text/a?type=IMAGE/PNG%3Ba%3Db")}, []ask{get("/text/a")}},
		"path and type": {
			Match{Paths: globs("*.png"), MediaTypes: globs("image/*")},
			[]ask{get("/text/a.png?type=image/png")},
			[]ask{get("/text/a.png"), get("/text/a?type=image/png")},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.ruled(marking(test.match))
				check := func(each ask, want string) {
					a, err := r.do(t.Context(), each.method, each.target, each.fields...)
					if err != nil {
						t.Fatal(err)
					}
					if got := a.Header.Get("X-Rule"); got != want {
						t.Errorf("%s %s %q: X-Rule %q, want %q (status %d)", each.method, each.target, each.fields, got, want, a.StatusCode)
					}
				}
				for _, each := range test.yes {
					check(each, "yes")
				}
				for _, each := range test.no {
					check(each, "")
				}
			})
		})
	}
}

// A rule that asks for a status or a type applies to what is stored as to what arrives.
func TestResponseRulesOnHits(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(marking(Match{Status: []StatusRange{{404, 404}}}), Rule{
			Match: Match{MediaTypes: globs("image/*")}, Response: FieldEdits{Set: map[string]string{"X-Image": "yes"}},
		})
		for _, test := range []struct{ target, rule, image string }{
			{"/a?status=404&body=x&cc=max-age%3D60", "yes", ""},
			{"/b?type=image/png&body=x&cc=max-age%3D60&etag=v1", "", "yes"},
			{"/c?status=404&type=image/png&body=x&cc=max-age%3D60", "yes", "yes"},
			{"/d?body=x&cc=max-age%3D60", "", ""},
		} {
			for _, xCache := range []string{"MISS", "HIT"} {
				a := r.get(test.target)
				if a.Header.Get("X-Cache") != xCache || a.Header.Get("X-Rule") != test.rule || a.Header.Get("X-Image") != test.image {
					t.Errorf("%s, %s: X-Cache %s, X-Rule %q, X-Image %q; want %s, %q, %q",
						test.target, xCache, a.Header.Get("X-Cache"), a.Header.Get("X-Rule"), a.Header.Get("X-Image"), xCache, test.rule, test.image)
				}
			}
		}
		a := r.get("/b?type=image/png&body=x&cc=max-age%3D60&etag=v1", `If-None-Match: "v1"`)
		if a.StatusCode != 304 || a.Header.Get("X-Image") != "yes" {
			t.Errorf("%d, X-Image %q of a 304 for an image; want it there", a.StatusCode, a.Header.Get("X-Image"))
		}
	})
}

// A lifetime by status is that of the response: each answer of one target has its own.
func TestLifetimeByStatus(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		brief, long := 5*time.Second, time.Hour
		r.ruled(Rule{Match: Match{Paths: globs("/x")}, TTL: &long}, Rule{Match: Match{Status: []StatusRange{{400, 599}}}, TTL: &brief})
		r.origin.Script("/x", testorigin.Answer{Status: 404, Text: "no"})
		r.get("/x").expect(t, 404, "MISS", "fwd=miss; fwd-status=404; ttl=5; stored")
		r.get("/x").expect(t, 404, "HIT", "hit; ttl=5")
		r.origin.Script("/x", testorigin.Answer{Text: "yes"})
		later(6 * time.Second)
		r.get("/x").expect(t, 200, "MISS", "fwd=stale; fwd-status=200; ttl=3600; stored")
		later(10 * time.Second)
		r.get("/x").expect(t, 200, "HIT", "hit; ttl=3590")
	})
}
