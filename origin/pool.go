package origin

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// HostMode says which name the upstream is asked for: in the Host field (or
// :authority), as SNI, and for the verification of its certificate.
type HostMode uint8

// The host modes.
const (
	HostUpstream HostMode = iota // the authority of the upstream's URL
	HostSite                     // Request.SiteHost
	HostClient                   // Request.ClientHost
	HostName                     // Options.HostName
)

// The values that stand for a zero in Options.
const (
	DefaultConnect     = 3 * time.Second
	DefaultTLS         = 5 * time.Second
	DefaultHeader      = 30 * time.Second
	DefaultIdle        = 60 * time.Second
	DefaultConnections = 256
	DefaultQueue       = 1024
)

// Options configures a [Pool]. NewPool copies it.
type Options struct {
	Upstream string // URL: scheme://authority[/base path], http or https
	Host     HostMode
	HostName string // for the mode HostName: a host, with a port if one is to be sent

	Connect time.Duration // to resolve and connect; 0 = 3s
	TLS     time.Duration // for the TLS handshake; 0 = 5s
	Header  time.Duration // from the request's last byte to the response's head, and for a slot; 0 = 30s
	Idle    time.Duration // a gap while the upstream sends its body or takes ours; 0 = 60s
	Total   time.Duration // for all of it, the queue and the body included; 0 = no limit

	Connections int // requests in flight; 0 = 256
	Queue       int // requests waiting for one of those; 0 = 1024, negative = none

	// Forbidden reports addresses that must not be connected to, such as perigee's
	// own admin listener. It is asked about each address a name resolves to, and must
	// be safe for concurrent use. nil = all are allowed.
	Forbidden func(netip.AddrPort) bool

	// Dial connects to network and host:port; nil = a net.Dialer, which tries the
	// addresses of a name as RFC 8305 says.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	RootCAs *x509.CertPool // that certificates of https upstreams are checked against; nil = the system's
}

// Pool is the [Fetcher] of a site: it asks the site's upstream, with the limits of
// its [Options]. Create it with [NewPool]; its methods may be called by many
// goroutines at once.
type Pool struct {
	upstream *upstream
}

var _ Fetcher = (*Pool)(nil)

// NewPool makes a pool. It connects to nothing; its errors are about o.
func NewPool(o Options) (*Pool, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	base, err := parseUpstream(o.Upstream)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", o.Upstream, err)
	}
	return &Pool{upstream: newUpstream(&o, base)}, nil
}

// Close closes the connections that carry no request. It waits for nothing:
// requests in flight go on, and a Fetch after Close still works (a reload must not
// fail the requests that found the old pool), but their connections are closed
// after them.
func (p *Pool) Close() {
	p.upstream.closed.Store(true)
	p.upstream.closeIdle()
}

// complete puts the defaults in and checks the rest.
func (o *Options) complete() error {
	for _, each := range []struct {
		name  string
		value *time.Duration
		zero  time.Duration
	}{
		{"connect", &o.Connect, DefaultConnect},
		{"TLS", &o.TLS, DefaultTLS},
		{"header", &o.Header, DefaultHeader},
		{"idle", &o.Idle, DefaultIdle},
		{"total", &o.Total, 0},
	} {
		if *each.value < 0 {
			return fmt.Errorf("%s time-out %v is negative", each.name, *each.value)
		}
		if *each.value == 0 {
			*each.value = each.zero
		}
	}
	if o.Connections < 0 {
		return fmt.Errorf("connections %d is negative", o.Connections)
	}
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Host > HostName {
		return fmt.Errorf("host mode %d is unknown", o.Host)
	}
	if o.Host == HostName && (o.HostName == "" || !httpguts.ValidHostHeader(o.HostName)) {
		return fmt.Errorf("host name %q is not a host", o.HostName)
	}
	return nil
}

// parseUpstream reads an upstream's URL; the path it returns has no slash at its end.
func parseUpstream(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		var bad *url.Error
		if errors.As(err, &bad) {
			err = bad.Err // the text stands in our caller's words
		}
		return nil, err
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("it must begin with http:// or https://")
	case u.Hostname() == "":
		return nil, errors.New("it names no host")
	case u.User != nil:
		return nil, errors.New("it must not hold a user or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("it must not hold a query or fragment")
	}
	if strings.HasPrefix(u.Host, "[") {
		// An address has one spelling; nothing of it is a name to be encoded.
		if _, err := netip.ParseAddr(u.Hostname()); err != nil || !printable(u.Hostname()) || !ascii(u.Hostname()) {
			return nil, fmt.Errorf("host %q is not an IPv6 address", u.Host)
		}
	}
	host, err := httpguts.PunycodeHostPort(u.Host)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", u.Host, err)
	}
	if !httpguts.ValidHostHeader(host) {
		return nil, fmt.Errorf("host %q is not a host", host)
	}
	base := strings.TrimRight(u.EscapedPath(), "/")
	if !printable(base) {
		return nil, fmt.Errorf("path %q holds what a path cannot", base)
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(host), Path: base, RawPath: base}, nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] > 0x7e {
			return false
		}
	}
	return true
}

// Sizes of what one connection may hold of a response that nobody reads yet.
const (
	maxHeadBytes    = 256 << 10 // response head, field names and values
	maxFields       = 1024      // field lines of a response
	readBufferBytes = 16 << 10  // HTTP/1.1, per connection
	h2WindowBytes   = 1 << 20   // HTTP/2, per response
)

const (
	keepIdle = 60 * time.Second // a connection without a request is closed after
	h2Silent = 15 * time.Second // an HTTP/2 connection in use is pinged after, and given up after as long again
)

// newTransport makes a transport over the dialer, with HTTP/2 to https upstreams
// that offer it if h2 is set.
func newTransport(o *Options, d *dialer, h2 bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(h2)
	alpn := []string{"http/1.1"}
	if h2 {
		alpn = []string{"h2", "http/1.1"}
	}
	return &http.Transport{
		DialContext:            d.dialClear,
		DialTLSContext:         d.dialTLS(alpn...),
		DisableCompression:     true,
		MaxIdleConns:           o.Connections,
		MaxIdleConnsPerHost:    o.Connections,
		MaxConnsPerHost:        o.Connections,
		IdleConnTimeout:        keepIdle,
		MaxResponseHeaderBytes: maxHeadBytes,
		ReadBufferSize:         readBufferBytes,
		Protocols:              protocols,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: h2WindowBytes,
			SendPingTimeout:           h2Silent,
			PingTimeout:               h2Silent,
			WriteByteTimeout:          o.Idle,
		},
	}
}

// authority is host:port to connect to.
func authority(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}
