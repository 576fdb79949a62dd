package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"perigee/config"
	"perigee/edge"
	"perigee/edge/listener"
	"perigee/geo"
	"perigee/origin"
)

// served is what a configuration comes to: what a reload makes anew and swaps in.
type served struct {
	sites *edge.Sites
	pools map[string]*origin.Pool // by what they were made from
	certs certificates
	log   *edge.AccessLog // nil = off
}

// close closes the connections to upstreams that are idle.
func (s *served) close() {
	for _, pool := range s.pools {
		pool.Close()
	}
}

// prepare makes everything that conf asks for and changes nothing that runs. What
// the sites in force have and conf asks for again, connections to upstreams and
// certificates made here, is taken over.
func (n *node) prepare(conf *config.Node) (*served, error) {
	next := &served{pools: make(map[string]*origin.Pool)}
	var sites []*edge.Site
	var faults []error
	for _, site := range conf.Sites {
		pool, err := n.pool(next, site)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", site.Name, err))
			continue
		}
		sites = append(sites, edgeSite(site, pool))
	}
	places, err := geo.OpenCountries(conf.Geo.Databases)
	if err != nil {
		faults = append(faults, fmt.Errorf("geo.databases: %w", err))
	}
	next.sites = edge.NewSites(sites).Trusting(conf.Listen.TrustedProxies).Locating(places.Country).PurgedAt(conf.API.Hosts)
	if len(conf.Listen.HTTPS) > 0 {
		if next.certs, err = n.certificates(conf, now()); err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	next.log, err = n.accessLog(conf.Log)
	return next, err
}

// pool is the site's way to its upstream: that in force if nothing about it changed.
func (n *node) pool(next *served, site *config.Site) (*origin.Pool, error) {
	o := origin.Options{
		Upstream: site.Origin.Upstreams[0].URL, Host: hostModes[site.Origin.Host], HostName: site.Origin.HostName,
		Connect: site.Origin.Timeouts.Connect, TLS: site.Origin.Timeouts.TLS, Header: site.Origin.Timeouts.Header,
		Idle: site.Origin.Timeouts.Idle, Total: site.Origin.Timeouts.Total, Connections: site.Origin.Connections,
	}
	name := fmt.Sprintf("%s %+v", site.Name, o)
	if n.served != nil && n.served.pools[name] != nil {
		next.pools[name] = n.served.pools[name]
		return next.pools[name], nil
	}
	o.Forbidden = n.forbidden
	pool, err := origin.NewPool(o)
	if err != nil {
		return nil, err
	}
	next.pools[name] = pool
	return pool, nil
}

var hostModes = map[config.HostMode]origin.HostMode{
	config.HostUpstream: origin.HostUpstream,
	config.HostSite:     origin.HostSite,
	config.HostClient:   origin.HostClient,
	config.HostName:     origin.HostName,
}

// edgeSite says a site in the edge's words.
func edgeSite(site *config.Site, pool *origin.Pool) *edge.Site {
	return &edge.Site{
		Name: site.Name, Aliases: site.Aliases, Origin: pool,
		Rules: cacheRules(&site.Cache), Key: keySpec(&site.Cache.Key), RuleSet: ruleSet(site.Cache.Rules),
		Compress:        compression(&site.Compress),
		KeyByHost:       site.Origin.Host == config.HostClient,
		MaxObjectBytes:  site.Cache.MaxObjectSize,
		ClearOnly:       site.TLS.Mode == config.TLSOff,
		RedirectToHTTPS: site.RedirectToHTTPS == config.RedirectAlways,
		Request:         edits(site.Headers.Request),
		Response:        edits(site.Headers.Response),
	}
}

func edits(rules config.FieldRules) edge.FieldEdits {
	e := edge.FieldEdits{Remove: rules.Remove, Set: make(map[string]string, len(rules.Set))}
	for _, field := range rules.Set {
		e.Set[field.Name] = field.Value
	}
	return e
}

func edgeLimits(l config.Limits) edge.Limits {
	return edge.Limits{
		Fields: l.Fields, TargetBytes: int(l.Target), BodyBytes: l.Body, Requests: l.Requests, MinRate: l.MinRate,
	}
}

// listenerLimits are those of the door. A target or a number of fields that is a
// little above its limit is let in, so that the edge refuses it with an entry in the
// access log; what is far above is not even parsed.
func listenerLimits(l config.Limits) listener.Limits {
	const farAbove = 4
	return listener.Limits{
		Connections: l.Connections, ConnectionsPerIP: l.ConnectionsPerIP,
		HeaderTime: l.HeaderTime, Idle: l.Idle, MinRate: l.MinRate, FieldBytes: int(l.FieldBytes),
		Fields: farAbove * l.Fields, TargetBytes: farAbove * int(l.Target),
	}
}

// accessLog is the log that conf asks for: that in force if nothing about it
// changed, nil if it is off.
func (n *node) accessLog(conf config.Log) (*edge.AccessLog, error) {
	if current := n.records.log.Load(); n.served != nil && conf.Access == n.conf.Log.Access && conf.Format == n.conf.Log.Format {
		return current, nil
	}
	o := edge.AccessLogOptions{
		Writer:  n.stdout,
		OnError: func(err error) { n.log.Error("the access log cannot be written; lines are lost", "error", err) },
	}
	if conf.Format == config.LogCombined {
		o.Format = edge.AccessLogCombined
	}
	switch conf.Access {
	case "off":
		return nil, nil
	case "stdout":
	default:
		o.Path = conf.Access
	}
	return edge.NewAccessLog(o)
}

// forbidden reports the addresses that are the operator's own listener: an
// upstream there would let any client in as if it sat at this machine.
func (n *node) forbidden(addr netip.AddrPort) bool {
	own, ok := n.adminAddr.(*net.TCPAddr)
	if !ok || int(addr.Port()) != own.Port {
		return false
	}
	ip := addr.Addr().Unmap()
	if ip.IsLoopback() || ip.IsUnspecified() || ip == own.AddrPort().Addr().Unmap() {
		return true
	}
	locals, _ := net.InterfaceAddrs()
	for _, local := range locals {
		if prefix, err := netip.ParsePrefix(local.String()); err == nil && prefix.Addr().Unmap() == ip {
			return own.IP.IsUnspecified()
		}
	}
	return false
}
