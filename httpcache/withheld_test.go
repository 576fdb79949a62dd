package httpcache

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithheld(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, control string
		setCookie     SetCookie
		want          http.Header
	}{
		{"RFC 9111 §5.2.2.7 private names a field", `max-age=60, private="x-user"`, SetCookiePass, http.Header{"X-User": {"u"}}},
		{"RFC 9111 §5.2.2.4 no-cache names two", `max-age=60, no-cache="Set-Cookie, X-User"`, SetCookieStore, http.Header{"X-User": {"u"}, "Set-Cookie": {"a=b"}}},
		{"what is stripped is nobody's", `max-age=60, no-cache="Set-Cookie, X-User"`, SetCookieStrip, http.Header{"X-User": {"u"}}},
		{"nothing is named", `max-age=60, private`, SetCookiePass, nil},
		{"a field that is not there", `max-age=60, private="x-none"`, SetCookiePass, nil},
	}
	for _, test := range tests {
		h := http.Header{CacheControlField: {test.control}, "X-User": {"u"}, "Set-Cookie": {"a=b"}, "Content-Type": {"text/html"}}
		got := Withheld(&Rules{SetCookie: test.setCookie}, Response{Status: 200, Header: h})
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (%s): -want +got\n%s", test.name, test.control, diff)
		}
	}
}
