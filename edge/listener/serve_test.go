package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestProtocolsOverLoopback(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t, "localhost", "127.0.0.1")
	s, _ := start(t, Options{
		HTTP: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"},
		Answerer: http.HandlerFunc(hello), Certificates: only(cert),
	})
	clear, secure := s.Addrs()
	if len(clear) != 1 || len(secure) != 1 {
		t.Fatalf("Addrs = %v, %v; want one each", clear, secure)
	}
	_, port, _ := net.SplitHostPort(secure[0].String())
	for _, c := range []struct {
		name, url, want string
		h2              bool
	}{
		{"h1", "http://" + clear[0].String() + "/", "HTTP/1.1 " + clear[0].String() + " tls=false", false},
		{"h1 is asked for h2 in clear and stays h1", "http://" + clear[0].String() + "/", "HTTP/1.1 " + clear[0].String() + " tls=false", true},
		{"h1 over TLS", "https://localhost:" + port + "/", "HTTP/1.1 localhost:" + port + " tls=true", false},
		{"h2", "https://localhost:" + port + "/", "HTTP/2.0 localhost:" + port + " tls=true", true},
	} {
		tr := &http.Transport{TLSClientConfig: trusting(cert), ForceAttemptHTTP2: c.h2}
		resp, body := get(t, client(t, tr), c.url)
		if body != c.want {
			t.Errorf("%s: GET %s = %q, want %q", c.name, c.url, body, c.want)
		}
		if resp.TLS == nil {
			continue
		}
		if resp.TLS.Version != tls.VersionTLS13 || resp.TLS.CurveID != tls.X25519MLKEM768 {
			t.Errorf("%s: TLS version %x, key exchange %v; want 1.3 and X25519MLKEM768", c.name, resp.TLS.Version, resp.TLS.CurveID)
		}
	}
	if got := s.Stats().Handshakes; got != 2 {
		t.Errorf("Handshakes = %d, want 2", got)
	}
}

func TestClearPrefaceIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		_, stop := start(t, Options{HTTP: []string{":80"}, Listen: m.Listen, Answerer: http.HandlerFunc(hello)})
		defer stop()
		c, err := m.dial(":80", "192.0.2.1:1")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		resp := ask(t, c, bufio.NewReader(c), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		if resp.StatusCode != http.StatusHTTPVersionNotSupported {
			t.Errorf("HTTP/2 preface in clear: status %d, want 505", resp.StatusCode)
		}
	})
}

func TestSlowClientsAreCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, addr, sent string
		after            time.Duration
	}{
		{"half a header section", ":80", "GET / HTTP/1.1\r\nHost:", 4 * time.Second},
		{"nothing", ":80", "", 4 * time.Second},
		{"nothing on TLS", ":443", "", 4 * time.Second},
		{"idle after a request", ":80", plainGet, 9 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cert := selfSigned(t, "a.test")
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				s, stop := start(t, Options{
					HTTP: []string{":80"}, HTTPS: []string{":443"}, Listen: m.Listen,
					Answerer: http.HandlerFunc(hello), Certificates: only(cert),
					Limits: Limits{HeaderTime: 4 * time.Second, Idle: 9 * time.Second},
				})
				defer stop()
				nc, err := m.dial(c.addr, "192.0.2.1:1")
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				began := time.Now()
				if _, err := io.WriteString(nc, c.sent); err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, nc); err != nil {
					t.Fatalf("reading until the end: %v", err)
				}
				if got := time.Since(began); got != c.after {
					t.Errorf("the connection lived %v, want %v", got, c.after)
				}
				synctest.Wait()
				if st := s.Stats(); st.Open != 0 || st.Clients != 0 {
					t.Errorf("after the cut %d open, %d clients; want none", st.Open, st.Clients)
				}
			})
		})
	}
}

