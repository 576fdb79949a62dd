package edge

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// explain explains a GET; fields are "Name: value".
func (r *rig) explain(target string, fields ...string) *Explanation {
	r.t.Helper()
	return r.explainAs(http.MethodGet, "http://www.test"+target, fields...)
}

func (r *rig) explainAs(method, url string, fields ...string) *Explanation {
	r.t.Helper()
	q := Question{Method: method, URL: url, Header: make(http.Header), Client: netip.MustParseAddr("192.0.2.1")}
	for _, each := range fields {
		name, value, _ := strings.Cut(each, ": ")
		q.Header.Add(name, value)
	}
	e := r.handler.Explain(q)
	if _, err := json.Marshal(e); err != nil {
		r.t.Errorf("%s %s: the explanation as JSON: %v", method, url, err)
	}
	return &e
}

// decides checks what an explanation says would happen.
func (e *Explanation) decides(t *testing.T, action, reason, summary string) {
	t.Helper()
	if e.Decision.Action != action || e.Decision.Reason != reason || !strings.Contains(e.Summary, summary) {
		t.Errorf("%s%s: %s, %s, %q; want %s, %s, %q", e.Request.Host, e.Request.Path, e.Decision.Action, e.Decision.Reason, e.Summary, action, reason, summary)
	}
}

// digest is what is shown of a secret beside its length.
func digest(secret string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(secret)))[:8] + "…"
}

// ptr is a pointer to a value.
func ptr[T any](v T) *T { return &v }

// One fresh variant, all of it.
func TestExplainFreshHit(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D60&etag=v1&vary=Accept-Language,Authorization&h=Cache-Tag:x,y&h=Age:10&early=1"
		r.get(target, "Accept-Language: de")
		synctest.Wait()
		began := time.Now().UTC()
		later(20 * time.Second)
		e := r.explain(target, "Accept-Language: de")
		e.decides(t, "serve", "fresh", "30s old and fresh for another 30s")
		want := []ExplainedVariant{{
			URL: "http://www.test" + target, Matches: true, Chosen: true, Status: 200, ContentType: "text/plain; charset=utf-8",
			Size: ptr[int64](int64(len("/text/a"))), Complete: true, Tier: tierRAM, ETag: `"v1"`, Tags: []string{"x", "y"}, EarlyHints: 1,
			Selecting: []ExplainedSelecting{{Name: "accept-language", Stored: ptr("de"), Request: ptr("de")}, {Name: "authorization"}},
			Date:      began, Received: began, Age: Seconds(30 * time.Second), Lifetime: Seconds(time.Minute), TTL: Seconds(30 * time.Second),
			Reckoning: ExplainedReckoning{
				Source: "max-age", Directive: "max-age=60", Fields: []string{"Cache-Control: max-age=60"},
				InitialAge: Seconds(10 * time.Second), InitialAgeFrom: "age", AgeField: Seconds(10 * time.Second),
			},
		}}
		if diff := cmp.Diff(want, e.Variants); diff != "" {
			t.Errorf("the variants (-want +got):\n%s", diff)
		}
		decision := ExplainedDecision{
			Action: "serve", Reason: "fresh", Variant: ptr(0), Age: &want[0].Age, TTL: &want[0].TTL, Status: 200,
			XCache: "HIT", CacheStatus: "perigee; hit; ttl=30",
		}
		if diff := cmp.Diff(decision, e.Decision); diff != "" {
			t.Errorf("the decision (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(&ExplainedSite{Name: "www.test", MatchedBy: "name"}, e.Site); diff != "" {
			t.Errorf("the site (-want +got):\n%s", diff)
		}
		if e.Key.Key != r.last().Key.String() {
			t.Errorf("key %s, want the record's %s", e.Key.Key, r.last().Key)
		}
		// Conditions and ranges of the client count too.
		for fields, status := range map[string]int{
			`If-None-Match: "v1"`: 304, "Range: bytes=0-3": 206, "Range: bytes=900-": 416, `If-Match: "v2"`: 412,
		} {
			if e := r.explain(target, "Accept-Language: de", fields); e.Decision.Status != status {
				t.Errorf("%s: status %d, want %d", fields, e.Decision.Status, status)
			}
		}
		r.explain(target, "Accept-Language: en").decides(t, "fetch", "vary-miss", "for other values of Accept-Language, Authorization")
		r.explain("/text/b").decides(t, "fetch", "miss", "nothing is stored")
	})
}

