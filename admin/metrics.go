package admin

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"perigee/edge"
)

const (
	// OtherSite is the site label of requests for no configured site, so that what
	// clients send never makes a label.
	OtherSite = "other"

	maxOriginResults = 32 // values of the label result; beyond them it is "other"
	maxScrapes       = 4  // answers of /metrics at once
)

var codeClasses = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Metrics counts requests for /metrics. It implements [edge.Recorder]. All methods
// may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry

	requests       *prometheus.CounterVec   // site, code_class, cache
	bytes          *prometheus.CounterVec   // site, cache
	duration       *prometheus.HistogramVec // site, cache
	originRequests *prometheus.CounterVec   // site, result
	originDuration *prometheus.HistogramVec // site
	collapsed      *prometheus.CounterVec   // site
	failures       *prometheus.CounterVec   // reason
	reloads        *prometheus.CounterVec   // result
	reloadOK       prometheus.Gauge
	reloadAt       prometheus.Gauge

	other *siteSeries
	sites atomic.Pointer[map[string]*siteSeries] // never written again once stored

	// mu guards the making and removing of series, and siteSeries.gone.
	mu            sync.Mutex
	originResults map[string]bool // values of result so far, at most maxOriginResults
	reasons       map[string]bool // values of reason so far, at most maxReasons
}

// siteSeries holds a site's series for the way that a hit takes: one atomic load
// finds them, and no label is hashed. A series is made when it is first counted, so
// that a site costs only what it uses.
type siteSeries struct {
	name  string
	gone  bool // the site was removed: nothing may be made in its name
	cells [len(codeClasses)][]atomic.Pointer[cell]
}

// cell is what one request is counted in.
type cell struct {
	requests prometheus.Counter
	bytes    prometheus.Counter
	duration prometheus.Observer
}

func newSiteSeries(name string) *siteSeries {
	s := &siteSeries{name: name}
	for class := range s.cells {
		s.cells[class] = make([]atomic.Pointer[cell], len(edge.Results()))
	}
	return s
}

// newMetrics makes metrics in a registry of their own: two servers fit in one
// process.
func newMetrics(o *Options) (*Metrics, error) {
	m := &Metrics{registry: prometheus.NewRegistry(), originResults: map[string]bool{}, reasons: map[string]bool{}}
	m.makeVectors()
	m.reloadOK.Set(1) // a node that runs has loaded its configuration once
	m.reloadAt.Set(seconds(o.Loaded))
	m.reloads.WithLabelValues("success")
	m.reloads.WithLabelValues("failure")
	all := []prometheus.Collector{
		m.requests, m.bytes, m.duration, m.originRequests, m.originDuration, m.collapsed,
		m.failures, m.reloads, m.reloadOK, m.reloadAt,
		newCollector(o), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	for _, each := range all {
		if err := m.registry.Register(each); err != nil {
			return nil, err
		}
	}
	m.other = newSiteSeries(OtherSite)
	m.sites.Store(&map[string]*siteSeries{})
	return m, nil
}

// makeVectors names what is counted.
func (m *Metrics) makeVectors() {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m.requests = counter("perigee_http_requests_total",
		"Requests answered, by class of the status and by what the cache did.", "site", "code_class", "cache")
	m.bytes = counter("perigee_http_response_bytes_total",
		"Bytes of response bodies handed to clients.", "site", "cache")
	m.duration = histogram("perigee_http_request_duration_seconds",
		"Time from a request's arrival until its last byte was handed to the connection.",
		[]float64{.0001, .0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}, "site", "cache")
	m.originRequests = counter("perigee_origin_requests_total",
		"Requests that clients' requests sent to an upstream, by class of its status or kind of trouble.", "site", "result")
	m.originDuration = histogram("perigee_origin_duration_seconds",
		"Time from asking an upstream until its response head.",
		[]float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "site")
	m.collapsed = counter("perigee_collapsed_requests_total",
		"Requests that waited for another request's fetch, or read what it was fetching.", "site")
	m.failures = counter("perigee_http_failures_total",
		"Answers made here because there was no other, by reason: refusals at the door, overload, trouble with an upstream.", "reason")
	m.reloads = counter("perigee_config_reloads_total",
		"Times that the configuration was loaded again.", "result")
	m.reloadOK = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "perigee_config_last_reload_successful",
		Help: "1 if the last load of the configuration succeeded, 0 if the one before is still in force.",
	})
	m.reloadAt = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "perigee_config_last_reload_timestamp_seconds",
		Help: "When the configuration was last loaded, successfully or not.",
	})
}

