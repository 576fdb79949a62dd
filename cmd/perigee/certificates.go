package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"perigee/config"
	"perigee/edge"
	"perigee/edge/listener"
)

// certificates is what TLS clients are shown.
type certificates struct {
	snapshot   listener.Snapshot
	selfSigned map[string]*tls.Certificate // made here, by site
	warnings   []string
}

// certificates reads or makes the certificate of each site that is served over
// TLS. The first site's is shown to clients that name no host, or one that is not
// served here.
func (n *node) certificates(conf *config.Node, now time.Time) (certificates, error) {
	c := certificates{
		snapshot:   listener.Snapshot{Hosts: make(map[string]*tls.Certificate)},
		selfSigned: make(map[string]*tls.Certificate),
	}
	var faults []error
	for _, site := range conf.Sites {
		cert, err := n.certificate(&c, site, now)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", site.Name, err))
			continue
		case cert == nil:
			continue
		case site.Name == edge.CatchAll || c.snapshot.Default == nil:
			c.snapshot.Default = cert
		}
		for _, host := range hostsOf(site) {
			c.snapshot.Hosts[host] = cert
		}
	}
	if err := n.certifyAPI(&c, conf, now); err != nil {
		faults = append(faults, fmt.Errorf("api: %w", err))
	}
	return c, errors.Join(faults...)
}

// certifyAPI adds the certificate of the hosts of the purge API.
func (n *node) certifyAPI(c *certificates, conf *config.Node, now time.Time) error {
	if len(conf.API.Hosts) == 0 {
		return nil
	}
	door := &config.Site{Name: conf.API.Hosts[0], Aliases: conf.API.Hosts[1:], TLS: conf.API.TLS}
	cert, err := n.certificate(c, door, now)
	if err != nil || cert == nil {
		return err
	}
	for _, host := range conf.API.Hosts {
		c.snapshot.Hosts[host] = cert
	}
	return nil
}

// certificate is one site's, nil if it is not served over TLS.
func (n *node) certificate(c *certificates, site *config.Site, now time.Time) (*tls.Certificate, error) {
	switch site.TLS.Mode {
	case config.TLSOff:
		return nil, nil
	case config.TLSFiles:
		cert, err := listener.LoadPair(site.TLS.Cert, site.TLS.Key)
		if err != nil {
			return nil, err
		}
		for _, warning := range listener.Warnings(&cert, now) {
			c.warnings = append(c.warnings, site.Name+": "+warning)
		}
		return &cert, nil
	case config.TLSAuto:
	}
	if n.served != nil && n.served.certs.selfSigned[site.Name] != nil {
		held := n.served.certs.selfSigned[site.Name]
		if sameNames(held, selfSignedNames(site)) {
			c.selfSigned[site.Name] = held
			return held, nil
		}
	}
	cert, err := listener.SelfSigned(selfSignedNames(site), now)
	if err != nil {
		return nil, err
	}
	c.selfSigned[site.Name] = &cert
	c.warnings = append(c.warnings, site.Name+": the certificate is self-signed, so browsers will warn; give tls: {cert: FILE, key: FILE} for a real one")
	return &cert, nil
}

// hostsOf are the names by which a site is asked for, none for the catch-all.
func hostsOf(site *config.Site) []string {
	if site.Name == edge.CatchAll {
		return nil
	}
	return append([]string{site.Name}, site.Aliases...)
}

// selfSignedNames are the names that a certificate made here is for.
func selfSignedNames(site *config.Site) []string {
	if names := hostsOf(site); names != nil {
		return names
	}
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	return names
}

// sameNames reports whether cert is for just these names.
func sameNames(cert *tls.Certificate, names []string) bool {
	if cert.Leaf == nil || len(names) != len(cert.Leaf.DNSNames)+len(cert.Leaf.IPAddresses) {
		return false
	}
	for _, name := range names {
		if cert.Leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}
