package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"perigee/purge"
)

// plainNames keys URLs as they are.
type plainNames struct{}

func (plainNames) Target(_, _, host, path, query string) (string, string, string, error) {
	return host, path, query, nil
}

// purges is a service with two sites that have a token each, and its ledger.
func purges(t *testing.T) (*purge.Service, *purge.Ledger) {
	t.Helper()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return start }
	log, ledger := purge.Memory(clock), purge.New(purge.Options{})
	service := purge.NewService(purge.ServiceOptions{Log: log, Ledger: ledger, Names: plainNames{}, Now: clock, Edge: "fra-1"})
	token := func(name string) []purge.Token {
		return []purge.Token{{Name: name, Secret: "token-" + name, Scopes: []purge.Scope{purge.ScopeURL}}}
	}
	service.Swap([]purge.SiteOptions{
		{Name: "a.example", IDs: []string{"zone/a"}, Hosts: []string{"a.example"}, Tokens: append(
			token("a"), purge.Token{
				Name: "elsewhere", Secret: "token-elsewhere", Scopes: []purge.Scope{purge.ScopeAll},
				Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
			},
		)},
		{Name: "b.example", Hosts: []string{"b.example"}, Tokens: token("b")},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var follower sync.WaitGroup
	follower.Go(func() { _ = ledger.Follow(ctx, log) })
	t.Cleanup(func() { cancel(); follower.Wait() })
	return service, ledger
}

// order sends a purge order.
func order(s *Server, path, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Host = "127.0.0.1:9180"
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		} else {
			r.Header.Add(fields[i], fields[i+1])
		}
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func TestPurgeAccess(t *testing.T) {
	t.Parallel()
	service, _ := purges(t)
	noReload := func(context.Context) ReloadResult { return ReloadResult{OK: true} }
	local := newServer(t, Options{Address: "127.0.0.1:9180", Purges: service, Reload: noReload})
	public := newServer(t, Options{Address: "edge.example.com:9180", Token: "s3cret", Purges: service, Reload: noReload})
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	const purgeA, purgeB = "/v1/sites/a.example/purge", "/v1/sites/b.example/purge"
	const url, tag = `{"urls":["/x"]}`, `{"tags":["x"]}`
	cases := []struct {
		name       string
		server     *Server
		path, body string // body "" = GET
		fields     []string
		want       int
	}{
		{"loopback, no token", local, purgeA, tag, nil, 200},
		{"loopback, no token, history", local, "/v1/purges", "", nil, 200},
		{"loopback, the site's token", local, purgeA, url, bearer("token-a"), 200},
		{"loopback, the site's token is held to its scopes", local, purgeA, tag, bearer("token-a"), 403},
		{"loopback, another site's token", local, purgeB, url, bearer("token-a"), 403},
		{"loopback, a token that is none", local, purgeA, url, bearer("token-c"), 401},
		{"loopback, a token that is none, history", local, "/v1/purges", "", bearer("token-c"), 401},
		{"loopback, a token of another network", local, purgeA, url, bearer("token-elsewhere"), 403},
		{"loopback, two tokens", local, purgeA, url, append(bearer("token-a"), bearer("token-a")...), 401},
		{"loopback, another scheme", local, purgeA, url, []string{"Authorization", "Basic token-a"}, 401},

		{"off loopback, no token", public, purgeA, url, nil, 401},
		{"off loopback, no token, no such path", public, "/v1/sites/", url, nil, 401},
		{"off loopback, admin token", public, purgeA, tag, bearer("s3cret"), 200},
		{"off loopback, admin token, history", public, "/v1/purges", "", bearer("s3cret"), 200},
		{"off loopback, the site's token", public, purgeA, url, bearer("token-a"), 200},
		{"off loopback, another site's token", public, purgeA, url, bearer("token-b"), 403},
		{"off loopback, a token that is none", public, purgeA, url, bearer("s3cre"), 401},
		{"off loopback, history of the token's site", public, "/v1/purges?site=a.example", "", bearer("token-a"), 200},
		{"off loopback, history of another site", public, "/v1/purges?site=b.example", "", bearer("token-a"), 403},

		{"the site's token opens nothing else", public, "/v1/stats", "", bearer("token-a"), 401},
		{"the site's token opens no metrics", public, "/metrics", "", bearer("token-a"), 401},
		{"the site's token opens no profile", local, "/debug/pprof/", "", bearer("token-a"), 401},
		{"the site's token reloads nothing", local, "/v1/reload", url, bearer("token-a"), 401},
		{"the site's token learns no paths", public, "/nowhere", "", bearer("token-a"), 401},

		{"host that was rebound", local, purgeA, url, []string{"Host", "evil.example"}, 421},
		{"host that was rebound, a token that is none", local, purgeA, url, append([]string{"Host", "evil.example"}, bearer("x")...), 401},
		{"host another, the site's token", public, purgeA, url, append([]string{"Host", "edge-1.internal"}, bearer("token-a")...), 200},
		{"another site's form", local, purgeA, url, []string{"Origin", "https://evil.example"}, 403},
		{"another site's form with a token", local, purgeA, url, append([]string{"Sec-Fetch-Site", "cross-site"}, bearer("token-a")...), 403},

		{"no such site", local, "/v1/sites/c.example/purge", url, nil, 404},
		{"another path below", local, "/v1/sites/a.example/pause", url, nil, 404},
		{"a site's id with a slash", local, "/v1/sites/zone%2Fa/purge", url, nil, 200},
		{"no such purge", local, "/v1/purges/1f0c6b2d9a7e4f5380a1b2c3d4e5f607", "", nil, 404},
		{"wrong method for an order", local, purgeA, "", nil, 405},
		{"wrong method for the history", local, "/v1/purges", url, nil, 405},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var w *httptest.ResponseRecorder
			if c.body == "" {
				w = ask(c.server, "GET", c.path, c.fields...)
			} else {
				w = order(c.server, c.path, c.body, c.fields...)
			}
			if w.Code != c.want {
				t.Errorf("%s %s %v: %d, want %d; body %s", c.path, c.body, c.fields, w.Code, c.want, w.Body)
			}
			if c.want == 401 && w.Header().Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("401 without WWW-Authenticate: %v", w.Header())
			}
		})
	}
}

