package origin_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/internal/testorigin"
	"perigee/origin"
)

// secure serves over TLS on a real socket with a certificate for names and gives a
// pool for it; change may be nil.
func secure(t *testing.T, names []string, change func(o *origin.Options)) (*origin.Pool, *testorigin.Origin) {
	t.Helper()
	up, roots := testorigin.StartTLS(t, names...)
	o := origin.Options{Upstream: up.URL, RootCAs: roots}
	if change != nil {
		change(&o)
	}
	p := newPool(t, o)
	t.Cleanup(p.Close)
	return p, up
}

// TestTLSNames: the name of the host mode is what is verified, sent as SNI and as
// Host.
func TestTLSNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		certificate []string
		change      func(o *origin.Options)
		kind        origin.ErrorKind
		host, sni   string // as the upstream saw them; no host: refused
	}{
		{name: "upstream", host: "127.0.0.1"},
		{name: "site", certificate: []string{"site.test"}, change: func(o *origin.Options) { o.Host = origin.HostSite }, host: "site.test", sni: "site.test"},
		{name: "client", certificate: []string{"client.test"}, change: func(o *origin.Options) { o.Host = origin.HostClient }, host: "client.test", sni: "client.test"},
		{name: "name", certificate: []string{"other.test"}, change: func(o *origin.Options) { o.Host, o.HostName = origin.HostName, "other.test:99" }, host: "other.test:99", sni: "other.test"},
		{name: "wrong name", certificate: []string{"other.test"}, change: func(o *origin.Options) { o.Host = origin.HostSite }, kind: origin.ErrCertificate},
		{name: "unknown authority", change: func(o *origin.Options) { _, o.RootCAs = testorigin.Certificate("127.0.0.1") }, kind: origin.ErrCertificate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, up := secure(t, tc.certificate, tc.change)
			resp, text, err := fetchAll(t.Context(), p, get("/text/x"))
			if tc.host == "" {
				if kindOf(err) != tc.kind || !strings.Contains(err.Error(), "origin.host says which name is asked for") {
					t.Errorf("got %v, want %s", err, tc.kind)
				}
				return
			}
			if err != nil || text != "/text/x" || resp.Proto != "HTTP/2.0" {
				t.Fatalf("got %q, %v", text, err)
			}
			got, _ := up.Last("/text/x")
			host := strings.TrimSuffix(got.Host, ":"+portOf(up.URL))
			if host != tc.host || got.SNI != tc.sni {
				t.Errorf("upstream saw Host %s, SNI %q; want %s, %q", got.Host, got.SNI, tc.host, tc.sni)
			}
		})
	}
}

func portOf(rawURL string) string {
	return rawURL[strings.LastIndex(rawURL, ":")+1:]
}

// TestTLSTrouble over sockets.
func TestTLSTrouble(t *testing.T) {
	t.Parallel()
	t.Run("no TLS on that port", func(t *testing.T) {
		t.Parallel()
		up := testorigin.Start(t)
		p := newPool(t, origin.Options{Upstream: strings.Replace(up.URL, "http:", "https:", 1)})
		_, err := p.Fetch(t.Context(), get("/"))
		if kindOf(err) != origin.ErrTLS || !strings.Contains(err.Error(), "does the origin speak TLS on that port?") {
			t.Errorf("got %v, want ErrTLS", err)
		}
	})
	t.Run("TLS where HTTP is expected", func(t *testing.T) {
		t.Parallel()
		up, _ := testorigin.StartTLS(t)
		p := newPool(t, origin.Options{Upstream: strings.Replace(up.URL, "https:", "http:", 1)})
		defer p.Close()
		resp, _, err := fetchAll(t.Context(), p, get("/")) // net/http answers 400 in clear
		if err != nil || resp.Status != 400 {
			t.Errorf("got %v, %v; want the upstream's own 400", resp, err)
		}
	})
	t.Run("client certificate missed", func(t *testing.T) {
		t.Parallel()
		certificate, roots := testorigin.Certificate("127.0.0.1")
		l := listen(t)
		stop := testorigin.New().ServeTLS(l, &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert})
		defer stop()
		p := newPool(t, origin.Options{Upstream: "https://" + l.Addr().String(), RootCAs: roots})
		// In TLS 1.3 the alert comes after the handshake; the write may see the closed
		// connection before the read sees the alert.
		if _, err := p.Fetch(t.Context(), get("/")); kindOf(err) != origin.ErrAlert && kindOf(err) != origin.ErrReset {
			t.Errorf("got %v (%s), want ErrAlert", err, kindOf(err))
		}
	})
	t.Run("name refused", func(t *testing.T) {
		t.Parallel()
		l := listen(t)
		stop := testorigin.New().ServeTLS(l, &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, errors.New("no such name")
		}})
		defer stop()
		p := newPool(t, origin.Options{Upstream: "https://" + l.Addr().String()})
		if _, err := p.Fetch(t.Context(), get("/")); kindOf(err) != origin.ErrAlert {
			t.Errorf("got %v (%s), want ErrAlert", err, kindOf(err))
		}
	})
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		l := listen(t)
		p := newPool(t, origin.Options{Upstream: "https://" + l.Addr().String(), TLS: 20 * time.Millisecond})
		_, err := p.Fetch(t.Context(), get("/"))
		if kindOf(err) != origin.ErrConnectTimeout || !strings.Contains(err.Error(), "no TLS handshake within 20ms") {
			t.Errorf("got %v, want ErrConnectTimeout", err)
		}
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestSockets: the real dialer names its troubles as the one in memory does.
func TestSockets(t *testing.T) {
	t.Parallel()
	l := listen(t)
	refused := l.Addr().String()
	l.Close()
	up := testorigin.Start(t)
	admin := netip.MustParseAddrPort(strings.TrimPrefix(up.URL, "http://"))
	forbid := func(a netip.AddrPort) bool { return a == admin }
	port := portOf(up.URL)
	for _, tc := range []struct {
		name, url string
		forbidden func(netip.AddrPort) bool
		kind      origin.ErrorKind
		text      string
	}{
		{"refused", "http://" + refused, nil, origin.ErrConnect, "connect to http://" + refused + " refused: is the origin running?"},
		{"unknown name", "http://no-such-host.invalid", nil, origin.ErrResolve, "is the name in the origin's URL right?"},
		{"admin by address", up.URL, forbid, origin.ErrForbidden, "own admin address"},
		{"admin by mapped address", "http://[::ffff:127.0.0.1]:" + port, forbid, origin.ErrForbidden, "own admin address"},
		{"admin by name", "http://localhost:" + port, func(a netip.AddrPort) bool { return a.Addr().IsLoopback() }, origin.ErrForbidden, "own admin address"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, origin.Options{Upstream: tc.url, Forbidden: tc.forbidden})
			_, err := p.Fetch(t.Context(), get("/"))
			if tc.kind == origin.ErrResolve && kindOf(err) == origin.ErrResolveTimeout {
				t.Skip("this machine's resolver does not answer")
			}
			if kindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %s %q, want %s %q", kindOf(err), err, tc.kind, tc.text)
			}
		})
	}
	if up.Total() != 0 {
		t.Errorf("%d requests reached the forbidden address", up.Total())
	}
}

