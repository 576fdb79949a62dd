package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestClientKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 1}, "192.0.2.1"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 1}, "192.0.2.1"},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8:1:2:3:4:5:6"), Port: 1}, "2001:db8:1:2::"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 1}, "fe80::"},
		{&net.UnixAddr{Name: "/x"}, "invalid IP"},
		{nil, "invalid IP"},
	} {
		if got := clientKey(c.addr).String(); got != c.want {
			t.Errorf("clientKey(%v) = %s, want %s", c.addr, got, c.want)
		}
	}
}

// refusedRead reports whether the far side closed c without a byte.
func refusedRead(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

func TestConnectionLimitsAreExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s, stop := start(t, Options{
			HTTP: []string{":80"}, Listen: m.Listen, Answerer: http.HandlerFunc(hello),
			Limits: Limits{Connections: 5, ConnectionsPerIP: 2, HeaderTime: time.Hour},
		})
		defer stop()
		var open []net.Conn
		for _, step := range []struct {
			from string
			want Refusal
		}{
			{"192.0.2.1:1", RefusalNone},
			{"192.0.2.1:2", RefusalNone},
			{"192.0.2.1:3", RefusalPerIP},
			{"[2001:db8::1]:1", RefusalNone},
			{"[2001:db8::2]:1", RefusalNone},
			{"[2001:db8::3]:1", RefusalPerIP}, // the same /64
			{"[2001:db8:0:1::1]:1", RefusalNone},
			{"192.0.2.2:1", RefusalTotal},
			{"192.0.2.1:4", RefusalTotal},
		} {
			before := s.Stats().Refused[step.want]
			c, err := m.dial(":80", step.from)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if step.want == RefusalNone {
				open = append(open, c)
				continue
			}
			if !refusedRead(c) || s.Stats().Refused[step.want] != before+1 {
				t.Errorf("%s was not refused by %v: %+v", step.from, step.want, s.Stats())
			}
			c.Close()
		}
		want := Stats{Open: 5, Clients: 3, Accepted: 5}
		want.Refused = map[Refusal]uint64{RefusalTotal: 2, RefusalPerIP: 2}
		got := s.Stats()
		want.Faults, want.BadRequests = got.Faults, got.BadRequests
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Stats (-want +got):\n%s", diff)
		}
		open[0].Close()
		synctest.Wait()
		c, err := m.dial(":80", "192.0.2.1:5")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if resp := ask(t, c, bufio.NewReader(c), plainGet); resp.StatusCode != 200 {
			t.Errorf("after one left: status %d, want 200", resp.StatusCode)
		}
		for _, c := range open {
			c.Close()
		}
	})
}

// TestCountsReturnToZero lets connections end in every way at once.
func TestCountsReturnToZero(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t, "localhost")
	s, stop := start(t, Options{
		HTTP: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, Certificates: only(cert),
		Limits: Limits{Connections: 8, ConnectionsPerIP: 6},
		Answerer: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") == "" {
				hello(w, r)
				return
			}
			if nc, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = nc.Close()
				_ = nc.Close() // twice counts once
			}
		}),
	})
	clear, secure := s.Addrs()
	ways := []func(net.Conn){
		func(net.Conn) {}, // connects and leaves
		func(c net.Conn) {
			_, _ = io.WriteString(c, plainGet)
			_, _ = http.ReadResponse(bufio.NewReader(c), nil)
		},
		func(c net.Conn) { // hijacked
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		},
		func(c net.Conn) { _, _ = io.WriteString(c, "\x00\x01broken\r\n\r\n") },
		func(c net.Conn) { _ = tls.Client(c, trusting()).Handshake() },
		func(c net.Conn) { _ = tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake() },
	}
	const clients, rounds = 16, 12
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for j := range rounds {
				addr := clear[0]
				if (i+j)%2 == 0 {
					addr = secure[0]
				}
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%3))}}
				c, err := d.DialContext(t.Context(), "tcp", addr.String())
				if err != nil {
					t.Errorf("dial %s: %v", addr, err)
					return
				}
				ways[(i*rounds+j)%len(ways)](c)
				_ = c.Close()
			}
		})
	}
	all.Wait()
	stop()
	st := s.Stats()
	if st.Open != 0 || st.Clients != 0 || st.Hijacked != 0 || st.Requests != 0 {
		t.Errorf("after everybody left: %+v, want nothing open", st)
	}
	if got := st.Accepted + st.Refused[RefusalTotal] + st.Refused[RefusalPerIP]; got > clients*rounds {
		t.Errorf("%d connections accepted or refused, but only %d were made", got, clients*rounds)
	}
}