// A purge over this door strikes, and its history says who ordered it and shows a
// site's token only what is that site's.
func TestPurgeHistoryOfCallers(t *testing.T) {
	t.Parallel()
	service, ledger := purges(t)
	s := newServer(t, Options{Token: "s3cret", Purges: service})
	var ids []string
	for _, c := range []struct{ site, token string }{{"a.example", ""}, {"b.example", "token-b"}, {"a.example", "token-a"}, {"b.example", "s3cret"}} {
		var fields []string
		if c.token != "" {
			fields = []string{"Authorization", "Bearer " + c.token}
		}
		w := order(s, "/v1/sites/"+c.site+"/purge", `{"urls":["/x"]}`, fields...)
		var receipt struct{ ID string }
		if err := json.Unmarshal(w.Body.Bytes(), &receipt); err != nil || w.Code != 200 {
			t.Fatalf("purge of %s with %q: %d %s", c.site, c.token, w.Code, w.Body)
		}
		ids = append(ids, receipt.ID)
	}
	if got := ledger.Stats().Applied; got != 4 {
		t.Errorf("%d entries were applied, want 4", got)
	}
	for _, c := range []struct {
		token string
		want  []string
	}{
		{"", []string{"b.example operator", "a.example a", "b.example b", "a.example operator"}},
		{"token-a", []string{"a.example a", "a.example operator"}},
		{"token-b", []string{"b.example operator", "b.example b"}},
	} {
		var fields []string
		if c.token != "" {
			fields = []string{"Authorization", "Bearer " + c.token}
		}
		w := ask(s, "GET", "/v1/purges", fields...)
		var page struct{ Purges []struct{ Site, Who string } }
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatalf("history: %d %s", w.Code, w.Body)
		}
		var got []string
		for _, each := range page.Purges {
			got = append(got, each.Site+" "+each.Who)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("history for %q (-want +got):\n%s", c.token, diff)
		}
		for i, site := range []string{"a", "b", "a", "b"} {
			want := 200
			if c.token != "" && c.token != "token-"+site {
				want = 404
			}
			if w := ask(s, "GET", "/v1/purges/"+ids[i], fields...); w.Code != want {
				t.Errorf("purge of %s.example for %q: %d, want %d", site, c.token, w.Code, want)
			}
		}
	}
}

// Orders may be long; everything else may not.
func TestPurgeBodies(t *testing.T) {
	t.Parallel()
	service, _ := purges(t)
	s := newServer(t, Options{Purges: service})
	var urls []string
	for i := range purge.MaxItems {
		urls = append(urls, fmt.Sprintf("%q", fmt.Sprintf("/%d/%s", i, strings.Repeat("a", 1500))))
	}
	body := `{"urls":[` + strings.Join(urls, ",") + `]}`
	if len(body) < 10*maxBodyBytes {
		t.Fatalf("a body of %d bytes shows nothing", len(body))
	}
	if w := order(s, "/v1/sites/a.example/purge", body); w.Code != 200 {
		t.Errorf("an order of %d bytes: %d %s, want 200", len(body), w.Code, w.Body)
	}
	body += strings.Repeat(" ", maxOrderBytes)
	if w := order(s, "/v1/sites/a.example/purge", body); w.Code != 413 {
		t.Errorf("an order of %d bytes: %d %s, want 413", len(body), w.Code, w.Body)
	}
}

func TestPurgeRoutesAreAbsentWithoutService(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{})
	for _, path := range []string{"/v1/purges", "/v1/purges/x", "/v1/sites/a.example/purge"} {
		if w := ask(s, "GET", path); w.Code != 404 {
			t.Errorf("GET %s: %d, want 404", path, w.Code)
		}
	}
}

