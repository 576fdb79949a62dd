package testorigin_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/internal/memnet"
	"perigee/internal/testorigin"
)

// bubble serves an origin over memnet and gives a client for it.
func bubble(t *testing.T, test func(t *testing.T, o *testorigin.Origin, c *http.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen("origin.test:80")
		o := testorigin.New()
		stop := o.Serve(l)
		transport := &http.Transport{DialContext: l.DialContext, DisableCompression: true}
		test(t, o, &http.Client{Transport: transport})
		transport.CloseIdleConnections()
		stop()
	})
}

func fetch(t *testing.T, c *http.Client, path string, fields ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://origin.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range fields {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func TestByURL(t *testing.T) {
	t.Parallel()
	v1 := testorigin.Body(testorigin.Seed("/size/1000", `"v1"`), 1000)
	for _, tc := range []struct {
		path    string
		request []string
		status  int
		fields  map[string]string // "" = absent
		body    string
		broken  bool // the body or the whole answer
		after   time.Duration
	}{
		{path: "/size/10", status: 200, fields: map[string]string{"Content-Length": "10", "Etag": ""}, body: string(testorigin.Body(testorigin.Seed("/size/10", ""), 10))},
		{path: "/size/1000?etag=v1", status: 200, fields: map[string]string{"Etag": `"v1"`, "Content-Length": "1000"}, body: string(v1)},
		{path: "/size/10?seed=7", status: 200, body: string(testorigin.Body(7, 10))},
		{path: "/size/x", status: 400, body: "testorigin: size x\n"},
		{path: "/size/1?status=x", status: 400, body: "testorigin: strconv.ParseInt: parsing \"x\": invalid syntax\n"},
		{path: "/x?size=-1", status: 400, body: "testorigin: size is negative\n"},
		{path: "/text/hi", status: 200, body: "/text/hi"},
		{path: "/x?body=b&cc=max-age%3D60&vary=A,B&age=7&type=text/css&h=X-Y:+1&h=X-Y:2", status: 200, body: "b", fields: map[string]string{"cache-control": "max-age=60", "Vary": "A,B", "Age": "7", "Content-Type": "text/css", "X-Y": "1, 2"}},
		{path: "/x?lm=0&expires=0&date=86400", status: 200, fields: map[string]string{"Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT", "Date": "Fri, 02 Jan 1970 00:00:00 GMT", "Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}},
		{path: "/x?expires=never&date=-", status: 200, fields: map[string]string{"Expires": "never", "Date": ""}},
		{path: "/x?status=301&location=/y", status: 301, fields: map[string]string{"Location": "/y"}},
		{path: "/unknown?a=b", status: 404, body: "no script for /unknown\n"},
		{path: "/x?etag=v1", request: []string{`If-None-Match: "v0", W/"v1"`}, status: 304, fields: map[string]string{"Etag": `"v1"`}},
		{path: "/x?etag=v1&body=b", request: []string{`If-None-Match: "v2"`}, status: 200, body: "b"},
		{path: "/x?etag=v1&body=b&conditional=0", request: []string{`If-None-Match: "v1"`}, status: 200, body: "b"},
		{path: "/x?etag=W/%22v1%22", request: []string{`If-None-Match: "v1"`}, status: 304, fields: map[string]string{"Etag": `W/"v1"`}},
		{path: "/x?lm=100", request: []string{"If-Modified-Since: Thu, 01 Jan 1970 00:01:40 GMT"}, status: 304},
		{path: "/x?lm=100&body=b", request: []string{"If-Modified-Since: Thu, 01 Jan 1970 00:01:39 GMT"}, status: 200, body: "b"},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=10-19"}, status: 206, fields: map[string]string{"Content-Range": "bytes 10-19/1000", "Content-Length": "10"}, body: string(v1[10:20])},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=-3"}, status: 206, body: string(v1[997:])},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=995-2000"}, status: 206, body: string(v1[995:])},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=1000-"}, status: 416, fields: map[string]string{"Content-Range": "bytes */1000"}},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=1-2,4-5"}, status: 200, body: string(v1)},
		{path: "/size/1000?etag=v1&ranges=0", request: []string{"Range: bytes=1-2"}, status: 200, body: string(v1)},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=1-2", `If-Range: "v1"`}, status: 206, body: string(v1[1:3])},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=1-2", `If-Range: "v0"`}, status: 200, body: string(v1)},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=998-"}, status: 206, fields: map[string]string{"Content-Range": "bytes 998-999/1000"}, body: string(v1[998:])},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=-2000"}, status: 206, fields: map[string]string{"Content-Range": "bytes 0-999/1000"}, body: string(v1)},
		{path: "/size/1000?etag=v1", request: []string{"Range: bytes=-0"}, status: 416, fields: map[string]string{"Content-Range": "bytes */1000"}},
		{path: "/size/1000?etag=W/%22v1%22&seed=7", request: []string{"Range: bytes=1-2", `If-Range: W/"v1"`}, status: 200, body: string(testorigin.Body(7, 1000))},
		{path: "/size/1000?seed=7&lm=100", request: []string{"Range: bytes=1-2", "If-Range: Thu, 01 Jan 1970 00:01:40 GMT"}, status: 206, body: string(testorigin.Body(7, 3)[1:])},
		{path: "/size/10?seed=7&lm=100", request: []string{"Range: bytes=1-2", "If-Range: Thu, 01 Jan 1970 00:01:41 GMT"}, status: 200, body: string(testorigin.Body(7, 10))},
		{path: "/size/10?seed=7&lm=never", request: []string{"Range: bytes=1-2", "If-Range: never"}, status: 200, body: string(testorigin.Body(7, 10))},
		{path: "/x?body=hello&only206=1", status: 206, fields: map[string]string{"Content-Range": "bytes 0-2/5", "Content-Length": "3"}, body: "hel"},
		{path: "/x?body=hello&only206=1&part=2", request: []string{"Range: bytes=3-4"}, status: 206, fields: map[string]string{"Content-Range": "bytes 0-1/5"}, body: "he"},
		{path: "/x?body=hello&only206=1&part=9", status: 206, fields: map[string]string{"Content-Range": "bytes 0-4/5"}, body: "hello"},
		{path: "/x?only206=1", status: 200},
		{path: "/x?part=-1", status: 400, body: "testorigin: part is negative\n"},
		{path: "/x?body=hello&digest=good", status: 200, body: "hello", fields: map[string]string{"Repr-Digest": "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"}},
		{path: "/x?body=hello&digest=good", request: []string{"Range: bytes=1-2"}, status: 206, body: "el", fields: map[string]string{"Repr-Digest": "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"}},
		{path: "/x?body=hello&digest=bad", status: 200, body: "hello", fields: map[string]string{"Repr-Digest": "sha-256=:867+YpZakZA2EPDiPMimnVuHzqbSjnVImw0soC7XmTw=:"}},
		{path: "/x?etag=v1&digest=good", request: []string{`If-None-Match: "v1"`}, status: 304, fields: map[string]string{"Repr-Digest": ""}},
		{path: "/x?digest=x", status: 400, body: "testorigin: digest is neither good nor bad\n"},
		{path: "/x?interim=101", status: 400, body: "testorigin: interim \"101\" is no status of an interim response\n"},
		{path: "/size/1000?chunked=1&etag=v1", status: 200, fields: map[string]string{"Content-Length": ""}, body: string(v1)},
		{path: "/size/1000?etag=v1&abort=400", status: 200, body: string(v1[:400]), broken: true},
		{path: "/size/1000?etag=v1&abort=400&chunked=1", status: 200, body: string(v1[:400]), broken: true},
		{path: "/size/1000?abort=head", broken: true},
		{path: "/size/1000?abort=0&reset=1", status: 200, broken: true},
		{path: "/size/10?length=20&seed=7", status: 200, body: string(testorigin.Body(7, 10)), broken: true},
		{path: "/x?delay=1m&body=b", status: 200, body: "b", after: time.Minute},
		{path: "/size/1000?etag=v1&rate=100", status: 200, body: string(v1), after: 9900 * time.Millisecond}, // the last chunk ends it
		{path: "/size/1000?etag=v1&chunk=250&gap=1s", status: 200, body: string(v1), after: 3 * time.Second},
		{path: "/x?early=1&link=a&interim=102&body=b", status: 200, body: "b", fields: map[string]string{"Link": ""}},
		{path: "/echo/x?q=1", request: []string{"B: 2", "A: 1", "User-Agent: t"}, status: 200, body: "GET /echo/x?q=1 HTTP/1.1\nHost: origin.test\nA: 1\nB: 2\nUser-Agent: t\n\n"},
		{path: "/sum", status: 200, body: testorigin.Sum(0, 0) + " 0 <nil>\n"},
		{path: "/_nonsense", status: 404, body: "testorigin: unknown /_nonsense\n"},
	} {
		t.Run(strings.TrimPrefix(tc.path, "/"), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, _ *testorigin.Origin, c *http.Client) {
				c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				start := time.Now()
				resp, body, err := fetch(t, c, tc.path, tc.request...)
				if (err != nil) != tc.broken {
					t.Fatalf("err = %v, want one: %t", err, tc.broken)
				}
				if got := time.Since(start); got != tc.after {
					t.Errorf("took %v, want %v", got, tc.after)
				}
				if resp == nil {
					return
				}
				if resp.StatusCode != tc.status || string(body) != tc.body {
					t.Errorf("got %d %.80q, want %d %.80q", resp.StatusCode, body, tc.status, tc.body)
				}
				for name, want := range tc.fields {
					if got := strings.Join(resp.Header.Values(name), ", "); got != want {
						t.Errorf("%s: got %q, want %q", name, got, want)
					}
				}
			})
		})
	}
}

