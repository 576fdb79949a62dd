package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"perigee/edge/listener"
	"perigee/httpcache"
)

// The client and the upstream of the benchmarks speak HTTP/1.1 by hand and allocate
// nothing once they run, so that allocs/op is perigee's alone.

// startEdge serves h on loopback and returns the address.
func startEdge(tb testing.TB, h http.Handler) string {
	tb.Helper()
	set, err := listener.Open(listener.Options{
		HTTP: []string{"127.0.0.1:0"}, Answerer: h,
		Limits: listener.Limits{Connections: 1000, ConnectionsPerIP: 1000, HeaderTime: 15 * time.Second, Idle: 75 * time.Second, FieldBytes: 64 << 10},
	})
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- set.Serve() }()
	tb.Cleanup(func() {
		ctx, end := context.WithTimeout(context.Background(), 10*time.Second)
		defer end()
		if err := set.Shutdown(ctx); err != nil {
			tb.Error(err)
		}
		if err := <-ended; err != nil && !errors.Is(err, listener.ErrClosed) {
			tb.Error(err)
		}
	})
	clear, _ := set.Addrs()
	return clear[0].String()
}

// upstream answers every request with the same response, or with 304 if it is
// conditional.
type upstream struct {
	url      string
	requests atomic.Int64
}

// response is a whole response of 200 with a body of size bytes.
func response(cacheControl string, size int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\n%s: %s\r\nETag: \"v1\"\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n",
		httpcache.CacheControlField, cacheControl, size)
	return append([]byte(head), bytes.Repeat([]byte("x"), size)...)
}

func fresh(size int) []byte { return response("max-age=86400", size) }

var notModified = []byte("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n")

func startUpstream(tb testing.TB, answer []byte) *upstream {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	u := &upstream{url: "http://" + l.Addr().String()}
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go u.serve(conn, answer) // ends when perigee closes the connection
		}
	}()
	return u
}

func (u *upstream) serve(conn net.Conn, answer []byte) {
	defer conn.Close()
	buf, n := make([]byte, 8<<10), 0
	for n < len(buf) {
		got, err := conn.Read(buf[n:])
		if err != nil {
			return
		}
		if n += got; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			continue
		}
		u.requests.Add(1)
		out := answer
		if bytes.Contains(buf[:n], []byte("If-None-Match:")) {
			out = notModified
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
		n = 0
	}
}

// asked checks how often the upstream was asked: a benchmark of hits that were
// misses measures something else.
func (u *upstream) asked(tb testing.TB, want int) {
	tb.Helper()
	if got := int(u.requests.Load()); got != want {
		tb.Fatalf("the upstream was asked %d times, want %d", got, want)
	}
}

// conn is a client's connection.
type conn struct {
	net  net.Conn
	buf  []byte
	head []byte // of the last response, in buf
	body int    // bytes of the last response's body
}

func dial(tb testing.TB, address string) *conn {
	tb.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return &conn{net: c, buf: make([]byte, 128<<10)}
}

func get(path, fields string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + site + "\r\nUser-Agent: bench\r\n" + fields + "\r\n")
}

// appendGet is get for the n-th of many paths.
func appendGet(dst []byte, n int) []byte {
	dst = strconv.AppendInt(append(dst, "GET /miss/"...), int64(n), 10)
	return append(dst, " HTTP/1.1\r\nHost: "+site+"\r\nUser-Agent: bench\r\n\r\n"...)
}

var (
	headEnd       = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
)

// ask sends a request and reads the whole response.
func (c *conn) ask(tb testing.TB, request []byte) {
	if _, err := c.net.Write(request); err != nil {
		tb.Fatal(err)
	}
	n, end := 0, -1
	for end < 0 {
		got, err := c.net.Read(c.buf[n:])
		if err != nil {
			tb.Fatalf("%v after %q", err, c.buf[:n])
		}
		n += got
		end = bytes.Index(c.buf[:n], headEnd)
	}
	c.head = c.buf[:end+len(headEnd)]
	c.body = lengthOf(c.head)
	if rest := len(c.head) + c.body - n; rest > 0 {
		if _, err := io.ReadFull(c.net, c.buf[n:n+rest]); err != nil {
			tb.Fatal(err)
		}
	}
}

// lengthOf is a head's Content-Length, 0 without one.
func lengthOf(head []byte) int {
	at := bytes.Index(head, contentLength)
	if at < 0 || bytes.HasPrefix(head, []byte("HTTP/1.1 304")) {
		return 0
	}
	n := 0
	for _, digit := range head[at+len(contentLength):] {
		if digit < '0' || digit > '9' {
			break
		}
		n = n*10 + int(digit-'0')
	}
	return n
}

// await asks until a response has the field: what is stored is so a moment after its
// first reader has it.
func (c *conn) await(tb testing.TB, request []byte, field string) {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c.ask(tb, request)
		if bytes.Contains(c.head, []byte("\r\n"+field+"\r\n")) {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("no %s within 10 s:\n%s", field, c.head)
		}
	}
}

// expect checks the last response.
func (c *conn) expect(tb testing.TB, status int, field string, body int) {
	tb.Helper()
	if !bytes.HasPrefix(c.head, fmt.Appendf(nil, "HTTP/1.1 %d ", status)) || !bytes.Contains(c.head, []byte("\r\n"+field+"\r\n")) || c.body != body {
		tb.Fatalf("got %d bytes after\n%swant status %d, %s and %d bytes", c.body, c.head, status, field, body)
	}
}
