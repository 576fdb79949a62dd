package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore/disk"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	report := disk.Report{Segments: 1, Records: 2, Bytes: 3, Damaged: 4, Dropped: 5, Skipped: 6}
	cases := []struct {
		query  string
		err    error
		status int
		rate   int64  // that came of it
		want   string // is in the body
	}{
		{"", nil, 200, 64 << 20, ""},
		{"?rate=1KiB", nil, 200, 1024, ""},
		{"?rate=0", nil, 200, 0, ""},
		{"?rate=", nil, 400, -1, "is not a size"},
		{"?rate=64", nil, 400, -1, "is not a size"},
		{"?rate=1KiB&rate=2KiB", nil, 400, -1, "rate stands there twice"},
		{"?speed=1KiB", nil, 400, -1, "no parameter"},
		{"?rate=%zz", nil, 400, -1, "malformed"},
		{"", errors.New("no such device"), 500, 64 << 20, "no such device"},
	}
	for _, c := range cases {
		got := int64(-1)
		s := verifying(t, func(_ context.Context, rate int64) (disk.Report, error) { got = rate; return report, c.err })
		w := ask(s, "POST", "/v1/cache/verify"+c.query)
		if w.Code != c.status || got != c.rate || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%q: %d, rate %d, %s; want %d, %d, %q", c.query, w.Code, got, w.Body, c.status, c.rate, c.want)
		}
		if got < 0 {
			continue
		}
		fields := fieldsOf(t, w.Body.Bytes())
		want := fieldsOf(t, []byte(`{"segments":1,"records":2,"bytes":3,"damaged":4,"dropped":5,"skipped":6,"loading":true}`))
		for name, value := range want {
			if fields[name] != value {
				t.Errorf("%q: %s is %q, want %q", c.query, name, fields[name], value)
			}
		}
	}
}

func TestVerifyWithoutDisk(t *testing.T) {
	t.Parallel()
	w := ask(newServer(t, Options{}), "POST", "/v1/cache/verify")
	if w.Code != 404 || !strings.Contains(w.Body.String(), "keeps nothing on disk") || strings.Contains(w.Body.String(), "paths") {
		t.Errorf("%d %s, want 404 that says so", w.Code, w.Body)
	}
}

func TestVerifyIsTheOperators(t *testing.T) {
	t.Parallel()
	s := verifying(t, func(context.Context, int64) (disk.Report, error) { return disk.Report{}, nil })
	for _, c := range []struct {
		fields []string
		want   int
	}{
		{nil, 200}, // loopback
		{[]string{"Authorization", "Bearer s3cret"}, 200},
		{[]string{"Authorization", "Bearer wrong"}, 401},
		{[]string{"Origin", "https://evil.example"}, 403},
		{[]string{"Host", "rebound.example"}, 421},
	} {
		if w := ask(s, "POST", "/v1/cache/verify", c.fields...); w.Code != c.want {
			t.Errorf("%v: %d, want %d", c.fields, w.Code, c.want)
		}
	}
	if w := ask(s, "GET", "/v1/cache/verify"); w.Code != 405 {
		t.Errorf("GET: %d, want 405", w.Code)
	}
}

func TestVerifyOneAtATime(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	s := verifying(t, func(context.Context, int64) (disk.Report, error) {
		entered <- struct{}{}
		<-leave
		return disk.Report{}, nil
	})
	first := make(chan int, 1)
	for range 2 { // the door opens again when the first has ended
		go func() { first <- ask(s, "POST", "/v1/cache/verify").Code }()
		<-entered
		if w := ask(s, "POST", "/v1/cache/verify"); w.Code != 409 || !strings.Contains(w.Body.String(), "already") {
			t.Errorf("a second one: %d %s, want 409", w.Code, w.Body)
		}
		leave <- struct{}{}
		if code := <-first; code != 200 {
			t.Errorf("the first: %d, want 200", code)
		}
	}
}

// untilEnd verifies until its context ends.
func untilEnd(entered chan<- struct{}) func(context.Context, int64) (disk.Report, error) {
	return func(ctx context.Context, _ int64) (disk.Report, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return disk.Report{Records: 7}, ctx.Err()
	}
}

func TestVerifyEndsWithTheNode(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	s := verifying(t, untilEnd(entered))
	answered := make(chan string, 1)
	go func() {
		w := ask(s, "POST", "/v1/cache/verify")
		answered <- w.Result().Status + " " + w.Body.String()
	}()
	<-entered
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := <-answered
	if !strings.HasPrefix(got, "503") || !strings.Contains(got, `"records": 7`) || !strings.Contains(got, "about to stop") {
		t.Errorf("answered %s, want 503 and what was found", got)
	}
}

// dialled is a connection to a server that serves until the test ends. It runs in a
// synctest bubble.
func dialled(t *testing.T, s *Server) net.Conn {
	t.Helper()
	ln := &oneConn{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	client, server := net.Pipe()
	ln.conns <- server
	t.Cleanup(func() {
		client.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return client
}

const verifyRequest = "POST /v1/cache/verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n..."

func TestVerifyMayTakeHours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := dialled(t, verifying(t, func(ctx context.Context, _ int64) (disk.Report, error) {
			time.Sleep(3 * time.Hour)
			return disk.Report{Records: 7}, ctx.Err()
		}))
		if _, err := io.WriteString(client, verifyRequest); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if response.StatusCode != 200 || err != nil || !strings.Contains(string(body), `"records": 7`) {
			t.Errorf("%s %s, %v; want 200 and the report", response.Status, body, err)
		}
	})
}

func TestVerifyEndsWithTheClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		entered, ended := make(chan struct{}), make(chan error, 1)
		client := dialled(t, verifying(t, func(ctx context.Context, rate int64) (disk.Report, error) {
			r, err := untilEnd(entered)(ctx, rate)
			ended <- err
			return r, err
		}))
		if _, err := io.WriteString(client, verifyRequest); err != nil {
			t.Fatal(err)
		}
		<-entered
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Errorf("it ended by itself: %v", err)
		default:
		}
		client.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the client has left: %v, want %v", err, context.Canceled)
		}
	})
}

// oneConn is a listener of connections that are handed to it.
type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, http.ErrServerClosed
	}
}

func (l *oneConn) Close() error   { close(l.closed); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "1B": 1, "0B": 0, "7KB": 7000, "7KiB": 7 << 10, "64MiB": 64 << 20, "3MB": 3_000_000, "2GiB": 2 << 30, "1GB": 1_000_000_000,
		"8388607TiB": 8388607 << 40, "1TB": 1_000_000_000_000, "007MiB": 7 << 20,
		"": -1, "1": -1, "MiB": -1, "-1MiB": -1, "+1MiB": -1, "1 MiB": -1, "1.5MiB": -1, "1mib": -1, "1iB": -1, "1PiB": -1,
		"8388608TiB": -1, "99999999999999999999B": -1, "1MiB ": -1, "unlimited": -1,
	} {
		got, err := ParseRate(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, seed := range []string{"0", "64MiB", "1KB", "9223372036854775807B", "1TiB", "", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseRate(text); err == nil && n < 0 || err != nil && n != 0 {
			t.Errorf("ParseRate(%q) = %d, %v", text, n, err)
		}
	})
}
