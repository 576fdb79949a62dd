package origin_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/internal/memnet"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// bubble serves an origin over memnet and asks it through a pool.
func bubble(t *testing.T, o origin.Options, test func(t *testing.T, p *origin.Pool, up *testorigin.Origin)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		up := testorigin.New()
		stop := up.Serve(n.Listen("origin.test:8000"))
		o.Upstream, o.Dial = upstreamAt, n.DialContext
		p := newPool(t, o)
		test(t, p, up)
		if s := p.Stats(); s.InFlight != 0 || s.Queued != 0 {
			t.Errorf("left in flight %d, queued %d", s.InFlight, s.Queued)
		}
		p.Close()
		stop()
	})
}

func kindOf(err error) origin.ErrorKind {
	var bad *origin.Error
	if errors.As(err, &bad) {
		return bad.Kind
	}
	return origin.ErrUnknown
}

func TestResponse(t *testing.T) {
	t.Parallel()
	bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
		up.Script("/a", testorigin.Answer{Status: 203, Text: "hello", Early: true, Delay: time.Second, Fields: []string{"X: 1", "X: 2", "Connection: keep-alive"}})
		start := time.Now()
		resp, text, err := fetchAll(t.Context(), p, get("/a"))
		if err != nil || text != "hello" {
			t.Fatalf("got %q, %v; want hello", text, err)
		}
		resp.Body, resp.Trailer = nil, nil
		want := &origin.Response{
			Status: 203, Proto: "HTTP/1.1", ContentLength: 5, Upstream: upstreamAt,
			Header: http.Header{
				"X": {"1", "2"}, "Connection": {"keep-alive"}, "Content-Length": {"5"},
				"Content-Type": {"text/plain; charset=utf-8"}, "Date": resp.Header["Date"],
			},
			RequestTime: start, ResponseTime: start.Add(time.Second),
		}
		if diff := cmp.Diff(want, resp); diff != "" {
			t.Errorf("response (-want +got):\n%s", diff)
		}
	})
}

// TestNoBody: answers that have none free the slot without being read or closed.
func TestNoBody(t *testing.T) {
	t.Parallel()
	bubble(t, origin.Options{Connections: 1, Queue: -1}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
		for _, tc := range []struct {
			method, path string
			length       int64
		}{
			{"HEAD", "/size/10", 10},
			{"GET", "/size/0", 0},
			{"GET", "/x?status=204", 0},
			{"GET", "/x?status=304", 0},
		} {
			req := get("/")
			req.Method = tc.method
			req.Path, req.Query, _ = strings.Cut(tc.path, "?")
			resp, err := p.Fetch(t.Context(), req)
			if err != nil {
				t.Fatalf("%s %s: %v", tc.method, tc.path, err)
			}
			if resp.ContentLength != tc.length || resp.Body == nil {
				t.Errorf("%s %s: length %d, want %d", tc.method, tc.path, resp.ContentLength, tc.length)
			}
		}
	})
}

