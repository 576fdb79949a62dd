package origin_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/internal/memnet"
	"perigee/origin"
)

// upstreamAt is where raw serves.
const upstreamAt = "http://origin.test:8000"

// raw serves connections by hand: each is given to serve after its first request
// was read, and closed when serve returns. stop waits for all of them.
func raw(n *memnet.Network, serve func(c net.Conn, in *bufio.Reader, r *http.Request)) (stop func()) {
	l := n.Listen("origin.test:8000")
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				if r, err := http.ReadRequest(in); err == nil {
					serve(c, in, r)
				}
			})
		}
	})
	return func() { l.Close(); running.Wait() }
}

// say answers every request with the same bytes and hangs up.
func say(text string) func(net.Conn, *bufio.Reader, *http.Request) {
	return func(c net.Conn, _ *bufio.Reader, _ *http.Request) { io.WriteString(c, text) }
}

// hang answers with text and then nothing until the client leaves.
func hang(text string) func(net.Conn, *bufio.Reader, *http.Request) {
	return func(c net.Conn, in *bufio.Reader, _ *http.Request) {
		io.WriteString(c, text)
		io.Copy(io.Discard, in)
	}
}

func newPool(t *testing.T, o origin.Options) *origin.Pool {
	t.Helper()
	p, err := origin.NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func get(path string) *origin.Request {
	return &origin.Request{Method: "GET", Path: path, SiteHost: "site.test", ClientHost: "client.test", Header: http.Header{}}
}

// fetchAll fetches and reads to the end.
func fetchAll(ctx context.Context, p *origin.Pool, req *origin.Request) (*origin.Response, string, error) {
	resp, err := p.Fetch(ctx, req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// TestTrouble: each way an upstream can fail has its kind, its status, and words
// that say what to do; and leaves nothing in flight.
func TestTrouble(t *testing.T) {
	t.Parallel()
	const headOf10 = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tc := range []struct {
		name   string
		serve  func(net.Conn, *bufio.Reader, *http.Request) // nil: nothing listens
		change func(o *origin.Options, n *memnet.Network)
		kind   origin.ErrorKind
		status int
		after  time.Duration // until the error
		text   string
	}{
		{
			name: "refused", kind: origin.ErrConnect, status: 502, text: "connect to http://origin.test:8000 refused: is the origin running?",
			change: func(_ *origin.Options, n *memnet.Network) { n.Addr("origin.test") },
		},
		{name: "no such name", kind: origin.ErrResolve, status: 502, text: "find the address of http://origin.test:8000"},
		{
			name: "packets dropped", kind: origin.ErrConnectTimeout, status: 504, after: 3 * time.Second, text: "no connection within 3s",
			change: func(_ *origin.Options, n *memnet.Network) { n.Blackhole("origin.test:8000") },
		},
		{
			name: "own admin", serve: say(headOf10 + "0123456789"), kind: origin.ErrForbidden, status: 502, text: "upstream resolves to perigee's own admin address",
			change: func(o *origin.Options, n *memnet.Network) {
				admin := netip.AddrPortFrom(n.Addr("origin.test"), 8000)
				o.Forbidden = func(a netip.AddrPort) bool { return a == admin }
			},
		},
		{name: "silent", serve: hang(""), kind: origin.ErrTimeout, status: 504, after: 30 * time.Second, text: "no response head within 30s"},
		{
			name: "only interim responses", kind: origin.ErrTimeout, status: 504, after: 30 * time.Second, text: "no response head within 30s",
			serve: func(c net.Conn, _ *bufio.Reader, _ *http.Request) {
				for {
					if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n"); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			},
		},
		{name: "gap in the body", serve: hang(headOf10 + "01234"), kind: origin.ErrTimeout, status: 504, after: time.Minute, text: "no byte of the body within 1m0s"},
		{
			name: "total", serve: func(c net.Conn, _ *bufio.Reader, _ *http.Request) {
				io.WriteString(c, chunked)
				for {
					if _, err := io.WriteString(c, "1\r\nx\r\n"); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}, change: func(o *origin.Options, _ *memnet.Network) { o.Total = 90 * time.Second },
			kind: origin.ErrTimeout, status: 504, after: 90 * time.Second, text: "not the whole response within 1m30s",
		},
		{name: "hung up", serve: say(""), kind: origin.ErrReset, status: 502, text: "closed the connection without a whole answer"},
		{name: "hung up in the head", serve: say("HTTP/1.1 200 OK\r\nA: b\r\n"), kind: origin.ErrReset, status: 502},
		{name: "reset", serve: func(c net.Conn, _ *bufio.Reader, _ *http.Request) { c.(*memnet.Conn).Reset() }, kind: origin.ErrReset, status: 502},
		{name: "reset in the body", serve: func(c net.Conn, _ *bufio.Reader, _ *http.Request) {
			io.WriteString(c, headOf10+"01234")
			time.Sleep(time.Second)
			c.(*memnet.Conn).Reset()
		}, kind: origin.ErrReset, status: 502, after: time.Second},
		{name: "short body", serve: say(headOf10 + "01234"), kind: origin.ErrIncomplete, status: 502, text: "cut its answer short"},
		{name: "short chunk", serve: say(chunked + "a\r\n01234"), kind: origin.ErrIncomplete, status: 502},
		{name: "no last chunk", serve: say(chunked + "5\r\n01234\r\n"), kind: origin.ErrIncomplete, status: 502},
		{name: "bad chunk", serve: say(chunked + "zz\r\n01234\r\n"), kind: origin.ErrMalformed, status: 502},
		{name: "not HTTP", serve: say("SSH-2.0-OpenSSH_9.9\r\n"), kind: origin.ErrMalformed, status: 502, text: "answered what is not valid HTTP"},
		{name: "bad status", serve: say("HTTP/1.1 2xx OK\r\n\r\n"), kind: origin.ErrMalformed, status: 502},
		{name: "status below 100", serve: say("HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n"), kind: origin.ErrMalformed, status: 502},
		{name: "bad field name", serve: say("HTTP/1.1 200 OK\r\nA b: c\r\nContent-Length: 0\r\n\r\n"), kind: origin.ErrMalformed, status: 502},
		{name: "space before the colon", serve: say("HTTP/1.1 200 OK\r\nA : c\r\nContent-Length: 0\r\n\r\n"), kind: origin.ErrMalformed, status: 502},
		{name: "control character", serve: say("HTTP/1.1 200 OK\r\nA: b\x01c\r\nContent-Length: 0\r\n\r\n"), kind: origin.ErrMalformed, status: 502},
		{name: "no colon", serve: say("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), kind: origin.ErrMalformed, status: 502},
		{name: "two lengths", serve: say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), kind: origin.ErrMalformed, status: 502},
		{name: "negative length", serve: say("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nxx"), kind: origin.ErrMalformed, status: 502},
		{name: "unknown coding", serve: say("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx"), kind: origin.ErrMalformed, status: 502},
		{name: "giant head", serve: say("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 300<<10) + "\r\n\r\n"), kind: origin.ErrHeaderSize, status: 502},
		{name: "too many fields", serve: say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Repeat("A: b\r\n", 1024) + "\r\n"), kind: origin.ErrHeaderSize, status: 502, text: "1025 field lines, 1024 are allowed"},
		{name: "101 unasked", serve: say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), kind: origin.ErrUpgrade, status: 502},
		{name: "101 without a protocol", serve: say("HTTP/1.1 101 Switching Protocols\r\n\r\n"), kind: origin.ErrUpgrade, status: 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				if tc.serve != nil {
					defer raw(n, tc.serve)()
				}
				o := origin.Options{Upstream: upstreamAt, Dial: n.DialContext}
				if tc.change != nil {
					tc.change(&o, n)
				}
				p := newPool(t, o)
				defer p.Close()
				start := time.Now()
				_, _, err := fetchAll(t.Context(), p, get("/"))
				var bad *origin.Error
				if !errors.As(err, &bad) {
					t.Fatalf("err = %v, want an *origin.Error", err)
				}
				if bad.Kind != tc.kind || bad.Status() != tc.status || !strings.Contains(bad.Error(), tc.text) || bad.Upstream != upstreamAt {
					t.Errorf("got %s %d %q of %s; want %s %d %q of %s", bad.Kind, bad.Status(), bad, bad.Upstream, tc.kind, tc.status, tc.text, upstreamAt)
				}
				if got := time.Since(start); got != tc.after {
					t.Errorf("failed after %v, want %v", got, tc.after)
				}
				if s := p.Stats(); s.InFlight != 0 || s.Failed[tc.kind]+s.Cut[tc.kind] != 1 {
					t.Errorf("stats %+v, want nothing in flight and one %s", s, tc.kind)
				}
			})
		})
	}
}

// TestWire: what the upstream reads, byte for byte.
func TestWire(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		o      origin.Options
		change func(r *origin.Request)
		want   string
	}{
		{name: "bare", want: "GET / HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n"},
		{name: "fields as given", change: func(r *origin.Request) {
			r.Header = http.Header{"User-Agent": {"curl/8"}, "Accept-Encoding": {"br"}, "X-Forwarded-For": {"192.0.2.9"}}
		}, want: "GET / HTTP/1.1\r\nHost: origin.test:8000\r\nUser-Agent: curl/8\r\nAccept-Encoding: br\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"},
		{name: "hop by hop", change: func(r *origin.Request) {
			r.Header = http.Header{"Connection": {"close"}, "Keep-Alive": {"1"}, "Te": {"trailers"}, "Expect": {"100-continue"}, "Host": {"evil"}, "Transfer-Encoding": {"gzip"}, "Upgrade": {"h2c"}, "Content-Length": {"5"}}
		}, want: "GET / HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n"},
		{name: "nil header", change: func(r *origin.Request) { r.Header = nil }, want: "GET / HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n"},
		{name: "site", o: origin.Options{Host: origin.HostSite}, want: "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n"},
		{name: "client", o: origin.Options{Host: origin.HostClient}, want: "GET / HTTP/1.1\r\nHost: client.test\r\n\r\n"},
		{name: "name", o: origin.Options{Host: origin.HostName, HostName: "other.test:99"}, want: "GET / HTTP/1.1\r\nHost: other.test:99\r\n\r\n"},
		{
			name: "base path", o: origin.Options{Upstream: upstreamAt + "/b%20se/"}, change: func(r *origin.Request) { r.Path, r.Query = "/x", "q=1" },
			want: "GET /b%20se/x?q=1 HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n",
		},
		{
			name: "escapes kept", change: func(r *origin.Request) { r.Path, r.Query = "/%7Ea/%2F|\"<>^`{}", "a=%20|{}\"" },
			want: "GET /%7Ea/%2F|\"<>^`{}?a=%20|{}\" HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n",
		},
		{
			name: "two slashes", change: func(r *origin.Request) { r.Path = "//evil.test/%2Fx" },
			want: "GET //evil.test/%2Fx HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n",
		},
		{name: "body", change: func(r *origin.Request) {
			r.Method, r.Body, r.ContentLength = "PUT", io.NopCloser(strings.NewReader("hello")), 5
		}, want: "PUT / HTTP/1.1\r\nHost: origin.test:8000\r\nContent-Length: 5\r\n\r\nhello"},
		{name: "body of unknown length", change: func(r *origin.Request) {
			r.Method, r.Body, r.ContentLength = "PUT", io.NopCloser(strings.NewReader("hello")), -1
		}, want: "PUT / HTTP/1.1\r\nHost: origin.test:8000\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{
			name: "empty body", change: func(r *origin.Request) { r.Method, r.Body = "POST", io.NopCloser(strings.NewReader("")) },
			want: "POST / HTTP/1.1\r\nHost: origin.test:8000\r\nContent-Length: 0\r\n\r\n",
		},
		{
			name: "unusual method", change: func(r *origin.Request) { r.Method = "PROPFIND" },
			want: "PROPFIND / HTTP/1.1\r\nHost: origin.test:8000\r\n\r\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				l := n.Listen("origin.test:8000")
				got := make(chan string, 1)
				go func() {
					c, _ := l.Accept()
					defer c.Close()
					c.SetReadDeadline(time.Now().Add(time.Second))
					text, _ := io.ReadAll(c)
					io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
					got <- string(text)
				}()
				o := tc.o
				o.Dial = n.DialContext
				if o.Upstream == "" {
					o.Upstream = upstreamAt
				}
				p := newPool(t, o)
				defer p.Close()
				req := get("/")
				if tc.change != nil {
					tc.change(req)
				}
				if _, _, err := fetchAll(t.Context(), p, req); err != nil {
					t.Fatal(err)
				}
				if text := <-got; text != tc.want {
					t.Errorf("upstream read %q, want %q", text, tc.want)
				}
				l.Close()
			})
		})
	}
}

