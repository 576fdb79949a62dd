package admin

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"perigee/edge"
)

// explaining is a server that notes what it is asked to explain.
func explaining(t *testing.T, asked *edge.Question) *Server {
	return newServer(t, Options{Token: "s3cret", Explain: func(q edge.Question) edge.Explanation {
		*asked = q
		return edge.Explanation{Summary: "A <hit> & more."}
	}})
}

func TestExplain(t *testing.T) {
	t.Parallel()
	cases := []struct {
		query string
		want  edge.Question
	}{
		{"url=http://a/", edge.Question{URL: "http://a/", Header: http.Header{}}},
		{
			"url=https%3A%2F%2Fa%2Fb%3Fc%3D1%26d&method=HEAD&header=Accept-Encoding:+br,+gzip&header=x-a:1&header=X-A:%092+&client=192.0.2.1",
			edge.Question{
				URL: "https://a/b?c=1&d", Method: "HEAD", Client: netip.MustParseAddr("192.0.2.1"),
				Header: http.Header{"Accept-Encoding": {"br, gzip"}, "X-A": {"1", "2"}},
			},
		},
		{"url=http://a/&client=::ffff:192.0.2.1", edge.Question{URL: "http://a/", Header: http.Header{}, Client: netip.MustParseAddr("192.0.2.1")}},
	}
	for _, c := range cases {
		var got edge.Question
		w := ask(explaining(t, &got), "GET", "/v1/explain?"+c.query)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"summary": "A <hit> & more."`) {
			t.Errorf("%s: %d, %s", c.query, w.Code, w.Body)
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s: the question (-want +got):\n%s", c.query, diff)
		}
	}
}

func TestExplainRefusesQuestions(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxQuestionField)
	cases := []struct{ query, want string }{
		{"", "url is missing"},
		{"url=", "url is missing"},
		{"url=a", "begins with http"},
		{"url=http://a/&url=http://b/", "url stands there twice"},
		{"url=http://a/&method=GET&method=PUT", "method stands there twice"},
		{"url=http://a/&verb=GET", `no parameter \"verb\"`},
		{"url=http://a/&%zz", "malformed"},
		{"url=http://a/" + strings.Repeat("a", maxQuestionURL), "longer than 8192 bytes"},
		{"url=http://a/&method=" + strings.Repeat("G", 33), "longer than 32 bytes"},
		{"url=http://a/&method=G%20T", "not a method"},
		{"url=http://a/&header=Accept", "Name: value"},
		{"url=http://a/&header=:x", "Name: value"},
		{"url=http://a/&header=A:" + long, "longer than 8192 bytes"},
		{"url=http://a/&header=A%20B:c", "not a field"},
		{"url=http://a/" + strings.Repeat("&header=a:b", 65), "more than 64 header"},
		{"url=http://a/&client=fra", "not an IP address"},
		{"url=http://a/&client=192.0.2.1:80", "not an IP address"},
	}
	for _, c := range cases {
		var got edge.Question
		w := ask(explaining(t, &got), "GET", "/v1/explain?"+c.query)
		var told problem
		if w.Code != http.StatusBadRequest || json.Unmarshal(w.Body.Bytes(), &told) != nil || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%.80q: %d, %s; want 400 and %q", c.query, w.Code, w.Body, c.want)
		}
		if got.URL != "" {
			t.Errorf("%.80q was explained", c.query)
		}
	}
}

// Who may ask is decided as for everything else.
func TestExplainAccess(t *testing.T) {
	t.Parallel()
	var got edge.Question
	s := explaining(t, &got)
	path := "/v1/explain?" + url.Values{"url": {"http://a/"}}.Encode()
	for _, c := range []struct {
		method string
		fields []string
		want   int
	}{
		{"GET", []string{"Authorization", "Bearer s3cret"}, 200},
		{"GET", []string{"Authorization", "Bearer wrong"}, 401},
		{"GET", []string{"Host", "evil.example"}, 421},
		{"POST", nil, 405},
	} {
		if w := ask(s, c.method, path, c.fields...); w.Code != c.want {
			t.Errorf("%s %v: %d, want %d", c.method, c.fields, w.Code, c.want)
		}
	}
	if w := ask(newServer(t, Options{}), "GET", path); w.Code != http.StatusNotFound {
		t.Errorf("a server with nothing to explain answers %d, want 404", w.Code)
	}
}
