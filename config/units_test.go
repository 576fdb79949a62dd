package config

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// TestParse holds every kind against texts that are meant and texts that are refused ("" = refused), with a part of the
// suggestion that a refusal makes.
func TestParse(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	cases := []struct {
		kind kind
		text string
		want any
		hint string
	}{
		{kind: kindInstant, text: "2027-01-31", want: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
		{kind: kindInstant, text: "2027-01-31T18:00:00Z", want: time.Date(2027, 1, 31, 18, 0, 0, 0, time.UTC)},
		{kind: kindInstant, text: "2027-01-31T18:00:00.5+02:00", want: time.Date(2027, 1, 31, 16, 0, 0, 5e8, time.UTC)},
		{kind: kindInstant, text: "2027-01-31T18:00:00", hint: "did you mean 2027-01-31T18:00:00Z?"},
		{kind: kindInstant, text: "2027-01-31 18:00:00+02:00", hint: "did you mean 2027-01-31T18:00:00+02:00?"},
		{kind: kindInstant, text: "2027-01-31 18:00:00", hint: "did you mean 2027-01-31T18:00:00Z?"},
		{kind: kindInstant, text: "2027-02-29", hint: "for example: 2027-01-31"},
		{kind: kindInstant, text: "31.01.2027", hint: "for example: 2027-01-31"},
		{kind: kindInstant, text: "90d", hint: "for example: 2027-01-31"},
		{kind: kindInstant, text: "0001-01-01", hint: "look at the year"},
		{kind: kindInstant, text: "", hint: "for example: 2027-01-31"},
		{kind: kindVariable, text: "sixteen-bytes-00\r\n", want: "sixteen-bytes-00"},
		{kind: kindVariable, text: "two words", hint: "openssl rand -hex 32"},
		{kind: kindVariable, text: "\n", hint: "openssl rand -hex 32"},
		{kind: kindDuration, text: "0", want: time.Duration(0)},
		{kind: kindDuration, text: "0s", want: time.Duration(0)},
		{kind: kindDuration, text: "250ms", want: 250 * time.Millisecond},
		{kind: kindDuration, text: "10s", want: 10 * time.Second},
		{kind: kindDuration, text: "5m", want: 5 * time.Minute},
		{kind: kindDuration, text: "1h30m", want: 90 * time.Minute},
		{kind: kindDuration, text: "30d", want: 30 * day},
		{kind: kindDuration, text: "1d2h3m4s5ms", want: day + 2*time.Hour + 3*time.Minute + 4*time.Second + 5*time.Millisecond},
		{kind: kindDuration, text: "36500d", want: 36500 * day},
		{kind: kindDuration, text: "36500d1s", hint: "write durations as"},
		{kind: kindDuration, text: "36501d", hint: "the longest duration is 36500d"},
		{kind: kindDuration, text: "10", hint: "did you mean 10s?"},
		{kind: kindDuration, text: "10 s", hint: "did you mean 10s?"},
		{kind: kindDuration, text: "10 msec", hint: "did you mean 10ms?"},
		{kind: kindDuration, text: "2 Days", hint: "did you mean 2d?"},
		{kind: kindDuration, text: "1 month", hint: "30d"},
		{kind: kindDuration, text: "10µs", hint: "write durations as"},
		{kind: kindDuration, text: "1m1h", hint: "write durations as"},
		{kind: kindDuration, text: "1m1m", hint: "write durations as"},
		{kind: kindDuration, text: "s", hint: "write durations as"},
		{kind: kindDuration, text: "-1s", hint: "write durations as"},
		{kind: kindDuration, text: strings.Repeat("9", 400) + "s", hint: "write durations as"},
		{kind: kindSize, text: "0", want: int64(0)},
		{kind: kindSize, text: "7B", want: int64(7)},
		{kind: kindSize, text: "10KiB", want: int64(10240)},
		{kind: kindSize, text: "10KB", want: int64(10000)},
		{kind: kindSize, text: "512MB", want: int64(512e6)},
		{kind: kindSize, text: "1MiB", want: int64(1 << 20)},
		{kind: kindSize, text: "64GiB", want: int64(64 << 30)},
		{kind: kindSize, text: "2TB", want: int64(2e12)},
		{kind: kindSize, text: "8388607TiB", want: int64(8388607 << 40)},
		{kind: kindSize, text: "8388608TiB", hint: "did you mean"},
		{kind: kindSize, text: "64", hint: "64MiB"},
		{kind: kindSize, text: "64 mib", hint: "did you mean 64MiB?"},
		{kind: kindSize, text: "64G", hint: "64GB or 64GiB"},
		{kind: kindSize, text: "64iB", hint: "write sizes as"},
		{kind: kindSize, text: "lots", hint: "write sizes as"},
		{kind: kindRate, text: "100/s", want: rate{100, time.Second}},
		{kind: kindRate, text: "50/m", want: rate{50, time.Minute}},
		{kind: kindRate, text: "1/h", want: rate{1, time.Hour}},
		{kind: kindRate, text: "1/d", hint: "write rates as"},
		{kind: kindRate, text: "100", hint: "did you mean 100/s?"},
		{kind: kindByteRate, text: "1KiB/s", want: int64(1024)},
		{kind: kindByteRate, text: "1KiB/m", hint: "1KiB/s"},
		{kind: kindBandwidth, text: "10Gbit", want: int64(10e9)},
		{kind: kindBandwidth, text: "5bit", want: int64(5)},
		{kind: kindBandwidth, text: "10Gibit", hint: "10Gbit"},
		{kind: kindInt, text: "2147483647", want: math.MaxInt32},
		{kind: kindInt, text: "2147483648", hint: "digits only"},
		{kind: kindInt, text: "007", hint: "digits only"},
		{kind: kindInt, text: "1,000", hint: "did you mean 1000?"},
		{kind: kindInt, text: "-1", hint: "digits only"},
		{kind: kindFloat, text: "-8.5", want: -8.5},
		{kind: kindFloat, text: "NaN", hint: "50.11"},
		{kind: kindFloat, text: "inf", hint: "50.11"},
		{kind: kindBool, text: "true", want: true},
		{kind: kindBool, text: "off", hint: "did you mean false?"},
		{kind: kindBool, text: "On", hint: "did you mean true?"},
		{kind: kindBool, text: "maybe", hint: ""},
		{kind: kindHost, text: "WWW.Example.COM.", want: "www.example.com"},
		{kind: kindHost, text: "bücher.example", want: "xn--bcher-kva.example"},
		{kind: kindHost, text: "XN--BCHER-KVA.example", want: "xn--bcher-kva.example"},
		{kind: kindHost, text: "my_app", want: "my_app"},
		{kind: kindHost, text: "192.0.2.1", want: "192.0.2.1"},
		{kind: kindHost, text: "2001:DB8::1", want: "[2001:db8::1]"},
		{kind: kindHost, text: "[2001:DB8::1]", want: "[2001:db8::1]"},
		{kind: kindHost, text: "[2001:db8::1", hint: "www.example.com"},
		{kind: kindHost, text: "[192.0.2.1]", hint: "www.example.com"},
		{kind: kindHost, text: "fe80::1%eth0", hint: "www.example.com"},
		{kind: kindHost, text: "192.0.2.256", hint: "www.example.com"},
		{kind: kindHost, text: strings.Repeat("a", 64), hint: "www.example.com"},
		{kind: kindHost, text: strings.Repeat("a.", 127) + "a", hint: "www.example.com"},
		{kind: kindHost, text: "a.example.com:8080", hint: "did you mean a.example.com?"},
		{kind: kindHost, text: ".", hint: "www.example.com"},
		{kind: kindAddress, text: ":80", want: ":80"},
		{kind: kindAddress, text: "[::]:0", want: "[::]:0"},
		{kind: kindAddress, text: "localhost:80", want: "localhost:80"},
		{kind: kindAddress, text: "[127.0.0.1]:80", hint: "for example"},
		{kind: kindAddress, text: "a b:80", hint: "for example"},
		{kind: kindAddress, text: "http://a/", hint: "for example"},
		{kind: kindAddress, text: "99999", hint: "for example"},
		{kind: kindPeer, text: "10.0.0.8", want: "10.0.0.8"},
		{kind: kindPeer, text: "10.0.0.9:7946", want: "10.0.0.9:7946"},
		{kind: kindPeer, text: "[2001:db8::1]:7946", want: "[2001:db8::1]:7946"},
		{kind: kindPeer, text: "node-2", want: "node-2"},
		{kind: kindPeer, text: "node-2:0", hint: "7946"},
		{kind: kindPeer, text: "node-2:", hint: "7946"},
		{kind: kindIP, text: "2001:DB8::10", want: "2001:db8::10"},
		{kind: kindIP, text: "fe80::1%eth0", hint: "192.0.2.10"},
		{kind: kindCIDR, text: "10.0.0.0/8", want: "10.0.0.0/8"},
		{kind: kindCIDR, text: "192.0.2.1", want: "192.0.2.1/32"},
		{kind: kindCIDR, text: "10.0.0.1/8", hint: "did you mean 10.0.0.0/8?"},
		{kind: kindEmail, text: "ops@example.com", want: "ops@example.com"},
		{kind: kindEmail, text: "ops", hint: "ops@example.com"},
		{kind: kindEmail, text: "<ops@example.com>", hint: "ops@example.com"},
		{kind: kindLabel, text: "www-1", want: "www-1"},
		{kind: kindLabel, text: "www.1", hint: "small letters"},
		{kind: kindName, text: "fra-1.a_b", want: "fra-1.a_b"},
		{kind: kindName, text: "", hint: "letters"},
		{kind: kindName, text: ".hidden", hint: "letters"},
		{kind: kindURLPath, text: "/healthz?x=1", want: "/healthz?x=1"},
		{kind: kindURLPath, text: "healthz", hint: "/healthz"},
		{kind: kindPath, text: "", hint: "name a file"},
		{kind: kindPath, text: "a\x00b", hint: "name a file"},
		{kind: kindStatus, text: "404", want: 404},
		{kind: kindStatus, text: "600", hint: "404"},
		{kind: kindStatusRange, text: "200-399", want: "200-399"},
		{kind: kindStatusRange, text: "204", want: "204"},
		{kind: kindStatusRange, text: "200-", hint: "200-399"},
		{kind: kindFieldName, text: "x-served-by", want: "X-Served-By"},
		{kind: kindFieldName, text: "te", hint: "leave it out"},
		{kind: kindFieldName, text: "host", hint: "origin.host"},
		{kind: kindFieldValue, text: "", want: ""},
		{kind: kindFieldValue, text: "a\r\nX: y", hint: "line breaks"},
		{kind: kindGlob, text: "text/*", want: "text/*"},
		{kind: kindGlob, text: "a? [b]", want: "a? [b]"},
		{kind: kindGlob, text: "", hint: "pro*"},
		{kind: kindGlob, text: "a\n", hint: "pro*"},
		{kind: kindPathGlob, text: "/static/*", want: "/static/*"},
		{kind: kindPathGlob, text: "*.css", want: "*.css"},
		{kind: kindPathGlob, text: "/a%2Fb/%C3%BC*", want: "/a%2Fb/%C3%BC*"},
		{kind: kindPathGlob, text: "static/*", hint: "did you mean /static/*?"},
		{kind: kindPathGlob, text: "/b\u00fccher/[a] {b}", hint: "did you mean /b%C3%BCcher/%5Ba%5D%20%7Bb%7D?"},
		{kind: kindPathGlob, text: "/%7euser/%2f", hint: "did you mean /~user/%2F?"},
		{kind: kindPathGlob, text: "/a?b=*", hint: "did you mean /a? match.query"},
		{kind: kindPathGlob, text: "/a#b", hint: "did you mean /a?"},
		{kind: kindPathGlob, text: "/a/../b", hint: "/static/*"},
		{kind: kindPathGlob, text: "/a/%2e/b", hint: "/static/*"},
		{kind: kindPathGlob, text: "/a%", hint: "/static/*"},
		{kind: kindPathGlob, text: "/a%00", hint: "/static/*"},
		{kind: kindPathGlob, text: "/a\t", hint: "/static/*"},
		{kind: kindPathGlob, text: "https://a/b", hint: "/static/*"},
		{kind: kindPathGlob, text: "", hint: "every path"},
		{kind: kindHostGlob, text: "*.Example.COM.", want: "*.example.com"},
		{kind: kindHostGlob, text: "*", want: "*"},
		{kind: kindHostGlob, text: "www.Example.com", want: "www.example.com"},
		{kind: kindHostGlob, text: "*.b\u00fccher.example", want: "*.xn--bcher-kva.example"},
		{kind: kindHostGlob, text: "b\u00fc*.example", hint: "*.example.com"},
		{kind: kindHostGlob, text: "*.example.com:80", hint: "*.example.com"},
		{kind: kindHostGlob, text: "www.example.com:80", hint: "did you mean www.example.com?"},
		{kind: kindHostGlob, text: "*..com", hint: "*.example.com"},
		{kind: kindMediaGlob, text: "Text/*", want: "text/*"},
		{kind: kindMediaGlob, text: "*+json", want: "*+json"},
		{kind: kindMediaGlob, text: "json", hint: "did you mean */json?"},
		{kind: kindMediaGlob, text: "text/html; charset=utf-8", hint: "did you mean text/html?"},
		{kind: kindMediaGlob, text: "text/", hint: "text/*"},
		{kind: kindMediaGlob, text: "a/b/c", hint: "text/*"},
		{kind: kindMediaGlob, text: "text/[a]", hint: "text/*"},
		{kind: kindMediaGlob, text: "", hint: "text/*"},
		{kind: kindParamGlob, text: "filter[*]", want: "filter[*]"},
		{kind: kindParamGlob, text: "?utm_*", hint: "did you mean utm_*?"},
		{kind: kindParamGlob, text: "v=1", hint: "did you mean v?"},
		{kind: kindParam, text: "v", want: "v"},
		{kind: kindParam, text: "first name", want: "first name"},
		{kind: kindParam, text: "50%", want: "50%"},
		{kind: kindParamGlob, text: "filter%5B*%5D", hint: "did you mean \"filter[*]\"?"},
		{kind: kindParam, text: "a&b", hint: "utm_source"},
		{kind: kindParam, text: "", hint: "utm_source"},
		{kind: kindCookie, text: "__Host-sid", want: "__Host-sid"},
		{kind: kindCookie, text: "sid=1", hint: "did you mean sid?"},
		{kind: kindCookie, text: "", hint: "session"},
		{kind: kindCookie, text: "a b", hint: "session"},
		{kind: kindMethod, text: "GET", want: "GET"},
		{kind: kindMethod, text: "M-SEARCH", want: "M-SEARCH"},
		{kind: kindMethod, text: "get", hint: "did you mean GET?"},
		{kind: kindMethod, text: "G T", hint: "GET"},
		{kind: kindMatchField, text: "x-plan", want: "X-Plan"},
		{kind: kindMatchField, text: "host", hint: "match.host"},
		{kind: kindMatchField, text: "cookie", hint: "match.cookie"},
		{kind: kindMatchField, text: "a b", hint: "X-Plan"},
		{kind: kindKeyField, text: "x-tenant", want: "X-Tenant"},
		{kind: kindKeyField, text: "host", hint: "leave it out"},
		{kind: kindKeyField, text: "cookie", hint: "under cookies"},
		{kind: kindKeyField, text: "authorization", hint: "bypass: true"},
		{kind: kindKeyField, text: "accept-encoding", hint: "compress"},
		{kind: kindKeyField, text: "range", hint: "leave it out"},
		{kind: kindKeyField, text: "if-none-match", hint: "leave it out"},
		{kind: kindKeyField, text: "te", hint: "leave it out"},
		{kind: kindKeyField, text: "x_tenant", hint: "leave it out"},
		{kind: kindKeyField, text: "x-forwarded-proto", hint: "leave it out"},
		{kind: kindKeyField, text: "X-Perigee-Country", hint: "country"},
		{kind: kindKeyField, text: "", hint: "X-Tenant"},
		{kind: kindText, text: "anything: at all", want: "anything: at all"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%d %.30s", c.kind, c.text), func(t *testing.T) {
			t.Parallel()
			got, bad := c.kind.info().parse(c.text)
			if bad != nil {
				if c.want != nil {
					t.Errorf("%q is refused: %s (%s), want %v", c.text, bad.message, bad.hint, c.want)
				}
				if !strings.Contains(bad.hint, c.hint) {
					t.Errorf("%q: suggestion %q, want it to hold %q", c.text, bad.hint, c.hint)
				}
				return
			}
			if got != c.want {
				t.Errorf("%q = %#v, want %#v", c.text, got, c.want)
			}
		})
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	web := []string{"http", "https"}
	cases := []struct {
		schemes          []string
		text, want, hint string
	}{
		{web, "http://localhost:3000", "http://localhost:3000", ""},
		{web, "https://Origin.Example.COM./", "https://origin.example.com", ""},
		{web, "https://bücher.example/a/", "https://xn--bcher-kva.example/a", ""},
		{web, "http://[2001:DB8::1]:8080/base", "http://[2001:db8::1]:8080/base", ""},
		{web, "HTTPS://a", "https://a", ""},
		{web, "localhost", "", "did you mean https://localhost?"},
		{web, "localhost:3000", "", "did you mean http://localhost:3000?"},
		{web, "htpp://a", "", "did you mean http://a?"},
		{web, "//a", "", "for example: https://"},
		{web, "mailto:a@b", "", "for example"},
		{web, "http://u@a", "", "take the user"},
		{web, "http://a?", "", "did you mean http://a?"},
		{web, "http://a#", "", "did you mean http://a?"},
		{web, "http://a:", "", "for example"},
		{web, "http://a:0", "", "for example"},
		{web, "http://a:080", "", "for example"},
		{web, "http://a b", "", "for example"},
		{web, "http://*.a", "", "for example"},
		{web, "http://%41/", "", "for example"},
		{web, "", "", "for example"},
		{[]string{"nats", "tls"}, "tls://log.example.net:4222", "tls://log.example.net:4222", ""},
		{[]string{"nats", "tls"}, "log.example.net", "", "did you mean nats://log.example.net?"},
	}
	for _, c := range cases {
		got, bad := parseURL(c.text, c.schemes)
		switch {
		case bad != nil && c.want != "":
			t.Errorf("%q is refused: %s, want %q", c.text, bad.message, c.want)
		case bad != nil && !strings.Contains(bad.hint, c.hint):
			t.Errorf("%q: suggestion %q, want it to hold %q", c.text, bad.hint, c.hint)
		case bad == nil && got != c.want:
			t.Errorf("%q = %q, want %q", c.text, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	cases := []struct{ text, want string }{
		{"acess", "access"},
		{"accses", "access"},
		{"ACCESS", "access"},
		{"levle", "level"},
		{"lvl", ""},
		{"", ""},
		{"default-ttl", "default_ttl"},
		{"defalt_tl", "default_ttl"},
		{"xyz", ""},
		{strings.Repeat("a", 1000), ""},
	}
	for _, c := range cases {
		if got := nearest(c.text, []string{"access", "level", "default_ttl"}); got != c.want {
			t.Errorf("nearest(%.20q) = %q, want %q", c.text, got, c.want)
		}
	}
}

// FuzzParse: no text makes a parser panic, and what it accepts it accepts again as it wrote it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"10s", "1h30m", "64GiB", "100/s", ":80", "[::1]:80", "bücher.example", "https://a/b", "10.0.0.0/8", "200-399", "X-A", "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for k := kindText; k < kinds; k++ {
			v, bad := k.info().parse(s)
			if bad != nil && bad.message == "" {
				t.Errorf("%s: %q is refused without a message", k.info().article, s)
			}
			if text, ok := v.(string); ok && bad == nil {
				again, worse := k.info().parse(text)
				if worse != nil || again != v {
					t.Errorf("%s: %q becomes %q, which becomes %v (%v)", k.info().article, s, v, again, worse)
				}
			}
		}
		if url, bad := parseURL(s, []string{"http", "https"}); bad == nil {
			if again, worse := parseURL(url.(string), []string{"http", "https"}); worse != nil || again != url {
				t.Errorf("%q becomes %q, which becomes %v (%v)", s, url, again, worse)
			}
		}
	})
}
