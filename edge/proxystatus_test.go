package edge

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// Whatever answer we make up says why in Proxy-Status, by a type of RFC 9209 §2.3.
func TestProxyStatusOfRefusals(t *testing.T) {
	inBubble(t, httpcache.Rules{HonourRequest: true}, func(t *testing.T, r *rig) {
		r.handler.Swap(NewSites([]*Site{r.site}), Limits{Fields: 10, TargetBytes: 100, BodyBytes: 10})
		for _, test := range []struct {
			name, line string
			fields     []string
			status     string
			want       string
		}{
			{"another host", "GET http://elsewhere.test/ HTTP/1.1", nil, "421", "destination_not_found"},
			{"no target", "GET /%zz HTTP/1.1", nil, "400", ""},
			{"a bad path", "GET /a%00 HTTP/1.1", nil, "400", "http_request_error"},
			{"a long target", "GET /" + strings.Repeat("x", 100) + " HTTP/1.1", nil, "414", "http_request_error"},
			{"many fields", "GET / HTTP/1.1", strings.Split(strings.Repeat("A: b|", 11), "|")[:11], "431", "http_request_error"},
			{"a large body", "POST / HTTP/1.1", []string{"Content-Length: 100"}, "413", "http_request_error"},
			{"a loop", "GET / HTTP/1.1", []string{"CDN-Loop: perigee; node=" + r.handler.node}, "508", "proxy_loop_detected"},
			{"nothing stored", "GET / HTTP/1.1", []string{httpcache.CacheControlField + ": only-if-cached"}, "504", "proxy_internal_response"},
			{"a path of ours", "GET /.perigee/x HTTP/1.1", nil, "404", "proxy_internal_response"},
		} {
			text := r.raw(test.line, test.fields...)
			if !strings.HasPrefix(text, "HTTP/1.1 "+test.status+" ") {
				t.Errorf("%s: got %.60q, want %s", test.name, text, test.status)
			}
			if want := "\r\nProxy-Status: perigee; error=" + test.want + "\r\n"; test.want != "" && strings.Count(text, want) != 1 {
				t.Errorf("%s: no Proxy-Status with %s in\n%s", test.name, test.want, text)
			}
		}
		if n := r.origin.Total(); n != 0 {
			t.Errorf("%d refused requests reached the origin", n)
		}
	})
}

// An upstream's trouble, by its kind; what it says itself is passed on as it is.
func TestProxyStatusOfTrouble(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		pool := r.site.Origin
		for kind, want := range map[origin.ErrorKind]struct {
			status int
			name   string
		}{
			origin.ErrResolve:        {502, "dns_error"},
			origin.ErrResolveTimeout: {504, "dns_timeout"},
			origin.ErrConnect:        {502, "connection_refused"},
			origin.ErrConnectTimeout: {504, "connection_timeout"},
			origin.ErrUnreachable:    {502, "destination_ip_unroutable"},
			origin.ErrTLS:            {502, "tls_protocol_error"},
			origin.ErrCertificate:    {502, "tls_certificate_error"},
			origin.ErrTimeout:        {504, "http_response_timeout"},
			origin.ErrReset:          {502, "connection_terminated"},
			origin.ErrMalformed:      {502, "http_protocol_error"},
			origin.ErrOverloaded:     {503, "connection_limit_reached"},
			origin.ErrLoop:           {508, "proxy_loop_detected"},
		} {
			r.reconfigure(func(s *Site) {
				s.Origin = fetcherFunc(func(context.Context, *origin.Request) (*origin.Response, error) {
					return nil, &origin.Error{Kind: kind, Upstream: "http://10.1.2.3", Err: errors.New("10.1.2.3 is down")}
				})
			})
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				a, err := r.do(t.Context(), method, "/x")
				if err != nil {
					t.Fatal(err)
				}
				if got := a.Header.Values(httpcache.ProxyStatusField); len(got) != 1 || got[0] != "perigee; error="+want.name || a.StatusCode != want.status {
					t.Errorf("%s, %v: %d, Proxy-Status %q; want %d, %s", method, kind, a.StatusCode, got, want.status, want.name)
				}
				if strings.Contains(a.body, "10.1.2.3") {
					t.Errorf("%v: the client was told where the upstream is: %q", kind, a.body)
				}
			}
		}
		r.reconfigure(func(s *Site) { s.Origin = pool })
		a := r.get("/y?status=503&h=Proxy-Status:inner%3B+error%3Ddns_error")
		if got := a.Header.Values(httpcache.ProxyStatusField); len(got) != 1 || got[0] != "inner; error=dns_error" {
			t.Errorf("Proxy-Status %q of the upstream's own answer, want it as it was", got)
		}
		if got := r.get("/z?status=503").Header.Values(httpcache.ProxyStatusField); len(got) != 0 {
			t.Errorf("Proxy-Status %q on an answer that is not ours", got)
		}
	})
}

