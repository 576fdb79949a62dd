package origin_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"perigee/internal/memnet"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// heard keeps what a request was told of interim responses.
type heard struct {
	start time.Time
	all   []string // status, Link lines, time since start
}

func (h *heard) tell(status int, header http.Header) {
	h.all = append(h.all, fmt.Sprint(status, " ", header["Link"], " ", time.Since(h.start)))
	header["Link"] = nil // it is the callee's own
}

// TestInterim: each interim response is told as it comes, over either protocol, and
// nothing of it is in the final one.
func TestInterim(t *testing.T) {
	t.Parallel()
	certificate, roots := testorigin.Certificate("origin.test")
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				up := testorigin.New()
				o := origin.Options{Upstream: upstreamAt, Dial: n.DialContext, RootCAs: roots}
				if proto == "HTTP/1.1" {
					defer up.Serve(n.Listen("origin.test:8000"))()
				} else {
					o.Upstream = "https://origin.test"
					defer up.ServeTLS(n.Listen("origin.test:443"), &tls.Config{Certificates: []tls.Certificate{certificate}})()
				}
				p := newPool(t, o)
				defer p.Close()
				for range 2 { // the second over the connection that was kept
					h := heard{start: time.Now()}
					req := get("/x")
					req.Query = "interim=100&interim=102&early=1&link=%3Ca%3E&link=%3Cb%3E&delay=1s&body=final"
					req.Interim = h.tell
					resp, text, err := fetchAll(t.Context(), p, req)
					if err != nil || text != "final" || resp.Proto != proto || resp.Header["Link"] != nil {
						t.Fatalf("got %q, %+v, %v; want final over %s without Link", text, resp, err, proto)
					}
					want := []string{"102 [] 0s", "103 [<a> <b>] 0s"}
					if diff := cmp.Diff(want, h.all); diff != "" {
						t.Errorf("told (-want +got):\n%s", diff)
					}
				}
				if up.Total() != 2 {
					t.Errorf("asked %d times, want 2", up.Total())
				}
			})
		})
	}
}

// interimBounds are what an upstream may send ahead of its final response. The
// upstream sends each head after a pause.
var interimBounds = []struct {
	name  string
	heads int
	field string // of each, its value
	lines int    // of each, how often it has that field; 0 = once
	pause time.Duration
	deaf  bool // nobody asked to be told

	told  int
	kind  origin.ErrorKind // ErrUnknown = 200
	after time.Duration
}{
	{name: "some", heads: 3, told: 3},
	{name: "more than are told", heads: 64, told: 8},
	{name: "too many", heads: 65, told: 8, kind: origin.ErrMalformed},
	{name: "much", heads: 2, field: strings.Repeat("x", 100<<10), told: 2},
	{name: "too much", heads: 3, field: strings.Repeat("x", 100<<10), told: 2, kind: origin.ErrMalformed},
	{name: "a value that is none", heads: 1, field: "a\x01b", kind: origin.ErrMalformed},
	{name: "too many fields", heads: 2, lines: 1025, kind: origin.ErrHeaderSize},
	{name: "without end", heads: 60, pause: time.Second, told: 8, kind: origin.ErrTimeout, after: 30 * time.Second},
	{name: "nobody listens", heads: 100, deaf: true},
}

