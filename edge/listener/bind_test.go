package listener

import (
	"bufio"
	"context"
	"io"
	"iter"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

func TestOpenSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		http, https []string
		err         error
		want        string
	}{
		{"port in use", []string{":1", ":9"}, nil, os.NewSyscallError("bind", syscall.EADDRINUSE), "ss -ltnp 'sport = :9'"},
		{"privileged", []string{":1", ":80"}, nil, os.NewSyscallError("bind", syscall.EACCES), "give CAP_NET_BIND_SERVICE or listen on :8080"},
		{"forbidden, not privileged", []string{":1", ":8080"}, nil, os.NewSyscallError("bind", syscall.EACCES), "listen on :8080: listen tcp: bind: permission denied"},
		{"not ours", []string{":1", "192.0.2.1:80"}, nil, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL), "`ip addr` lists"},
		{"no port", []string{":1", "localhost"}, nil, &net.AddrError{Err: "missing port in address", Addr: "localhost"}, "write host:port, [ipv6]:port or :port"},
		{"twice", []string{":1", ":2", ":1"}, nil, nil, "listen on :1: the address is listed twice"},
		{"both", []string{":1"}, []string{":1"}, nil, "listen on :1: the address is listed twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMemory()
			if last := c.http[len(c.http)-1]; c.err != nil {
				m.fail[last] = c.err
			}
			_, err := Open(Options{
				HTTP: c.http, HTTPS: c.https, Listen: m.Listen, Answerer: http.HandlerFunc(hello), Certificates: new(Certificates).Get,
			})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open(%v, %v) = %v, want an error with %q", c.http, c.https, err, c.want)
			}
			if left := slices.Sorted(mapKeys(m.ports)); len(left) != 0 {
				t.Errorf("Open(%v, %v) failed and left %v bound", c.http, c.https, left)
			}
		})
	}
}

func TestOpenRealPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	_, err = Open(Options{HTTP: []string{"127.0.0.1:0", addr}, Answerer: http.HandlerFunc(hello)})
	if err == nil || !strings.Contains(err.Error(), "listen on "+addr+": the port is in use") {
		t.Errorf("Open on a port in use = %v", err)
	}
}

func TestOpenNeedsItsParts(t *testing.T) {
	t.Parallel()
	if _, err := Open(Options{}); err == nil {
		t.Error("Open without an Answerer succeeded")
	}
	m := newMemory()
	if _, err := Open(Options{HTTPS: []string{":443"}, Listen: m.Listen, Answerer: http.HandlerFunc(hello)}); err == nil {
		t.Error("Open of an HTTPS address without Certificates succeeded")
	}
}

func TestRebindKeepsAddsAndRemoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cert := selfSigned(t, "a.test")
		m := newMemory()
		s, stop := start(t, Options{
			HTTP: []string{":1", ":2"}, HTTPS: []string{":3"}, Listen: m.Listen, Drain: 7 * time.Second,
			Answerer: http.HandlerFunc(hello), Certificates: only(cert),
		})
		defer stop()
		kept, turned := m.listener(":1"), m.listener(":2")
		m.fail[":9"] = os.NewSyscallError("bind", syscall.EADDRINUSE)
		if err := s.Rebind([]string{":4", ":9"}, []string{":5"}); err == nil {
			t.Fatal("Rebind to an address in use succeeded")
		}
		if diff := cmp.Diff([]string{":1", ":2", ":3"}, slices.Sorted(mapKeys(m.ports))); diff != "" {
			t.Errorf("after a failed Rebind, bound (-want +got):\n%s", diff)
		}
		// :2 turns from HTTP to HTTPS, :3 goes, :4 comes.
		if err := s.Rebind([]string{":4", ":1"}, []string{":2"}); err != nil {
			t.Fatalf("Rebind: %v", err)
		}
		if diff := cmp.Diff([]string{":1", ":2", ":4"}, slices.Sorted(mapKeys(m.ports))); diff != "" {
			t.Errorf("after Rebind, bound (-want +got):\n%s", diff)
		}
		if m.listener(":1") != kept || m.listener(":2") != turned {
			t.Error("an unchanged address did not keep its socket")
		}
		hc := &http.Client{Transport: &http.Transport{
			DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				return m.dial(":"+port, "192.0.2.1:1")
			},
			TLSClientConfig: trusting(cert), DisableKeepAlives: true,
		}}
		for _, url := range []string{"http://a.test:1/", "http://a.test:4/", "https://a.test:2/"} {
			if resp, _ := get(t, hc, url); resp.StatusCode != 200 {
				t.Errorf("GET %s after Rebind: status %d", url, resp.StatusCode)
			}
		}
	})
}