// TestGate: with one connection and one place in the queue the third is refused, the
// second waits for its turn, at most as long as for a head.
func TestGate(t *testing.T) {
	t.Parallel()
	bubble(t, origin.Options{Connections: 1, Queue: 1}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
		first, err := p.Fetch(t.Context(), get("/size/100000"))
		if err != nil {
			t.Fatal(err)
		}
		second := make(chan error, 1)
		wait := func() {
			_, _, err := fetchAll(t.Context(), p, get("/size/10"))
			second <- err
		}
		go wait()
		synctest.Wait()
		if s := p.Stats(); s.InFlight != 1 || s.Queued != 1 || s.Connections != 1 {
			t.Errorf("in flight %d of %d, queued %d; want 1 of 1, 1", s.InFlight, s.Connections, s.Queued)
		}
		start := time.Now()
		_, err = p.Fetch(t.Context(), get("/size/10"))
		var full *origin.Error
		if !errors.As(err, &full) || full.Kind != origin.ErrOverloaded || full.Status() != 503 || time.Since(start) != 0 {
			t.Errorf("third got %v after %v, want ErrOverloaded at once", err, time.Since(start))
		}
		if err := <-second; kindOf(err) != origin.ErrOverloaded || time.Since(start) != origin.DefaultHeader {
			t.Errorf("second got %v after %v, want ErrOverloaded after %v", err, time.Since(start), origin.DefaultHeader)
		}
		go wait()
		synctest.Wait()
		first.Body.Close()
		first.Body.Close() // frees one slot, not two
		if err := <-second; err != nil {
			t.Errorf("fetch whose turn came: %v", err)
		}

		// One that leaves the queue gives its place up.
		third, err := p.Fetch(t.Context(), get("/size/100000"))
		if err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		go func() {
			_, _, err := fetchAll(gone, p, get("/size/10"))
			second <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-second; kindOf(err) != origin.ErrCanceled {
			t.Errorf("the one that left got %v, want ErrCanceled", err)
		}
		if s := p.Stats(); s.Queued != 0 || s.InFlight != 1 {
			t.Errorf("queued %d, in flight %d; want 0 and 1", s.Queued, s.InFlight)
		}
		// Reading to the end frees the slot too.
		if _, err := io.Copy(io.Discard, third.Body); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.InFlight != 0 {
			t.Errorf("in flight %d after EOF, want 0", s.InFlight)
		}
		third.Body.Close()
		if _, err := third.Body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("Read after Close = %v", err)
		}
	})
}

// TestGateIsAQueue: slots are handed over in the order of arrival and no more are
// in hand than there are.
func TestGateIsAQueue(t *testing.T) {
	t.Parallel()
	bubble(t, origin.Options{Connections: 2}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
		var order []int
		done := make(chan int)
		for i := range 20 {
			go func() {
				req := get("/x")
				req.Query = "body=b&delay=1s"
				if _, _, err := fetchAll(t.Context(), p, req); err != nil {
					t.Error(err)
				}
				done <- i
			}()
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		for range 20 {
			order = append(order, <-done)
		}
		for i, n := range order {
			if i != n {
				t.Fatalf("served in the order %v", order)
			}
		}
		if up.Most() != 2 {
			t.Errorf("%d in hand at once, want 2", up.Most())
		}
	})
}

