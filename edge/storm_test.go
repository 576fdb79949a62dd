package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/memnet"
	"perigee/internal/testorigin"
)

// A leader that takes no interim response and half-closes must hold up nobody else.
// Not in a bubble: who waits for a mutex keeps a bubble's clock from going on.
func TestStormInterimOfADepartedLeaderHoldsTheFlight(t *testing.T) {
	r := newRig(t, httpcache.Rules{})
	long := "<" + strings.Repeat("x", 100<<10) + ">; rel=preload" // more than the buffers take
	r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", long)
		w.WriteHeader(http.StatusEarlyHints)
		later(500 * time.Millisecond)
		w.Header().Set("Link", "</b>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "body")
	}})
	conn := r.dial()
	r.ask(conn, "GET /x HTTP/1.1\r\nHost: www.test\r\n\r\n")
	later(100 * time.Millisecond)
	done := make(chan struct{})
	go func() { defer close(done); _, _ = r.do(context.Background(), "GET", "/x") }()
	later(100 * time.Millisecond)
	_ = conn.(*memnet.Conn).CloseWrite() // the leader leaves; it never reads
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Errorf("who waited for the same fetch has no answer after 5s; the origin gave it after 0.5s")
	}
	_ = conn.Close()
	<-done
	r.close()
}

// A client that takes no interim response is let go like one that takes no body.
func TestStormInterimToAClientThatDoesNotRead(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		long := "<" + strings.Repeat("x", 100<<10) + ">; rel=preload"
		r.origin.Script("/x", testorigin.Answer{Early: true, Links: []string{long}, Fields: []string{"cache-control: max-age=60"}, Text: "b"})
		conn := r.dial()
		defer conn.Close()
		r.ask(conn, "GET /x HTTP/1.1\r\nHost: www.test\r\n\r\n")
		later(10 * time.Minute)
		if n := r.handler.InFlight(); n != 0 {
			t.Errorf("%d requests in flight after 10 minutes without a byte taken", n)
		}
	})
}

// What a POST made invalid stands in for no error of the origin's. (Its bytes are gone
// by then, so that it shows in what needs none of them.)
func TestStormStaleIfErrorAfterInvalidation(t *testing.T) {
	for _, faceted := range []bool{false} {
		t.Run(fmt.Sprint(faceted), func(t *testing.T) {
			inBubble(t, httpcache.Rules{StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
				if faceted {
					headers := []string{"X-Shop"}
					r.reconfigure(func(s *Site) { s.RuleSet = []Rule{{Key: KeyChange{Headers: &headers}}} })
				}
				r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=10", `etag: "1"`}, Text: "old"})
				r.get("/x", "X-Shop: a")
				later(time.Minute)
				r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
					if q.Method == http.MethodPost {
						return
					}
					later(2 * time.Second)
					w.WriteHeader(500)
				}})
				var wg sync.WaitGroup
				wg.Go(func() { r.get("/x", "X-Shop: a") })
				later(time.Second)
				r.post("/x", 200)
				var a answered
				if faceted {
					a = r.get("/x", "X-Shop: a")
				} else {
					a = r.get("/x", "X-Shop: a", `If-None-Match: "1"`)
				}
				if a.StatusCode != 500 {
					t.Errorf("asked for after the POST: %d %q, Cache-Status %s", a.StatusCode, a.body, a.Header.Get("Cache-Status"))
				}
				wg.Wait()
			})
		})
	}
}

// Groups are struck by invalidations too: who asks afterwards joins no fetch of before.
func TestStormGroupInvalidationAndAFlight(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		var posted atomic.Bool
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			body := "old"
			if posted.Load() {
				body = "new"
			}
			later(2 * time.Second)
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("Cache-Groups", `"g"`)
			_, _ = io.WriteString(w, body)
		}})
		r.origin.Script("/edit", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			posted.Store(true)
			w.Header().Set("Cache-Group-Invalidation", `"g"`)
		}})
		var wg sync.WaitGroup
		wg.Go(func() { r.get("/x") })
		later(time.Second)
		r.post("/edit", 200)
		if a := r.get("/x"); a.body != "new" {
			t.Errorf("asked for after the group was invalidated: %q, Cache-Status %s", a.body, a.Header.Get("Cache-Status"))
		}
		wg.Wait()
	})
}

// The rest of the answer to a POST is not to be had by another POST.
func TestStormRestOfAPostIsNoPost(t *testing.T) {
	inWindow(t, func(t *testing.T, r *rig) {
		var posts atomic.Int64
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPost {
				posts.Add(1)
			}
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("Etag", `"v1"`)
			w.Header().Set("Content-Location", "/x")
			w.Header().Set("Content-Length", fmt.Sprint(bigBytes*2))
			buf := make([]byte, 10_000)
			for i := 0; i < bigBytes*2/len(buf); i++ {
				if i%50 == 0 {
					later(100 * time.Millisecond)
				}
				if _, err := w.Write(buf); err != nil {
					return
				}
			}
		}})
		request, _ := http.NewRequest(http.MethodPost, "http://www.test/x", strings.NewReader("order one thing"))
		response, err := r.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var wg sync.WaitGroup
		for range 2 { // others who read faster
			wg.Go(func() { r.get("/x") })
		}
		later(20 * time.Second)
		_, err = io.Copy(io.Discard, response.Body)
		wg.Wait()
		if n := posts.Load(); n != 1 {
			t.Errorf("the origin got %d POSTs for one of the client's (read to the end: %v)", n, err)
		}
	})
}