// TestInterim: what comes before the head, in which order, with which Link, and that
// it does not wait for the head.
func TestInterim(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		path string
		want []string // status, Link lines, time
	}{
		{"/x?delay=1s", nil},
		{"/x?early=1&delay=1s", []string{"103 [</style.css>; rel=preload; as=style] 0s"}},
		{"/x?early=1&link=%3Ca%3E&link=%3Cb%3E&delay=1s", []string{"103 [<a> <b>] 0s"}},
		{"/x?early=1&interim=102&interim=199&h=Link:final", []string{"102 [] 0s", "199 [] 0s", "103 [</style.css>; rel=preload; as=style] 0s"}},
		{"/x?interim=103&interim=103&link=%3Ca%3E", []string{"103 [<a>] 0s", "103 [<a>] 0s"}},
	} {
		bubble(t, func(t *testing.T, _ *testorigin.Origin, c *http.Client) {
			var got []string
			start := time.Now()
			trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
				got = append(got, fmt.Sprint(status, " ", h["Link"], " ", time.Since(start)))
				return nil
			}}
			req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", "http://origin.test"+tc.path, nil)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", tc.path, err)
			}
			resp.Body.Close()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: interim responses (-want +got):\n%s", tc.path, diff)
			}
		})
	}
}

func TestSteering(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, o *testorigin.Origin, c *http.Client) {
		text := func(path string) string {
			_, body, err := fetch(t, c, path, "User-Agent: t")
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			return string(body)
		}
		text("/a?etag=v1")
		text("/a?etag=v1&x=1")
		fetch(t, c, "/a?etag=v1", `If-None-Match: "v1"`)
		text("/b")
		text("/_set/b?body=new&etag=v2")
		for _, each := range [][2]string{
			{"/_hits", "4\n"},
			{"/_hits?path=/a", "3\n"},
			{"/_hits?uri=" + url.QueryEscape("/a?etag=v1"), "2\n"},
			{"/_304", "1\n"},
			{"/_304?path=/a", "1\n"},
			{"/_304?path=/b", "0\n"},
			{"/_max", "1\n"},
			{"/_requests?n=1", "GET /b HTTP/1.1\nHost: origin.test\nUser-Agent: t\n"},
			{"/_requests?path=/a&n=2", "GET /a?etag=v1&x=1 HTTP/1.1\nHost: origin.test\nUser-Agent: t\n\nGET /a?etag=v1 HTTP/1.1\nHost: origin.test\nIf-None-Match: \"v1\"\nUser-Agent: Go-http-client/1.1\n"},
			{"/b", "new"},
			{"/_unset/b", "ok\n"},
			{"/b", "no script for /b\n"},
			{"/_reset", "ok\n"},
			{"/_hits", "0\n"},
			{"/_requests", ""},
		} {
			if got := text(each[0]); got != each[1] {
				t.Errorf("%s = %q, want %q", each[0], got, each[1])
			}
		}
	})
}

