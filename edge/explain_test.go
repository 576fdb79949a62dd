package edge

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"perigee/httpcache"
)

// foreseer explains every request before it is sent, and compares the explanation with
// what became of the request.
type foreseer struct {
	t    *testing.T
	r    *rig
	next http.RoundTripper

	mu sync.Mutex // guards n
	n  int
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
