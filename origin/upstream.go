package origin

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"
)

// upstream is one server behind us: its name, its connections, its gate.
type upstream struct {
	options Options
	url     string // for errors and records
	scheme  string
	addr    string // host:port connected to
	port    string
	host    string // the Host sent in mode HostUpstream
	base    string // path before every request's, without a slash at its end

	gate   gate
	dialer *dialer
	plain  *http.Transport // everything but upgrades
	upward *http.Transport // upgrades, HTTP/1.1 only; the same as plain for http

	closed atomic.Bool
	counts counts
}

func newUpstream(o *Options, base *url.URL) *upstream {
	u := &upstream{
		options: *o,
		url:     base.Scheme + "://" + strings.ReplaceAll(base.Host, "%", "%25") + base.Path,
		scheme:  base.Scheme,
		addr:    authority(base),
		host:    withoutZone(base.Host),
		base:    base.Path,
		gate:    gate{limit: o.Connections, depth: o.Queue},
	}
	_, u.port, _ = net.SplitHostPort(u.addr)
	if u.port == defaultPort(u.scheme) {
		u.host = strings.TrimSuffix(u.host, ":"+u.port)
	}
	u.dialer = newDialer(o, u.url, u.addr)
	u.plain = newTransport(o, u.dialer, u.scheme == "https")
	u.upward = u.plain
	if u.scheme == "https" {
		u.upward = newTransport(o, u.dialer, false)
	}
	return u
}

// withoutZone takes the zone off an IPv6 address: it means something on this machine
// alone.
func withoutZone(host string) string {
	address, rest, found := strings.Cut(host, "%")
	if !found || !strings.HasPrefix(host, "[") {
		return host
	}
	return address + rest[strings.LastIndex(rest, "]"):]
}

// name is the host that the request asks for.
func (u *upstream) name(req *Request) string {
	name := ""
	switch u.options.Host {
	case HostUpstream:
	case HostSite:
		name = req.SiteHost
	case HostClient:
		name = req.ClientHost
	case HostName:
		name = u.options.HostName
	}
	if name == "" || !httpguts.ValidHostHeader(name) {
		return u.host
	}
	return name
}

// key is the authority that the transport keeps connections by. For https it is
// made of the name asked for, since that name was verified in the handshake; for
// http every name shares the connections. The dialer connects to u.addr for either.
func (u *upstream) key(name string) string {
	if u.scheme == "http" {
		return u.addr
	}
	host := name
	if h, _, err := net.SplitHostPort(name); err == nil {
		host = h
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), u.port)
}

func (u *upstream) transport(upgrade string) *http.Transport {
	if upgrade != "" {
		return u.upward
	}
	return u.plain
}

func (u *upstream) closeIdle() {
	u.plain.CloseIdleConnections()
	u.upward.CloseIdleConnections()
}