func TestGateUnderConcurrency(t *testing.T) {
	t.Parallel()
	var g gate
	g.setLimits(Limits{Connections: 10, ConnectionsPerIP: 4})
	var all sync.WaitGroup
	var most sync.Map
	for i := range 16 {
		from := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 4)})
		all.Go(func() {
			for range 500 {
				c := &conn{gate: &g, from: from}
				if !g.admit(c) {
					continue
				}
				g.mu.Lock()
				if g.open > 10 || g.perIP[from] > 4 || len(g.perIP) > g.open {
					most.Store(from, [2]int{g.open, g.perIP[from]})
				}
				g.mu.Unlock()
				var both sync.WaitGroup
				both.Go(func() { g.hijack(c) })
				both.Go(func() { g.release(c) })
				g.release(c)
				both.Wait()
			}
		})
	}
	all.Wait()
	most.Range(func(k, v any) bool {
		t.Errorf("over the limits: %v had %v", k, v)
		return true
	})
	if g.open != 0 || len(g.perIP) != 0 || g.hijacked != 0 {
		t.Errorf("left over: %d open, %d clients, %d hijacked", g.open, len(g.perIP), g.hijacked)
	}
}

func TestHandshakeFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want  Fault
		visit func(t *testing.T, c net.Conn)
	}{
		{FaultTimeout, func(_ *testing.T, c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{FaultGone, func(_ *testing.T, c net.Conn) { _, _ = io.WriteString(c, "\x16\x03\x01") }},
		{FaultPlainHTTP, func(t *testing.T, c net.Conn) {
			if resp := ask(t, c, bufio.NewReader(c), plainGet); resp.StatusCode != 400 {
				t.Errorf("HTTP on a TLS address: status %d, want 400", resp.StatusCode)
			}
		}},
		{FaultNotTLS, func(_ *testing.T, c net.Conn) {
			_, _ = io.WriteString(c, "SSH-2.0-x\r\n")
			_, _ = io.Copy(io.Discard, c)
		}},
		{FaultVersion, func(t *testing.T, c net.Conn) {
			refuse(t, c, &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		}},
		{FaultNoCertificate, func(t *testing.T, c net.Conn) {
			refuse(t, c, &tls.Config{InsecureSkipVerify: true, ServerName: "b.test"})
		}},
		{FaultRejected, func(t *testing.T, c net.Conn) {
			refuse(t, c, &tls.Config{ServerName: "a.test", RootCAs: x509.NewCertPool()})
		}},
		{FaultOther, func(t *testing.T, c net.Conn) {
			refuse(t, c, &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{"smtp"}})
		}},
	} {
		t.Run(c.want.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				var certs Certificates
				certs.Replace(Snapshot{Hosts: map[string]*tls.Certificate{"a.test": selfSigned(t, "a.test")}})
				s, stop := start(t, Options{
					HTTPS: []string{":443"}, Listen: m.Listen, Answerer: http.HandlerFunc(hello), Certificates: certs.Get,
				})
				defer stop()
				nc, err := m.dial(":443", "192.0.2.1:1")
				if err != nil {
					t.Fatal(err)
				}
				c.visit(t, eager(nc))
				nc.Close()
				synctest.Wait()
				want := make(map[Fault]uint64)
				for f := FaultNone + 1; f < numFaults; f++ {
					want[f] = 0
				}
				want[c.want] = 1
				st := s.Stats()
				if diff := cmp.Diff(want, st.Faults); diff != "" {
					t.Errorf("Faults (-want +got):\n%s", diff)
				}
				if st.Open != 0 {
					t.Errorf("%d connections open", st.Open)
				}
			})
		})
	}
}

func refuse(t *testing.T, c net.Conn, config *tls.Config) {
	t.Helper()
	if err := tls.Client(c, config).HandshakeContext(context.Background()); err == nil {
		t.Errorf("a handshake that must fail succeeded")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for r := RefusalNone; r <= numRefusals; r++ {
		seen["refusal "+r.String()] = true
	}
	for f := FaultNone; f <= numFaults; f++ {
		if f.String() == "" {
			t.Errorf("Fault %d has no name", f)
		}
		seen["fault "+f.String()] = true
	}
	if want := int(numRefusals) + 1 + int(numFaults) + 1; len(seen) != want {
		t.Errorf("%d different names, want %d: %v", len(seen), want, seen)
	}
}