// What is past its lifetime: validated, served while it is refreshed, or in the place
// of an origin that fails.
func TestExplainStale(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleIfError: time.Hour, StaleOn: httpcache.TroubleError | httpcache.TroubleTimeout}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60,stale-while-revalidate%3D30&etag=v1"
		r.get(target)
		later(70 * time.Second)
		e := r.explain(target)
		e.decides(t, "serve-stale", "stale-while-revalidate", "stale for 10s")
		if o := e.Decision.Origin; !e.Decision.Refresh || o == nil || o.Kind != AskValidate {
			t.Errorf("refresh %t, origin %+v; want a validation in the background", e.Decision.Refresh, o)
		}
		later(time.Minute)
		e = r.explain(target)
		e.decides(t, "validate", "stale", "2m10s old, is still current")
		want := &ExplainedOrigin{
			Method: "GET", Target: target, Kind: AskValidate, Shared: true, Fields: map[string]string{"If-None-Match": `"v1"`},
		}
		if diff := cmp.Diff(want, e.Decision.Origin); diff != "" {
			t.Errorf("the question to the origin (-want +got):\n%s", diff)
		}
		if got := strings.Join(e.Decision.StaleOn, " "); got != "error timeout" {
			t.Errorf("it stands in on %q, want error and timeout", got)
		}
		r.get("/text/bare?cc=max-age%3D1")
		later(2 * time.Second)
		r.explain("/text/bare?cc=max-age%3D1").decides(t, "fetch", "stale", "past its lifetime, and it cannot be validated (stale)")
	})
}

// Rules, those that need the response among them.
func TestExplainRules(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) {
			s.RuleSet = []Rule{
				{Words: "one", Match: Match{Paths: []httpcache.Glob{httpcache.NewGlob("/text/*")}}, StaleWhileRevalidate: ptr(time.Minute)},
				{Words: "two", Match: Match{MediaTypes: []httpcache.Glob{httpcache.NewGlob("image/*")}}, TTL: ptr(time.Hour)},
				{Words: "three", Match: Match{Methods: []string{"POST"}, Status: []StatusRange{{404, 404}}}, TTL: ptr(time.Hour)},
				{Words: "four", Match: Match{Paths: []httpcache.Glob{httpcache.NewGlob("/text/private*")}}, Bypass: true},
			}
			s.Request = FieldEdits{Set: map[string]string{"X-Secret": "s3cret"}, Remove: []string{"X-Gone"}}
		})
		const picture = "/text/p?cc=max-age%3D60&type=image/png&vary=X-V"
		r.get(picture, "X-V: 1")
		r.get("/text/p?cc=max-age%3D60&type=image/png&vary=X-V", "X-V: 2")
		e := r.explain(picture, "X-V: 1")
		e.decides(t, "serve", "fresh", "another 1h")
		want := []ExplainedRule{
			{Number: 1, Words: "one", Outcome: RuleMatches},
			{Number: 2, Words: "two", Outcome: RuleWithResponse, Variants: []int{0, 1}},
			{Number: 3, Words: "three", Outcome: RuleDoesNot},
			{Number: 4, Words: "four", Outcome: RuleDoesNot},
		}
		if diff := cmp.Diff(want, e.Rules); diff != "" {
			t.Errorf("the rules (-want +got):\n%s", diff)
		}
		policy := &ExplainedPolicy{
			WithResponse: true, TTL: ptr(Seconds(time.Hour)), StaleWhileRevalidate: Seconds(time.Minute), SetCookie: "pass",
			ServeStaleOn: []string{"5xx", "error", "timeout"}, Override: []string{}, RequestDirectives: "ignore",
			RequestFields: []string{"X-Gone removed", "X-Secret set"},
		}
		if diff := cmp.Diff(policy, e.Policy); diff != "" {
			t.Errorf("what they come to (-want +got):\n%s", diff)
		}
		if e.Variants[0].Reckoning.Source != "rule" {
			t.Errorf("the lifetime is by %q, want the rule", e.Variants[0].Reckoning.Source)
		}
		e = r.explain("/text/private")
		e.decides(t, "pass", "bypass-rule", "a rule says bypass")
		if e.Decision.CacheStatus != "perigee; fwd=bypass; detail=bypass-rule" || e.Decision.XCache != "BYPASS" {
			t.Errorf("Cache-Status %q, X-Cache %q", e.Decision.CacheStatus, e.Decision.XCache)
		}
		if text, _ := json.Marshal(e); strings.Contains(string(text), "s3cret") {
			t.Errorf("a field of the site's is shown: %s", text)
		}
		r.explainAs("DELETE", "http://www.test/text/p").decides(t, "pass", "method", "no stored response answers this method")
	})
}

