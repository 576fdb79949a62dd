package edge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// send sends a request of the caller's making.
func (r *rig) send(method, target string, body io.Reader, length int64) answered {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://www.test"+target, body)
	if err != nil {
		r.t.Fatal(err)
	}
	request.ContentLength = length
	response, err := r.client.Do(request)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	return answered{response, string(all), err}
}

// A request body goes to the origin byte for byte, with its length or without.
func TestBodyPasses(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const size = 100_000
		want := testorigin.Sum(1, size) + " 100000 <nil>\n"
		for _, length := range []int64{size, -1} {
			a := r.send("POST", "/sum", testorigin.Reader(1, 0, size), length)
			a.expect(t, 200, "BYPASS", "fwd=method; fwd-status=200")
			if a.body != want {
				t.Errorf("length %d: the origin got %q, want %q", length, a.body, want)
			}
			if last, _ := r.origin.Last("/sum"); last.Length != length {
				t.Errorf("the origin was told the length %d, want %d", last.Length, length)
			}
		}
	})
}

// A body on GET has no meaning and is in no key, so the origin does not get it, and
// who sends one chooses nothing for others. What follows on the connection begins
// behind it, also on a hit.
func TestBodyOfGetGoesNoFurther(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const size = 5000
		smuggled := "GET /text/smuggled HTTP/1.1\r\nHost: www.test\r\n\r\n"
		conn := r.dial()
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for i, want := range []string{"MISS", "HIT", "HIT"} {
			framing := []string{
				"Content-Length: " + itoa(size+int64(len(smuggled))) + "\r\n\r\n" + smuggled + strings.Repeat("x", size),
				"Content-Length: " + itoa(int64(len(smuggled))) + "\r\n\r\n" + smuggled,
				fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled),
			}[i]
			r.ask(conn, "GET /echo?cc=max-age%3D60 HTTP/1.1\r\nHost: www.test\r\n"+framing)
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if got := response.Header.Get("X-Cache"); response.StatusCode != 200 || got != want || err != nil {
				t.Errorf("%.30q: %d, X-Cache %q, %v; want %s", framing, response.StatusCode, got, err, want)
			}
			if text := string(body); strings.Contains(text, "Content-Length") || strings.Contains(text, "Transfer-Encoding") || strings.Contains(text, "xxx") {
				t.Errorf("%.30q: the origin got\n%s", framing, text)
			}
		}
		r.hits("/echo", 1)
		r.hits("/text/smuggled", 0)
	})
}

// A body beyond the limit is refused, at once where its length is known, else when
// it has become too long; the origin never gets a whole one.
func TestBodyLimit(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.handler.Swap(NewSites([]*Site{r.site}), Limits{BodyBytes: 1000})
		tests := []struct {
			size, length int64
			status       int
		}{{1000, 1000, 200}, {1000, -1, 200}, {1001, 1001, 413}, {1001, -1, 413}, {1 << 20, -1, 413}}
		for _, test := range tests {
			a := r.send("POST", "/sum", io.LimitReader(testorigin.Reader(1, 0, test.size), test.size), test.length)
			if a.StatusCode != test.status {
				t.Errorf("%d bytes, Content-Length %d: %d, want %d", test.size, test.length, a.StatusCode, test.status)
			}
			if test.status == 413 && !strings.HasSuffix(a.Header.Get(httpcache.CacheStatusField), "detail=body-too-large") {
				t.Errorf("%d bytes, Content-Length %d: Cache-Status %q", test.size, test.length, a.Header.Get(httpcache.CacheStatusField))
			}
		}
	})
}

