package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProxy(t *testing.T) {
	t.Parallel()
	n, err := Proxy(ProxyOptions{To: "http://localhost:3000"})
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

// TestProxyDisk: the journal of purges is beside what is stored, so that nothing purged comes back with it.
func TestProxyDisk(t *testing.T) {
	t.Parallel()
	cases := []struct {
		disk, size string
		want       Disk
	}{
		{"/var/cache/perigee", "", Disk{"/var/cache/perigee", 10 << 30}},
		{"/var/cache/perigee/", "10GiB", Disk{"/var/cache/perigee", 10 << 30}},
		{"./cache", "64MiB", Disk{"cache", 64 << 20}},
		{t.TempDir(), "1TB", Disk{"", 1e12}},
	}
	for _, c := range cases {
		if c.want.Path == "" {
			c.want.Path = c.disk
		}
		n, err := Proxy(ProxyOptions{To: "http://a", Disk: c.disk, DiskSize: c.size})
		if err != nil {
			t.Errorf("--disk %s --disk-size %q: %v", c.disk, c.size, err)
			continue
		}
		if diff := cmp.Diff([]Disk{c.want}, n.Store.Disks); diff != "" || n.State != c.want.Path {
			t.Errorf("--disk %s --disk-size %q: state %s, want %s; disks (-want +got):\n%s", c.disk, c.size, n.State, c.want.Path, diff)
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
		{"disk is a file", ProxyOptions{To: "http://a", Disk: filepath.Join(pair, "key.pem")}, []string{"--disk: " + filepath.Join(pair, "key.pem") + " is a file", "name a folder"}},
		{"disk size only", ProxyOptions{To: "http://a", DiskSize: "10GiB"}, []string{"--disk-size: a size without --disk", "--disk /var/cache/perigee"}},
		{"small disk", ProxyOptions{To: "http://a", Disk: "c", DiskSize: "63MiB"}, []string{"--disk-size: \"63MiB\" is too low", "64MiB: a disk is cut into segments"}},
		{"disk without unit", ProxyOptions{To: "http://a", Disk: "c", DiskSize: "10"}, []string{"--disk-size: \"10\" is not a size", "did you mean 10MiB?"}},
		{"not a path", ProxyOptions{To: "http://a", Disk: "a\x00b"}, []string{"--disk: ", "name a file or folder"}},
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
	_, err := Proxy(ProxyOptions{To: "a b", Listen: []string{"x"}, RAM: "x", Disk: "x", DiskSize: "x"})
	if got := problems(t, err); len(got) != 4 {
		t.Errorf("four wrong flags: %v", got)
	}
}
