package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"perigee/cachestore"
	"perigee/edge"
	"perigee/edge/listener"
)

// wholeServer has every function and has seen one of everything.
func wholeServer(t *testing.T) *Server {
	t.Helper()
	s := newServer(t, Options{
		Version: "v1.2.3", GoVersion: "go1.26", Loaded: time.Unix(1000, 0),
		Store: func() cachestore.Stats {
			return cachestore.Stats{
				LimitBytes: 100, UsedBytes: 50, Objects: 5, Fills: 2, Windows: 1, Stored: 9, Refused: 3,
				TooLarge: 4, Evicted: 6, Replaced: 7, Removed: 8, Failed: 10, Detached: 11, Corrupt: 24, Partial: 2,
			}
		},
		Listener: func() listener.Stats {
			return listener.Stats{
				Open: 5, Hijacked: 2, Clients: 4, Requests: 1, Floods: 21, Accepted: 12, AcceptErrors: 13, Handshakes: 14,
				Refused: map[listener.Refusal]uint64{listener.RefusalTotal: 15, listener.RefusalPerIP: 16},
				Faults:  map[listener.Fault]uint64{listener.FaultTimeout: 17},

				BadRequests: map[listener.BadRequest]uint64{1: 22},
			}
		},
		AccessLogDropped: func() uint64 { return 18 },
		Panics:           func() int64 { return 19 },
		Reload: func(context.Context) ReloadResult {
			return ReloadResult{At: time.Unix(2000, 500_000_000)}
		},
	})
	s.Metrics().SetSites([]string{"a.example"})
	return s
}

func TestMetricsLint(t *testing.T) {
	t.Parallel()
	s := wholeServer(t)
	for _, result := range edge.Results() {
		s.Metrics().Record(&edge.Record{
			Site: "a.example", Status: 200, Cache: result, BodyBytes: 10,
			Upstream: "http://o", UpstreamStatus: 200, UpstreamTime: time.Second,
		})
	}
	s.Metrics().Record(&edge.Record{Site: "a.example", Status: 200, Collapsed: true})
	families, err := s.Metrics().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var ours []string
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "perigee_") {
			ours = append(ours, family.GetName())
		}
	}
	if len(ours) < 25 {
		t.Errorf("%d families of ours: %v, want all of them", len(ours), ours)
	}
	problems, err := testutil.GatherAndLint(s.Metrics().registry, ours...)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range problems {
		t.Errorf("%s: %s", each.Metric, each.Text)
	}
}

