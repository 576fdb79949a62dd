package httpcache

import (
	"net/url"
	"strings"
	"testing"
)

// The pieces at both ends of a segment are looked at, however many are between.
func TestDeceptionOfManyPieces(t *testing.T) {
	t.Parallel()
	page := answer("Content-Type: text/html")
	for _, test := range []struct {
		path string
		want bool
	}{
		{"/a" + strings.Repeat(";b", 1000) + ";x.css", true},
		{"/x.css" + strings.Repeat(";b", 1000), true},
		{"/a" + strings.Repeat(";b", maxPieces/2-2) + ";x.css" + strings.Repeat(";b", 1000), true},
		{"/a" + strings.Repeat(";b", 1000) + ";x.css" + strings.Repeat(";b", maxPieces/2-1), true},
		{"/a" + strings.Repeat(";", 1000) + "x.css" + strings.Repeat(";", 1000), true},
		{"/a" + strings.Repeat(";b", 100) + ";x.css" + strings.Repeat(";b", 100), false},
		{"/a" + strings.Repeat(";b", 1000), false},
		{"/" + strings.Repeat(";", 1000), false},
	} {
		if got := deceptive(&url.URL{Path: test.path}, page); got != test.want {
			t.Errorf("%d bytes, %.20q…: %t, want %t", len(test.path), test.path, got, test.want)
		}
	}
	long := answer("Content-Type: text/css; a=" + strings.Repeat("b", maxTypeBytes))
	if !deceptive(&url.URL{Path: "/x.css"}, long) {
		t.Error("a media type too long to be one passes for a style sheet's")
	}
}

// Path and media type are the work of strangers: neither may cost more than the
// response is worth.
func BenchmarkDeceptionHostile(b *testing.B) {
	path := &url.URL{Path: "/" + strings.Repeat("a.css;a.js;", (16<<10)/len("a.css;a.js;"))}
	escaped := &url.URL{Path: "/" + strings.Repeat("%", (16<<10)/3), RawPath: "/" + strings.Repeat("%25", (16<<10)/3)}
	typed := func(size int) Response {
		return answer(`Content-Type: application/octet-stream; a="` + strings.Repeat("a", size) + `"`)
	}
	for _, bench := range []struct {
		name string
		uri  *url.URL
		resp Response
	}{
		{"long type", path, typed(200 << 10)},
		{"type that fits", path, typed(maxTypeBytes / 2)},
		{"escaped", escaped, typed(maxTypeBytes / 2)},
		{"one piece", &url.URL{Path: "/" + strings.Repeat("a", 16<<10)}, typed(200 << 10)},
		{"separators", &url.URL{Path: "/" + strings.Repeat(";", 16<<10)}, typed(200 << 10)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				deceptive(bench.uri, bench.resp)
			}
		})
	}
}