func TestHold(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, o *testorigin.Origin, c *http.Client) {
		o.Script("/a", testorigin.Answer{Text: "a"})
		release := o.Hold("/a")
		got := make(chan string, 2)
		for range 2 {
			go func() {
				_, body, err := fetch(t, c, "/a")
				got <- fmt.Sprint(string(body), err)
			}()
		}
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://origin.test/a", nil)
		go func() {
			resp, err := c.Do(req)
			if err == nil {
				resp.Body.Close()
			}
		}()
		synctest.Wait()
		if o.Waiting("/a") != 3 || o.Hits("/a") != 3 {
			t.Errorf("waiting %d, hits %d; want 3 and 3", o.Waiting("/a"), o.Hits("/a"))
		}
		cancel()
		synctest.Wait()
		if o.Waiting("/a") != 2 {
			t.Errorf("waiting %d after one left, want 2", o.Waiting("/a"))
		}
		select {
		case text := <-got:
			t.Errorf("answered %q while held", text)
		default:
		}
		release()
		release()
		for range 2 {
			if text := <-got; text != "a<nil>" {
				t.Errorf("got %q, want a", text)
			}
		}
		if o.Most() != 3 {
			t.Errorf("most at once %d, want 3", o.Most())
		}
	})
}

func TestLiveScript(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, o *testorigin.Origin, c *http.Client) {
		for _, want := range []string{"one", "two"} {
			o.Script("/a", testorigin.Answer{Text: want, Fields: []string{"X: y"}})
			resp, body, err := fetch(t, c, "/a")
			if err != nil || string(body) != want || resp.Header.Get("X") != "y" {
				t.Errorf("got %q %v, want %q", body, err, want)
			}
		}
		o.Script("/a", testorigin.Answer{Handler: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "three") }})
		if _, body, _ := fetch(t, c, "/a"); string(body) != "three" {
			t.Errorf("got %q, want three", body)
		}
		got, ok := o.Last("/a")
		if !ok || o.Hits("/a") != 3 {
			t.Errorf("last request remembered: %t, hits %d; want 3", ok, o.Hits("/a"))
		}
		want := testorigin.Received{Method: "GET", URI: "/a", Path: "/a", Proto: "HTTP/1.1", Host: "origin.test", RemoteAddr: got.RemoteAddr, Header: http.Header{"User-Agent": {"Go-http-client/1.1"}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("recorded request (-want +got):\n%s", diff)
		}
	})
}