func TestRebindDrainsWithinItsBound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer time.Duration
		want   string
	}{
		{"finishes", 6 * time.Second, "begin end"},
		{"is cut", 8 * time.Second, "begin "},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			s, stop := start(t, Options{
				HTTP: []string{":1"}, Listen: m.Listen, Drain: 7 * time.Second,
				Answerer: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "begin ")
					_ = http.NewResponseController(w).Flush()
					if pause(r.Context(), c.answer) {
						_, _ = io.WriteString(w, "end")
					}
				}),
			})
			defer stop()
			nc, err := m.dial(":1", "192.0.2.1:1")
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, plainGet); err != nil {
				t.Fatal(err)
			}
			br := bufio.NewReader(nc)
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if err := s.Rebind([]string{":2"}, nil); err != nil {
				t.Fatalf("Rebind: %v", err)
			}
			if _, err := m.dial(":1", "192.0.2.1:1"); err == nil {
				t.Errorf("%s: the removed address still accepts", c.name)
			}
			body, err := io.ReadAll(resp.Body)
			if string(body) != c.want || (err == nil) != (c.want == "begin end") {
				t.Errorf("%s: the response on the removed address became %q, %v; want %q", c.name, body, err, c.want)
			}
		})
	}
}

func TestSetLimitsChangesNewConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s, stop := start(t, Options{
			HTTP: []string{":80"}, Listen: m.Listen, Answerer: http.HandlerFunc(hello),
			Limits: Limits{Idle: 100 * time.Second},
		})
		defer stop()
		old, err := m.dial(":80", "192.0.2.1:1")
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		br := bufio.NewReader(old)
		if resp := ask(t, old, br, plainGet); resp.Close {
			t.Error("the first response closes the connection")
		}
		s.SetLimits(Limits{Idle: 5 * time.Second, Connections: 2})
		time.Sleep(50 * time.Second) // longer than the new bound, shorter than the old
		young, err := m.dial(":80", "192.0.2.1:1")
		if err != nil {
			t.Fatal(err)
		}
		defer young.Close()
		third, err := m.dial(":80", "192.0.2.1:1")
		if err != nil {
			t.Fatal(err)
		}
		defer third.Close()
		if _, err := third.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the third connection of two: read %v, want EOF", err)
		}
		if resp := ask(t, old, br, plainGet); resp.StatusCode != 200 || !resp.Close {
			t.Errorf("the old connection after SetLimits: status %d, close %t; want 200 and a close", resp.StatusCode, resp.Close)
		}
		yr := bufio.NewReader(young)
		if resp := ask(t, young, yr, plainGet); resp.StatusCode != 200 || resp.Close {
			t.Errorf("a new connection: status %d, close %t; want 200 and none", resp.StatusCode, resp.Close)
		}
		began := time.Now()
		if _, err := yr.ReadByte(); err != io.EOF || time.Since(began) != 5*time.Second {
			t.Errorf("a new connection ended after %v with %v, want 5s of idleness", time.Since(began), err)
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.engines) != 1 {
			t.Errorf("%d engines, want 1: the old one has no connections", len(s.engines))
		}
	})
}