// The whole of Cache-Status, in each way that an answer may come about (RFC 9211).
func TestCacheStatusOfEachWay(t *testing.T) {
	inBubble(t, httpcache.Rules{HonourRequest: true, StaleIfError: time.Hour}, func(t *testing.T, r *rig) {
		r.ruled(Rule{Match: Match{Paths: globs("/text/bypass*")}, Bypass: true})
		tell := func(what string, a answered, want string) {
			t.Helper()
			if got := a.Header.Values(httpcache.CacheStatusField); len(got) != 1 || got[0] != "perigee; "+want {
				t.Errorf("%s: Cache-Status %q, want %q", what, got, "perigee; "+want)
			}
			synctest.Wait()
		}
		const target = "/text/a?cc=max-age%3D60&etag=v1"
		tell("a miss", r.get(target), "fwd=miss; fwd-status=200; ttl=60; stored")
		tell("a hit", r.get(target), "hit; ttl=60")
		tell("HEAD", func() answered { a, _ := r.do(t.Context(), http.MethodHead, target); return a }(), "hit; ttl=60")
		tell("the client wants a new one", r.get(target, httpcache.CacheControlField+": no-cache"), "fwd=request; fwd-status=304; ttl=60")
		tell("a condition that fails", r.get(target, `If-None-Match: "v1"`), "hit; ttl=60")
		later(2 * time.Minute)
		tell("validated", r.get(target), "fwd=stale; fwd-status=304; ttl=60")
		tell("private", r.get("/text/b?cc=private"), "fwd=miss; fwd-status=200; detail=private")
		tell("a method", r.post("/text/a", 200), "fwd=method; fwd-status=200")
		tell("a rule", r.get("/text/bypass"), "fwd=bypass; fwd-status=200; detail=bypass-rule")
		const varied = "/text/v?cc=max-age%3D60&vary=Accept-Language"
		r.get(varied, "Accept-Language: en")
		tell("another variant", r.get(varied, "Accept-Language: de"), "fwd=vary-miss; fwd-status=200; ttl=60; stored")
		r.publish("/p", `"v1"`)
		tell("a part", r.get("/p", "Range: bytes=0-99"), "fwd=miss; fwd-status=206; ttl=60; stored")
		tell("a missing part", r.get("/p", "Range: bytes=50-149"), "fwd=partial; fwd-status=206; ttl=60; stored")
		tell("a stored part", r.get("/p", "Range: bytes=50-149"), "hit; ttl=60")
		collapsed := 0
		for _, a := range r.herd(10, "/text/c?cc=max-age%3D60&delay=1s") {
			if strings.Contains(a.Header.Get(httpcache.CacheStatusField), "; collapsed") {
				collapsed++
			}
		}
		if collapsed != 9 {
			t.Errorf("%d of 10 say that they were collapsed, want 9", collapsed)
		}
		r.get("/s?cc=max-age%3D60&body=x&etag=v1")
		r.origin.Script("/s", testorigin.Answer{Status: 503})
		later(2 * time.Minute)
		tell("in an error", r.get("/s?cc=max-age%3D60&body=x&etag=v1"), "fwd=stale; fwd-status=503; ttl=-60; detail=stale-if-error")
	})
}

// The caches behind us have told theirs; ours stands last, on hits as well.
func TestCacheStatusOfLayers(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", "cache-status: inner; hit", "cache-status: middle; fwd=miss"}, Text: "hi"})
		for _, own := range []string{"perigee; fwd=miss; fwd-status=200; ttl=60; stored", "perigee; hit; ttl=60", "perigee; hit; ttl=60"} {
			want := "inner; hit, middle; fwd=miss, " + own
			if got := strings.Join(r.get("/x").Header.Values(httpcache.CacheStatusField), ", "); got != want {
				t.Errorf("Cache-Status %q, want %q", got, want)
			}
		}
	})
}
