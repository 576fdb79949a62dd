package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

func TestRefusals(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.handler.Swap(NewSites([]*Site{r.site}), Limits{Fields: 10, TargetBytes: 100, BodyBytes: 10})
		tests := []struct {
			name, target string
			fields       []string
			status       int
			reason       string
		}{
			{"another host", "/", []string{"Host: elsewhere.test"}, 421, "no-such-site"},
			{"no host at all", "/", []string{"Host: a..b"}, 400, "bad-host"},
			{"a long target", "/" + strings.Repeat("x", 100), nil, 414, "target-too-long"},
			{"many fields", "/", strings.Split(strings.Repeat("A: b|", 11), "|")[:11], 431, "too-many-fields"},
			{"a path of ours", "/.perigee/else", nil, 404, "no-such-path"},
		}
		for _, test := range tests {
			a := r.get(test.target, test.fields...)
			if a.StatusCode != test.status || !strings.Contains(a.Header.Get(httpcache.CacheStatusField), "detail="+test.reason) {
				t.Errorf("%s: %d, %q; want %d, %s", test.name, a.StatusCode, a.Header.Get(httpcache.CacheStatusField), test.status, test.reason)
			}
			if got := a.Header.Get(httpcache.CacheControlField); got != "no-store" {
				t.Errorf("%s: %s %q, want no-store", test.name, httpcache.CacheControlField, got)
			}
		}
		if n := r.origin.Total(); n != 0 {
			t.Errorf("%d refused requests reached the origin", n)
		}
	})
}

// What is no target must not reach an origin that may read it in another way.
func TestMalformedTargets(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, line := range []string{
			"GET /a?x#y HTTP/1.1", "GET /a#y HTTP/1.1", "GET /a%zz HTTP/1.1", "GET /a%2 HTTP/1.1", "GET /a%00b HTTP/1.1",
			"GET http://www.test/a?x#y HTTP/1.1", "CONNECT www.test:80 HTTP/1.1", "GET * HTTP/1.1",
		} {
			if got := r.raw(line); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				t.Errorf("%s: got %.60q, want a 400", line, got)
			}
		}
		if n := r.origin.Total(); n != 0 {
			t.Errorf("%d of them reached the origin", n)
		}
	})
}

// An upstream that gives no response: the client gets a status and a name for the
// trouble, the operator the rest.
func TestUpstreamTrouble(t *testing.T) {
	tests := []struct {
		name       string
		err        error
		status     int
		kind       string
		retryAfter string
	}{
		{"refused", &origin.Error{Kind: origin.ErrConnect, Upstream: "http://origin.test"}, 502, "connection_refused", ""},
		{"slow", &origin.Error{Kind: origin.ErrTimeout, Upstream: "http://origin.test"}, 504, "http_response_timeout", ""},
		{"busy", &origin.Error{Kind: origin.ErrOverloaded, Upstream: "http://origin.test"}, 503, "connection_limit_reached", "1"},
		{"anything", errors.New("secret words"), 502, "proxy_internal_error", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				log := r.logTo()
				r.reconfigure(func(s *Site) {
					s.Origin = fetcherFunc(func(context.Context, *origin.Request) (*origin.Response, error) { return nil, test.err })
				})
				for _, method := range []string{"GET", "POST"} {
					a, err := r.do(t.Context(), method, "/x?y")
					if err != nil {
						t.Fatal(err)
					}
					a.expect(t, test.status, "ERROR", map[string]string{"GET": "fwd=miss; ", "POST": "fwd=method; "}[method]+"detail="+test.kind)
					if got := a.Header.Get("Retry-After"); got != test.retryAfter {
						t.Errorf("%s: Retry-After %q, want %q", method, got, test.retryAfter)
					}
					if strings.Contains(a.body, "secret words") || !strings.Contains(a.body, test.kind) {
						t.Errorf("%s: the client was told %q", method, a.body)
					}
					if record := r.last(); record.UpstreamError != test.kind || record.Reason != test.kind {
						t.Errorf("%s: record %+v", method, record)
					}
				}
				synctest.Wait()
				if text := log.String(); strings.Count(text, "kind="+test.kind) != 2 || !strings.Contains(text, "http://www.test/x?y") {
					t.Errorf("the log says %q, want kind and URL, twice", text)
				}
			})
		})
	}
}

// A herd that waits for an upstream in trouble is answered by that one attempt.
func TestTroubleIsShared(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, a := range r.herd(20, "/x?delay=1s&abort=head") {
			if a.err != nil || a.StatusCode != 502 {
				t.Errorf("%v, %v; want 502", a.Response, a.err)
			}
		}
		if n := r.origin.Hits("/x"); n > 2 { // the pool may ask a second time over a new connection
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

// Ten complaints are said at once, then one a second, which tells how many were
// not: a dead origin must not fill the disk with its log.
func TestComplaints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c complaints
		var said []string
		complain := func(times int) {
			for range times {
				c.about(func(unsaid int64) { said = append(said, fmt.Sprintf("%d", unsaid)) })
			}
		}
		complain(25)
		time.Sleep(time.Second)
		complain(5)
		time.Sleep(time.Hour)
		complain(1)
		if diff := cmp.Diff("0 0 0 0 0 0 0 0 0 0 15 4", strings.Join(said, " ")); diff != "" {
			t.Errorf("what each complaint said of those unsaid before it (-want +got):\n%s", diff)
		}
	})
}