// TestSockets: real sockets, TLS, HTTP/2, an upgrade; stop does not hang on what was
// taken over.
func TestSockets(t *testing.T) {
	t.Parallel()
	o := testorigin.Start(t)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(o.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nping")
	// The key and the answer to it are the example of RFC 6455 §1.3.
	want := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nping"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("upgrade: got %q, %v; want %q", got, err, want)
	}

	secure, roots := testorigin.StartTLS(t)
	transport := &http.Transport{ForceAttemptHTTP2: true}
	transport.TLSClientConfig = clientTLS(roots)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(secure.URL + "/size/5?seed=3")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.Proto != "HTTP/2.0" || !bytes.Equal(body, testorigin.Body(3, 5)) {
		t.Errorf("got %q over %s, %v", body, resp.Proto, err)
	}
}

// TestBodyIsTheSameInParts: any cut of the body is the same bytes.
func TestBodyIsTheSameInParts(t *testing.T) {
	t.Parallel()
	const size = 1000
	whole := testorigin.Body(5, size)
	for from := int64(0); from < size; from += 37 {
		part, err := io.ReadAll(testorigin.Reader(5, from, size))
		if err != nil || !bytes.Equal(part, whole[from:]) {
			t.Fatalf("part from %d differs, %v", from, err)
		}
	}
	sum, n, err := testorigin.SumOf(bytes.NewReader(whole))
	if err != nil || n != size || sum != testorigin.Sum(5, size) {
		t.Errorf("SumOf = %s %d %v, want %s", sum, n, err, testorigin.Sum(5, size))
	}
	if bytes.Equal(whole, testorigin.Body(6, size)) {
		t.Error("another seed gives the same body")
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, seed := range []string{"", "status=404&cc=no-store", "abort=head&reset=1", "delay=1s&rate=5&chunk=1", "etag=W/%22x%22&lm=0&date=-", "h=a:b&h=c", "size=-1&length=x", "interim=102&interim=x&link=a&early=1", "only206=1&part=3&digest=bad"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		a, known, err := testorigin.ParseAnswer(values)
		if err == nil && !known && !cmp.Equal(a, testorigin.Answer{}) {
			t.Errorf("%q: nothing known, but answer %+v", query, a)
		}
	})
}
