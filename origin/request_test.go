package origin

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzTarget: whatever passes check comes out of net/http's request line as it went
// in, in origin form, on one line.
func FuzzTarget(f *testing.F) {
	for _, seed := range [][2]string{{"/", ""}, {"/a%2Fb", "x=%20"}, {"//a/%7e|", "q"}, {"/\"<>", "|{}"}, {"/a?b", "#"}, {"/\x7f", "\n"}, {"/é", "é"}, {"//%", ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		req := &Request{Method: "GET", Path: path, Query: query}
		if req.check() != nil {
			return
		}
		line := target("http", "up:80", path, query).RequestURI()
		if !strings.HasPrefix(line, "/") || strings.ContainsAny(line, " \r\n\t#") {
			t.Fatalf("path %q, query %q: request line %q", path, query, line)
		}
		got, rest, _ := strings.Cut(line, "?")
		if rest != query {
			t.Errorf("query %q came out as %q", query, rest)
		}
		if got == path {
			return
		}
		// Only a path that begins with two slashes may come out escaped otherwise.
		a, errA := url.PathUnescape(path)
		b, errB := url.PathUnescape(got)
		if !strings.HasPrefix(path, "//") || errB != nil || errA == nil && a != b {
			t.Errorf("path %q came out as %q", path, got)
		}
	})
}

// FuzzParseUpstream: what is accepted gives an address to connect to and a Host that
// can be sent.
func FuzzParseUpstream(f *testing.F) {
	for _, seed := range []string{"http://a", "https://a:1/b/", "http://[::1]", "http://[::1%25eth0]:1/", "http://bücher/ü", "http://a%", "//a", "http://u@a", "http://a/ b", "HTTP://A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := NewPool(Options{Upstream: text})
		if err != nil {
			return
		}
		defer p.Close()
		u := p.upstream
		again, err := NewPool(Options{Upstream: u.url})
		if err != nil {
			t.Fatalf("%q: its own form %q is refused: %v", text, u.url, err)
		}
		if v := again.upstream; v.url != u.url || v.addr != u.addr || v.host != u.host || v.base != u.base {
			t.Errorf("%q: %q reads as %q %q %q, was %q %q %q", text, u.url, v.addr, v.host, v.base, u.addr, u.host, u.base)
		}
		if u.base != "" && !strings.HasPrefix(u.base, "/") || strings.HasSuffix(u.base, "/") || strings.ContainsAny(u.host, " /\r\n") {
			t.Errorf("%q: host %q, base %q", text, u.host, u.base)
		}
	})
}
