package origin_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"perigee/origin"
)

// TestErrorKinds: the types are those of RFC 9209 §2.3 (but for "canceled", which it
// does not know), each is used once, and each has a status and words.
func TestErrorKinds(t *testing.T) {
	t.Parallel()
	const registered = " dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited destination_ip_unroutable" +
		" connection_refused connection_terminated connection_timeout connection_read_timeout connection_write_timeout connection_limit_reached" +
		" tls_protocol_error tls_certificate_error tls_alert_received http_request_error http_request_denied http_response_incomplete" +
		" http_response_header_section_size http_response_header_size http_response_body_size http_response_trailer_section_size" +
		" http_response_trailer_size http_response_transfer_coding http_response_content_coding http_response_timeout http_upgrade_failed" +
		" http_protocol_error proxy_internal_response proxy_internal_error proxy_configuration_error proxy_loop_detected canceled "
	seen := make(map[string]bool)
	for _, kind := range origin.ErrorKinds() {
		token := kind.String()
		if seen[token] || !strings.Contains(registered, " "+token+" ") {
			t.Errorf("kind %d is %q: taken or not registered", kind, token)
		}
		seen[token] = true
		e := &origin.Error{Kind: kind, Upstream: "http://up", Err: io.EOF}
		if status := e.Status(); status != 502 && status != 503 && status != 504 && status != 508 {
			t.Errorf("%s: status %d", kind, status)
		}
		if (e.Status() == 508) != (kind == origin.ErrLoop) {
			t.Errorf("%s: status %d; 508 is for loops", kind, e.Status())
		}
		if e.Timeout() != (e.Status() == 504) || e.Timeout() != strings.HasSuffix(token, "_timeout") {
			t.Errorf("%s: Timeout() = %t with status %d", kind, e.Timeout(), e.Status())
		}
		if text := e.Error(); !strings.Contains(text, "http://up") || strings.Contains(text, "%!") || !errors.Is(e, io.EOF) {
			t.Errorf("%s: text %q", kind, text)
		}
	}
	beyond := origin.ErrorKind(len(seen))
	e := &origin.Error{Kind: beyond, Upstream: "http://up"}
	if beyond.String() != "proxy_internal_error" || e.Status() != 502 || e.Error() != "ask http://up" {
		t.Errorf("unknown kind: %s %d %q", beyond, e.Status(), e)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		o    origin.Options
		want string // "" = accepted
	}{
		{origin.Options{Upstream: "http://a"}, ""},
		{origin.Options{Upstream: "https://a:8443/base/"}, ""},
		{origin.Options{Upstream: "http://[::1]:80"}, ""},
		{origin.Options{Upstream: "http://bücher.example"}, ""},
		{origin.Options{Upstream: ""}, "it must begin with http:// or https://"},
		{origin.Options{Upstream: "a.example:80"}, "it must begin with http:// or https://"},
		{origin.Options{Upstream: "ftp://a"}, "it must begin with http:// or https://"},
		{origin.Options{Upstream: "http://"}, "it names no host"},
		{origin.Options{Upstream: "http://:80"}, "it names no host"},
		{origin.Options{Upstream: "http://u:p@a"}, "it must not hold a user or password"},
		{origin.Options{Upstream: "http://a?b"}, "it must not hold a query or fragment"},
		{origin.Options{Upstream: "http://a?"}, "it must not hold a query or fragment"},
		{origin.Options{Upstream: "http://a#b"}, "it must not hold a query or fragment"},
		{origin.Options{Upstream: "http://a:x"}, "invalid port"},
		{origin.Options{Upstream: "http://a", Connect: -1}, "connect time-out -1ns is negative"},
		{origin.Options{Upstream: "http://a", Connections: -1}, "connections -1 is negative"},
		{origin.Options{Upstream: "http://a", Host: origin.HostName}, `host name "" is not a host`},
		{origin.Options{Upstream: "http://a", Host: origin.HostName, HostName: "a b"}, `host name "a b" is not a host`},
		{origin.Options{Upstream: "http://a", Host: 9}, "host mode 9 is unknown"},
	} {
		p, err := origin.NewPool(tc.o)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%+v: %v, want no error", tc.o, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%+v: %v, want %q", tc.o, err, tc.want)
		}
		if err == nil {
			p.Close()
		}
	}
}