// The key: what is left out, facets, and secrets that are not shown.
func TestExplainKey(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) {
			s.Key = KeySpec{
				Query:   httpcache.QueryRule{Exclude: []httpcache.Glob{httpcache.NewGlob("utm_*")}, Sort: true},
				Headers: []string{"X-Plan", "Authorization"}, Cookies: []string{"session"}, Country: true,
			}
		})
		r.handler.Swap(NewSites([]*Site{r.site}).Locating(func(netip.Addr) string { return "NZ" }), Limits{})
		e := r.explain("/a?b=1&utm_source=x&a=2&utm_medium=y", "X-Plan: pro", "Cookie: a=b; session=t0psecret", "Authorization: Bearer t0psecret")
		want := &ExplainedKey{Key: e.Key.Key, Facets: []ExplainedFacet{
			{"header X-Plan", "pro"},
			{"header Authorization", "16 bytes, sha256 " + digest("Bearer t0psecret")},
			{"cookie session", "9 bytes, sha256 " + digest("t0psecret")},
			{"country", "NZ"},
		}}
		if diff := cmp.Diff(want, e.Key); diff != "" {
			t.Errorf("the key (-want +got):\n%s", diff)
		}
		if e.Request.Query != "a=2&b=1" || strings.Join(e.Request.LeftOut, " ") != "utm_source=x utm_medium=y" {
			t.Errorf("query %q, left out %q", e.Request.Query, e.Request.LeftOut)
		}
		if e.Decision.Origin.Target != "/a?a=2&b=1" {
			t.Errorf("the origin is asked for %q", e.Decision.Origin.Target)
		}
		r.get("/text/s?cc=max-age%3D60,public&vary=Cookie,Authorization", "Cookie: session=t0psecret", "Authorization: Bearer t0psecret")
		e = r.explain("/text/s?cc=max-age%3D60,public&vary=Cookie,Authorization", "Cookie: session=t0psecret", "Authorization: Bearer t0psecret")
		text, _ := json.Marshal(e)
		if len(e.Variants) != 1 || strings.Contains(string(text), "t0psecret") {
			t.Errorf("%d variants, want 1; a secret is shown: %s", len(e.Variants), text)
		}
	})
}

// A learned No-Vary-Search rule, what it makes of the query, and what lies under both
// keys.
func TestExplainLearnedKey(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/s", testorigin.Answer{Fields: []string{"Cache-Control: max-age=60", `No-Vary-Search: params=("t"), key-order`}, Text: "found"})
		r.get("/s?t=1&q=x&a=1")
		e := r.explain("/s?q=x&t=2&a=1")
		e.decides(t, "serve", "fresh", "A hit")
		if e.Key.NoVarySearch != `key-order, params=("t")` || e.Key.ReducedQuery != "a=1&q=x" || e.Key.PlainKey == e.Key.Key {
			t.Errorf("the key: %+v", e.Key)
		}
		if len(e.Variants) != 1 || e.Variants[0].Key != e.Key.Key || e.Variants[0].URL != "http://www.test/s?t=1&q=x&a=1" {
			t.Errorf("the variants: %+v", e.Variants)
		}
	})
}

// Parts, and what is missing of them.
func TestExplainPart(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/1000?cc=max-age%3D60&etag=v1"
		r.get(target, "Range: bytes=100-199")
		synctest.Wait()
		e := r.explain(target, "Range: bytes=150-249")
		e.decides(t, "fetch", "part-miss", "The part 200-249 is fetched")
		if v := e.Variants[0]; v.Complete || strings.Join(v.Parts, " ") != "100-199" || *v.Size != 1000 {
			t.Errorf("the variant: %+v", v)
		}
		want := map[string]string{"Range": "bytes=200-249", "If-Range": `"v1"`}
		if diff := cmp.Diff(want, e.Decision.Origin.Fields); diff != "" {
			t.Errorf("fields to the origin (-want +got):\n%s", diff)
		}
		r.explain(target, "Range: bytes=110-119").decides(t, "serve", "fresh", "in the range asked for")
	})
}