// Events reach the client one by one, when they happen, and not when a buffer is
// full.
func TestEventsAreNotHeldBack(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/events", testorigin.Answer{Handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(httpcache.CacheControlField, "no-store")
			w.Header().Set("Content-Type", "text/event-stream")
			for _, event := range []string{"one\n", "two\n"} {
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Second)
				_, _ = io.WriteString(w, event)
			}
		}})
		began := time.Now()
		response, err := r.client.Get("http://www.test/events")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		lines := bufio.NewReader(response.Body)
		for i, want := range []string{"", "one\n", "two\n"} {
			line := ""
			if want != "" {
				line, _ = lines.ReadString('\n')
			}
			if at := time.Since(began).Round(time.Second); line != want || at != time.Duration(i)*10*time.Second {
				t.Errorf("%q came after %v, want %q after %v", line, at, want, time.Duration(i)*10*time.Second)
			}
		}
	})
}

// A client that leaves ends a fetch that was for it alone.
func TestLeavingEndsAPrivateFetch(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		ended := make(chan struct{})
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set(httpcache.CacheControlField, "private")
			_ = http.NewResponseController(w).Flush()
			<-q.Context().Done()
			close(ended)
		}})
		response, err := r.client.Get("http://www.test/x")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_ = response.Body.Close()
		<-ended
		if took := time.Since(began); took > time.Second {
			t.Errorf("the fetch went on for %v for nobody", took)
		}
		synctest.Wait()
		if record := r.last(); !record.Aborted || record.Reason != "client-left" {
			t.Errorf("record %+v", record)
		}
	})
}

// upgrade asks for another protocol and returns the connection behind the head of
// the answer.
func (r *rig) upgrade(fields string) (net.Conn, *bufio.Reader, *http.Response) {
	r.t.Helper()
	conn := r.dial()
	r.ask(conn, "GET /upgrade HTTP/1.1\r\nHost: www.test\r\n"+fields+"\r\n")
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return conn, reader, response
}

// After a 101 the bytes are the client's and the origin's (RFC 9110 §7.8).
func TestUpgrade(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		conn, reader, response := r.upgrade("Connection: keep-alive, Upgrade\r\nUpgrade: echo\r\nX-Real-Ip: 9.9.9.9\r\n")
		if response.StatusCode != 101 || response.Header.Get("Upgrade") != "echo" || response.Header.Get("Via") != "1.1 perigee" {
			t.Fatalf("%d, %v", response.StatusCode, response.Header)
		}
		for _, text := range []string{"ping\n", strings.Repeat("x", 200_000) + "\n"} {
			go func() { _, _ = io.WriteString(conn, text) }()
			if got, err := reader.ReadString('\n'); got != text {
				t.Errorf("%d bytes came back, %v; want %d", len(got), err, len(text))
			}
		}
		if last, _ := r.origin.Last("/upgrade"); last.Header.Get("X-Real-Ip") != "" || last.Header.Get("Connection") != "Upgrade" {
			t.Errorf("the origin got %v", last.Header)
		}
		_ = conn.Close()
		synctest.Wait()
		if n := r.handler.InFlight(); n != 0 {
			t.Errorf("%d requests in flight after the client left", n)
		}
		record := r.last()
		if record.Status != 101 || record.Cache != ResultBypass || record.Reason != "upgrade" || record.BodyBytes != 200_006 {
			t.Errorf("record %+v", record)
		}
	})
}

// What is not a wish to upgrade on this hop, or one for HTTP/2 in clear, by which
// anything could be sent past everything here, is an ordinary GET: it may even hit.
func TestNoUpgrade(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/upgrade", testorigin.Answer{Fields: []string{"cache-control: max-age=60"}, Text: "page"})
		for i, fields := range []string{
			"Upgrade: echo\r\n",
			"Connection: keep-alive\r\nUpgrade: echo\r\n",
			"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
			"Connection: Upgrade\r\nUpgrade: echo, H2C\r\n",
			"Connection: Upgrade\r\n",
		} {
			conn, _, response := r.upgrade(fields)
			want := "HIT"
			if i == 0 {
				want = "MISS"
			}
			if response.StatusCode != 200 || response.Header.Get("X-Cache") != want {
				t.Errorf("%q: %d, X-Cache %q; want 200, %s", fields, response.StatusCode, response.Header.Get("X-Cache"), want)
			}
			_ = conn.Close()
		}
		if last, _ := r.origin.Last("/upgrade"); last.Header.Get("Upgrade") != "" || last.Header.Get("Connection") != "" {
			t.Errorf("the origin got %v", last.Header)
		}
		if got := r.raw("GET /upgrade HTTP/1.0", "Upgrade: echo", "Connection: upgrade"); !strings.Contains(got, "X-Cache: HIT") {
			t.Errorf("HTTP/1.0: got\n%s\nwant a hit: it has no upgrades", got)
		}
	})
}

