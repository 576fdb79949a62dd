package admin

import (
	"github.com/prometheus/client_golang/prometheus"
)

// reading is a metric whose value is asked for when /metrics is.
type reading struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// collector reads what other packages count. Packages below the top floor know no
// metrics library: they give a struct of numbers, and here it gets names.
type collector struct {
	options *Options

	objects, partial              reading
	bytes, limitBytes             reading
	evictions, filling, fills     reading
	detached                      reading
	connections, clients, running reading
	accepted, refused, acceptErrs reading
	handshakes, floods, malformed reading
	logDropped, panics, build     reading

	purges *purgeCollector
	disk   *diskCollector
}

func newCollector(o *Options) *collector {
	gauge := func(name, help string, labels ...string) reading {
		return reading{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
	}
	counter := func(name, help string, labels ...string) reading {
		return reading{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
	}
	return &collector{
		options:    o,
		purges:     newPurgeCollector(gauge, counter),
		disk:       newDiskCollector(gauge, counter),
		objects:    gauge("perigee_cache_objects", "Stored responses that a look-up can find.", "tier"),
		partial:    gauge("perigee_cache_partial_objects", "Of the stored responses, those of which a part is missing.", "tier"),
		bytes:      gauge("perigee_cache_bytes", "Bytes taken of the limit: in memory bodies, metadata, fills and what readers still hold, on disk segments.", "tier"),
		limitBytes: gauge("perigee_cache_limit_bytes", "The most bytes that may be taken.", "tier"),
		evictions:  counter("perigee_cache_evictions_total", "Stored responses that left: capacity, a newer response, by name.", "tier", "reason"),
		filling:    gauge("perigee_cache_filling", "Responses still arriving: to be stored, or only passed on.", "tier", "state"),
		fills:      counter("perigee_cache_fills_total", "Responses that arrived, by what became of them.", "tier", "result"),
		detached:   counter("perigee_cache_readers_detached_total", "Readers let go because they held up a response that is only passed on.", "tier"),

		connections: gauge("perigee_connections", "Connections of clients: open, or taken over by an upgrade.", "state"),
		clients:     gauge("perigee_clients", "Client addresses with connections, an IPv6 /64 being one."),
		running:     gauge("perigee_http_requests_in_flight", "Requests being answered."),
		accepted:    counter("perigee_connections_accepted_total", "Connections taken."),
		refused:     counter("perigee_connections_refused_total", "Connections refused, by the limit that was reached.", "reason"),
		acceptErrs:  counter("perigee_accept_errors_total", "Times that the system could not hand over a connection."),
		malformed: counter("perigee_http_malformed_requests_total",
			"Requests refused for what they are made of, before a site was looked for, by reason.", "reason"),
		floods:     counter("perigee_http2_floods_total", "HTTP/2 connections cut for what they sent beside requests."),
		handshakes: counter("perigee_tls_handshakes_total", "TLS handshakes: ok, or what went wrong.", "result"),

		logDropped: counter("perigee_access_log_dropped_total", "Access log lines that were not written."),
		panics:     counter("perigee_panics_total", "Requests that ended in a panic of ours."),
		build:      gauge("perigee_build_info", "1, labelled with what was built.", "version", "go"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, each := range []reading{
		c.objects, c.partial, c.bytes, c.limitBytes, c.evictions, c.filling, c.fills, c.detached,
		c.connections, c.clients, c.running, c.accepted, c.refused, c.acceptErrs, c.handshakes, c.floods, c.malformed,
		c.logDropped, c.panics, c.build,
	} {
		out <- each.desc
	}
	for _, each := range append(c.purges.all(), c.disk.all()...) {
		out <- each.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	send := func(r reading, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(r.desc, r.kind, value, labels...)
	}
	if c.options.Store != nil {
		c.collectStore(send)
	}
	if c.options.Disk != nil {
		c.collectDisk(send)
	}
	if c.options.Listener != nil {
		c.collectListener(send)
	}
	if c.options.PurgeStats != nil {
		c.purges.collect(send, c.options)
	}
	if c.options.AccessLogDropped != nil {
		send(c.logDropped, float64(c.options.AccessLogDropped()))
	}
	if c.options.Panics != nil {
		send(c.panics, float64(c.options.Panics()))
	}
	send(c.build, 1, c.options.Version, c.options.GoVersion)
}

func (c *collector) collectStore(send func(reading, float64, ...string)) {
	const tier = tierRAM
	s := c.options.Store()
	if c.options.Disk != nil {
		send(c.fills, float64(s.DepotStored), tierDisk, "stored")
		send(c.fills, float64(s.DepotRefused), tierDisk, "refused")
		c.disk.collectStore(send, &s)
	}
	send(c.objects, float64(s.Objects), tier)
	send(c.bytes, float64(s.UsedBytes), tier)
	send(c.limitBytes, float64(s.LimitBytes), tier)
	send(c.evictions, float64(s.Evicted), tier, "capacity")
	send(c.evictions, float64(s.Replaced), tier, "replaced")
	send(c.evictions, float64(s.Removed), tier, "removed")
	send(c.filling, float64(s.Fills), tier, "storing")
	send(c.filling, float64(s.Windows), tier, "passing")
	send(c.fills, float64(s.Stored), tier, "stored")
	send(c.fills, float64(s.Refused), tier, "refused")
	send(c.fills, float64(s.TooLarge), tier, "too_large")
	send(c.fills, float64(s.Failed), tier, "failed")
	send(c.fills, float64(s.Corrupt), tier, "corrupt")
	send(c.partial, float64(s.Partial), tier)
	send(c.detached, float64(s.Detached), tier)
}

func (c *collector) collectDisk(send func(reading, float64, ...string)) {
	s := c.options.Disk()
	used, limit := diskSizes(&s)
	send(c.objects, float64(s.Objects), tierDisk)
	send(c.bytes, float64(used), tierDisk)
	send(c.limitBytes, float64(limit), tierDisk)
	send(c.evictions, float64(s.Evicted), tierDisk, "capacity")
	c.disk.collect(send, &s)
}

func (c *collector) collectListener(send func(reading, float64, ...string)) {
	s := c.options.Listener()
	send(c.connections, float64(s.Open-s.Hijacked), "open")
	send(c.connections, float64(s.Hijacked), "hijacked")
	send(c.clients, float64(s.Clients))
	send(c.running, float64(s.Requests))
	send(c.accepted, float64(s.Accepted))
	for reason, n := range s.Refused {
		send(c.refused, float64(n), reason.String())
	}
	send(c.acceptErrs, float64(s.AcceptErrors))
	send(c.floods, float64(s.Floods))
	for reason, n := range s.BadRequests {
		send(c.malformed, float64(n), reason.String())
	}
	send(c.handshakes, float64(s.Handshakes), "ok")
	for fault, n := range s.Faults {
		send(c.handshakes, float64(n), fault.String())
	}
}