// In which coding it would be sent, and in which it is stored.
func TestExplainCoding(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.page("/page", prose(5000))
		r.get("/page")
		synctest.Wait()
		e := r.explain("/page", "Accept-Encoding: gzip, br")
		if v := e.Variants[0]; e.Decision.Encoding != "br" || v.Encodings != nil {
			t.Errorf("sent as %q, stored as %q; want br and nothing yet", e.Decision.Encoding, v.Encodings)
		}
		got := r.get("/page", "Accept-Encoding: gzip, br").Header.Get("Content-Encoding")
		synctest.Wait()
		e = r.explain("/page")
		if v := e.Variants[0]; got != "br" || e.Decision.Encoding != "" || strings.Join(v.Encodings, " ") != "br" {
			t.Errorf("was sent as %q; for another client %q, stored as %q; want br, nothing, br", got, e.Decision.Encoding, v.Encodings)
		}
	})
}

// What was invalidated is shown, and counts for nothing.
func TestExplainInvalidated(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/g", testorigin.Answer{Fields: []string{"Cache-Control: max-age=60", `Cache-Groups: "all"`}, Text: "x"})
		r.origin.Script("/change", testorigin.Answer{Status: 204, Fields: []string{`Cache-Group-Invalidation: "all"`}})
		r.get("/g")
		r.explain("/g").decides(t, "serve", "fresh", "A hit")
		r.post("/change", 204)
		e := r.explain("/g")
		e.decides(t, "fetch", "miss", "was invalidated since it was fetched")
		if len(e.Variants) != 1 || !e.Variants[0].Invalidated || e.Variants[0].Chosen || strings.Join(e.Variants[0].Groups, " ") != "all" {
			t.Errorf("the variants: %+v", e.Variants)
		}
	})
}

// Why nothing is stored is known for as long as it is remembered.
func TestExplainUnshareable(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.get("/text/me?cc=private")
		e := r.explain("/text/me?cc=private", "If-None-Match: \"x\"")
		e.decides(t, "fetch", "miss", "The last response was not stored: private.")
		if e.Unshared == nil || e.Unshared.Reason != "private" || e.Decision.Origin.Kind != AskAsSent || e.Decision.Origin.Shared {
			t.Errorf("%+v, origin %+v; want private, and the origin asked as the client asks", e.Unshared, e.Decision.Origin)
		}
		later(unshareableFor)
		if e := r.explain("/text/me?cc=private"); e.Unshared != nil || e.Decision.Origin.Kind != AskWhole || !e.Decision.Origin.Shared {
			t.Errorf("%+v, origin %+v after the memory has ended", e.Unshared, e.Decision.Origin)
		}
	})
}

// Requests that wait for the origin are counted.
func TestExplainWaiting(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		release := r.origin.Hold("/text/slow")
		done := make(chan struct{})
		go func() { defer close(done); r.herd(5, "/text/slow?cc=max-age%3D60") }()
		synctest.Wait()
		if e := r.explain("/text/slow?cc=max-age%3D60"); e.Waiting != 5 {
			t.Errorf("%d requests wait, want 5", e.Waiting)
		}
		release()
		<-done
	})
}