// HEAD confirms nothing of what has no validator.
func TestStormHeadRevivesWithoutValidator(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		version := "one"
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, version)
		}})
		r.get("/x")
		version = "two"
		for range 100 {
			later(11 * time.Second)
			if _, err := r.do(t.Context(), http.MethodHead, "/x"); err != nil {
				t.Fatal(err)
			}
		}
		if a := r.get("/x"); a.body != "two" {
			t.Errorf("after 1100s: body %q, Age %q, Cache-Status %s", a.body, a.Header.Get("Age"), a.Header.Get("Cache-Status"))
		}
	})
}

// Content-Digest is about the very content of a message (RFC 9530 §2).
func TestStormContentDigestOfAPart(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Etag", `"v"`)
			w.Header().Set("Content-Digest", "sha-256=:OF-"+strings.NewReplacer("=", "", "-", "").Replace(q.Header.Get("Range"))+":")
			http.ServeContent(w, q, "", time.Time{}, strings.NewReader("0123456789"))
		}})
		r.get("/x", "Range: bytes=0-4")
		r.get("/x", "Range: bytes=5-9")
		if a := r.get("/x"); a.Header.Get("Content-Digest") != "" {
			t.Errorf("%d %q with Content-Digest %s", a.StatusCode, a.body, a.Header.Get("Content-Digest"))
		}
	})
}

// An origin in trouble is not asked more than one that is well.
func TestStormRefreshStorm(t *testing.T) {
	for name, c := range map[string]struct {
		cc   string
		wait time.Duration
	}{
		"early": {"max-age=1000, stale-while-revalidate=10", 995 * time.Second},
		"stale": {"max-age=10, stale-while-revalidate=1000", 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: " + c.cc, `etag: "1"`}, Text: "x"})
				r.get("/x")
				r.origin.Script("/x", testorigin.Answer{Status: 500})
				later(c.wait)
				before := r.origin.Hits("/x")
				for range 100 { // within a second
					r.get("/x")
					later(10 * time.Millisecond)
				}
				if n := r.origin.Hits("/x") - before; n > 5 {
					t.Errorf("100 hits in a second cost a failing origin %d refreshes", n)
				}
			})
		})
	}
}

// An early refresh does not replace what is fresh by an error.
func TestStormEarlyRefreshByAnError(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=1000, stale-while-revalidate=1000, stale-if-error=1000", `etag: "1"`}, Text: "x"})
		r.get("/x")
		r.origin.Script("/x", testorigin.Answer{Status: 503, Fields: []string{"cache-control: max-age=30"}, Text: "down"})
		later(995 * time.Second)
		r.get("/x")
		later(time.Second)
		if a := r.get("/x"); a.StatusCode != 200 {
			t.Errorf("age 996 of 1000: %d %q %s", a.StatusCode, a.body, a.Header.Get("Cache-Status"))
		}
	})
}

// Tiny ranges of one client do not keep those of others from being stored.
func TestStormFragmentsKeepOthersOut(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v"`)
		for i := range 64 {
			r.get("/x", fmt.Sprintf("Range: bytes=%d-%d", 9000+2*i, 9000+2*i))
		}
		before := r.origin.Hits("/x")
		for range 10 {
			r.get("/x", "Range: bytes=0-4999").gives(t, "/x", `"v"`, 0, 4999)
		}
		if n := r.origin.Hits("/x") - before; n != 1 {
			t.Errorf("after 64 ranges of a byte each, the same range costs the origin %d requests of 10", n)
		}
	})
}

// What a POST stores is found by the key of GET, not by its own.
func TestStormPostIsKeyedAsGet(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		none := httpcache.QueryRule{Ignore: true}
		r.reconfigure(func(s *Site) {
			s.RuleSet = []Rule{{Match: Match{Methods: []string{"POST"}}, Key: KeyChange{Query: &none}}}
		})
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			if q.Method == http.MethodPost {
				w.Header().Set("Content-Location", q.URL.RequestURI())
			}
			_, _ = io.WriteString(w, q.Method+" "+q.URL.RawQuery)
		}})
		r.post("/x?id=5", 200)
		if a := r.get("/x"); a.body != "GET " {
			t.Errorf("GET /x: %q, %s", a.body, a.Header.Get("Cache-Status"))
		}
	})
}

// A range that the origin misunderstands costs it one request.
func TestStormLyingParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `etag: "v"`}, Size: partSize, Only206: true, Part: 1})
		for i := range 3 {
			before := r.origin.Hits("/x")
			a := r.get("/x", "Range: bytes=100-199")
			t.Logf("%d: %d %s %d bytes: origin %d", i, a.StatusCode, a.Header.Get("Content-Range"), len(a.body), r.origin.Hits("/x")-before)
			before = r.origin.Hits("/x")
			a = r.get("/x")
			t.Logf("%d: %d %s %d bytes: origin %d", i, a.StatusCode, a.Header.Get("Content-Range"), len(a.body), r.origin.Hits("/x")-before)
		}
		t.Log(r.asks("/x"))
	})
}

// 201 to POST is not what GET would have.
func TestStormPost201(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Status: 201, Fields: []string{"cache-control: max-age=60", "content-location: /x", "location: /x"}, Text: "created"})
		r.post("/x", 201)
		if a := r.get("/x"); a.Header.Get("X-Cache") == "HIT" {
			t.Errorf("GET: %d %q", a.StatusCode, a.body)
		}
	})
}
