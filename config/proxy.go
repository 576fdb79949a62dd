package config

import (
	"crypto/tls"
	"path/filepath"
	"strings"
)

// ProxyOptions are the flags of `perigee proxy`, each as it was typed; "" or nil = its default.
type ProxyOptions struct {
	To             string   // URL of the upstream; the only one that must be given
	Listen         []string // addresses for HTTP in clear; nil = :8080
	ListenTLS      []string // addresses for TLS; nil = none
	Cert, Key      string   // PEM files, relative to the working folder; "" = self-signed
	Host           string   // upstream (the default), site, client or a name
	RAM            string   // a size; "" = 256MiB
	Disk           string   // folder for what is stored, relative to the working folder, and for the journal of purges; "" = none
	DiskSize       string   // a size, with Disk only; "" = 10GiB
	Admin          string   // address, or "off"; "" = 127.0.0.1:9180
	PurgeTokenFile string   // not available in this version
}

// CatchAll is the name of the site that answers for every host that no other site names.
const CatchAll = "*"

// Proxy builds the configuration that `perigee proxy` runs: one catch-all site in front of one upstream, with the defaults of
// the two files everywhere else. The error is a *Errors whose problems name flags.
func Proxy(o ProxyOptions) (*Node, error) {
	p := proxyBuilder{node: nodeSchema(), site: siteSchema(), report: &report{}}
	n, s := defaultNode(), defaultSite()
	n.Listen = Listen{
		HTTP:  p.addresses("--listen", o.Listen, defaultProxyListen),
		HTTPS: p.addresses("--listen-tls", o.ListenTLS),
		Admin: p.admin(o.Admin),
	}
	n.Store.RAM = defaultProxyRAM
	if ram, ok := p.read("--ram", p.node.child("store").child("ram"), o.RAM).(int64); ok {
		n.Store.RAM = ram
	}
	if d, ok := p.disk(o); ok {
		n.Store.Disks = []Disk{d}
		n.State = n.Store.state()
	}
	s.Name = CatchAll
	s.TLS = p.tls(o)
	s.Origin.Upstreams = []Upstream{p.upstream(o.To)}
	if host, ok := p.read("--host", p.site.child("origin").child("host"), o.Host).(string); ok {
		s.Origin.Host, s.Origin.HostName = hostMode(host, contains(p.site.child("origin").child("host").wordTexts(), host))
	}
	p.refuse("--purge-token-file", o.PurgeTokenFile, "")
	n.Sites = []*Site{&s}
	if p.report.count() > 0 {
		return nil, &Errors{Problems: p.report.problems}
	}
	return &n, nil
}

// proxyBuilder reads flags with the schema of the files.
type proxyBuilder struct {
	node, site *key
	report     *report
}

func (p *proxyBuilder) fault(flag, message, hint string) {
	p.report.add(Problem{Path: flag, Message: message, Suggestion: hint})
}

// read is the value of a flag that means what a key means; nil when it is not given or refused.
func (p *proxyBuilder) read(flag string, k *key, text string) any {
	if text == "" {
		return nil
	}
	for _, w := range k.words {
		if w.text == text {
			return text
		}
	}
	c := checker{source: &source{}}
	v, bad := c.parse(k, text)
	if bad != nil {
		p.fault(flag, bad.message, bad.hint)
		return nil
	}
	return v
}

func (p *proxyBuilder) addresses(flag string, given []string, deflt ...string) []string {
	if len(given) == 0 {
		return deflt
	}
	var out []string
	for _, text := range given {
		if text == "" {
			p.fault(flag, `"" is not an address to listen on`, addressHint(""))
		}
		if address, ok := p.read(flag, &key{kind: kindAddress}, text).(string); ok {
			out = append(out, address)
		}
	}
	return out
}

func (p *proxyBuilder) admin(text string) string {
	if text == "" {
		return defaultListen().Admin
	}
	address, _ := p.read("--admin", p.node.child("listen").child("admin"), text).(string)
	if address == "off" {
		return ""
	}
	if address != "" && !isLoopback(address) {
		p.fault("--admin", "off loopback, the operator's listener needs a token",
			"listen on 127.0.0.1:9180, or use a node file, which has listen.admin_token_file")
	}
	return address
}

func (p *proxyBuilder) upstream(to string) Upstream {
	u := defaultUpstream()
	if to == "" {
		p.fault("--to", "missing", "name the server to stand in front of, for example: --to http://localhost:3000")
		return u
	}
	u.URL, _ = p.read("--to", upstreamURL("url"), to).(string)
	return u
}

// disk is the folder of the flags; ok is false where there is none.
func (p *proxyBuilder) disk(o ProxyOptions) (d Disk, ok bool) {
	keys := p.node.child("store").child("disk")
	d.Size = defaultProxyDisk
	if size, given := p.read("--disk-size", keys.child("size"), o.DiskSize).(int64); given {
		d.Size = size
	}
	if o.Disk == "" {
		if o.DiskSize != "" {
			p.fault("--disk-size", "a size without --disk has no use", "name a folder, for example: --disk /var/cache/perigee")
		}
		return Disk{}, false
	}
	path, ok := p.read("--disk", keys.child("path"), o.Disk).(string)
	if !ok {
		return Disk{}, false
	}
	d.Path = filepath.Clean(path)
	if isFile(d.Path) {
		p.fault("--disk", notFolder(d.Path), folderHint)
	}
	return d, true
}

func (p *proxyBuilder) tls(o ProxyOptions) TLS {
	switch {
	case o.Cert == "" && o.Key == "":
		return defaultSite().TLS
	case o.Cert == "":
		p.fault("--cert", "missing; --key is given", "name the certificate that belongs to the key")
		return TLS{}
	case o.Key == "":
		p.fault("--key", "missing; --cert is given", "name the key that belongs to the certificate")
		return TLS{}
	case len(o.ListenTLS) == 0:
		p.fault("--cert", "a certificate without --listen-tls has no use", "add --listen-tls :8443")
		return TLS{}
	}
	cert, certErr := readFile(o.Cert, maxFileBytes)
	if certErr != nil {
		p.fault("--cert", "cannot read "+o.Cert+": "+reason(certErr), "")
	}
	key, keyErr := readFile(o.Key, maxFileBytes)
	if keyErr != nil {
		p.fault("--key", "cannot read "+o.Key+": "+reason(keyErr), "")
	}
	if certErr == nil && keyErr == nil {
		if _, err := tls.X509KeyPair(cert, key); err != nil {
			p.fault("--cert", unusablePair(err), pairHint)
		}
	}
	return TLS{Mode: TLSFiles, Cert: o.Cert, Key: o.Key}
}

// pairHint says what a certificate and its key have to be.
const pairHint = "both are PEM files, and the first block of the certificate's belongs to the key"

func unusablePair(err error) string {
	return "the certificate and the key cannot be used: " + strings.TrimPrefix(err.Error(), "tls: ")
}

// refuse reports a flag whose feature is not there yet, unless it says its default.
func (p *proxyBuilder) refuse(flag, given, deflt string) {
	if given != "" && given != deflt {
		p.fault(flag, NotAvailable, "leave it out")
	}
}