func TestMetricsOfStoreAndListener(t *testing.T) {
	t.Parallel()
	s := wholeServer(t)
	if _, err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP perigee_accept_errors_total Times that the system could not hand over a connection.
# TYPE perigee_accept_errors_total counter
perigee_accept_errors_total 13
# HELP perigee_access_log_dropped_total Access log lines that were not written.
# TYPE perigee_access_log_dropped_total counter
perigee_access_log_dropped_total 18
# HELP perigee_build_info 1, labelled with what was built.
# TYPE perigee_build_info gauge
perigee_build_info{go="go1.26",version="v1.2.3"} 1
# HELP perigee_cache_bytes Bytes taken of the limit: in memory bodies, metadata, fills and what readers still hold, on disk segments.
# TYPE perigee_cache_bytes gauge
perigee_cache_bytes{tier="ram"} 50
# HELP perigee_cache_evictions_total Stored responses that left: capacity, a newer response, by name.
# TYPE perigee_cache_evictions_total counter
perigee_cache_evictions_total{reason="capacity",tier="ram"} 6
perigee_cache_evictions_total{reason="removed",tier="ram"} 8
perigee_cache_evictions_total{reason="replaced",tier="ram"} 7
# HELP perigee_cache_filling Responses still arriving: to be stored, or only passed on.
# TYPE perigee_cache_filling gauge
perigee_cache_filling{state="passing",tier="ram"} 1
perigee_cache_filling{state="storing",tier="ram"} 2
# HELP perigee_cache_fills_total Responses that arrived, by what became of them.
# TYPE perigee_cache_fills_total counter
perigee_cache_fills_total{result="corrupt",tier="ram"} 24
perigee_cache_fills_total{result="failed",tier="ram"} 10
perigee_cache_fills_total{result="refused",tier="ram"} 3
perigee_cache_fills_total{result="stored",tier="ram"} 9
perigee_cache_fills_total{result="too_large",tier="ram"} 4
# HELP perigee_cache_limit_bytes The most bytes that may be taken.
# TYPE perigee_cache_limit_bytes gauge
perigee_cache_limit_bytes{tier="ram"} 100
# HELP perigee_cache_objects Stored responses that a look-up can find.
# TYPE perigee_cache_objects gauge
perigee_cache_objects{tier="ram"} 5
# HELP perigee_cache_partial_objects Of the stored responses, those of which a part is missing.
# TYPE perigee_cache_partial_objects gauge
perigee_cache_partial_objects{tier="ram"} 2
# HELP perigee_cache_readers_detached_total Readers let go because they held up a response that is only passed on.
# TYPE perigee_cache_readers_detached_total counter
perigee_cache_readers_detached_total{tier="ram"} 11
# HELP perigee_clients Client addresses with connections, an IPv6 /64 being one.
# TYPE perigee_clients gauge
perigee_clients 4
# HELP perigee_config_last_reload_successful 1 if the last load of the configuration succeeded, 0 if the one before is still in force.
# TYPE perigee_config_last_reload_successful gauge
perigee_config_last_reload_successful 0
# HELP perigee_config_last_reload_timestamp_seconds When the configuration was last loaded, successfully or not.
# TYPE perigee_config_last_reload_timestamp_seconds gauge
perigee_config_last_reload_timestamp_seconds 2000.5
# HELP perigee_config_reloads_total Times that the configuration was loaded again.
# TYPE perigee_config_reloads_total counter
perigee_config_reloads_total{result="failure"} 1
perigee_config_reloads_total{result="success"} 0
# HELP perigee_connections Connections of clients: open, or taken over by an upgrade.
# TYPE perigee_connections gauge
perigee_connections{state="hijacked"} 2
perigee_connections{state="open"} 3
# HELP perigee_connections_accepted_total Connections taken.
# TYPE perigee_connections_accepted_total counter
perigee_connections_accepted_total 12
# HELP perigee_connections_refused_total Connections refused, by the limit that was reached.
# TYPE perigee_connections_refused_total counter
perigee_connections_refused_total{reason="connections"} 15
perigee_connections_refused_total{reason="connections_per_ip"} 16
# HELP perigee_http2_floods_total HTTP/2 connections cut for what they sent beside requests.
# TYPE perigee_http2_floods_total counter
perigee_http2_floods_total 21
# HELP perigee_http_malformed_requests_total Requests refused for what they are made of, before a site was looked for, by reason.
# TYPE perigee_http_malformed_requests_total counter
perigee_http_malformed_requests_total{reason="request_line"} 22
# HELP perigee_http_requests_in_flight Requests being answered.
# TYPE perigee_http_requests_in_flight gauge
perigee_http_requests_in_flight 1
# HELP perigee_panics_total Requests that ended in a panic of ours.
# TYPE perigee_panics_total counter
perigee_panics_total 19
# HELP perigee_tls_handshakes_total TLS handshakes: ok, or what went wrong.
# TYPE perigee_tls_handshakes_total counter
perigee_tls_handshakes_total{result="ok"} 14
perigee_tls_handshakes_total{result="timeout"} 17
`
	compare(t, s.Metrics(), want, "perigee_")
}

// compare fails unless the families whose names begin with prefix read as want.
func compare(t *testing.T, m *Metrics, want, prefix string) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"none_of_this_name"} // so that no families compares nothing, not everything
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), prefix) {
			names = append(names, family.GetName())
		}
	}
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestMetricsOfRequests(t *testing.T) {
	t.Parallel()
	m := wholeServer(t).Metrics()
	for _, r := range []edge.Record{
		{Site: "a.example", Status: 200, Cache: edge.ResultHit, BodyBytes: 1000},
		{Site: "a.example", Status: 206, Cache: edge.ResultHit, BodyBytes: 500},
		{Site: "a.example", Status: 404, Cache: edge.ResultHit, BodyBytes: 9},
		{Site: "a.example", Status: 200, Cache: edge.ResultMiss, BodyBytes: 7, Upstream: "http://o", UpstreamStatus: 200},
		{Site: "a.example", Status: 200, Cache: edge.ResultMiss, BodyBytes: 7, Collapsed: true, Upstream: "http://o", UpstreamStatus: 200},
		{Site: "a.example", Status: 502, Cache: edge.ResultError, Upstream: "http://o", UpstreamError: "connect"},
		{Site: "unheard-of.example", Status: 421},
		{Status: -1, BodyBytes: -5, Cache: edge.Result(200)},
	} {
		m.Record(&r)
	}
	compare(t, m, `
# HELP perigee_http_requests_total Requests answered, by class of the status and by what the cache did.
# TYPE perigee_http_requests_total counter
perigee_http_requests_total{cache="error",code_class="5xx",site="a.example"} 1
perigee_http_requests_total{cache="hit",code_class="2xx",site="a.example"} 2
perigee_http_requests_total{cache="hit",code_class="4xx",site="a.example"} 1
perigee_http_requests_total{cache="miss",code_class="2xx",site="a.example"} 2
perigee_http_requests_total{cache="none",code_class="4xx",site="other"} 1
perigee_http_requests_total{cache="none",code_class="none",site="other"} 1
`, "perigee_http_requests_total")
	compare(t, m, `
# HELP perigee_http_response_bytes_total Bytes of response bodies handed to clients.
# TYPE perigee_http_response_bytes_total counter
perigee_http_response_bytes_total{cache="error",site="a.example"} 0
perigee_http_response_bytes_total{cache="hit",site="a.example"} 1509
perigee_http_response_bytes_total{cache="miss",site="a.example"} 14
perigee_http_response_bytes_total{cache="none",site="other"} 0
`, "perigee_http_response_bytes_total")
	compare(t, m, `
# HELP perigee_origin_requests_total Requests that clients' requests sent to an upstream, by class of its status or kind of trouble.
# TYPE perigee_origin_requests_total counter
perigee_origin_requests_total{result="2xx",site="a.example"} 1
perigee_origin_requests_total{result="connect",site="a.example"} 1
`, "perigee_origin_requests_total")
	compare(t, m, `
# HELP perigee_collapsed_requests_total Requests that waited for another request's fetch, or read what it was fetching.
# TYPE perigee_collapsed_requests_total counter
perigee_collapsed_requests_total{site="a.example"} 1
`, "perigee_collapsed_requests_total")
}

func TestDurationIsInSeconds(t *testing.T) {
	t.Parallel()
	m := wholeServer(t).Metrics()
	m.Record(&edge.Record{Site: "a.example", Duration: 1500 * time.Millisecond, Upstream: "u", UpstreamStatus: 200, UpstreamTime: 250 * time.Millisecond})
	want := map[string]float64{"perigee_http_request_duration_seconds": 1.5, "perigee_origin_duration_seconds": .25}
	got := map[string]float64{}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if _, asked := want[family.GetName()]; asked {
			got[family.GetName()] = family.GetMetric()[0].GetHistogram().GetSampleSum()
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sums (-want +got):\n%s", diff)
	}
}

// sites lists the values that the label site has.
func sites(t *testing.T, m *Metrics) []string {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "site" {
					all = append(all, label.GetValue())
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestSetSitesRemovesSeries(t *testing.T) {
	t.Parallel()
	m := wholeServer(t).Metrics()
	whole := func(site string) *edge.Record {
		return &edge.Record{Site: site, Status: 200, Collapsed: true}
	}
	origin := func(site string) *edge.Record {
		return &edge.Record{Site: site, Status: 200, Upstream: "u", UpstreamStatus: 200}
	}
	steps := []struct {
		set  []string
		want []string
	}{
		{[]string{"a.example", "b.example", "", OtherSite}, []string{"a.example", "b.example", "other"}},
		{[]string{"b.example"}, []string{"b.example", "other"}},
		{[]string{"b.example", "a.example"}, []string{"a.example", "b.example", "other"}},
		{nil, []string{"other"}},
	}
	for i, step := range steps {
		m.SetSites(step.set)
		for _, site := range []string{"a.example", "b.example", "c.example"} {
			m.Record(whole(site))
			m.Record(origin(site))
		}
		if diff := cmp.Diff(step.want, sites(t, m)); diff != "" {
			t.Errorf("step %d: sites (-want +got):\n%s", i, diff)
		}
	}
}

// A request may run on while its site is removed; what it then counts must not
// bring the site's series back.
func TestRemovedSiteStaysRemoved(t *testing.T) {
	t.Parallel()
	m := wholeServer(t).Metrics()
	series := (*m.sites.Load())["a.example"]
	m.SetSites(nil)
	m.cell(series, &edge.Record{Status: 200})
	m.recordOrigin(series, &edge.Record{UpstreamStatus: 200})
	if diff := cmp.Diff([]string{"other"}, sites(t, m)); diff != "" {
		t.Errorf("sites (-want +got):\n%s", diff)
	}
}

func TestOriginResultsAreBounded(t *testing.T) {
	t.Parallel()
	m := wholeServer(t).Metrics()
	for i := range 2 * maxOriginResults {
		m.Record(&edge.Record{Upstream: "u", UpstreamError: fmt.Sprintf("error-%d", i)})
	}
	if got := testutil.CollectAndCount(m.originRequests); got != maxOriginResults+1 {
		t.Errorf("%d series after %d kinds of trouble, want %d and one for the others", got, 2*maxOriginResults, maxOriginResults)
	}
}

func TestMetricsConcurrent(t *testing.T) {
	t.Parallel()
	s := wholeServer(t)
	m := s.Metrics()
	var group sync.WaitGroup
	const recorders, each = 4, 500
	for g := range recorders {
		group.Go(func() {
			for i := range each {
				m.Record(&edge.Record{
					Site: []string{"a.example", "b.example", "x"}[i%3], Status: 100 * (1 + i%6), Cache: edge.Result(i % 9),
					BodyBytes: int64(i), Collapsed: i%5 == 0, Upstream: []string{"", "u"}[g%2], UpstreamStatus: 200,
				})
			}
		})
	}
	group.Go(func() {
		for i := range 50 {
			m.SetSites([]string{"a.example", "b.example"}[:1+i%2])
		}
	})
	group.Go(func() {
		for range 10 {
			if w := ask(s, "GET", "/metrics"); w.Code != 200 {
				t.Errorf("GET /metrics: %d %s", w.Code, w.Body)
			}
		}
	})
	group.Wait()
	m.SetSites(nil)
	if diff := cmp.Diff([]string{"other"}, sites(t, m)); diff != "" {
		t.Errorf("sites after all were removed (-want +got):\n%s", diff)
	}
}

func TestTwoServersInOneProcess(t *testing.T) {
	t.Parallel()
	one, two := wholeServer(t), wholeServer(t)
	one.Metrics().Record(&edge.Record{Site: "a.example", Status: 200})
	if diff := cmp.Diff([]string(nil), sites(t, two.Metrics())); diff != "" {
		t.Errorf("sites of the other server (-want +got):\n%s", diff)
	}
}

func TestMetricsAreServed(t *testing.T) {
	t.Parallel()
	w := ask(wholeServer(t), "GET", "/metrics")
	for _, want := range []string{"perigee_build_info{", "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	m := wholeServer(t).Metrics()
	r := &edge.Record{Site: "a.example", Status: 200, Cache: edge.ResultHit, BodyBytes: 1000, Duration: time.Millisecond}
	m.Record(r)
	if got := testing.AllocsPerRun(1000, func() { m.Record(r) }); got != 0 {
		t.Errorf("%v allocations for a hit, want 0", got)
	}
}

func BenchmarkRecord(b *testing.B) {
	s, err := New(Options{Address: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("www%d.example.com", i))
	}
	s.Metrics().SetSites(names)
	for name, r := range map[string]*edge.Record{
		"hit":  {Site: names[42], Status: 200, Cache: edge.ResultHit, BodyBytes: 1000, Duration: time.Millisecond},
		"miss": {Site: names[42], Status: 200, Cache: edge.ResultMiss, BodyBytes: 1000, Upstream: "u", UpstreamStatus: 200},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Metrics().Record(r)
			}
		})
	}
}

func TestFailuresAreCountedByReason(t *testing.T) {
	t.Parallel()
	s := wholeServer(t)
	for i := range 2 * maxReasons {
		s.Metrics().Record(&edge.Record{Status: 503, Cache: edge.ResultError, Reason: "overloaded"})
		s.Metrics().Record(&edge.Record{Status: 400, Cache: edge.ResultError, Reason: fmt.Sprintf("reason-%d", i)})
		s.Metrics().Record(&edge.Record{Status: 200, Cache: edge.ResultHit, Reason: "fresh"})
	}
	if got := testutil.ToFloat64(s.Metrics().failures.WithLabelValues("overloaded")); got != 2*maxReasons {
		t.Errorf("overloaded counted %v times, want %d", got, 2*maxReasons)
	}
	if n := testutil.CollectAndCount(s.Metrics().failures); n > maxReasons+1 {
		t.Errorf("%d values of the label, at most %d are meant", n, maxReasons+1)
	}
}