// TestSlowCallerIsNotATimeout: only the upstream's gaps count.
func TestSlowCallerIsNotATimeout(t *testing.T) {
	t.Parallel()
	bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
		resp, err := p.Fetch(t.Context(), get("/size/1000000"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var size int
		buf := make([]byte, 100_000)
		for {
			n, err := resp.Body.Read(buf)
			size += n
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if size != 1_000_000 {
			t.Errorf("read %d bytes, want 1000000", size)
		}
	})
}

// slowReader is a client that sends a byte each minute.
type slowReader struct{ left int }

func (r *slowReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(time.Minute)
	r.left--
	p[0] = 'x'
	return 1, nil
}

func TestUpload(t *testing.T) {
	t.Parallel()
	t.Run("a slow client is not a time-out", func(t *testing.T) {
		t.Parallel()
		bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
			req := get("/sum")
			req.Method, req.Body, req.ContentLength = "POST", io.NopCloser(&slowReader{left: 120}), 120
			if _, text, err := fetchAll(t.Context(), p, req); err != nil || !strings.Contains(text, " 120 <nil>") {
				t.Errorf("got %q, %v; want 120 bytes received", text, err)
			}
		})
	})
	t.Run("an upstream that stops reading is", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			n := memnet.New()
			defer raw(n, func(c net.Conn, in *bufio.Reader, _ *http.Request) { time.Sleep(time.Hour) })()
			p := newPool(t, origin.Options{Upstream: upstreamAt, Dial: n.DialContext})
			req := get("/")
			req.Method, req.Body, req.ContentLength = "PUT", io.NopCloser(testorigin.Reader(1, 0, 1<<20)), 1<<20
			start := time.Now()
			_, err := p.Fetch(t.Context(), req)
			if kindOf(err) != origin.ErrTimeout || time.Since(start) != origin.DefaultIdle || !strings.Contains(err.Error(), "took no byte of the request within 1m0s") {
				t.Errorf("got %v after %v, want ErrTimeout after %v", err, time.Since(start), origin.DefaultIdle)
			}
		})
	})
	t.Run("a client that breaks off is not the upstream's fault", func(t *testing.T) {
		t.Parallel()
		bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
			req := get("/sum")
			broke := errors.New("client left")
			req.Method, req.ContentLength = "PUT", 10
			req.Body = io.NopCloser(io.MultiReader(strings.NewReader("12345"), &failing{broke}))
			_, err := p.Fetch(t.Context(), req)
			if kindOf(err) != origin.ErrCanceled || !errors.Is(err, broke) {
				t.Errorf("got %v, want ErrCanceled with the client's error", err)
			}
		})
	})
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestCanceled(t *testing.T) {
	t.Parallel()
	gone := errors.New("the client hung up")
	t.Run("before the head", func(t *testing.T) {
		t.Parallel()
		bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
			defer up.Hold("/a")()
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(gone) })
			_, err := p.Fetch(ctx, get("/a"))
			if kindOf(err) != origin.ErrCanceled || !errors.Is(err, gone) {
				t.Errorf("got %v, want ErrCanceled by the client", err)
			}
		})
	})
	t.Run("in the body", func(t *testing.T) {
		t.Parallel()
		bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
			ctx, cancel := context.WithCancelCause(t.Context())
			req := get("/size/1000000")
			req.Query = "rate=1000"
			resp, err := p.Fetch(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second, func() { cancel(gone) })
			if _, err = io.Copy(io.Discard, resp.Body); kindOf(err) != origin.ErrCanceled || !errors.Is(err, gone) {
				t.Errorf("got %v, want ErrCanceled by the client", err)
			}
		})
	})
	t.Run("deadline of the caller", func(t *testing.T) {
		t.Parallel()
		bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
			defer up.Hold("/a")()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := p.Fetch(ctx, get("/a")); kindOf(err) != origin.ErrTimeout {
				t.Errorf("got %v, want ErrTimeout", err)
			}
		})
	})
	t.Run("Close wakes a reader", func(t *testing.T) {
		t.Parallel()
		bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
			req := get("/size/10")
			req.Query = "chunk=5&gap=1h"
			resp, err := p.Fetch(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second, func() { resp.Body.Close() })
			if _, err = io.Copy(io.Discard, resp.Body); !errors.Is(err, http.ErrBodyReadAfterClose) {
				t.Errorf("got %v, want ErrBodyReadAfterClose", err)
			}
			if s := p.Stats(); s.Cut != (origin.Stats{}).Cut {
				t.Errorf("a body that we closed counts as cut: %v", s.Cut)
			}
		})
	})
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	upgrade := func() *origin.Request {
		req := get("/upgrade")
		req.Header = http.Header{"Connection": {"keep-alive, upgrade"}, "Upgrade": {"websocket"}}
		return req
	}
	t.Run("echo", func(t *testing.T) {
		t.Parallel()
		bubble(t, origin.Options{Total: time.Second, Connections: 1, Queue: -1}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
			resp, err := p.Fetch(t.Context(), upgrade())
			if err != nil {
				t.Fatal(err)
			}
			both, ok := resp.Body.(io.ReadWriteCloser)
			if resp.Status != 101 || resp.Header.Get("Upgrade") != "websocket" || !ok {
				t.Fatalf("got %d %v, body writable: %t", resp.Status, resp.Header, ok)
			}
			for range 3 {
				time.Sleep(time.Hour) // no limit of ours bounds a tunnel
				io.WriteString(both, "ping")
				got := make([]byte, 4)
				if _, err := io.ReadFull(both, got); err != nil || string(got) != "ping" {
					t.Fatalf("echo %q, %v", got, err)
				}
			}
			if _, err := p.Fetch(t.Context(), get("/x")); kindOf(err) != origin.ErrOverloaded {
				t.Errorf("beside the tunnel: %v, want the slot to be taken", err)
			}
			if err := both.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Errorf("CloseWrite: %v", err)
			}
			if rest, err := io.ReadAll(both); err != nil || len(rest) != 0 {
				t.Errorf("after CloseWrite: %q, %v", rest, err)
			}
			both.Close()
		})
	})
	t.Run("ends with the context", func(t *testing.T) {
		t.Parallel()
		bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
			ctx, cancel := context.WithCancel(t.Context())
			resp, err := p.Fetch(ctx, upgrade())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			time.AfterFunc(time.Second, cancel)
			if _, err := io.ReadAll(resp.Body); kindOf(err) != origin.ErrCanceled {
				t.Errorf("got %v, want ErrCanceled", err)
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
			req := upgrade()
			req.Path = "/text/no"
			resp, text, err := fetchAll(t.Context(), p, req)
			if err != nil || resp.Status != 200 || text != "/text/no" {
				t.Errorf("got %v, %q, %v; want an ordinary answer", resp, text, err)
			}
		})
	})
	t.Run("to another protocol", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			n := memnet.New()
			defer raw(n, say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"))()
			p := newPool(t, origin.Options{Upstream: upstreamAt, Dial: n.DialContext})
			if _, err := p.Fetch(t.Context(), upgrade()); kindOf(err) != origin.ErrUpgrade {
				t.Errorf("got %v, want ErrUpgrade", err)
			}
		})
	})
}