// A panic costs the requests that met it, and no other.
func TestPanicCostsOneRequest(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.handler.Swap(NewSites([]*Site{r.site, {
			Name: "broken.test", Rules: &httpcache.Rules{},
			Origin: fetcherFunc(func(context.Context, *origin.Request) (*origin.Response, error) { panic("secret words") }),
		}}), Limits{})
		for _, method := range []string{"GET", "POST"} {
			a, err := r.do(t.Context(), method, "/", "Host: broken.test")
			if err != nil {
				t.Fatal(err)
			}
			a.expect(t, 500, "ERROR", "detail=panic")
			if strings.Contains(a.body, "secret words") {
				t.Error("the client was told what the fault is")
			}
		}
		if n := r.handler.Panics(); n != 2 {
			t.Errorf("%d panics counted, want 2", n)
		}
		if a := r.get("/size/1"); a.StatusCode != 200 {
			t.Errorf("another site: %d", a.StatusCode)
		}
	})
}

// bodyFunc is a body whose reads are a function's.
type bodyFunc func(p []byte) (int, error)

func (f bodyFunc) Read(p []byte) (int, error) { return f(p) }
func (bodyFunc) Close() error                 { return nil }

// A panic in what runs for nobody's request, or after the head has gone out, cuts
// the response and is counted: the process lives.
func TestPanicBehindTheHead(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		log := r.logTo()
		r.reconfigure(func(s *Site) {
			s.Origin = fetcherFunc(func(context.Context, *origin.Request) (*origin.Response, error) {
				return response(bodyFunc(func([]byte) (int, error) { panic("boom") }), 5), nil
			})
		})
		for i, method := range []string{"GET", "POST"} { // the body of a fill; one that is passed on
			if a, err := r.do(t.Context(), method, "/x"); err == nil && a.err == nil {
				t.Errorf("%s: %d with a whole body of %d bytes", method, a.StatusCode, len(a.body))
			}
			synctest.Wait()
			if n := r.handler.Panics(); n != int64(i+1) {
				t.Errorf("%s: %d panics counted, want %d", method, n, i+1)
			}
			if record := r.last(); !record.Aborted {
				t.Errorf("%s: record %+v", method, record)
			}
		}
		if st := r.store.Stats(); st.Objects != 0 || st.Fills != 0 {
			t.Errorf("Stats %+v", st)
		}
		if n := strings.Count(log.String(), "please report it"); n != 2 {
			t.Errorf("the log has %d reports, want 2:\n%s", n, log)
		}
	})
}

// A body that the origin began and broke off looks like that to the client also
// when it is passed on.
func TestTruncatedBodyOfAPassedResponse(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: private"}, Size: 100000, Abort: true, AbortAt: 50000})
		a, err := r.do(t.Context(), http.MethodGet, "/x")
		if err == nil && !errors.Is(a.err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes, %v; want a cut", len(a.body), a.err)
		}
		if record := r.last(); !record.Aborted || record.UpstreamError != "body-incomplete" {
			t.Errorf("record %+v", record)
		}
	})
}

// Who panics with http.ErrAbortHandler wants the response cut, and has no fault to
// report.
func TestAbortIsNoPanic(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) {
			s.Origin = fetcherFunc(func(context.Context, *origin.Request) (*origin.Response, error) { panic(http.ErrAbortHandler) })
		})
		if a, err := r.do(t.Context(), http.MethodPost, "/x"); err == nil {
			t.Errorf("an answer: %d", a.StatusCode)
		}
		if n := r.handler.Panics(); n != 0 || !r.last().Aborted {
			t.Errorf("%d panics counted, record %+v", n, r.last())
		}
	})
}

// A client that leaves while the upstream thinks is nobody to complain to, nor is
// the upstream to blame.
func TestLeavingIsNoTrouble(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		log := r.logTo()
		release := r.origin.Hold("/x")
		defer release()
		for _, method := range []string{http.MethodPost, http.MethodHead} {
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			if _, err := r.do(ctx, method, "/x"); err == nil {
				t.Errorf("%s: an answer came although the origin was held", method)
			}
			leave()
			synctest.Wait()
			if record := r.last(); record.Status != statusClientLeft || record.Reason != "client-left" || record.Cache != ResultNone {
				t.Errorf("%s: record %+v", method, record)
			}
		}
		if log.Len() != 0 {
			t.Errorf("the log says %s", log)
		}
	})
}
