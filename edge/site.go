package edge

import (
	"net/netip"

	"perigee/httpcache"
	"perigee/origin"
)

// Site is one site as the edge serves it. It never changes once it is part of
// [Sites].
type Site struct {
	Name    string   // canonical host that keys are made with; [CatchAll] takes the request's own
	Aliases []string // further hosts, in canonical form, that share its objects
	Rules   *httpcache.Rules
	Origin  origin.Fetcher

	// KeyByHost makes keys with the host that was asked for, since the upstream is
	// sent that host too. Aliases then share nothing.
	KeyByHost bool
	// MaxObjectBytes is the longest body to store; 0 = the store's own bound.
	MaxObjectBytes int64
	// Compress says which responses are compressed for clients; nil = none.
	Compress *Compression
	// ClearOnly refuses requests that come over TLS, on another site's certificate.
	ClearOnly bool
	// RedirectToHTTPS answers requests in clear with a redirect.
	RedirectToHTTPS bool
	// Request and Response change fields on the way to the upstream and to the
	// client.
	Request, Response FieldEdits
	// Key says what keys hold beside scheme, host and path.
	Key KeySpec
	// RuleSet changes Rules, Key and fields for some requests and responses; rules
	// beyond the first 64 do not count.
	RuleSet []Rule

	policies *policies // what RuleSet comes to; made by NewSites
}

// CatchAll is the name of the site that takes every host no other site names.
const CatchAll = "*"

// host is the canonical host of the site for a request that asked for asked. It is
// what upstreams are told.
func (s *Site) host(asked string) string {
	if s.Name == CatchAll {
		return asked
	}
	return s.Name
}

// keyHost is the host that keys are made with.
func (s *Site) keyHost(asked string) string {
	if s.KeyByHost {
		return asked
	}
	return s.host(asked)
}

// Sites is an immutable snapshot of all sites.
type Sites struct {
	byHost   map[string]*Site
	catchAll *Site
	all      []*Site
	trusted  []netip.Prefix
	country  func(netip.Addr) string // nil = nobody knows
	apiHosts []string                // canonical
}

// NewSites makes a snapshot. Hosts must be in canonical form and named once; the
// configuration has seen to that, and of two the first is kept.
func NewSites(sites []*Site) *Sites {
	s := &Sites{byHost: make(map[string]*Site), all: sites}
	for _, site := range sites {
		site.policies = newPolicies(site)
		if site.Name == CatchAll {
			s.catchAll = site
			continue
		}
		for _, host := range append([]string{site.Name}, site.Aliases...) {
			if _, taken := s.byHost[host]; !taken {
				s.byHost[host] = site
			}
		}
	}
	return s
}

// Trusting makes the proxies in these networks believed when they say whom they
// speak for (X-Forwarded-For, X-Forwarded-Proto). It is called before the snapshot
// is used.
func (s *Sites) Trusting(networks []netip.Prefix) *Sites {
	s.trusted = networks
	return s
}

// Locating makes country, which gives the ISO 3166-1 code of the country that an
// address is in ("" unknown), the source of what keys hold of it. It is called before
// the snapshot is used; country is called by many goroutines at once.
func (s *Sites) Locating(country func(netip.Addr) string) *Sites {
	s.country = country
	return s
}

// PurgedAt makes these hosts, in canonical form, answer the purge API over TLS. It is
// called before the snapshot is used.
func (s *Sites) PurgedAt(hosts []string) *Sites {
	s.apiHosts = hosts
	return s
}

// countryOf is where a client is, "" unknown.
func (s *Sites) countryOf(client netip.Addr) string {
	if s.country == nil {
		return ""
	}
	return s.country(client)
}

// trusts tells whether addr is a proxy that is believed.
func (s *Sites) trusts(addr netip.Addr) bool {
	for _, network := range s.trusted {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// Match is the site for a host in canonical form, nil if there is none.
func (s *Sites) Match(host string) *Site {
	if site, ok := s.byHost[host]; ok {
		return site
	}
	return s.catchAll
}

// named is the site of that name, nil if there is none.
func (s *Sites) named(name string) *Site {
	for _, site := range s.all {
		if site.Name == name {
			return site
		}
	}
	return nil
}

// All is every site, in the order of the configuration.
func (s *Sites) All() []*Site { return s.all }
