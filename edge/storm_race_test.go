package edge

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// net/http writes to the response's fields when a body turns out to be too large
// (MaxBytesReader), in the goroutine that reads the body: the transport's. Run with
// -race; without it the runtime may end the process: "concurrent map writes".
func TestStormBodyTooLargeWhileInterim(t *testing.T) {
	r := newRig(t, httpcache.Rules{})
	r.handler.Swap(NewSites([]*Site{r.site}), Limits{BodyBytes: 100 << 10})
	r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.ReadFull(q.Body, make([]byte, 1000))
		for i := range 8 {
			w.Header().Set("Link", fmt.Sprintf("</%d>; rel=preload", i))
			w.WriteHeader(http.StatusEarlyHints)
			later(time.Millisecond)
		}
		w.Header().Set("Link", "x")
		later(50 * time.Millisecond)
	}})
	for range 20 {
		conn := r.dial()
		r.ask(conn, "POST /x HTTP/1.1\r\nHost: www.test\r\nTransfer-Encoding: chunked\r\n\r\n")
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		part := strings.Repeat("a", 10<<10)
		for range 14 {
			if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n", len(part), part); err != nil {
				break
			}
			later(time.Millisecond)
		}
		later(30 * time.Millisecond)
		_ = conn.Close()
	}
	r.close()
}

// The same without interim responses: the origin answers before it has read all.
func TestStormBodyTooLargeWhileAnswering(t *testing.T) {
	r := newRig(t, httpcache.Rules{})
	r.handler.Swap(NewSites([]*Site{r.site}), Limits{BodyBytes: 100 << 10})
	r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.ReadFull(q.Body, make([]byte, 90<<10))
		_, _ = io.WriteString(w, "early")
		_ = http.NewResponseController(w).Flush()
		later(50 * time.Millisecond)
	}})
	for range 20 {
		conn := r.dial()
		r.ask(conn, "POST /x HTTP/1.1\r\nHost: www.test\r\nTransfer-Encoding: chunked\r\n\r\n")
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		part := strings.Repeat("a", 1<<10)
		for range 140 {
			if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n", len(part), part); err != nil {
				break
			}
		}
		later(30 * time.Millisecond)
		_ = conn.Close()
	}
	r.close()
}