// TestKeptConnectionClosed: the upstream closed a kept connection; GET goes out again
// unseen, and no more connections are kept than needed.
func TestKeptConnectionClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		defer raw(n, say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))()
		p := newPool(t, origin.Options{Upstream: upstreamAt, Dial: n.DialContext})
		defer p.Close()
		for range 3 {
			if _, text, err := fetchAll(t.Context(), p, get("/")); err != nil || text != "ok" {
				t.Errorf("got %q, %v", text, err)
			}
		}
		if s := p.Stats(); s.Answered != 3 || s.Dials != 3 {
			t.Errorf("answered %d with %d dials, want 3 and 3", s.Answered, s.Dials)
		}
	})
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	bubble(t, origin.Options{Host: origin.HostClient}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
		for _, host := range []string{"a.test", "b.test", "c.test"} {
			req := get("/size/10")
			req.ClientHost = host
			if _, _, err := fetchAll(t.Context(), p, req); err != nil {
				t.Error(err)
			}
		}
		if s := p.Stats(); s.Dials != 1 {
			t.Errorf("%d dials for three requests in clear, want 1", s.Dials)
		}
		if last, _ := up.Last("/size/10"); last.Host != "c.test" {
			t.Errorf("Host %q, want c.test", last.Host)
		}
	})
}

// TestClosedPool: what was in flight goes on, what comes late is served, and nothing
// is kept.
func TestClosedPool(t *testing.T) {
	t.Parallel()
	bubble(t, origin.Options{}, func(t *testing.T, p *origin.Pool, up *testorigin.Origin) {
		resp, err := p.Fetch(t.Context(), get("/size/100000"))
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		if n, err := io.Copy(io.Discard, resp.Body); n != 100000 || err != nil {
			t.Errorf("read %d, %v after Close of the pool; want all", n, err)
		}
		for range 2 {
			if _, _, err := fetchAll(t.Context(), p, get("/size/10")); err != nil {
				t.Errorf("Fetch after Close: %v", err)
			}
			synctest.Wait()
		}
		if s := p.Stats(); s.Dials != 3 {
			t.Errorf("%d dials, want a new one for each fetch", s.Dials)
		}
	})
}

// TestLeakedBody: a body that the caller dropped is counted and its slot comes back.
// Over sockets: the collector works outside of bubbles.
func TestLeakedBody(t *testing.T) {
	t.Parallel()
	up := testorigin.Start(t)
	p := newPool(t, origin.Options{Upstream: up.URL, Connections: 1, Queue: -1})
	defer p.Close()
	if _, err := p.Fetch(t.Context(), get("/size/1000000")); err != nil { //nolint:bodyclose // the point of the test
		t.Fatal(err)
	}
	for p.Stats().Leaked == 0 || p.Stats().InFlight != 0 {
		if t.Context().Err() != nil {
			t.Fatal("the dropped body was not noticed")
		}
		runtime.GC()
		runtime.Gosched()
	}
	if _, _, err := fetchAll(t.Context(), p, get("/size/10")); err != nil {
		t.Errorf("after the leak: %v", err)
	}
}