// handler answers /metrics.
func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}

// SetSites names the sites that have a label of their own. The series of sites no
// longer named are removed.
func (m *Metrics) SetSites(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.sites.Load()
	sites := make(map[string]*siteSeries, len(names))
	for _, name := range names {
		switch {
		case name == OtherSite || name == "":
			continue
		case old[name] != nil:
			sites[name] = old[name]
		default:
			sites[name] = newSiteSeries(name)
		}
	}
	m.sites.Store(&sites)
	for name, series := range old {
		if sites[name] == nil {
			series.gone = true
			m.remove(name)
		}
	}
}

func (m *Metrics) remove(site string) {
	label := prometheus.Labels{"site": site}
	for _, each := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.requests, m.bytes, m.duration, m.originRequests, m.originDuration, m.collapsed,
	} {
		each.DeletePartialMatch(label)
	}
}

// Record implements [edge.Recorder].
func (m *Metrics) Record(r *edge.Record) {
	series := (*m.sites.Load())[r.Site]
	if series == nil {
		series = m.other
	}
	c := m.cell(series, r)
	c.requests.Inc()
	if r.BodyBytes > 0 {
		c.bytes.Add(float64(r.BodyBytes))
	}
	c.duration.Observe(r.Duration.Seconds())
	if r.Collapsed {
		m.mu.Lock()
		collapsed := m.collapsed.WithLabelValues(m.alive(series).name)
		m.mu.Unlock()
		collapsed.Inc()
	}
	if r.Upstream != "" && !r.Collapsed {
		m.recordOrigin(series, r)
	}
	if r.Cache == edge.ResultError {
		m.recordFailure(r.Reason)
	}
}

// maxReasons bounds the values of a label. The edge has some thirty.
const maxReasons = 64

func (m *Metrics) recordFailure(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.reasons[reason] {
		if len(m.reasons) >= maxReasons {
			reason = "other"
		}
		m.reasons[reason] = true
	}
	m.failures.WithLabelValues(reason).Inc()
}

// cell returns the series that r is counted in.
func (m *Metrics) cell(series *siteSeries, r *edge.Record) *cell {
	class, result := codeClass(r.Status), int(r.Cache)
	if result >= len(series.cells[class]) {
		result = int(edge.ResultNone)
	}
	if c := series.cells[class][result].Load(); c != nil {
		return c
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	series = m.alive(series)
	place := &series.cells[class][result]
	if c := place.Load(); c != nil {
		return c
	}
	cache := strings.ToLower(edge.Result(result).String())
	c := &cell{
		requests: m.requests.WithLabelValues(series.name, codeClasses[class], cache),
		bytes:    m.bytes.WithLabelValues(series.name, cache),
		duration: m.duration.WithLabelValues(series.name, cache),
	}
	place.Store(c)
	return c
}

// alive is the series itself, or those of no site if its site has been removed
// while the request ran: a removed series must not come back. The caller holds mu.
func (m *Metrics) alive(series *siteSeries) *siteSeries {
	if series.gone {
		return m.other
	}
	return series
}

// recordOrigin counts what an upstream answered.
func (m *Metrics) recordOrigin(series *siteSeries, r *edge.Record) {
	result := r.UpstreamError
	if result == "" {
		result = codeClasses[codeClass(r.UpstreamStatus)]
	}
	m.mu.Lock()
	if !m.originResults[result] {
		if len(m.originResults) < maxOriginResults {
			m.originResults[result] = true
		} else {
			result = "other"
		}
	}
	name := m.alive(series).name
	requests := m.originRequests.WithLabelValues(name, result)
	duration := m.originDuration.WithLabelValues(name)
	m.mu.Unlock()
	requests.Inc()
	if r.UpstreamStatus != 0 {
		duration.Observe(r.UpstreamTime.Seconds())
	}
}

// codeClass is the place of a status in codeClasses.
func codeClass(status int) int {
	if class := status / 100; class >= 1 && class < len(codeClasses) {
		return class
	}
	return 0
}

// reloaded counts a load of the configuration that was done at the given time.
func (m *Metrics) reloaded(ok bool, at time.Time) {
	result, value := "failure", 0.0
	if ok {
		result, value = "success", 1
	}
	m.reloads.WithLabelValues(result).Inc()
	m.reloadOK.Set(value)
	m.reloadAt.Set(seconds(at))
}

// seconds is an instant as Prometheus has it, 0 for the zero time.
func seconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}