// Requests that come to no decision of the cache.
func TestExplainRefused(t *testing.T) {
	inBubble(t, httpcache.Rules{HonourRequest: true}, func(t *testing.T, r *rig) {
		limits := Limits{TargetBytes: 200, Fields: 8}
		r.handler.Swap(NewSites([]*Site{r.site}), limits)
		many := make([]string, 10)
		for i := range many {
			many[i] = "X-A: b"
		}
		cases := []struct {
			method, url, action, reason, words string
			status                             int
			fields                             []string
		}{
			{"GET", "http://elsewhere.test/", "fail", "no-such-site", "elsewhere.test", 421, nil},
			{"GET", "http://www.test/%zz", "fail", "bad-request", "malformed", 400, nil},
			{"GET", "http://www.test/a%00", "fail", "bad-path", "path", 400, nil},
			{"GET", "http://www.te st/", "fail", "bad-request", "space", 400, nil},
			{"GET", "http://www.test/" + strings.Repeat("a", 300), "fail", "target-too-long", "longer", 414, nil},
			{"GET", "http://www.test/a", "fail", "too-many-fields", "fields", 431, many},
			{"GET", "http://www.test/a", "fail", "loop", "been here", 508, []string{"CDN-Loop: " + httpcache.AppendCDNLoop(nil, loopID, r.handler.node)[0]}},
			{"GET", "http://www.test/.perigee/x", "fail", "no-such-path", "own", 404, nil},
			{"GET", "http://www.test/a", "refuse", "only-if-cached", "stored response only", 504, []string{"Cache-Control: only-if-cached"}},
			{"GET", "http://any.test" + HealthPath, "answer", "health", "itself", 200, nil},
			{"GET", "http://127.0.0.1/a", "fetch", "miss", "nothing is stored", 0, []string{"Host: TEST"}},
		}
		for _, c := range cases {
			e := r.explainAs(c.method, c.url, c.fields...)
			e.decides(t, c.action, c.reason, c.words)
			if e.Decision.Status != c.status {
				t.Errorf("%s: status %d, want %d", c.url, e.Decision.Status, c.status)
			}
		}
		if e := r.explainAs("GET", "http://TEST/a"); e.Site == nil || e.Site.MatchedBy != "alias" || e.Request.Host != "test" {
			t.Errorf("site %+v, host %q; want by its alias", e.Site, e.Request.Host)
		}
		r.reconfigure(func(s *Site) { s.RedirectToHTTPS = true })
		e := r.explain("/a?b#c")
		e.decides(t, "redirect", "redirect-to-https", "redirected")
		if e.Decision.Location != "https://www.test/a?b" {
			t.Errorf("redirected to %q", e.Decision.Location)
		}
		r.explainAs("GET", "https://www.test/a").decides(t, "fetch", "miss", "nothing is stored")
	})
}

// usedTier counts the uses of what it holds.
type usedTier struct {
	cachestore.Tier
	uses int
}

func (u *usedTier) Use(o *cachestore.Object) {
	u.uses++
	u.Tier.Use(o)
}

// An explanation changes nothing: no use is counted, no record written, no refresh
// begun, no origin asked.
func TestExplainChangesNothing(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleWhileRevalidate: time.Hour}, func(t *testing.T, r *rig) {
		if err := r.store.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		budget := cachestore.NewBudget(rigBudget)
		home, err := ram.New(budget)
		if err != nil {
			t.Fatal(err)
		}
		tier := &usedTier{Tier: home}
		r.store = cachestore.New(cachestore.Options{Budget: budget, Home: tier})
		r.handler.store = r.store
		const target = "/size/100?cc=max-age%3D600&etag=v1"
		r.get(target)
		r.get(target)
		check := func() {
			t.Helper()
			records, stats, uses, hits := len(r.ended()), r.store.Stats(), tier.uses, r.origin.Total()
			for range 50 {
				r.explain(target)
				r.explain(target, "Range: bytes=1-2")
				r.explain(target + "&other")
				r.explainAs("DELETE", "http://www.test"+target)
				r.explainAs("HEAD", "http://www.test"+target)
			}
			synctest.Wait()
			if after := r.store.Stats(); after != stats || len(r.ended()) != records || tier.uses != uses || r.origin.Total() != hits {
				t.Errorf("store %+v, %d records, %d uses, %d questions; before it was %+v, %d, %d, %d",
					after, len(r.ended()), tier.uses, r.origin.Total(), stats, records, uses, hits)
			}
			if n := r.handler.InFlight(); n != 0 {
				t.Errorf("%d requests in flight", n)
			}
		}
		if tier.uses == 0 {
			t.Fatal("no use was counted of what two requests were answered with")
		}
		check()
		later(11 * time.Minute) // stale, and to be refreshed
		check()
	})
}

