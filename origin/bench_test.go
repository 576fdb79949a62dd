package origin_test

import (
	"io"
	"net/http"
	"testing"

	"perigee/internal/testorigin"
	"perigee/origin"
)

// BenchmarkPoolFetch is a fetch of 1 KiB over loopback, the origin in the same
// process: its work is in the figures too.
func BenchmarkPoolFetch(b *testing.B) {
	payload := testorigin.Body(1, 1024)
	up := testorigin.Start(b)
	up.Script("/a", testorigin.Answer{Handler: func(w http.ResponseWriter, _ *http.Request) { w.Write(payload) }})
	p, err := origin.NewPool(origin.Options{Upstream: up.URL})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		resp, err := p.Fetch(b.Context(), get("/a"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}