// TestUnsendable: nothing that would break a request line or a field reaches a
// connection.
func TestUnsendable(t *testing.T) {
	t.Parallel()
	p := newPool(t, origin.Options{Upstream: upstreamAt, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, io.EOF
	}})
	for _, tc := range []struct {
		name   string
		change func(r *origin.Request)
	}{
		{"empty path", func(r *origin.Request) { r.Path = "" }},
		{"star", func(r *origin.Request) { r.Path = "*" }},
		{"absolute", func(r *origin.Request) { r.Path = "http://evil/" }},
		{"space", func(r *origin.Request) { r.Path = "/a b" }},
		{"line", func(r *origin.Request) { r.Path = "/a\r\nX: y" }},
		{"query in path", func(r *origin.Request) { r.Path = "/a?b" }},
		{"fragment", func(r *origin.Request) { r.Query = "a#b" }},
		{"line in query", func(r *origin.Request) { r.Query = "a\nb" }},
		{"CONNECT", func(r *origin.Request) { r.Method = "CONNECT" }},
		{"method", func(r *origin.Request) { r.Method = "GET /" }},
		{"no method", func(r *origin.Request) { r.Method = "" }},
		{"field name", func(r *origin.Request) { r.Header["a b"] = []string{"c"} }},
		{"field value", func(r *origin.Request) { r.Header["A"] = []string{"c\r\nd: e"} }},
	} {
		req := get("/")
		tc.change(req)
		closed := &closing{Reader: strings.NewReader("x")}
		req.Body, req.ContentLength = closed, 1
		_, err := p.Fetch(t.Context(), req)
		var bad *origin.Error
		if !errors.As(err, &bad) || bad.Kind != origin.ErrUnknown || bad.Status() != 502 {
			t.Errorf("%s: err = %v, want kind %s", tc.name, err, origin.ErrUnknown)
		}
		if !closed.closed {
			t.Errorf("%s: the request's body was not closed", tc.name)
		}
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }
