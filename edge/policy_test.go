package edge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

func to[T any](v T) *T { return &v }

// Each effect of a rule on what is stored: the second of two requests is a hit or not,
// with the rule and without it.
func TestRuleEffects(t *testing.T) {
	hour := to(time.Hour)
	tests := map[string]struct {
		rule    Rule
		query   string // of a target that the rule is put on, and of one that it is not
		with    string // X-Cache of the second request
		without string
	}{
		"ttl makes a response live":           {Rule{TTL: hour}, "", "HIT", "MISS"},
		"ttl 0 ends it":                       {Rule{TTL: to(time.Duration(0))}, "cc=max-age%3D600", "MISS", "HIT"},
		"ttl stores nothing private":          {Rule{TTL: hour}, "cc=private", "MISS", "MISS"},
		"ttl stores nothing of no-store":      {Rule{TTL: hour}, "cc=no-store", "MISS", "MISS"},
		"ttl stores no Set-Cookie":            {Rule{TTL: hour}, "h=Set-Cookie:a%3Db", "MISS", "MISS"},
		"ttl does not end no-cache":           {Rule{TTL: hour}, "cc=no-cache&etag=v1", "REVALIDATED", "REVALIDATED"},
		"override private":                    {Rule{TTL: hour, OverridePrivate: true}, "cc=private", "HIT", "MISS"},
		"override private alone":              {Rule{TTL: hour, OverridePrivate: true}, "cc=no-store", "MISS", "MISS"},
		"override no-store":                   {Rule{TTL: hour, OverrideNoStore: true}, "cc=no-store", "HIT", "MISS"},
		"override no-store alone":             {Rule{TTL: hour, OverrideNoStore: true}, "cc=private", "MISS", "MISS"},
		"override is no lifetime":             {Rule{OverridePrivate: true}, "cc=private", "MISS", "MISS"},
		"override keeps the origin's":         {Rule{OverridePrivate: true}, "cc=private,max-age%3D60", "HIT", "MISS"},
		"strip a cookie":                      {Rule{SetCookie: to(httpcache.SetCookieStrip)}, "cc=max-age%3D60&h=Set-Cookie:a%3Db", "HIT", "MISS"},
		"store a cookie":                      {Rule{SetCookie: to(httpcache.SetCookieStore)}, "cc=max-age%3D60&h=Set-Cookie:a%3Db", "HIT", "MISS"},
		"deception armour":                    {Rule{DeceptionArmor: to(true)}, "cc=max-age%3D60&type=text/html", "MISS", "HIT"},
		"bypass":                              {Rule{Bypass: true}, "cc=max-age%3D60", "BYPASS", "HIT"},
		"live does not change what is stored": {Rule{Live: true}, "cc=max-age%3D60", "HIT", "HIT"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				test.rule.Match = Match{Paths: globs("/text/ruled.css")}
				r.ruled(test.rule)
				for path, want := range map[string]string{"/text/ruled.css": test.with, "/text/free.css": test.without} {
					r.get(path + "?" + test.query)
					a := r.get(path + "?" + test.query)
					if got := a.Header.Get("X-Cache"); got != want || a.StatusCode != 200 || a.body != path {
						t.Errorf("%s: %d, X-Cache %s, want %s (%s)", path, a.StatusCode, got, want, a.Header.Get(httpcache.CacheStatusField))
					}
				}
			})
		})
	}
}

// What a stripped cookie comes to, and one that is stored, for those who come later.
func TestRulesOnCookies(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(
			Rule{Match: Match{Paths: globs("/text/strip")}, SetCookie: to(httpcache.SetCookieStrip)},
			Rule{Match: Match{Paths: globs("/text/store")}, SetCookie: to(httpcache.SetCookieStore)},
		)
		for path, want := range map[string]string{"/text/strip": "", "/text/store": "a=b"} {
			for range 2 {
				if got := r.get(path + "?cc=max-age%3D60&h=Set-Cookie:a%3Db").Header.Get("Set-Cookie"); got != want {
					t.Errorf("%s: Set-Cookie %q, want %q", path, got, want)
				}
			}
		}
	})
}

