package purge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

// testLog is a log in memory that can be made to fail.
type testLog struct {
	mu      sync.Mutex
	entries []Entry
	byID    map[ID]int64
	fail    error // of the next appends
	lose    bool  // take the next append in, but say that time ran out
	moved   chan struct{}
}

func newTestLog() *testLog {
	return &testLog{byID: make(map[ID]int64), moved: make(chan struct{})}
}

func (l *testLog) Append(_ context.Context, id ID, entries []Entry) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, l.fail
	}
	if last, known := l.byID[id]; known {
		return last, nil
	}
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return 0, err
		}
	}
	for _, e := range entries {
		e.ID, e.Seq = id, int64(len(l.entries)+1)
		l.entries = append(l.entries, e)
	}
	l.byID[id] = int64(len(l.entries))
	close(l.moved)
	l.moved = make(chan struct{})
	if l.lose {
		l.lose = false
		return 0, context.DeadlineExceeded
	}
	return l.byID[id], nil
}

func (l *testLog) Follow(ctx context.Context, from int64, fn func(Entry) error) error {
	for at := max(from, 1) - 1; ; {
		l.mu.Lock()
		batch, moved := l.entries[min(at, int64(len(l.entries))):], l.moved
		l.mu.Unlock()
		for _, e := range batch {
			if err := fn(e); err != nil {
				return err
			}
			at = e.Seq
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *testLog) State(context.Context) (first, last int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 1, int64(len(l.entries)), nil
}

func (l *testLog) all() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// testNames normalises as a site does whose key leaves utm_* out. Its hosts share
// what is stored, those of the site "*" do not.
type testNames struct{}

func (testNames) Target(site, _, host, path, query string) (string, string, string, error) {
	path, ok := httpcache.NormalPath(path)
	if !ok {
		return "", "", "", errors.New("the path is malformed")
	}
	query, ok = httpcache.NormalQuery(query)
	if !ok {
		return "", "", "", errors.New("the query is malformed")
	}
	if site != catchAll {
		host = site
	}
	rule := httpcache.QueryRule{Exclude: []httpcache.Glob{httpcache.NewGlob("utm_*")}}
	return host, path, rule.Reduce(query), nil
}

// Secrets of the rig's tokens.
const (
	secretAll     = "the-token-for-all-of-www"
	secretTags    = "the-token-for-tags-of-www"
	secretSoft    = "the-soft-token-of-www"
	secretOld     = "the-expired-token-of-www"
	secretNet     = "the-token-of-one-network"
	secretOther   = "the-token-of-the-other-site"
	secretBoth    = "the-token-of-both-sites"
	secretSlow    = "the-slow-token-of-www"
	siteWWW       = "www.example.com"
	siteOther     = "other.example.net"
	siteNone      = "tokenless.example.org"
	serviceID     = "SU1Z0isxPaozGVKXdv0eY"
	clientAddress = "192.0.2.7:4711"
)

// rig is a service with three sites, and what is around it.
type rig struct {
	*Service
	t       *testing.T
	log     *testLog
	ledger  *Ledger
	audited *syncBuffer
	mu      sync.Mutex // guards now
	at      time.Time
	count   Count
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var rigStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newRig(t testing.TB) *rig {
	r := &rig{log: newTestLog(), ledger: New(Options{}), audited: &syncBuffer{}, at: rigStart}
	r.t, _ = t.(*testing.T)
	r.Service = r.service(t)
	return r
}

// service makes a service above the rig's log, as at a start.
func (r *rig) service(t testing.TB) *Service {
	s := NewService(ServiceOptions{
		Log: r.log, Ledger: r.ledger, Names: testNames{}, Edge: "fra-1", Now: r.now,
		Audit: slog.New(slog.NewTextHandler(r.audited, nil)),
		Count: func(site string, marks []cachestore.Mark, stop time.Time) (int, bool) {
			return r.count(site, marks, stop)
		},
	})
	s.Swap(rigSites())
	ctx, cancel := context.WithCancel(context.Background())
	var followers sync.WaitGroup
	followers.Go(func() { _ = r.ledger.Follow(ctx, r.log) })
	t.Cleanup(func() { cancel(); followers.Wait() })
	return s
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(d)
}

func rigSites() []SiteOptions {
	all := []Scope{ScopeAll}
	return []SiteOptions{
		{
			Name: siteWWW, IDs: []string{serviceID, "zone/with slash"}, Hosts: []string{siteWWW, "example.com", "img.example.com"},
			Tokens: []Token{
				{Name: "cms", Secret: secretAll, Scopes: all},
				{Name: "tagger", Secret: secretTags, Scopes: []Scope{ScopeTag}},
				{Name: "soft", Secret: secretSoft, Scopes: all, SoftOnly: true},
				{Name: "old", Secret: secretOld, Scopes: all, Expires: rigStart},
				{Name: "net", Secret: secretNet, Scopes: all, Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
				{Name: "slow", Secret: secretSlow, Scopes: all, Rate: 10},
				{Name: "both", Secret: secretBoth, Scopes: all},
				{Name: "empty", Secret: "", Scopes: all},
			},
		},
		{
			Name: siteOther, Hosts: []string{siteOther},
			Tokens: []Token{{Name: "other", Secret: secretOther, Scopes: all}, {Name: "both", Secret: secretBoth, Scopes: all}},
		},
		{Name: siteNone, Hosts: []string{siteNone}},
	}
}

// request is one request of a table.
type request struct {
	method string // POST if empty
	target string
	token  string
	body   string
	header http.Header
	from   string
}

func (q request) http() *http.Request {
	method := q.method
	if method == "" {
		method = http.MethodPost
	}
	var body *strings.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	r := httptest.NewRequest(method, "https://purge.example.net/", http.NoBody)
	if body != nil {
		r = httptest.NewRequest(method, "https://purge.example.net/", body)
	}
	// As a server reads a target: nothing is cleaned.
	path, query, _ := strings.Cut(q.target, "?")
	r.URL.RawQuery = query
	r.URL.Path, r.URL.RawPath = unescaped(path), path
	r.RequestURI = q.target
	for name, lines := range q.header {
		r.Header[name] = lines
	}
	if q.token != "" {
		r.Header.Set("Authorization", "Bearer "+q.token)
	}
	r.RemoteAddr = clientAddress
	if q.from != "" {
		r.RemoteAddr = q.from
	}
	return r
}

func unescaped(path string) string {
	r, err := http.NewRequest(http.MethodGet, "https://purge.example.net"+path, http.NoBody)
	if err != nil {
		return path
	}
	return r.URL.Path
}

func field(name, line string) http.Header { return http.Header{name: {line}} }

// send sends a request to a handler and returns the status and the JSON of the answer.
func send(t testing.TB, h http.Handler, q request) (int, map[string]any, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, q.http())
	var answer map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s %s: answered %q, which is not a JSON object: %v", q.method, q.target, w.Body, err)
		}
	}
	return w.Code, answer, w.Header()
}

// struck lists the kinds and values in the log.
func (r *rig) struck() []string {
	all := []string{}
	for _, e := range r.log.all() {
		text := e.Site + " " + e.Kind.String() + " " + e.Value
		if e.Soft {
			text += " soft"
		}
		all = append(all, text)
	}
	return all
}
