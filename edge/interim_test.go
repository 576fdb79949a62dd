package edge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// interimOf are the interim responses in a bare answer, each as its status and its
// Link fields, and the status of the final one.
func interimOf(t *testing.T, text string) (all []string, final string) {
	t.Helper()
	reader := bufio.NewReader(strings.NewReader(text))
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodGet})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if response.StatusCode >= 200 {
			return all, response.Status
		}
		line := fmt.Sprint(response.StatusCode)
		for _, link := range response.Header["Link"] {
			line += " " + link
		}
		all = append(all, line)
	}
}

const earlyTarget = "/text/a?cc=max-age%3D60&early=1&etag=v1"

// Early Hints go to the client that led, and again to each that gets the page from the
// store.
func TestEarlyHints(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const hint = "103 " + testorigin.DefaultLink
		for i, xCache := range []string{"MISS", "HIT", "HIT"} {
			text := r.raw("GET " + earlyTarget + " HTTP/1.1")
			got, final := interimOf(t, text)
			if !slices.Equal(got, []string{hint}) || final != "200 OK" || !strings.Contains(text, "X-Cache: "+xCache+"\r\n") {
				t.Errorf("request %d: %q, then %s; want the hints once and %s\n%s", i, got, final, xCache, text)
			}
			if _, after, _ := strings.Cut(text, "200 OK"); strings.Contains(after, "Link:") {
				t.Errorf("request %d: the final response has the Link of the hints", i)
			}
		}
		r.hits("/text/a", 1)
	})
}

// Who gets no hints from the store, and who does: HTTP/1.0 knows none, and for a client
// that has the page they come too late.
func TestEarlyHintsOnHits(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.get(earlyTarget)
		for _, test := range []struct {
			line   string
			fields []string
			want   int
			final  string
		}{
			{"GET " + earlyTarget + " HTTP/1.1", nil, 1, "200 OK"},
			{"GET " + earlyTarget + " HTTP/1.0", nil, 0, "200 OK"},
			{"GET " + earlyTarget + " HTTP/1.1", []string{"If-None-Match: \"v1\""}, 0, "304 Not Modified"},
			{"GET " + earlyTarget + " HTTP/1.1", []string{"Range: bytes=1-2"}, 0, "206 Partial Content"},
			{"HEAD " + earlyTarget + " HTTP/1.1", nil, 0, "200 OK"},
		} {
			got, final := interimOf(t, r.raw(test.line, test.fields...))
			if len(got) != test.want || final != test.final {
				t.Errorf("%s %q: %q, then %s; want %d and %s", test.line, test.fields, got, final, test.want, test.final)
			}
		}
		r.hits("/text/a", 1)
	})
}

// Other interim responses go to the client that led, and are not remembered.
func TestOtherInterimResponses(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D60&interim=102&interim=110&early=1&link=%3C/a%3E&link=%3C/b%3E"
		got, _ := interimOf(t, r.raw("GET "+target+" HTTP/1.1"))
		if want := []string{"102", "110", "103 </a> </b>"}; !slices.Equal(got, want) {
			t.Errorf("the first client got %q, want %q", got, want)
		}
		got, _ = interimOf(t, r.raw("GET "+target+" HTTP/1.1"))
		if want := []string{"103 </a> </b>"}; !slices.Equal(got, want) {
			t.Errorf("the next client got %q, want %q", got, want)
		}
		if got, _ := interimOf(t, r.raw("GET /text/b?interim=102&early=1 HTTP/1.0")); len(got) != 0 {
			t.Errorf("an HTTP/1.0 client got %q", got)
		}
		if got, _ := interimOf(t, r.raw("POST /text/c?interim=102 HTTP/1.1", "Content-Length: 0")); !slices.Equal(got, []string{"102"}) {
			t.Errorf("a POST got %q, want 102", got)
		}
	})
}

// They reach the client while the origin still thinks, which is what they are for.
func TestEarlyHintsAreEarly(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		conn := r.dial()
		defer conn.Close()
		began := time.Now()
		r.ask(conn, "GET /text/a?early=1&delay=10s HTTP/1.1\r\nHost: www.test\r\n\r\n")
		reader := bufio.NewReader(conn)
		for _, want := range []struct {
			status int
			after  time.Duration
		}{{103, 0}, {200, 10 * time.Second}} {
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); response.StatusCode != want.status || took != want.after {
				t.Errorf("%d after %v, want %d after %v", response.StatusCode, took, want.status, want.after)
			}
		}
	})
}