func TestInterimBounds(t *testing.T) {
	t.Parallel()
	certificate, roots := testorigin.Certificate("origin.test")
	for _, tc := range interimBounds {
		check := func(t *testing.T, p *origin.Pool) {
			t.Helper()
			h := heard{start: time.Now()}
			req := get("/")
			if !tc.deaf {
				req.Interim = h.tell
			}
			_, _, err := fetchAll(t.Context(), p, req)
			if (err == nil) != (tc.kind == origin.ErrUnknown) || kindOf(err) != tc.kind {
				t.Errorf("got %v (%s), want %s", err, kindOf(err), tc.kind)
			}
			if len(h.all) != tc.told || time.Since(h.start) != tc.after {
				t.Errorf("told %d after %v, want %d after %v: %.80q", len(h.all), time.Since(h.start), tc.told, tc.after, h.all)
			}
			if s := p.Stats(); s.InFlight != 0 {
				t.Errorf("left in flight: %d", s.InFlight)
			}
		}
		t.Run("h1 "+tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				defer raw(n, func(c net.Conn, _ *bufio.Reader, _ *http.Request) {
					for range tc.heads {
						io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n"+strings.Repeat("A: "+tc.field+"\r\n", max(tc.lines, 1))+"\r\n")
						time.Sleep(tc.pause)
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				})()
				p := newPool(t, origin.Options{Upstream: upstreamAt, Dial: n.DialContext})
				defer p.Close()
				check(t, p)
			})
		})
		t.Run("h2 "+tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				l := n.Listen("origin.test:443")
				defer l.Close()
				go serveFrames(l, certificate, func(f *http2.Framer, s uint32) {
					for range tc.heads {
						fields := slices.Repeat([]string{"a", tc.field}, max(tc.lines, 1))
						writeHead(f, s, false, append([]string{":status", "103"}, fields...)...)
						time.Sleep(tc.pause)
					}
					writeHead(f, s, true, ":status", "200")
				}, false, true)
				p := newPool(t, origin.Options{Upstream: "https://origin.test", RootCAs: roots, Dial: n.DialContext})
				defer p.Close()
				check(t, p)
				// A connection with a stream that was reset is idle when the ping behind the
				// reset is answered, which an upstream that is still talking does late.
				time.Sleep(time.Duration(tc.heads) * tc.pause)
				synctest.Wait()
			})
		})
	}
}

// TestInterimOfTwoTries: an upstream that refuses a stream after an interim response
// is asked again (RFC 9113 §8.7), and its first hints are told once.
func TestInterimOfTwoTries(t *testing.T) {
	t.Parallel()
	certificate, roots := testorigin.Certificate("origin.test")
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l := n.Listen("origin.test:443")
		defer l.Close()
		tries := 0
		go serveFrames(l, certificate, func(f *http2.Framer, s uint32) {
			tries++
			writeHead(f, s, false, ":status", "103", "link", fmt.Sprint("<", tries, ">"))
			if tries == 1 {
				f.WriteRSTStream(s, http2.ErrCodeRefusedStream)
				return
			}
			writeHead(f, s, true, ":status", "200")
		}, false, true)
		p := newPool(t, origin.Options{Upstream: "https://origin.test", RootCAs: roots, Dial: n.DialContext})
		defer p.Close()
		h := heard{start: time.Now()}
		req := get("/")
		req.Interim = h.tell
		if _, _, err := fetchAll(t.Context(), p, req); err != nil || tries != 2 {
			t.Errorf("%d tries, %v; want success with the second", tries, err)
		}
		if diff := cmp.Diff([]string{"103 [<1>] 0s"}, h.all); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestInterimEndsWithFetch: a caller that leaves while it is being told gets its
// Fetch back when it has heard that one, and hears no other. Not in a bubble: Fetch
// waits for the callback with a mutex, which synctest does not see.
func TestInterimEndsWithFetch(t *testing.T) {
	t.Parallel()
	n := memnet.New()
	defer raw(n, hang(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 5)))()
	p := newPool(t, origin.Options{Upstream: upstreamAt, Dial: n.DialContext})
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told, returned atomic.Int32
	req := get("/")
	req.Interim = func(int, http.Header) {
		told.Add(1)
		cancel()
		for range 1000 { // whoever waits for nothing but ctx runs now
			runtime.Gosched()
		}
		if returned.Load() != 0 {
			t.Error("Fetch returned while its caller was being told")
		}
	}
	_, err := p.Fetch(ctx, req)
	returned.Store(1)
	before := told.Load()
	if kindOf(err) != origin.ErrCanceled {
		t.Errorf("got %v, want ErrCanceled", err)
	}
	for range 1000 {
		runtime.Gosched()
	}
	if after := told.Load(); before == 0 || after != before {
		t.Errorf("told %d times by the end of Fetch and %d after, want some and no more", before, after)
	}
}
