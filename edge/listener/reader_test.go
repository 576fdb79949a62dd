package listener

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/edge/listener/h1"
)

// story serves a in a bubble and gives a client's connection.
func story(t *testing.T, l Limits, a http.HandlerFunc) (s *Set, nc net.Conn, br *bufio.Reader, stop func()) {
	t.Helper()
	m := newMemory()
	s, end := start(t, Options{HTTP: []string{":80"}, Listen: m.Listen, Answerer: a, Limits: l})
	nc, err := m.dial(":80", "192.0.2.1:1")
	if err != nil {
		t.Fatal(err)
	}
	nc = eager(nc)
	return s, nc, bufio.NewReader(nc), func() {
		nc.Close()
		end()
	}
}

func wantResponse(t *testing.T, br *bufio.Reader, status int, body string) {
	t.Helper()
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("reading a response: %v, want %d", err, status)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if resp.StatusCode != status || err != nil || body != "" && string(got) != body {
		t.Errorf("response %d %q, %v; want %d %q", resp.StatusCode, got, err, status, body)
	}
}

// TestFaultWaitsForItsTurn sends what is no request while one is being answered:
// that one must not notice.
func TestFaultWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, nc, br, stop := story(t, Limits{}, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Hour):
				_, _ = io.WriteString(w, "done")
			case <-r.Context().Done():
				t.Errorf("the request was ended: %v", context.Cause(r.Context()))
			}
		})
		defer stop()
		if _, err := io.WriteString(nc, plainGet+"GET / HTTP/1.1\nHost: a\n\n"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		wantResponse(t, br, 200, "done")
		wantResponse(t, br, 400, "")
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("after the refusal: %v, want the end", err)
		}
		if got := time.Since(began); got < time.Hour || got > time.Hour+10*time.Second {
			t.Errorf("both were answered after %v, want about an hour", got)
		}
		if got := s.Stats().BadRequests[h1.ReasonLineEnding]; got != 1 {
			t.Errorf("line_ending counts %d, want 1", got)
		}
	})
}

// TestWaitingFaultEndsWithItsConnection cuts a connection whose reader waits: the
// request that runs must notice.
func TestWaitingFaultEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		s, nc, _, stop := story(t, Limits{}, func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(ended)
		})
		defer stop()
		if _, err := io.WriteString(nc, plainGet+"\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := s.Shutdown(ctx)
		<-ended
		if got := time.Since(began); got != time.Second || err == nil {
			t.Errorf("Shutdown = %v after %v, want one connection cut after 1s", err, got)
		}
	})
}

// TestHeaderTimeOfLaterRequests drips a second head: the time for heads holds, not
// that for idle connections.
func TestHeaderTimeOfLaterRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, nc, br, stop := story(t, Limits{HeaderTime: 4 * time.Second, Idle: time.Minute}, hello)
		defer stop()
		if resp := ask(t, nc, br, plainGet); resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		time.Sleep(50 * time.Second) // idle
		began := time.Now()
		var drip sync.WaitGroup
		defer drip.Wait()
		drip.Go(func() {
			for _, c := range plainGet {
				if _, err := io.WriteString(nc, string(c)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("a dripping client reads %v, want the end", err)
		}
		if got := time.Since(began); got != 4*time.Second {
			t.Errorf("a dripping client was cut after %v, want 4s", got)
		}
	})
}

// TestUpgradeIsRaw sends bytes that are no HTTP with and after a request that changes
// the protocol: each must arrive once.
func TestUpgradeIsRaw(t *testing.T) {
	t.Parallel()
	for _, early := range []string{"", "x", "\n\x00early\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\nand more", strings.Repeat("early\n", 1000)} {
		synctest.Test(t, func(t *testing.T) {
			_, nc, br, stop := story(t, Limits{FieldBytes: 2 << 10}, func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second)
				near, buffered, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Errorf("Hijack: %v", err)
					return
				}
				defer near.Close()
				_, _ = io.WriteString(near, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
				_, _ = io.Copy(near, buffered)
			})
			defer stop()
			go func() {
				_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"+early)
				time.Sleep(5 * time.Second)
				_, _ = io.WriteString(nc, "\x00late\n")
			}()
			want := "HTTP/1.1 101 Switching Protocols\r\n\r\n" + early + "\x00late\n"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(br, got); err != nil || string(got) != want {
				t.Errorf("early %.30q: %.100q came back, %v; want %.100q", early, got, err, want)
			}
		})
	}
}

// TestBadChunkAfterResponse breaks a body when the response has begun: the client
// gets no second one.
func TestBadChunkAfterResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, nc, br, stop := story(t, Limits{}, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
			if _, err := io.ReadAll(r.Body); err == nil {
				t.Errorf("a broken body was read to its end")
			}
		})
		defer stop()
		if _, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		go func() { _, _ = io.WriteString(nc, "1\nx\n0\n\n"+plainGet) }()
		rest, _ := io.ReadAll(br)
		if got := strings.Count(string(rest), "HTTP/1.1 "); got != 1 {
			t.Errorf("%d responses, want 1: %q", got, rest)
		}
	})
}

// TestCheckRequest holds what net/http's HTTP/2 refuses before it can be asked.
func TestCheckRequest(t *testing.T) {
	t.Parallel()
	limits := Limits{}.withDefaults()
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		want   h1.Reason
	}{
		{"nothing", func(*http.Request) {}, h1.ReasonNone},
		{"Connection", func(r *http.Request) { r.Header.Set("Connection", "close") }, h1.ReasonConnection},
		{"Keep-Alive", func(r *http.Request) { r.Header.Set("Keep-Alive", "5") }, h1.ReasonConnection},
		{"Proxy-Connection", func(r *http.Request) { r.Header.Set("Proxy-Connection", "x") }, h1.ReasonConnection},
		{"Transfer-Encoding", func(r *http.Request) { r.Header.Set("Transfer-Encoding", "chunked") }, h1.ReasonConnection},
		{"Upgrade", func(r *http.Request) { r.Header.Set("Upgrade", "x") }, h1.ReasonConnection},
		{"TE", func(r *http.Request) { r.Header.Set("Te", "gzip") }, h1.ReasonConnection},
		{"TE: trailers", func(r *http.Request) { r.Header.Set("Te", "trailers") }, h1.ReasonNone},
		{"NUL in a value", func(r *http.Request) { r.Header.Set("X", "\x00") }, h1.ReasonField},
		{"space in a name", func(r *http.Request) { r.Header["X Y"] = []string{"z"} }, h1.ReasonField},
		{"userinfo", func(r *http.Request) { r.Host = "u@a" }, h1.ReasonHost},
		{"no authority", func(r *http.Request) { r.Host = "" }, h1.ReasonHost},
		{"CONNECT", func(r *http.Request) { r.Method = "CONNECT" }, h1.ReasonMethod},
		{"control in :path", func(r *http.Request) { r.RequestURI = "/\x01" }, h1.ReasonTarget},
		{"* of GET", func(r *http.Request) { r.RequestURI = "*" }, h1.ReasonTarget},
	} {
		r := &http.Request{Method: "GET", RequestURI: "/", Host: "a", Header: http.Header{}}
		c.change(r)
		if got := checkRequest(r, limits); got != c.want {
			t.Errorf("%s: checkRequest = %q, want %q", c.name, got, c.want)
		}
	}
}
