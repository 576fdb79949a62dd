package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProxy(t *testing.T) {
	t.Parallel()
	n, err := Proxy(ProxyOptions{To: "http://localhost:3000", DiskSize: "10GiB"})
	if err != nil {
		t.Fatal(err)
	}
	want, site := defaultNode(), defaultSite()
	want.Listen = Listen{HTTP: []string{":8080"}, Admin: "127.0.0.1:9180"}
	want.Store.RAM = 256 << 20
	site.Name = "*"
	site.Origin.Upstreams = []Upstream{{URL: "http://localhost:3000", Weight: 1}}
	want.Sites = []*Site{&site}
	if diff := cmp.Diff(dump(want), dump(n)); diff != "" {
		t.Errorf("only --to (-want +got):\n%s", diff)
	}

	cert, key := filepath.Join(fixtures, "pair", "cert.pem"), filepath.Join(fixtures, "pair", "key.pem")
	n, err = Proxy(ProxyOptions{
		To: "https://origin.example.com/base/", Listen: []string{":80", "[::1]:81"}, ListenTLS: []string{":8443"},
		Cert: cert, Key: key, Host: "WWW.example.com", RAM: "1GiB", Admin: "off",
	})
	if err != nil {
		t.Fatal(err)
	}
	want.Listen = Listen{HTTP: []string{":80", "[::1]:81"}, HTTPS: []string{":8443"}}
	want.Store.RAM = 1 << 30
	site.TLS = TLS{Mode: TLSFiles, Cert: cert, Key: key}
	site.Origin.Upstreams[0].URL = "https://origin.example.com/base"
	site.Origin.Host, site.Origin.HostName = HostName, "www.example.com"
	if diff := cmp.Diff(dump(want), dump(n)); diff != "" {
		t.Errorf("everything (-want +got):\n%s", diff)
	}
	for host, mode := range map[string]HostMode{"": HostUpstream, "upstream": HostUpstream, "site": HostSite, "client": HostClient} {
		n, err := Proxy(ProxyOptions{To: "http://a", Host: host})
		if err != nil || n.Sites[0].Origin.Host != mode {
			t.Errorf("--host %q: %v, want %v", host, err, mode)
		}
	}
}

func TestProxyErrors(t *testing.T) {
	t.Parallel()
	pair := filepath.Join(fixtures, "pair")
	cases := []struct {
		name    string
		options ProxyOptions
		want    []string // flag and message, then suggestion
	}{
		{"nothing", ProxyOptions{}, []string{"--to: missing", "http://localhost:3000"}},
		{"no scheme", ProxyOptions{To: "localhost:3000"}, []string{"--to: \"localhost:3000\" is not a URL", "did you mean http://localhost:3000?"}},
		{"bad port", ProxyOptions{To: "http://a", Listen: []string{"8080"}}, []string{"--listen: ", `did you mean ":8080"?`}},
		{"empty address", ProxyOptions{To: "http://a", ListenTLS: []string{""}}, []string{"--listen-tls: ", "leave"}},
		{"bad size", ProxyOptions{To: "http://a", RAM: "256"}, []string{"--ram: ", "256MiB"}},
		{"small", ProxyOptions{To: "http://a", RAM: "1KiB"}, []string{"--ram: ", "at least 1MiB"}},
		{"slip", ProxyOptions{To: "http://a", Host: "clinet"}, []string{"--host: ", "did you mean client?"}},
		{"admin", ProxyOptions{To: "http://a", Admin: ":9180"}, []string{"--admin: off loopback", "127.0.0.1:9180"}},
		{"disk", ProxyOptions{To: "http://a", Disk: "/c"}, []string{"--disk: not available in this version", "leave it out"}},
		{"disk size", ProxyOptions{To: "http://a", DiskSize: "1GiB"}, []string{"--disk-size: not available in this version", ""}},
		{"token", ProxyOptions{To: "http://a", PurgeTokenFile: "f"}, []string{"--purge-token-file: not available in this version", ""}},
		{"cert only", ProxyOptions{To: "http://a", Cert: "f"}, []string{"--key: missing", ""}},
		{"key only", ProxyOptions{To: "http://a", Key: "f"}, []string{"--cert: missing", ""}},
		{"no TLS", ProxyOptions{To: "http://a", Cert: "f", Key: "f"}, []string{"--cert: a certificate without --listen-tls", ":8443"}},
		{
			"no file",
			ProxyOptions{To: "http://a", ListenTLS: []string{":0"}, Cert: "none.pem", Key: filepath.Join(pair, "key.pem")},
			[]string{"--cert: cannot read none.pem: there is no such file", ""},
		},
		{
			"no key file",
			ProxyOptions{To: "http://a", ListenTLS: []string{":0"}, Cert: filepath.Join(pair, "cert.pem"), Key: "none.pem"},
			[]string{"--key: cannot read none.pem: there is no such file", ""},
		},
		{
			"swapped",
			ProxyOptions{To: "http://a", ListenTLS: []string{":0"}, Cert: filepath.Join(pair, "key.pem"), Key: filepath.Join(pair, "cert.pem")},
			[]string{"--cert: the certificate and the key cannot be used", "PEM"},
		},
	}
	for _, c := range cases {
		n, err := Proxy(c.options)
		if n != nil || err == nil {
			t.Errorf("%s: Proxy = %v, %v, want an error", c.name, n, err)
			continue
		}
		if got := problems(t, err); len(got) != 1 || !strings.HasPrefix(got[0].String(), c.want[0]) || !strings.Contains(got[0].Suggestion, c.want[1]) {
			t.Errorf("%s: %s, want %q", c.name, err, c.want)
		}
	}
	_, err := Proxy(ProxyOptions{To: "a b", Listen: []string{"x"}, RAM: "x", Disk: "x"})
	if got := problems(t, err); len(got) != 4 {
		t.Errorf("four wrong flags: %v", got)
	}
}