func TestFieldBytes(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t, "localhost")
	s, _ := start(t, Options{
		HTTP: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"},
		Answerer: http.HandlerFunc(hello), Certificates: only(cert),
		Limits: Limits{FieldBytes: 8 << 10},
	})
	clear, secure := s.Addrs()
	_, port, _ := net.SplitHostPort(secure[0].String())
	hc := client(t, &http.Transport{TLSClientConfig: trusting(cert), ForceAttemptHTTP2: true})
	for _, url := range []string{"http://" + clear[0].String(), "https://localhost:" + port} {
		for size, want := range map[int]int{4 << 10: 200, 32 << 10: 431} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Long", strings.Repeat("a", size))
			resp, err := hc.Do(req)
			if err != nil {
				// Go's HTTP/2 client knows the limit from SETTINGS and does not send it.
				if want == 200 || !strings.HasPrefix(url, "https") {
					t.Errorf("%s with a field of %d bytes: %v", url, size, err)
				}
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s with a field of %d bytes: status %d, want %d", url, size, resp.StatusCode, want)
			}
		}
	}
}

func TestPanicCostsOneResponse(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t, "localhost")
	var lines logged
	s, _ := start(t, Options{
		HTTP: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, ErrorLog: lines.logger(),
		Certificates: only(cert),
		Answerer: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("broken")
			}
			hello(w, r)
		}),
	})
	clear, secure := s.Addrs()
	_, port, _ := net.SplitHostPort(secure[0].String())
	hc := client(t, &http.Transport{TLSClientConfig: trusting(cert), ForceAttemptHTTP2: true})
	for i, url := range []string{"http://" + clear[0].String(), "https://localhost:" + port} {
		if resp, err := hc.Get(url + "/panic"); err == nil {
			resp.Body.Close()
			t.Errorf("%s/panic: status %d, want an error", url, resp.StatusCode)
		}
		if resp, _ := get(t, hc, url+"/"); resp.StatusCode != 200 {
			t.Errorf("%s/ after a panic: status %d, want 200", url, resp.StatusCode)
		}
		for n := 0; n < 100 && lines.count("level=ERROR") <= i; n++ {
			get(t, hc, url+"/") // the line is written after the client has seen the reset
		}
		if got := lines.count("level=ERROR"); got != i+1 {
			t.Errorf("%d panics left %d error lines", i+1, got)
		}
	}
	if got := s.Stats().Requests; got != 0 {
		t.Errorf("Requests = %d after all have ended", got)
	}
}

func TestAcceptErrorsBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		var lines logged
		s, err := Open(Options{HTTP: []string{":80"}, Listen: m.Listen, Answerer: http.HandlerFunc(hello), ErrorLog: lines.logger()})
		if err != nil {
			t.Fatal(err)
		}
		l := m.listener(":80")
		l.errs = syscall.EMFILE
		served := make(chan error, 1)
		go func() { served <- s.Serve() }()
		time.Sleep(10 * time.Second)
		l.mu.Lock()
		l.errs = nil
		tries := l.tries
		l.mu.Unlock()
		// 5 ms doubling to 1 s: 8 tries in the first 1.3 s, then one a second.
		if tries < 10 || tries > 20 {
			t.Errorf("%d accepts in 10 s of EMFILE, want 10 to 20", tries)
		}
		if got := lines.count("accepting connections fails"); got < 5 || got > 10 {
			t.Errorf("%d log lines in 10 s, want 5 to 10", got)
		}
		if got := s.Stats().AcceptErrors; got != uint64(tries) {
			t.Errorf("AcceptErrors = %d, want %d", got, tries)
		}
		hc := &http.Client{Transport: &http.Transport{DialContext: m.dialContext, DisableKeepAlives: true}}
		if resp, _ := get(t, hc, "http://a.test:80/"); resp.StatusCode != 200 {
			t.Errorf("after EMFILE: status %d, want 200", resp.StatusCode)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestBackoffReportsOnceASecond(t *testing.T) {
	t.Parallel()
	var b backoff
	var waited time.Duration
	reports := 0
	for range 1000 {
		wait, report := b.next()
		if report {
			reports++
		}
		waited += wait
		b.reset() // a success between any two failures
	}
	if waited != 5*time.Second || reports != 5 {
		t.Errorf("1000 failures with successes between: waited %v with %d reports, want 5s with 5", waited, reports)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s, err := Open(Options{HTTP: []string{":80"}, Listen: m.Listen, Answerer: http.HandlerFunc(hello)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- s.Run(ctx) }()
		hc := &http.Client{Transport: &http.Transport{DialContext: m.dialContext}}
		get(t, hc, "http://a.test:80/")
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if err := s.Run(ctx); !errors.Is(err, ErrClosed) {
			t.Errorf("Run after Shutdown = %v, want ErrClosed", err)
		}
	})
}

// shutdownStory serves one request that answers when told, and one hijacked
// connection, each on its own connection.
func shutdownStory(t *testing.T, h2 bool) (s *Set, finish chan struct{}, results chan string, stop func()) {
	t.Helper()
	cert := selfSigned(t, "a.test")
	m := newMemory()
	finish, results = make(chan struct{}), make(chan string, 1)
	running := make(chan struct{})
	s, stop = start(t, Options{
		HTTP: []string{":80"}, HTTPS: []string{"a.test:443"}, Listen: m.Listen, Certificates: only(cert),
		Answerer: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "begin ")
			_ = http.NewResponseController(w).Flush()
			close(running)
			select {
			case <-finish:
				_, _ = io.WriteString(w, "end")
			case <-r.Context().Done():
			}
		}),
	})
	url := "http://a.test:80/"
	if h2 {
		url = "https://a.test:443/"
	}
	tr := &http.Transport{DialContext: m.dialContext, TLSClientConfig: trusting(cert), ForceAttemptHTTP2: true}
	go func() {
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get(url)
		if err != nil {
			results <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			body = append(body, "then an error"...)
		}
		results <- string(body)
	}()
	<-running
	return s, finish, results, stop
}

func TestShutdownFinishesResponses(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, finish, results, stop := shutdownStory(t, h2)
			defer stop()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- s.Shutdown(ctx) }()
			time.Sleep(9 * time.Second)
			select {
			case err := <-done:
				t.Fatalf("h2=%t: Shutdown returned %v while a response was running", h2, err)
			default:
			}
			close(finish)
			if got := <-results; got != "begin end" {
				t.Errorf("h2=%t: the running response became %q, want it whole", h2, got)
			}
			if err := <-done; err != nil {
				t.Errorf("h2=%t: Shutdown = %v, want nil", h2, err)
			}
			if err := s.Shutdown(ctx); !errors.Is(err, ErrClosed) {
				t.Errorf("h2=%t: second Shutdown = %v, want ErrClosed", h2, err)
			}
		})
	}
}

func TestShutdownCutsWhatIsLeft(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, _, results, stop := shutdownStory(t, h2)
			defer stop()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			began := time.Now()
			err := s.Shutdown(ctx)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connections cut") {
				t.Errorf("h2=%t: Shutdown = %v, want 1 connection cut and the deadline", h2, err)
			}
			if got := time.Since(began); got != 10*time.Second {
				t.Errorf("h2=%t: Shutdown took %v, want 10s", h2, got)
			}
			if got := <-results; got != "begin then an error" {
				t.Errorf("h2=%t: the cut response became %q, want a visible error", h2, got)
			}
			if st := s.Stats(); st.Open != 0 || st.Requests != 0 {
				t.Errorf("h2=%t: after Shutdown %d connections, %d requests", h2, st.Open, st.Requests)
			}
		})
	}
}

func TestShutdownClosesSilentAndHijackedConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		var mine sync.WaitGroup
		s, stop := start(t, Options{
			HTTP: []string{":80"}, Listen: m.Listen,
			Answerer: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				nc, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Errorf("Hijack: %v", err)
					return
				}
				mine.Go(func() { _, _ = io.Copy(io.Discard, nc) })
			}),
		})
		defer stop()
		silent, err := m.dial(":80", "192.0.2.1:1")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		upgraded, err := m.dial(":80", "192.0.2.2:1")
		if err != nil {
			t.Fatal(err)
		}
		defer upgraded.Close()
		if _, err := io.WriteString(upgraded, plainGet); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if st := s.Stats(); st.Open != 2 || st.Hijacked != 1 || st.HijackedEver != 1 || st.Requests != 0 {
			t.Errorf("before: %+v, want 2 open, 1 of them hijacked, no request", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(ctx) }()
		if _, err := io.Copy(io.Discard, silent); err != nil || time.Since(began) != 0 {
			t.Errorf("the silent connection ended after %v with %v, want at once", time.Since(began), err)
		}
		if err := <-done; err == nil || time.Since(began) != 3*time.Second {
			t.Errorf("Shutdown = %v after %v, want the hijacked connection cut after 3s", err, time.Since(began))
		}
		mine.Wait()
		if st := s.Stats(); st.Open != 0 || st.Hijacked != 0 || st.HijackedEver != 1 || st.Clients != 0 {
			t.Errorf("after: %+v, want nothing open", st)
		}
	})
}

func TestShutdownDismissesIdleClients(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://a.test:80/", "https://a.test:443/"} {
		synctest.Test(t, func(t *testing.T) {
			cert := selfSigned(t, "a.test")
			m := newMemory()
			s, stop := start(t, Options{
				HTTP: []string{":80"}, HTTPS: []string{"a.test:443"}, Listen: m.Listen,
				Answerer: http.HandlerFunc(hello), Certificates: only(cert),
			})
			defer stop()
			tr := &http.Transport{DialContext: m.dialContext, TLSClientConfig: trusting(cert), ForceAttemptHTTP2: true}
			get(t, &http.Client{Transport: tr}, url)
			synctest.Wait()
			if st := s.Stats(); st.Open != 1 {
				t.Fatalf("%s: %d connections kept alive, want 1", url, st.Open)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			// HTTP/2 leaves a second between GOAWAY and the end.
			if err := s.Shutdown(ctx); err != nil || time.Since(began) > 2*time.Second {
				t.Errorf("%s: Shutdown with an idle client = %v after %v, want nil within 2s", url, err, time.Since(began))
			}
		})
	}
}

func TestShutdownNamesAnswerersThatDoNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		deaf := make(chan struct{})
		s, stop := start(t, Options{
			HTTP: []string{":80"}, Listen: m.Listen,
			Answerer: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-deaf }),
		})
		defer stop()
		c, err := m.dial(":80", "192.0.2.1:1")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, plainGet); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err = s.Shutdown(ctx)
		if err == nil || !strings.Contains(err.Error(), "1 requests do not end") || time.Since(began) != cutGrace {
			t.Errorf("Shutdown = %v after %v, want one request named after %v", err, time.Since(began), cutGrace)
		}
		close(deaf)
	})
}

func TestShutdownBeforeServe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s, err := Open(Options{HTTP: []string{":80", ":81"}, Listen: m.Listen, Answerer: http.HandlerFunc(hello)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown = %v, want nil", err)
		}
		if err := s.Serve(); !errors.Is(err, ErrClosed) {
			t.Errorf("Serve = %v, want ErrClosed", err)
		}
		if err := s.Rebind([]string{":82"}, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Rebind = %v, want ErrClosed", err)
		}
		s.SetLimits(Limits{Idle: time.Second})
		if left := slices.Sorted(mapKeys(m.ports)); len(left) != 0 {
			t.Errorf("still bound: %v", left)
		}
	})
}
