package edge

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perigee/httpcache"
)

// The client is the first from the right who is not a proxy of ours: everything
// left of that it may have made up.
func TestClientBehindTrustedProxies(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.handler.Swap(NewSites([]*Site{r.site}).Trusting([]netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"),
		}), Limits{})
		type way struct{ Client, Scheme, Forwarded, Proto string } // ours, and what the origin is told
		tests := []struct {
			name, peer string
			header     http.Header
			want       way
		}{
			{"nobody trusted", "192.0.2.1", http.Header{"X-Forwarded-For": {"9.9.9.9"}, "X-Forwarded-Proto": {"https"}}, way{"192.0.2.1", "http", "192.0.2.1", "http"}},
			{"a proxy that says nothing", "10.0.0.1", nil, way{"10.0.0.1", "http", "10.0.0.1", "http"}},
			{"a proxy's client", "10.0.0.1", http.Header{"X-Forwarded-For": {"9.9.9.9"}, "X-Forwarded-Proto": {"https"}}, way{"9.9.9.9", "https", "9.9.9.9, 10.0.0.1", "https"}},
			{"what the client made up", "10.0.0.1", http.Header{"X-Forwarded-For": {"1.1.1.1, 9.9.9.9"}}, way{"9.9.9.9", "http", "1.1.1.1, 9.9.9.9, 10.0.0.1", "http"}},
			{"in two lines", "10.0.0.1", http.Header{"X-Forwarded-For": {"1.1.1.1", "9.9.9.9"}}, way{"9.9.9.9", "http", "1.1.1.1, 9.9.9.9, 10.0.0.1", "http"}},
			{"two proxies", "10.0.0.1", http.Header{"X-Forwarded-For": {"9.9.9.9,10.0.0.2"}}, way{"9.9.9.9", "http", "9.9.9.9,10.0.0.2, 10.0.0.1", "http"}},
			{"proxies alone", "10.0.0.1", http.Header{"X-Forwarded-For": {"10.0.0.3, 10.0.0.2"}}, way{"10.0.0.3", "http", "10.0.0.3, 10.0.0.2, 10.0.0.1", "http"}},
			{"no address", "10.0.0.1", http.Header{"X-Forwarded-For": {"9.9.9.9, unknown"}}, way{"10.0.0.1", "http", "9.9.9.9, unknown, 10.0.0.1", "http"}},
			{"a port", "10.0.0.1", http.Header{"X-Forwarded-For": {"9.9.9.9:5123"}}, way{"9.9.9.9", "http", "9.9.9.9:5123, 10.0.0.1", "http"}},
			{"brackets", "10.0.0.1", http.Header{"X-Forwarded-For": {"[2001:db8::1]"}}, way{"2001:db8::1", "http", "[2001:db8::1], 10.0.0.1", "http"}},
			{"an empty member", "10.0.0.1", http.Header{"X-Forwarded-For": {"9.9.9.9,"}}, way{"9.9.9.9", "http", "9.9.9.9,, 10.0.0.1", "http"}},
			{"IPv6", "fd00::1", http.Header{"X-Forwarded-For": {"2001:db8::1"}}, way{"2001:db8::1", "http", "2001:db8::1, fd00::1", "http"}},
			{"IPv4 in IPv6", "::ffff:10.0.0.1", http.Header{"X-Forwarded-For": {"::ffff:9.9.9.9"}}, way{"9.9.9.9", "http", "::ffff:9.9.9.9, 10.0.0.1", "http"}},
			{"no such scheme", "10.0.0.1", http.Header{"X-Forwarded-Proto": {"gopher"}}, way{"10.0.0.1", "http", "10.0.0.1", "http"}},
			{"the last scheme", "10.0.0.1", http.Header{"X-Forwarded-Proto": {"http, HTTPS "}}, way{"10.0.0.1", "https", "10.0.0.1", "https"}},
		}
		for _, test := range tests {
			request := httptest.NewRequest(http.MethodGet, "http://www.test/text/a?cc=no-store", nil)
			request.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(test.peer), 1234).String()
			for name, values := range test.header {
				request.Header[name] = values
			}
			r.handler.ServeHTTP(httptest.NewRecorder(), request)
			record := r.last()
			sent, _ := r.origin.Last("/text/a")
			got := way{record.Client.String(), record.Scheme, sent.Header.Get("X-Forwarded-For"), sent.Header.Get("X-Forwarded-Proto")}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s: from %s with %v (-want +got):\n%s", test.name, test.peer, test.header, diff)
			}
		}
	})
}
