package edge

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// foreseer explains every request before it is sent, and compares the explanation with
// what became of the request.
type foreseer struct {
	t    *testing.T
	r    *rig
	next http.RoundTripper

	mu   sync.Mutex // guards what follows
	n    int
	last string // action that was foreseen
}

// foresee makes the rig's client explain everything that it asks.
func (r *rig) foresee(t *testing.T) *foreseer {
	f := &foreseer{t: t, r: r, next: r.client.Transport}
	r.client.Transport = f
	r.t.Cleanup(func() { f.next.(*http.Transport).CloseIdleConnections() })
	return f
}

// RoundTrip implements [http.RoundTripper].
func (f *foreseer) RoundTrip(request *http.Request) (*http.Response, error) {
	synctest.Wait() // what goes on in the background has come to rest, or waits for time
	q := Question{Method: request.Method, URL: request.URL.String(), Header: request.Header.Clone()}
	if request.Host != "" {
		q.Header.Set("Host", request.Host)
	}
	if q.Header.Get("User-Agent") == "" {
		q.Header.Set("User-Agent", "Go-http-client/1.1")
	}
	delete(q.Header, "Content-Length")
	if err := q.Check(); err != nil {
		f.t.Errorf("Check(%+v): %v", q, err)
	}
	before, asked := f.r.handler.store.Stats(), f.r.origin.Total()
	e := f.r.handler.Explain(q)
	if after := f.r.handler.store.Stats(); after != before || f.r.origin.Total() != asked {
		f.t.Errorf("%s %s: explaining changed the store from %+v to %+v, or asked the origin", q.Method, q.URL, before, after)
	}
	response, err := f.next.RoundTrip(request)
	if err == nil {
		f.mu.Lock()
		f.n++
		f.last = e.Decision.Action
		f.mu.Unlock()
		f.compare(&e, response)
	}
	return response, err
}

// afterAnswer are the parameters of Cache-Status that only the origin's answer gives.
var afterAnswer = regexp.MustCompile(`; (fwd-status=\d+|ttl=-?\d+|stored|collapsed|detail=[^;]+)`)

// compare holds what was foreseen against what came.
func (f *foreseer) compare(e *Explanation, response *http.Response) {
	d := &e.Decision
	gotX := response.Header.Get("X-Cache")
	lines := response.Header[httpcache.CacheStatusField]
	got := ""
	if len(lines) > 0 {
		got = lines[len(lines)-1]
	}
	want := d.CacheStatus
	wantX := map[string]bool{d.XCache: true}
	if d.Origin != nil && !d.Refresh {
		// More is said of the answer than can be known before.
		got, want = afterAnswer.ReplaceAllString(got, ""), afterAnswer.ReplaceAllString(want, "")
		wantX["MISS"] = true
		wantX["ERROR"] = true
		wantX["STALE"] = len(d.StaleOn) > 0
	}
	if !wantX[gotX] || got != want || d.Status != 0 && d.Origin == nil && d.Status != response.StatusCode {
		f.t.Errorf("%s %s: foreseen %s (%s), X-Cache %q, Cache-Status %q, status %d;\ngot X-Cache %q, Cache-Status %q, status %d",
			response.Request.Method, response.Request.URL, d.Action, d.Reason, d.XCache, want, d.Status, gotX, got, response.StatusCode)
	}
}

// Every story of testdata/behaviour, each of its requests explained before it is sent:
// the explanation says what then happens, and changes nothing of it.
func TestExplainForeseesBehaviour(t *testing.T) {
	cases := loadBehaviours(t)
	pending := loadPending(t, cases)
	for _, c := range cases {
		t.Run(c.id, func(t *testing.T) {
			inBubble(t, c.rules, func(t *testing.T, r *rig) {
				f := r.foresee(t)
				if problems := r.run(c); pending[c.id] == "" && len(problems) > 0 {
					t.Errorf("explained, it goes otherwise:\n%s", strings.Join(problems, "\n"))
				}
				if f.n == 0 {
					t.Error("no request was explained")
				}
			})
		})
	}
}