// What a rule let be stored is not served once a later rule forbids it.
func TestCookiesForbiddenLater(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D60&h=Set-Cookie:a%3Db"
		all := Rule{Match: Match{Paths: globs("/text/*")}, SetCookie: to(httpcache.SetCookieStore)}
		r.ruled(all)
		r.get(target).isHit(t, "first", false)
		r.get(target).isHit(t, "stored", true)
		r.ruled(all, Rule{Match: Match{Paths: globs("/text/a")}, SetCookie: to(httpcache.SetCookiePass)})
		r.get(target).isHit(t, "forbidden", false)
	})
}

// Stale windows of a rule, against those of the site.
func TestStaleWindowsOfRules(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleWhileRevalidate: time.Minute, StaleIfError: time.Minute}, func(t *testing.T, r *rig) {
		r.ruled(
			Rule{Match: Match{Paths: globs("/text/none")}, StaleWhileRevalidate: to(time.Duration(0)), StaleIfError: to(time.Duration(0))},
			Rule{Match: Match{Paths: globs("/text/long")}, StaleWhileRevalidate: to(time.Hour)},
			Rule{Match: Match{Paths: globs("/text/error")}, StaleWhileRevalidate: to(time.Duration(0)), StaleIfError: to(time.Hour)},
		)
		paths := []string{"/text/plain", "/text/none", "/text/long", "/text/error"}
		for _, path := range paths {
			r.get(path + "?cc=max-age%3D60")
		}
		later(10 * time.Minute)
		for _, path := range paths {
			r.origin.Script(path, testorigin.Answer{Status: 503})
		}
		for path, want := range map[string]int{"/text/plain": 503, "/text/none": 503, "/text/long": 200, "/text/error": 200} {
			if a := r.get(path + "?cc=max-age%3D60"); a.StatusCode != want {
				t.Errorf("%s: %d after ten minutes, want %d (%s)", path, a.StatusCode, want, a.Header.Get(httpcache.CacheStatusField))
			}
		}
	})
}

// Later rules win, each in what it speaks of.
func TestLaterRulesWin(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		set := func(value string) FieldEdits { return FieldEdits{Set: map[string]string{"X-Rule": value}} }
		r.reconfigure(func(s *Site) {
			s.Response = set("site")
			s.RuleSet = []Rule{
				{Match: Match{Paths: globs("/text/*")}, TTL: to(time.Hour), Response: set("first")},
				{Match: Match{Paths: globs("/text/a")}, TTL: to(time.Minute), Response: set("second")},
				{Match: Match{Paths: globs("/text/a")}, SetCookie: to(httpcache.SetCookieStrip)},
				{Match: Match{Paths: globs("/text/gone")}, Response: FieldEdits{Remove: []string{"X-Rule"}}},
			}
		})
		for _, test := range []struct{ path, status, rule string }{
			{"/text/a", "fwd=miss; fwd-status=200; ttl=60; stored", "second"},
			{"/text/b", "fwd=miss; fwd-status=200; ttl=3600; stored", "first"},
			{"/text/gone", "fwd=miss; fwd-status=200; ttl=3600; stored", ""},
			{"/other?body=x&cc=max-age%3D7", "fwd=miss; fwd-status=200; ttl=7; stored", "site"},
		} {
			a := r.get(test.path)
			a.expect(t, 200, "MISS", test.status)
			if got := a.Header.Get("X-Rule"); got != test.rule {
				t.Errorf("%s: X-Rule %q, want %q", test.path, got, test.rule)
			}
		}
	})
}