// TestHTTP2: many requests on few connections, large bodies, breaks in them, and
// upgrades beside it on HTTP/1.1.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	p, up := secure(t, nil, nil)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			req := get("/size/200000")
			req.Query = "seed=1"
			resp, err := p.Fetch(t.Context(), req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			sum, _, err := testorigin.SumOf(resp.Body)
			if err != nil || sum != testorigin.Sum(1, 200000) || resp.Proto != "HTTP/2.0" {
				t.Errorf("body %s over %s, %v", sum, resp.Proto, err)
			}
		})
	}
	all.Wait()
	if s := p.Stats(); s.InFlight != 0 || s.Answered != 100 {
		t.Errorf("stats %+v, want 100 answered", s)
	}

	cut := get("/size/100000")
	cut.Query = "abort=500"
	resp, err := p.Fetch(t.Context(), cut)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if n != 500 || kindOf(err) != origin.ErrReset {
		t.Errorf("cut body: %d bytes, %v (%s); want 500 and ErrReset", n, err, kindOf(err))
	}

	head := get("/size/1")
	head.Query = "abort=head"
	if _, err := p.Fetch(t.Context(), head); kindOf(err) != origin.ErrReset {
		t.Errorf("cut head: %v (%s), want ErrReset", err, kindOf(err))
	}

	short := get("/size/10")
	short.Query = "length=20"
	if _, _, err := fetchAll(t.Context(), p, short); kindOf(err) != origin.ErrReset && kindOf(err) != origin.ErrIncomplete {
		t.Errorf("short body: %v (%s), want ErrReset or ErrIncomplete", err, kindOf(err))
	}

	up.Script("/giant", testorigin.Answer{Fields: slices.Repeat([]string{"A: " + strings.Repeat("x", 1000)}, 300)})
	if _, _, err := fetchAll(t.Context(), p, get("/giant")); kindOf(err) != origin.ErrHeaderSize {
		t.Errorf("giant head: %v (%s), want ErrHeaderSize", err, kindOf(err))
	}

	req := get("/upgrade")
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	resp, err = p.Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.WriteString(resp.Body.(io.Writer), "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "ping" {
		t.Errorf("upgrade over TLS: %q, %v", got, err)
	}
}

// TestHTTP2Upload: what RFC 9113 forbids in a field never gets there, and bodies do.
func TestHTTP2Upload(t *testing.T) {
	t.Parallel()
	p, _ := secure(t, nil, nil)
	req := get("/sum")
	req.Method = "PUT"
	req.Header = http.Header{"Connection": {"close"}, "Te": {"gzip"}, "Keep-Alive": {"5"}}
	req.Body, req.ContentLength = io.NopCloser(testorigin.Reader(2, 0, 3_000_000)), 3_000_000
	_, text, err := fetchAll(t.Context(), p, req)
	if err != nil || !strings.HasPrefix(text, testorigin.Sum(2, 3_000_000)) {
		t.Errorf("got %q, %v", text, err)
	}
	echo := get("/echo")
	echo.Header = http.Header{"A": {"b"}}
	if _, text, err = fetchAll(t.Context(), p, echo); err != nil || strings.Contains(text, "User-Agent") || strings.Contains(text, "Accept-Encoding") || !strings.Contains(text, "A: b\n") {
		t.Errorf("upstream saw %q, %v; want our field and no others", text, err)
	}
}

// TestHTTP2StopsAtTheBound: no more streams than the gate lets through.
func TestHTTP2StopsAtTheBound(t *testing.T) {
	t.Parallel()
	p, up := secure(t, nil, func(o *origin.Options) { o.Connections = 3 })
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			req := get("/x")
			req.Query = "body=b&delay=5ms"
			if _, _, err := fetchAll(context.WithoutCancel(t.Context()), p, req); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if up.Most() > 3 {
		t.Errorf("%d in hand at once, want at most 3", up.Most())
	}
}
