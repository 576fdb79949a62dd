package purge

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"perigee/httpcache"
)

// directLog is a log whose ledger applies at once, without anyone who follows.
type directLog struct {
	*testLog
	ledger *Ledger
}

func (l directLog) Append(ctx context.Context, id ID, entries []Entry) (int64, error) {
	last, err := l.testLog.Append(ctx, id, entries)
	if err != nil {
		return 0, err
	}
	for _, e := range l.all()[last-int64(len(entries)):] {
		l.ledger.Apply(e)
	}
	return last, nil
}

// direct makes a service that needs no goroutine.
func direct() (*Service, directLog) {
	log := directLog{testLog: newTestLog(), ledger: New(Options{})}
	s := NewService(ServiceOptions{Log: log, Ledger: log.ledger, Names: testNames{}, Edge: "fra-1", Now: func() time.Time { return rigStart }})
	s.Swap(rigSites())
	return s, log
}

// FuzzPublic: whatever is sent, the answer is JSON, and what is refused purges nothing.
func FuzzPublic(f *testing.F) {
	for _, c := range hostile() {
		if len(c.send.body) < 1<<10 {
			f.Add(c.send.method, c.send.target, c.send.body, "Surrogate-Key", "a b")
		}
	}
	for _, target := range []string{"/v1/sites/www.example.com/purge", "/zones/www.example.com/purge_cache", "/service/www.example.com/purge"} {
		f.Add("POST", target, `{"urls":["/a?b#c","https://example.com:80/%7E"],"prefixes":["/a"],"tags":["t"],"hosts":["*.example.com"],"wait":"5s"}`, "Idempotency-Key", `"k"`)
		f.Add("POST", target, `{"files":["http://example.com/a",{"url":"/b","headers":{"a":"b"}}]}`, "Content-Encoding", "identity")
		f.Add("POST", target, `{"surrogate_keys":["a","ü","\u00e9"]}`, "Fastly-Soft-Purge", "1")
	}
	f.Add("GET", "/v1/purges?limit=3&before=00", "", "X-Auth-Key", "x")
	f.Fuzz(func(t *testing.T, method, target, body, name, line string) {
		path, query, _ := strings.Cut(target, "?")
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" {
			t.Skip() // the listener refuses it
		}
		u.RawQuery = query
		r := httptest.NewRequest(http.MethodPost, "https://purge.example.net/", strings.NewReader(body))
		r.Method, r.URL, r.RequestURI = method, u, target
		r.Header.Set(name, line)
		r.Header.Set("Authorization", "Bearer "+secretBoth)
		s, log := direct()
		w := httptest.NewRecorder()
		s.Public().ServeHTTP(w, r)
		checkAnswer(t, w, log, method)
	})
}

func checkAnswer(t *testing.T, w *httptest.ResponseRecorder, log directLog, method string) {
	t.Helper()
	struck := log.all()
	switch {
	case w.Code != http.StatusOK && len(struck) > 0:
		t.Errorf("status %d, but %+v was purged", w.Code, struck)
	case w.Code == http.StatusOK && len(struck) == 0 && method != http.MethodGet && method != http.MethodHead && !strings.Contains(w.Body.String(), StateDryRun):
		t.Errorf("status 200 for %s, and nothing was purged", method)
	case w.Code >= 500 && w.Code != http.StatusNotImplemented: // of a dry run, since nothing can be counted
		t.Errorf("status %d: %s", w.Code, w.Body)
	case method != http.MethodHead && !json.Valid(w.Body.Bytes()):
		t.Errorf("answer %q is not JSON", w.Body)
	}
	for _, e := range struck {
		if err := e.Validate(); err != nil || e.Site != siteWWW && e.Site != siteOther {
			t.Errorf("entry %+v: %v", e, err)
		}
	}
}

// FuzzMethod: as FuzzPublic, for PURGE on a site.
func FuzzMethod(f *testing.F) {
	f.Add(siteWWW, "/a/../b", "x=1", "", "")
	f.Add("www.fra.cdn.example.net", "/", "", "a b", "c,d e")
	f.Add("host", "%", "\n", "\x00", ",")
	f.Fuzz(func(t *testing.T, host, path, query, key, tag string) {
		r := httptest.NewRequest(http.MethodGet, "https://www.example.com/", http.NoBody)
		r.Method = "PURGE"
		r.Header.Set("Surrogate-Key", key)
		r.Header.Set("Cache-Tag", tag)
		r.Header.Set("Fastly-Key", secretAll)
		s, log := direct()
		w := httptest.NewRecorder()
		s.Method(w, r, siteWWW, host, path, query)
		checkAnswer(t, w, log, r.Method)
	})
}

// FuzzBody: what the strict reader takes is JSON to everybody.
func FuzzBody(f *testing.F) {
	for _, c := range hostile() {
		if len(c.send.body) < 1<<10 {
			f.Add([]byte(c.send.body))
		}
	}
	f.Add([]byte(`{"a":{"b":[{"c":null}]},"d":-1.5e9,"e":"\u00e9\n"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		body, refusal := parseBody(text)
		if refusal != nil {
			if refusal.Status != http.StatusBadRequest || refusal.Reason == "" {
				t.Errorf("refused with %+v", refusal)
			}
			return
		}
		var want map[string]any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("%q is taken, but is not a JSON object: %v", text, err)
		}
		if len(want) != len(body.fields) {
			t.Errorf("%q has %d members, read were %d", text, len(want), len(body.fields))
		}
		for name, v := range body.fields {
			if text, isText := want[name].(string); isText != (v.kind == "string") || text != v.text {
				t.Errorf("member %q is %+v, want %v", name, v, want[name])
			}
		}
	})
}

// FuzzTarget: where a URL is one to everybody, its host is what everybody takes for it.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/a?b#c", "https://example.com:8443/a?b", "http://user@example.com/", `http://a\b/`, "http://a?b@c/", "http://[::1]/", "http:///a", "HTTP://a#b/c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := splitTarget(text)
		if !ok {
			return
		}
		if !strings.HasPrefix(got.path, "/") || strings.ContainsAny(got.path, "?#") || strings.Contains(got.query, "#") {
			t.Errorf("%q is split into %+v", text, got)
		}
		host, isHost := httpcache.CanonicalHost(got.host)
		u, err := url.Parse(text)
		if !isHost || err != nil {
			return
		}
		if want, _ := httpcache.CanonicalHost(u.Host); host != want || u.User != nil {
			t.Errorf("%q has the host %q, want %q", text, host, want)
		}
	})
}