// A new answer brings new hints: those of the response before are forgotten with it,
// and a 304 that comes with none leaves those that there are.
func TestEarlyHintsOfNewResponse(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		script := func(etag string, links ...string) {
			r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", "etag: " + etag}, Text: "hi " + etag, Early: len(links) > 0, Links: links})
		}
		expect := func(what string, want ...string) {
			t.Helper()
			if got, final := interimOf(t, r.raw("GET /x HTTP/1.1")); !slices.Equal(got, want) || final != "200 OK" {
				t.Errorf("%s: %q, then %s; want %q", what, got, final, want)
			}
		}
		script(`"1"`, "</a>")
		expect("a miss", "103 </a>")
		later(2 * time.Minute)
		script(`"1"`)
		expect("validated", "103 </a>")
		expect("a hit after that", "103 </a>")
		later(2 * time.Minute)
		script(`"2"`)
		expect("another response")
		expect("a hit on it")
		later(2 * time.Minute)
		script(`"3"`, "</c>")
		expect("a third", "103 </c>")
		expect("a hit on the third", "103 </c>")
	})
}

// A client that waits for 100 is asked for its body by us, once, whatever the origin
// says.
func TestContinueAndInterim(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		conn := r.dial()
		defer conn.Close()
		r.ask(conn, "POST /sum?interim=102&interim=100 HTTP/1.1\r\nHost: www.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		reader := bufio.NewReader(conn)
		next := func() *http.Response {
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			return response
		}
		if got := next().StatusCode; got != 100 {
			t.Fatalf("status %d before the body, want 100", got)
		}
		r.ask(conn, "hello")
		var got []int
		for {
			response := next()
			if got = append(got, response.StatusCode); response.StatusCode >= 200 {
				break
			}
		}
		if !slices.Equal(got, []int{102, 200}) {
			t.Errorf("after the body %v, want 102 and 200", got)
		}
	})
}

// The client that led does not read; those who wait with it get their answers.
func TestSlowLeaderHoldsUpNobody(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{
			Fields: []string{"cache-control: max-age=60"}, Text: "hi", Links: []string{"<" + strings.Repeat("a", 30_000) + ">"},
			Interim: slices.Repeat([]int{103}, 5), Delay: time.Second, // more than the connection holds
		})
		conn := r.dial()
		defer conn.Close()
		r.ask(conn, "GET /x HTTP/1.1\r\nHost: www.test\r\n\r\n")
		synctest.Wait()
		began := time.Now()
		for _, a := range r.herd(10, "/x") {
			if a.err != nil || a.body != "hi" {
				t.Errorf("%q, %v", a.body, a.err)
			}
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("they waited %v for an origin that takes a second", took)
		}
		r.hits("/x", 1)
		if n := r.handler.InFlight(); n != 1 {
			t.Errorf("%d requests are in flight; the leader should still be stuck", n)
		}
		_ = conn.Close() // the listener's deadlines would see to that
		later(time.Minute)
		if n := r.handler.InFlight(); n != 0 {
			t.Errorf("%d requests are in flight after the leader left, want none", n)
		}
	})
}

// Interim responses, answers and departures of many clients at once: for the race
// detector.
func TestInterimConcurrently(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				target := fmt.Sprintf("/text/%d?cc=max-age%%3D1&early=1&interim=102&delay=%dms", i%4, 1+i%7)
				conn, err := r.net.DialContext(t.Context(), "tcp", "www.test:80")
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				for round := range 5 {
					if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: www.test\r\n\r\n"); err != nil {
						t.Error(err)
						return
					}
					if i%5 == round {
						time.Sleep(time.Duration(i%9) * time.Millisecond)
						return // leaves
					}
					if err := readFinal(conn, fmt.Sprintf("/text/%d", i%4)); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Duration(i*17%1500) * time.Millisecond)
				}
			})
		}
		wg.Wait()
	})
}

// readFinal reads the responses to one request.
func readFinal(conn net.Conn, want string) error {
	reader := bufio.NewReader(conn)
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return err
		}
		if response.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(response.Body)
		if err == nil && (response.StatusCode != 200 || string(body) != want) {
			err = errors.New("status " + response.Status + ", body " + string(body))
		}
		return err
	}
}
