package edge

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// exchangeRaw sends bytes on a connection of their own and returns what comes back until
// the edge closes it, and after how long.
func (r *rig) exchangeRaw(text string) (answer string, took time.Duration) {
	r.t.Helper()
	began := time.Now()
	conn, err := r.net.DialContext(r.t.Context(), "tcp", "www.test:80")
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		r.t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		r.t.Fatalf("%q: %v", text, err)
	}
	return string(all), time.Since(began)
}

// A body that is announced and never comes holds nobody: neither a hit nor a refusal
// waits for it for long.
func TestBodyThatNeverComes(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.handler.Swap(NewSites([]*Site{r.site}), Limits{BodyBytes: 1 << 20})
		const target = "/size/10?cc=max-age%3D60"
		r.get(target)
		for name, head := range map[string]string{
			"a hit":                    "GET " + target + " HTTP/1.1\r\nHost: www.test\r\nContent-Length: 10\r\n\r\n",
			"a refusal":                "POST /x HTTP/1.1\r\nHost: elsewhere.test\r\nContent-Length: 10\r\n\r\n",
			"a client that asks first": "POST /x HTTP/1.1\r\nHost: elsewhere.test\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
		} {
			answer, took := r.exchangeRaw(head)
			if !strings.HasPrefix(answer, "HTTP/1.1 200 ") && !strings.HasPrefix(answer, "HTTP/1.1 421 ") || took > 2*clientPatience {
				t.Errorf("%s: %.60q after %v", name, answer, took)
			}
			if !strings.Contains(answer, "Connection: close\r\n") {
				t.Errorf("%s: the connection goes on although a body is left on it", name)
			}
		}
	})
}

// What a trusted proxy says of its client's connection does not make ours one.
func TestClearOnlyBehindATrustedProxy(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.site.ClearOnly = true
		r.handler.Swap(NewSites([]*Site{r.site}).Trusting([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}), Limits{})
		if a := r.get("/size/10", "X-Forwarded-Proto: https"); a.StatusCode != 200 {
			t.Errorf("status %d, want 200", a.StatusCode)
		}
	})
}

// deadlineWriter is a stream of HTTP/2: its deadline is a timer that ends it whether
// or not anything is being written.
type deadlineWriter struct {
	mu       sync.Mutex // guards the rest
	header   http.Header
	deadline time.Time
	set      int
	got      strings.Builder
}

func (w *deadlineWriter) Header() http.Header { return w.header }
func (w *deadlineWriter) WriteHeader(int)     {}
func (w *deadlineWriter) Flush()              {}
func (w *deadlineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.Write(p)
}
func (w *deadlineWriter) SetReadDeadline(time.Time) error { return nil }
func (w *deadlineWriter) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadline = t; !t.IsZero() {
		w.set++
	}
	return nil
}

// While the upstream is silent no deadline of the client's runs: events may come
// minutes apart, and a fill may stall.
func TestSilentUpstreamIsNotTheClientsFault(t *testing.T) {
	for name, fields := range map[string][]string{
		"events": {"Content-Type: text/event-stream", "Cache-Control: no-store"},
		"a fill": {"Cache-Control: max-age=60"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.handler.Swap(NewSites([]*Site{r.site}), Limits{MinRate: 1 << 10})
				r.origin.Script("/slow", testorigin.Answer{Fields: fields, Size: 90_000, Chunk: 30_000, Gap: 50 * time.Second, Chunked: true})
				request, _ := http.NewRequestWithContext(t.Context(), "GET", "http://www.test/slow", nil)
				request.RequestURI, request.ProtoMajor, request.Proto = "/slow", 2, "HTTP/2.0"
				w := &deadlineWriter{header: make(http.Header)}
				var wg sync.WaitGroup
				wg.Go(func() { r.handler.ServeHTTP(w, request) })
				for range 2 {
					time.Sleep(25 * time.Second)
					synctest.Wait()
					w.mu.Lock()
					if !w.deadline.IsZero() || w.set == 0 {
						t.Errorf("in the gap the deadline is %v, after %d were set", w.deadline, w.set)
					}
					w.mu.Unlock()
					time.Sleep(25 * time.Second)
				}
				wg.Wait()
				if n := w.got.Len(); n != 90_000 {
					t.Errorf("%d bytes came", n)
				}
			})
		})
	}
}