// An origin that does not want to upgrade answers as it likes.
func TestUpgradeRefusedByTheOrigin(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/upgrade", testorigin.Answer{Status: 403, Text: "no"})
		conn, _, response := r.upgrade("Connection: Upgrade\r\nUpgrade: echo\r\n")
		defer conn.Close()
		if got := response.Header.Get(httpcache.CacheStatusField); response.StatusCode != 403 || got != "perigee; fwd=bypass; fwd-status=403; detail=upgrade" {
			t.Errorf("%d, %q", response.StatusCode, got)
		}
	})
}

// stuck is a connection that cannot be taken over.
type stuck struct{ *httptest.ResponseRecorder }

func (stuck) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errors.New("stuck") }

// Where the client's connection cannot be given away, nobody is told 101.
func TestUpgradeImpossible(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, test := range []struct {
			wrap   func(*httptest.ResponseRecorder) http.ResponseWriter
			status int
		}{
			{func(w *httptest.ResponseRecorder) http.ResponseWriter { return w }, 502},
			{func(w *httptest.ResponseRecorder) http.ResponseWriter { return stuck{w} }, 500},
		} {
			w := httptest.NewRecorder()
			request := httptest.NewRequest("GET", "http://www.test/upgrade", nil)
			request.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}}
			r.handler.ServeHTTP(test.wrap(w), request)
			if got := w.Result().Header.Get(httpcache.CacheStatusField); w.Code != test.status || !strings.HasSuffix(got, "detail=upgrade-refused") {
				t.Errorf("%d, %q; want %d, upgrade-refused", w.Code, got, test.status)
			}
		}
	})
}

// Clients that send their bodies slowly hold no connection to the upstream meanwhile.
func TestShortBodyIsGatheredFirst(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		conn, err := r.net.DialContext(t.Context(), "tcp", "www.test:80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /sum HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\nContent-Length: 10\r\n\r\n01234"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if n := r.origin.Total(); n != 0 {
			t.Errorf("the upstream was asked %d times for half a body", n)
		}
		if _, err := io.WriteString(conn, "56789"); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 200 ") {
			t.Errorf("%.100q, %v", all, err)
		}
		r.hits("/sum", 1)
	})
}

// An OPTIONS that was to go no further ends here; one that may go on has one hop less
// left (RFC 9110 §7.6.2).
func TestMaxForwards(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, test := range []struct {
			method, left string
			status, hits int
			sent         string
		}{
			{http.MethodOptions, "0", 200, 0, ""},
			{http.MethodTrace, "0", 501, 0, ""},
			{http.MethodOptions, "3", 200, 1, "2"},
			{http.MethodOptions, "x", 200, 2, "x"},
			{http.MethodPost, "0", 200, 3, "0"},
		} {
			a, err := r.do(t.Context(), test.method, "/x?body=a", "Max-Forwards: "+test.left)
			if err != nil || a.StatusCode != test.status {
				t.Errorf("%s, Max-Forwards %s: %v, %v; want %d", test.method, test.left, a.Response, err, test.status)
			}
			r.hits("/x", test.hits)
			if last, ok := r.origin.Last("/x"); ok && test.sent != "" && last.Header.Get("Max-Forwards") != test.sent {
				t.Errorf("%s, Max-Forwards %s: the origin got %q, want %q", test.method, test.left, last.Header.Get("Max-Forwards"), test.sent)
			}
		}
	})
}