// purgeFigures are figures of which no two are alike.
func purgeFigures() (purge.Stats, *purge.JournalStats) {
	ledger := purge.Stats{
		Entries: 1, LocalEntries: 2, Bytes: 3, HardFloor: 1 << 60, SoftFloor: 4, Seq: 1<<60 + 1,
		Applied: 5, Invalidated: 6, Folded: 7, Forgotten: 8,
	}
	return ledger, &purge.JournalStats{
		Entries: 9, Bytes: 10, Segments: 11, Queued: 12, Appends: 13, Syncs: 14, Failures: 15,
		Failing: errors.New("no space left"), FirstSeq: 16, NewestSeq: 17,
	}
}

func TestPurgeStats(t *testing.T) {
	t.Parallel()
	w := ask(newServer(t, Options{PurgeStats: purgeFigures}), "GET", "/v1/stats")
	var got struct{ Purge map[string]any }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("body %s: %v", w.Body, err)
	}
	want := map[string]any{
		"entries": 1.0, "invalidation_entries": 2.0, "bytes": 3.0, "hard_floor": "1152921504606846976", "soft_floor": "4",
		"newest": "1152921504606846977", "applied": 5.0, "invalidated": 6.0, "folded": 7.0, "forgotten": 8.0,
		"journal": map[string]any{
			"entries": 9.0, "bytes": 10.0, "segments": 11.0, "queued": 12.0, "appends": 13.0, "syncs": 14.0, "failures": 15.0,
			"failing": "no space left", "oldest": "16", "newest": "17",
		},
	}
	if diff := cmp.Diff(want, got.Purge); diff != "" {
		t.Errorf("purge (-want +got):\n%s", diff)
	}
}

func TestPurgeMetrics(t *testing.T) {
	t.Parallel()
	ledger := func() (purge.Stats, *purge.JournalStats) { s, _ := purgeFigures(); return s, nil }
	const tables = `
# HELP perigee_purge_applied_total Entries of the log that were applied.
# TYPE perigee_purge_applied_total counter
perigee_purge_applied_total 5
# HELP perigee_purge_bytes Memory of the tables of purges.
# TYPE perigee_purge_bytes gauge
perigee_purge_bytes 3
# HELP perigee_purge_entries Purges that are told apart: those of the log, and what origins' answers made invalid (RFC 9111 §4.4).
# TYPE perigee_purge_entries gauge
perigee_purge_entries{from="log"} 1
perigee_purge_entries{from="origin"} 2
# HELP perigee_purge_folded_total Entries folded into the floor because there were too many: more was purged than named.
# TYPE perigee_purge_folded_total counter
perigee_purge_folded_total 7
# HELP perigee_purge_forgotten_total Entries dropped because they could strike nothing any more.
# TYPE perigee_purge_forgotten_total counter
perigee_purge_forgotten_total 8
# HELP perigee_purge_invalidated_total Invalidations that origins' answers brought about.
# TYPE perigee_purge_invalidated_total counter
perigee_purge_invalidated_total 6
`
	const journal = `
# HELP perigee_purge_journal_appends_total Orders that were written and acknowledged.
# TYPE perigee_purge_journal_appends_total counter
perigee_purge_journal_appends_total 13
# HELP perigee_purge_journal_bytes Size of the files of the purge journal.
# TYPE perigee_purge_journal_bytes gauge
perigee_purge_journal_bytes 10
# HELP perigee_purge_journal_entries Entries in the files of the purge journal, also those that no longer count.
# TYPE perigee_purge_journal_entries gauge
perigee_purge_journal_entries 9
# HELP perigee_purge_journal_failing 1 if the disk failed the last time that the journal was written, which refuses purges.
# TYPE perigee_purge_journal_failing gauge
perigee_purge_journal_failing 1
# HELP perigee_purge_journal_failures_total Failures of the disk under the purge journal.
# TYPE perigee_purge_journal_failures_total counter
perigee_purge_journal_failures_total 15
# HELP perigee_purge_journal_queued Orders that wait to be written.
# TYPE perigee_purge_journal_queued gauge
perigee_purge_journal_queued 12
# HELP perigee_purge_journal_segments Files of the purge journal.
# TYPE perigee_purge_journal_segments gauge
perigee_purge_journal_segments 11
# HELP perigee_purge_journal_syncs_total Times that the journal was flushed to disk for them.
# TYPE perigee_purge_journal_syncs_total counter
perigee_purge_journal_syncs_total 14
`
	compare(t, newServer(t, Options{PurgeStats: ledger}).Metrics(), tables, "perigee_purge_")
	both := newServer(t, Options{PurgeStats: purgeFigures}).Metrics()
	compare(t, both, tables+journal, "perigee_purge_")
	problems, err := testutil.GatherAndLint(both.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range problems {
		if strings.HasPrefix(each.Metric, "perigee_purge_") {
			t.Errorf("%s: %s", each.Metric, each.Text)
		}
	}
	compare(t, newServer(t, Options{}).Metrics(), "", "perigee_purge_")
}