// The question to the origin is the one that it then gets.
func TestExplainForeseesQuestion(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		var asked *origin.Request
		next := r.site.Origin
		r.reconfigure(func(s *Site) {
			s.Origin = fetcherFunc(func(ctx context.Context, req *origin.Request) (*origin.Response, error) {
				asked = req
				return next.Fetch(ctx, req)
			})
			s.Key = KeySpec{Query: httpcache.QueryRule{Exclude: []httpcache.Glob{httpcache.NewGlob("x")}}}
		})
		f := r.foresee(t)
		const target = "/size/1000?cc=max-age%3D60&etag=v1&x=1"
		steps := []struct {
			wait   time.Duration
			target string
			fields []string
		}{
			{0, target, []string{"Range: bytes=0-9"}},
			{0, target, []string{"Range: bytes=5-19", "Accept-Encoding: br, gzip;q=0"}},
			{0, target, nil},
			{2 * time.Minute, target, []string{`If-None-Match: "v0"`}},
			{0, "/text/p?cc=private", nil},
			{0, "/text/p?cc=private", []string{`If-None-Match: "v0"`, "Range: bytes=1-"}},
			{0, "/text/v?cc=max-age%3D0&etag=v1", nil},
			{0, "/text/v?cc=max-age%3D0&etag=v1", []string{`If-None-Match: "v1"`}},
		}
		for i, step := range steps {
			later(step.wait)
			e := r.explain(step.target, append([]string{"User-Agent: Go-http-client/1.1"}, step.fields...)...)
			asked = nil
			r.get(step.target, step.fields...)
			if asked == nil || e.Decision.Origin == nil {
				t.Errorf("step %d: asked %v, foreseen %v; want both", i, asked, e.Decision.Origin)
				continue
			}
			got := ExplainedOrigin{Kind: e.Decision.Origin.Kind, Shared: e.Decision.Origin.Shared, Method: asked.Method, Target: asked.Path, Fields: make(map[string]string)}
			if asked.Query != "" {
				got.Target += "?" + asked.Query
			}
			for name := range asked.Header {
				if strings.HasPrefix(name, "If-") || name == "Range" || name == "Accept-Encoding" {
					got.Fields[name] = asked.Header.Get(name)
				}
			}
			if diff := cmp.Diff(got, *e.Decision.Origin); diff != "" {
				t.Errorf("step %d: the question (-asked +foreseen):\n%s", i, diff)
			}
		}
		if f.n != len(steps) {
			t.Errorf("%d requests were compared, want %d", f.n, len(steps))
		}
	})
}

func TestQuestionCheck(t *testing.T) {
	t.Parallel()
	cases := []struct {
		q    Question
		want string // of the error, "" for none
	}{
		{Question{URL: "http://a/"}, ""},
		{Question{URL: "HTTPS://a"}, ""},
		{Question{URL: "http://a?b"}, ""},
		{Question{URL: "http://a//b#c"}, ""},
		{Question{URL: ""}, "begins with http"},
		{Question{URL: "/a"}, "begins with http"},
		{Question{URL: "ftp://a/"}, "begins with http"},
		{Question{URL: "http:///a"}, "names no host"},
		{Question{URL: "http://me:pw@a/"}, "credentials"},
		{Question{URL: "http://a/b c"}, "space"},
		{Question{URL: "http://a/\x01"}, "control character"},
		{Question{URL: "http://a/%g0"}, "malformed"},
		{Question{URL: "http://a/", Method: "G T"}, "not a method"},
		{Question{URL: "http://a/", Method: "CONNECT"}, "CONNECT"},
		{Question{URL: "http://a/", Header: http.Header{"A b": {"c"}}}, "not a field"},
		{Question{URL: "http://a/", Header: http.Header{"A": {"c\nd"}}}, "not a field"},
		{Question{URL: "http://a/", Header: http.Header{"Content-Length": {"1"}}}, "content"},
	}
	for _, c := range cases {
		err := c.q.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check(%+v) = %v, want %q", c.q, err, c.want)
		}
	}
}

// Seconds survive JSON, and read well.
func TestSeconds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d     time.Duration
		words string
		json  string
	}{
		{0, "0ms", "0"},
		{1500 * time.Microsecond, "1ms", "0.002"},
		{59940 * time.Millisecond, "59.9s", "59.94"},
		{time.Minute, "1m", "60"},
		{-61 * time.Second, "-1m1s", "-61"},
		{time.Hour + 5*time.Second, "1h", "3605"},
		{25*time.Hour + time.Minute, "1d1h", "90060"},
		{30 * 24 * time.Hour, "30d", "2592000"},
	} {
		text, err := json.Marshal(Seconds(c.d))
		if got := Seconds(c.d).String(); got != c.words || string(text) != c.json || err != nil {
			t.Errorf("%v is %q and %s, %v; want %q and %s", c.d, got, text, err, c.words, c.json)
		}
		var back Seconds
		if err := json.Unmarshal(text, &back); err != nil || time.Duration(back) != c.d.Round(time.Millisecond) {
			t.Errorf("%s is read as %v, %v; want %v", text, time.Duration(back), err, c.d.Round(time.Millisecond))
		}
	}
	var s Seconds
	if err := json.Unmarshal([]byte(`"1s"`), &s); err == nil {
		t.Error(`"1s" is read as a number of seconds`)
	}
}