// Fields are changed on both ways, on hits too, and no stored response gets those that
// a rule of the request has set.
func TestRulesEditFields(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.ruled(
			Rule{
				Match:    Match{Paths: globs("/echo")},
				Request:  FieldEdits{Set: map[string]string{"X-Up": "1"}, Remove: []string{"X-Secret"}},
				Response: FieldEdits{Set: map[string]string{"X-Down": "2"}, Remove: []string{"X-Powered"}},
			},
			Rule{Match: Match{Fields: [][]Named{{named("X-Debug")}}}, Response: FieldEdits{Set: map[string]string{"X-Debugged": "yes"}}},
		)
		const target = "/echo?cc=max-age%3D60&h=X-Powered:by"
		for _, xCache := range []string{"MISS", "HIT"} {
			a := r.get(target, "X-Secret: s", "X-Debug: 1")
			if a.Header.Get("X-Cache") != xCache || a.Header.Get("X-Down") != "2" || a.Header.Get("X-Powered") != "" || a.Header.Get("X-Debugged") != "yes" {
				t.Errorf("%s: %v", xCache, a.Header)
			}
			if !strings.Contains(a.body, "X-Up: 1\n") || strings.Contains(a.body, "X-Secret") {
				t.Errorf("%s: the origin got\n%s", xCache, a.body)
			}
		}
		if a := r.get(target); a.Header.Get("X-Debugged") != "" {
			t.Error("another client got a field that a rule had set for one")
		}
	})
}

// Bypass asks the origin each time, alone, leaves what is stored alone, and says so.
func TestBypassRule(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D600&etag=v1"
		r.get(target)
		r.ruled(Rule{Match: Match{Cookies: [][]Named{{named("session")}}}, Bypass: true})
		a := r.get(target, "Cookie: session=1")
		a.expect(t, 200, "BYPASS", "fwd=bypass; fwd-status=200; detail=bypass-rule")
		r.get(target).expect(t, 200, "HIT", "hit; ttl=600")
		if a := r.get(target, "Cookie: session=1", `If-None-Match: "v1"`); a.StatusCode != 304 {
			t.Errorf("%d to the client's own condition, want the origin's 304", a.StatusCode)
		}
		if a := r.get(target, "Cookie: session=1", "Range: bytes=1-4"); a.StatusCode != 206 || a.body != "text" {
			t.Errorf("%d, %q to the client's own range", a.StatusCode, a.body)
		}
		r.hits("/text/a", 4)
		if a, err := r.do(t.Context(), http.MethodHead, target, "Cookie: session=1"); err != nil || a.Header.Get("X-Cache") != "BYPASS" {
			t.Errorf("HEAD: %v, %v", a.Response, err)
		}
	})
}

// Rules beyond the bound do not count, and the last within it does.
func TestRulesAreBounded(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		rules := make([]Rule, maxRules+6)
		for i := range rules {
			rules[i] = Rule{
				Match:    Match{Paths: globs("/text/*"), Status: []StatusRange{{200, 299}}}, // of the response: those have bits of their own
				Response: FieldEdits{Set: map[string]string{fmt.Sprintf("X-Rule-%d", i): "yes"}},
			}
		}
		r.ruled(rules...)
		h := r.get("/text/a?cc=max-age%3D60").Header
		for i := range rules {
			if got := h.Get(fmt.Sprintf("X-Rule-%d", i)) == "yes"; got != (i < maxRules) {
				t.Errorf("rule %d applies: %v", i, got)
			}
		}
	})
}

// Which rules match is up to clients, so the outcomes that are remembered are bounded;
// the others are right all the same.
func TestPoliciesAreBounded(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const bits = 11 // twice the bound of outcomes
		var rules []Rule
		for i := range bits {
			rules = append(rules, Rule{
				Match: Match{Params: [][]Named{{named(fmt.Sprintf("p%d", i))}}}, Response: FieldEdits{Set: map[string]string{fmt.Sprintf("X-%d", i): "yes"}},
			})
		}
		r.ruled(rules...)
		p := r.site.policies
		for matched := range 1 << bits {
			request, err := http.NewRequest(http.MethodGet, "http://www.test/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			var query []string
			for i := range bits {
				if matched&(1<<i) != 0 {
					query = append(query, fmt.Sprintf("p%d=1", i))
				}
			}
			request.URL.RawQuery = strings.Join(query, "&")
			h := make(http.Header)
			found, _ := p.forRequest(&asking{path: "/x", host: "www.test", r: request})
			found.editResponse(h)
			if len(h) != len(query) {
				t.Fatalf("%s: the fields %v, want %d", request.URL.RawQuery, h, len(query))
			}
		}
		if n := len(*p.known.Load()); n != maxPolicies {
			t.Errorf("%d outcomes are remembered, want %d", n, maxPolicies)
		}
	})
}
