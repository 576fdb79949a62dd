package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"perigee/internal/memnet"
)

// TestConn runs the contract that x/net has for every net.Conn.
func TestConn(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		a, b := memnet.Pipe()
		return a, b, func() { a.Close(); b.Close() }, nil
	})
}

func TestDialOutcomes(t *testing.T) {
	t.Parallel()
	n := memnet.New()
	l := n.Listen("origin.test:80")
	defer l.Close()
	n.Blackhole("hole.test:80")

	for _, tc := range []struct {
		addr string
		want func(error) bool
	}{
		{"origin.test:80", func(err error) bool { return err == nil }},
		{l.Addr().String(), func(err error) bool { return err == nil }},
		{"origin.test:81", func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{"203.0.113.9:80", func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{"unknown.test:80", func(err error) bool { var dns *net.DNSError; return errors.As(err, &dns) && dns.IsNotFound }},
		{"hole.test:80", func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"nonsense", func(err error) bool { return err != nil }},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c, err := n.DialContext(ctx, "tcp", tc.addr)
			if !tc.want(err) {
				t.Errorf("dial %s: err = %v", tc.addr, err)
			}
			if c != nil {
				c.Close()
			}
		})
	}
}

func TestAddressesParse(t *testing.T) {
	t.Parallel()
	n := memnet.New()
	l := n.Listen("origin.test:443")
	defer l.Close()
	from := netip.MustParseAddr("198.51.100.7")
	c, err := n.DialerFrom(from)(t.Context(), "tcp", "origin.test:443")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := netip.ParseAddrPort(s.RemoteAddr().String())
	if err != nil || got.Addr() != from {
		t.Errorf("RemoteAddr = %s (%v), want an address of %s", s.RemoteAddr(), err, from)
	}
	if got, want := c.RemoteAddr().String(), l.Addr().String(); got != want {
		t.Errorf("dialled %s, want %s", got, want)
	}
}

// TestBufferIsBounded: a writer nobody reads from waits after 64 KiB.
func TestBufferIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 1<<20))
		if n != 64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write with no reader = %d, %v; want 65536 and a deadline error", n, err)
		}
		a.Close()
		got, err := io.Copy(io.Discard, b)
		if got != 64<<10 || err != nil {
			t.Errorf("read %d bytes, %v; want 65536, nil", got, err)
		}
		b.Close()
	})
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		end       func(c *memnet.Conn)
		read      error // what the other end reads after "hello", nil for EOF
		write     error // what the other end gets for writing
		keepsData bool
	}{
		{"close", func(c *memnet.Conn) { c.Close() }, nil, syscall.EPIPE, true},
		{"half close", func(c *memnet.Conn) { c.CloseWrite() }, nil, nil, true},
		{"linger 0", func(c *memnet.Conn) { c.SetLinger(0); c.Close() }, syscall.ECONNRESET, syscall.ECONNRESET, false},
		{"reset", func(c *memnet.Conn) { c.Reset() }, syscall.ECONNRESET, syscall.ECONNRESET, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a, b := memnet.Pipe()
			a.Write([]byte("hello"))
			tc.end(a)
			got, err := io.ReadAll(b)
			if !errors.Is(err, tc.read) {
				t.Errorf("read error = %v, want %v", err, tc.read)
			}
			if tc.keepsData != (string(got) == "hello") {
				t.Errorf("read %q, want the data kept: %t", got, tc.keepsData)
			}
			if _, err := b.Write([]byte("x")); !errors.Is(err, tc.write) {
				t.Errorf("write error = %v, want %v", err, tc.write)
			}
		})
	}
}

// TestHTTPAcrossAnHour runs http.Server and http.Transport, clear and TLS, HTTP/1.1
// and HTTP/2, in a bubble while an hour passes.
func TestHTTPAcrossAnHour(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		scheme, proto string
		h2            bool
	}{{"http", "HTTP/1.1", false}, {"https", "HTTP/1.1", false}, {"https", "HTTP/2.0", true}} {
		t.Run(tc.scheme+" "+tc.proto, func(t *testing.T) {
			t.Parallel()
			// Certificates of httptest are valid in the year 2000 of the bubble too.
			tlsServer := httptest.NewTLSServer(nil)
			defer tlsServer.Close()
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				l := n.Listen("example.com:443")
				body := bytes.Repeat([]byte("perigee "), 1<<16)
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Hour)
					w.Write(body)
				})}
				done := make(chan error)
				pool := tlsServer.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
				client := &http.Transport{DialContext: n.DialContext, ForceAttemptHTTP2: tc.h2}
				if tc.scheme == "https" {
					server.TLSConfig = tlsServer.TLS.Clone()
					server.TLSConfig.NextProtos = nil
					client.TLSClientConfig = tlsServer.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
					client.TLSClientConfig.RootCAs = pool
					client.TLSClientConfig.NextProtos = nil
					go func() { done <- server.ServeTLS(l, "", "") }()
				} else {
					go func() { done <- server.Serve(l) }()
				}
				resp, err := (&http.Client{Transport: client}).Get(tc.scheme + "://example.com:443/")
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, body) || resp.Proto != tc.proto {
					t.Errorf("got %d bytes over %s, %v; want %d over %s", len(got), resp.Proto, err, len(body), tc.proto)
				}
				client.CloseIdleConnections()
				server.Close()
				<-done
			})
		})
	}
}
