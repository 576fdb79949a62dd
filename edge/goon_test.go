package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// The rest of a body that a client has a part of already: whatever is not, for sure,
// the rest of the same representation cuts the response. To splice two versions is
// the worst that a cache can do.
func TestGoOn(t *testing.T) {
	const body = "0123456789abcdefghijABCDEFGHIJ" // of which the client has 10 bytes
	tests := []struct {
		name, etag string // of the rest
		status     int
		contentRange,
		rest string
		part part
		want error
	}{
		{"the rest", `"v1"`, 206, "bytes 10-29/30", body[10:], part{n: -1}, nil},
		{"the rest of a part", `"v1"`, 206, "bytes 10-14/30", body[10:15], part{off: 5, n: 10}, nil},
		{"a short body", `"v1"`, 206, "bytes 10-29/30", body[10:20], part{n: -1}, errOtherRest},
		{"fewer bytes than asked for", `"v1"`, 206, "bytes 10-19/30", body[10:20], part{n: -1}, errOtherRest},
		{"other bytes", `"v1"`, 206, "bytes 0-19/30", body[:20], part{n: -1}, errOtherRest},
		{"another entity tag", `"v2"`, 206, "bytes 10-29/30", body[10:], part{n: -1}, errOtherRest},
		{"a weak entity tag", `W/"v1"`, 206, "bytes 10-29/30", body[10:], part{n: -1}, errOtherRest},
		{"no entity tag", "", 206, "bytes 10-29/30", body[10:], part{n: -1}, errOtherRest},
		{"another length", `"v1"`, 206, "bytes 10-29/31", body[10:], part{n: -1}, errOtherRest},
		{"an unknown length", `"v1"`, 206, "bytes 10-29/*", body[10:], part{n: -1}, errOtherRest},
		{"no Content-Range", `"v1"`, 206, "", body[10:], part{n: -1}, errOtherRest},
		{"the rest as a whole", `"v1"`, 200, "bytes 10-29/30", body[10:], part{n: -1}, errOtherRest},
		{"the whole", `"v1"`, 200, "", body, part{n: -1}, errOtherRest},
		{"no such range", `"v1"`, 416, "bytes */30", "", part{n: -1}, errOtherRest},
		{"an error", "", 500, "", "trouble", part{n: -1}, errOtherRest},
	}
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for i, test := range tests {
			path := fmt.Sprintf("/%d", i)
			r.origin.Script(path, testorigin.Answer{Fields: []string{"cache-control: max-age=600", `etag: "v1"`}, Text: body})
			r.get(path)
			r.origin.Script(path, testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
				set(w.Header(), "Etag", test.etag)
				set(w.Header(), "Content-Range", test.contentRange)
				w.WriteHeader(test.status)
				_ = http.NewResponseController(w).Flush() // no Content-Length: only we can count
				_, _ = io.WriteString(w, test.rest)
			}})
			x, w := r.exchange(path)
			found, _ := x.look(x.now)
			err := x.goOn(found, 10, test.part)
			r.handler.end(x)
			if !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", test.name, err, test.want)
			}
			if test.want == nil && w.Body.String() != test.rest {
				t.Errorf("%s: sent %q, want %q", test.name, w.Body, test.rest)
			}
			asked, _ := r.origin.Last(path)
			last := 29
			if test.part.n >= 0 {
				last = 14
			}
			if got, want := asked.Header.Get("Range"), fmt.Sprintf("bytes=10-%d", last); got != want || asked.Header.Get("If-Range") != `"v1"` {
				t.Errorf("%s: asked for Range %q, If-Range %q; want %q and the entity tag", test.name, got, asked.Header.Get("If-Range"), want)
			}
		}
	})
}

func set(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// Without a strong validator, or without an origin, there is nothing to go on with.
func TestGoOnIsImpossible(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, fields := range [][]string{nil, {`etag: W/"v1"`}, {"last-modified: Mon, 01 Jan 1990 00:00:00 GMT"}} {
			path := fmt.Sprintf("/%d", len(fields)+r.origin.Total())
			r.origin.Script(path, testorigin.Answer{Fields: append(fields, "cache-control: max-age=600"), Text: "0123456789"})
			r.get(path)
			x, _ := r.exchange(path)
			found, _ := x.look(x.now)
			if err := x.goOn(found, 5, part{n: -1}); !errors.Is(err, errNoValidator) {
				t.Errorf("with %q: %v, want %v", fields, err, errNoValidator)
			}
			r.handler.end(x)
			r.hits(path, 1)
		}
		r.get("/size/100?cc=max-age%3D600&etag=v1")
		x, _ := r.exchange("/size/100?cc=max-age%3D600&etag=v1")
		found, _ := x.look(x.now)
		pool := r.pool(originAt("http://nowhere.test"))
		x.site = &Site{Name: "www.test", Rules: r.site.Rules, Origin: pool}
		if err := x.goOn(found, 5, part{n: -1}); err == nil {
			t.Error("no error without an origin")
		}
		r.handler.end(x)
		r.origin.Script("/cut", testorigin.Answer{Fields: []string{"cache-control: max-age=600", `etag: "v1"`}, Text: "0123456789"})
		r.get("/cut")
		r.origin.Script("/cut", testorigin.Answer{Fields: []string{`etag: "v1"`}, Text: "0123456789", Abort: true, AbortAt: 2})
		x, _ = r.exchange("/cut")
		found, _ = x.look(x.now)
		if err := x.goOn(found, 5, part{n: -1}); err == nil {
			t.Error("no error of a rest that is cut itself")
		}
		r.handler.end(x)
	})
}