// What the stories of testdata/behaviour do not have: rules, keys, refusals, an origin
// that fails.
func TestExplainForesees(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) {
			s.Key = KeySpec{Query: httpcache.QueryRule{Exclude: []httpcache.Glob{httpcache.NewGlob("utm_*")}}, Cookies: []string{"plan"}}
			s.RuleSet = []Rule{
				{Match: Match{Paths: []httpcache.Glob{httpcache.NewGlob("/account/*")}}, Bypass: true},
				{Match: Match{MediaTypes: []httpcache.Glob{httpcache.NewGlob("image/*")}}, TTL: ptr(time.Hour)},
				{Match: Match{Status: []StatusRange{{404, 404}}}, Live: true},
			}
		})
		f := r.foresee(t)
		const page, picture = "/text/p?cc=max-age%3D60&etag=v1", "/size/9?type=image/png&cc=max-age%3D60"
		steps := []struct {
			wait   time.Duration
			method string
			target string
			fields []string
			action string // that must be foreseen
		}{
			{0, "GET", "/account/me?cc=max-age%3D60", nil, "pass"},
			{0, "GET", "/account/me?cc=max-age%3D60", nil, "pass"},
			{0, "DELETE", page, nil, "pass"},
			{0, "GET", page, nil, "fetch"},
			{0, "GET", page + "&utm_source=x", nil, "serve"},
			{0, "GET", page, []string{"Cookie: plan=pro"}, "fetch"},
			{0, "HEAD", page, []string{"Cookie: plan=pro; a=b"}, "serve"},
			{0, "GET", page, []string{"Host: TEST:80"}, "serve"},
			{0, "GET", page, []string{"Host: nowhere.test"}, "fail"},
			{0, "GET", page, []string{"CDN-Loop: " + httpcache.AppendCDNLoop(nil, loopID, r.handler.node)[0]}, "fail"},
			{0, "GET", "/.perigee/none", nil, "fail"},
			{0, "GET", picture, nil, "fetch"},
			{2 * time.Minute, "GET", picture, nil, "serve"},
			{0, "GET", "/live.m3u8", nil, "fetch"},
			{0, "GET", "/live.m3u8", nil, "serve"},
			{2 * time.Second, "GET", "/live.m3u8", nil, "fetch"},
			{0, "GET", page, []string{"Connection: upgrade", "Upgrade: websocket"}, "pass"},
		}
		for i, step := range steps {
			later(step.wait)
			if _, err := r.do(t.Context(), step.method, step.target, step.fields...); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			if f.last != step.action {
				t.Errorf("step %d, %s %s: foreseen %s, want %s", i, step.method, step.target, f.last, step.action)
			}
		}
		r.origin.Script("/text/p", testorigin.Answer{Status: 503})
		r.get(page).expect(t, 200, "STALE", "fwd=stale; fwd-status=503; ttl=-62; detail=stale-if-error")
		r.reconfigure(func(s *Site) { s.RedirectToHTTPS = true })
		r.get(page)
		if f.last != ActionRedirect {
			t.Errorf("foreseen %s, want a redirect", f.last)
		}
	})
}

// With too much in hand nothing is asked of the origin.
func TestExplainOverloaded(t *testing.T) {
	inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
		const target = "/text/p?cc=max-age%3D60"
		r.get(target)
		synctest.Wait()
		r.handler.Swap(r.handler.Sites(), Limits{Requests: 1})
		r.handler.inFlight.Add(2)
		f := r.foresee(t)
		r.get(target).expect(t, 200, "HIT", "hit; ttl=60")
		r.get("/text/other")
		if f.last != ActionFail {
			t.Errorf("foreseen %s, want a refusal", f.last)
		}
		r.explainAs("DELETE", "http://www.test/text/p").decides(t, ActionFail, overloadReason, "more requests in hand")
		later(2 * time.Minute)
		r.get(target).expect(t, 200, "STALE", "hit; ttl=-60; detail=overloaded")
		if f.last != "serve-stale" {
			t.Errorf("foreseen %s, want the stale response", f.last)
		}
		r.handler.inFlight.Add(-2)
	})
}
