package edge

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// testCompression is what the tests' sites compress.
func testCompression() *Compression {
	return &Compression{
		Types:     []httpcache.Glob{httpcache.NewGlob("text/*"), httpcache.NewGlob("application/json")},
		MinBytes:  1000,
		Encodings: []Coding{Brotli, Zstd, Gzip},
	}
}

// compressing runs a story on a site that compresses.
func compressing(t *testing.T, story func(t *testing.T, r *rig)) {
	t.Helper()
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.Compress = testCompression() })
		story(t, r)
	})
}

// prose is n bytes of text, as compressible as pages are.
func prose(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "<p class=\"line-%d\">What the %dth satellite sees, %x.</p>\n", i%7, i, i*i*2654435761)
	}
	return b.String()[:n]
}

// page scripts a page of text at path.
func (r *rig) page(path, text string, fields ...string) {
	fields = append([]string{"cache-control: max-age=60", `etag: "v1"`, "content-type: text/html; charset=utf-8"}, fields...)
	r.origin.Script(path, testorigin.Answer{Fields: fields, Text: text})
}

// decoder reads what is coded by the named coding, "" for none.
func decoder(t *testing.T, coding string, coded io.Reader) io.Reader {
	t.Helper()
	switch coding {
	case "":
		return coded
	case "br":
		return brotli.NewReader(coded)
	case "zstd":
		// 8 MiB is what browsers take (RFC 9659).
		d, err := zstd.NewReader(coded, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			t.Fatal(err)
		}
		return d
	case "gzip":
		d, err := gzip.NewReader(coded)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	t.Fatalf("Content-Encoding %q is none of ours", coding)
	return nil
}

// decoded is the body of an answer without its coding.
func (a answered) decoded(t *testing.T) string {
	t.Helper()
	if a.err != nil {
		t.Fatalf("%s: %v", a.Request.URL, a.err)
	}
	text, err := io.ReadAll(decoder(t, a.Header.Get("Content-Encoding"), strings.NewReader(a.body)))
	if err != nil {
		t.Errorf("%s: decoding %q: %v", a.Request.URL, a.Header.Get("Content-Encoding"), err)
	}
	return string(text)
}

// shape is what compression changes about an answer.
type shape struct {
	Status                         int
	Coding, ETag, Vary, Ranges, MD string
	Length                         bool
}

func (a answered) shape() shape {
	return shape{
		a.StatusCode, a.Header.Get("Content-Encoding"), a.Header.Get("Etag"), strings.Join(a.Header["Vary"], "+"),
		a.Header.Get("Accept-Ranges"), a.Header.Get("Content-Digest"), a.ContentLength >= 0,
	}
}

// objects is how many bodies are stored, coded ones included.
func (r *rig) objects() int {
	n := 0
	for range r.store.All() {
		n++
	}
	return n
}

func TestEachClientGetsItsCoding(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		text := prose(30_000)
		r.page("/p", text, "content-digest: sha-256=:x:")
		tests := []struct {
			accept string
			want   shape
		}{
			{"gzip", shape{200, "gzip", `W/"v1"`, "Accept-Encoding", "", "", false}},
			{"gzip, br, zstd", shape{200, "br", `W/"v1"`, "Accept-Encoding", "", "", false}},
			{"zstd;q=0.9, br;q=0.8", shape{200, "zstd", `W/"v1"`, "Accept-Encoding", "", "", false}},
			{"br;q=0", shape{200, "", `"v1"`, "Accept-Encoding", "bytes", "sha-256=:x:", true}},
			{"", shape{200, "", `"v1"`, "Accept-Encoding", "bytes", "sha-256=:x:", true}},
			{"identity, gzip;q=0.5", shape{200, "", `"v1"`, "Accept-Encoding", "bytes", "sha-256=:x:", true}},
		}
		for round, xCache := range []string{"", "HIT"} {
			for i, test := range tests {
				a := r.get("/p", "Accept-Encoding: "+test.accept)
				want := test.want
				if round == 1 {
					want.Length = true // whole by now
				}
				if diff := cmp.Diff(want, a.shape()); diff != "" {
					t.Errorf("round %d, Accept-Encoding %q (-want +got):\n%s", round, test.accept, diff)
				}
				if got := a.decoded(t); got != text {
					t.Errorf("Accept-Encoding %q: %d bytes decoded, which are not the page", test.accept, len(got))
				}
				if want.Coding != "" && len(a.body) > len(text)/3 {
					t.Errorf("Accept-Encoding %q: %d bytes of %d", test.accept, len(a.body), len(text))
				}
				if got := a.Header.Get("X-Cache"); got != xCache && (round > 0 || i > 0) && got != "HIT" {
					t.Errorf("X-Cache %q", got)
				}
				synctest.Wait() // the body is in the store
				if record := r.last(); record.Encoding != test.want.Coding || record.BodyBytes != int64(len(a.body)) {
					t.Errorf("record: encoding %q, %d bytes; want %q, %d", record.Encoding, record.BodyBytes, test.want.Coding, len(a.body))
				}
			}
		}
		r.hits("/p", 1)
		if n := r.objects(); n != 4 {
			t.Errorf("%d objects are stored, want the page and three codings", n)
		}
	})
}

// However many ask at once, a body is coded once, and all get the same bytes.
func TestCodedOnceForAHerd(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		text := prose(300_000)
		r.page("/p", text)
		all := r.herd(100, "/p", "Accept-Encoding: br")
		for _, a := range all {
			if a.err != nil || a.Header.Get("Content-Encoding") != "br" || a.body != all[0].body {
				t.Fatalf("%v, coding %q, %d bytes; the first had %d", a.err, a.Header.Get("Content-Encoding"), len(a.body), len(all[0].body))
			}
		}
		if all[0].decoded(t) != text {
			t.Error("the body differs from the page")
		}
		r.hits("/p", 1)
		synctest.Wait()
		if stored := r.store.Stats().Stored; stored != 2 {
			t.Errorf("%d bodies came into the store, want the page and its coded form", stored)
		}
	})
}

func TestConditionsAcrossCodings(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.page("/p", prose(5000))
		r.get("/p")
		r.get("/p", "Accept-Encoding: gzip")
		coded := shape{304, "", `W/"v1"`, "Accept-Encoding", "", "", true}
		plain := shape{304, "", `"v1"`, "Accept-Encoding", "", "", true}
		for _, test := range []struct {
			fields []string
			want   shape
		}{
			{[]string{`If-None-Match: "v1"`, "Accept-Encoding: gzip"}, coded},
			{[]string{`If-None-Match: W/"v1"`, "Accept-Encoding: gzip"}, coded},
			{[]string{`If-None-Match: W/"v1"`, "Accept-Encoding: br"}, coded}, // not made yet, and not needed
			{[]string{`If-None-Match: W/"v1"`}, plain},
			{[]string{`If-None-Match: "v1"`}, plain},
			{[]string{`If-None-Match: "v0"`, "Accept-Encoding: gzip"}, shape{200, "gzip", `W/"v1"`, "Accept-Encoding", "", "", true}},
			{[]string{`If-Match: W/"v1"`, "Accept-Encoding: gzip"}, shape{412, "", "", "Accept-Encoding", "", "", true}},
		} {
			a := r.get("/p", test.fields...)
			if diff := cmp.Diff(test.want, a.shape(), cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Length" && a.StatusCode == 304 }, cmp.Ignore())); diff != "" {
				t.Errorf("%q (-want +got):\n%s", test.fields, diff)
			}
		}
		r.hits("/p", 1)
	})
}

// Parts are parts of the stored bytes, whatever else the client takes; a part that is
// bound to the coded form's tag is none.
func TestRangeIsOfTheIdentity(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		text := prose(5000)
		r.page("/p", text)
		r.get("/p", "Accept-Encoding: br")
		part := r.get("/p", "Accept-Encoding: br", "Range: bytes=100-199")
		if diff := cmp.Diff(shape{206, "", `"v1"`, "Accept-Encoding", "bytes", "", true}, part.shape()); diff != "" || part.body != text[100:200] {
			t.Errorf("a range: %q, -want +got\n%s", part.body, diff)
		}
		for _, fields := range [][]string{
			{"Range: bytes=0-1,5-6"},
			{"Range: bytes=100-199", `If-Range: W/"v1"`},
			{"Range: lines=1-2"},
		} {
			a := r.get("/p", append(fields, "Accept-Encoding: br")...)
			if a.Header.Get("Content-Encoding") != "" {
				t.Errorf("%q: coding %q, want none", fields, a.Header.Get("Content-Encoding"))
			}
		}
	})
}

// What is not to be compressed, and why.
func TestSentAsItIs(t *testing.T) {
	text := prose(5000)
	type change func(a *testorigin.Answer)
	field := func(lines ...string) change {
		return func(a *testorigin.Answer) { a.Fields = append(a.Fields, lines...) }
	}
	html := "content-type: text/html"
	tests := map[string]struct {
		change  change
		request string
	}{
		"no type": {change: func(a *testorigin.Answer) {
			text, directives := a.Text, a.Fields[0]
			a.Handler = func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil // else net/http guesses one
				w.Header()["Etag"] = []string{`"v1"`}
				w.Header().Set(httpcache.CacheControlField, strings.TrimPrefix(directives, "cache-control: "))
				_, _ = io.WriteString(w, text)
			}
		}},
		"another type":           {change: field("content-type: image/png")},
		"two types":              {change: field(html, "content-type: text/plain")},
		"events":                 {change: field("content-type: Text/Event-Stream; charset=utf-8")},
		"no-transform, targeted": {change: field(html, "cdn-cache-control: max-age=60, no-transform")},
		"no-transform":           {change: field(html, "cache-control: no-transform")},
		"another status":         {change: func(a *testorigin.Answer) { field(html)(a); a.Status = 404 }},
		"too small":              {change: func(a *testorigin.Answer) { field(html)(a); a.Text = text[:999] }},
		"the client says so":     {change: field(html), request: "Cache-Control: no-transform"},
		"coded by the origin":    {change: field(html, "content-encoding: gzip")},
		"coded, and nothing":     {change: field(html, "content-encoding: ")},
	}
	compressing(t, func(t *testing.T, r *rig) {
		for name, test := range tests {
			path := "/" + strings.ReplaceAll(name, " ", "-")
			for _, directives := range []string{"max-age=60", "private"} {
				a := testorigin.Answer{Fields: []string{"cache-control: " + directives, `etag: "v1"`}, Text: text}
				test.change(&a)
				r.origin.Script(path, a)
				fields := []string{"Accept-Encoding: br, zstd, gzip"}
				if test.request != "" {
					fields = append(fields, test.request)
				}
				got := r.get(path+"?"+directives, fields...)
				want := ""
				if name == "coded by the origin" {
					want = "gzip"
				}
				varies := test.request != ""
				if got.body != a.Text || got.Header.Get("Content-Encoding") != want || got.Header.Get("Etag") != `"v1"` ||
					(got.Header.Get("Vary") != "") != varies {
					t.Errorf("%s, %s: %d bytes, %v; want it untouched", name, directives, len(got.body), got.shape())
				}
			}
		}
	})
}

// A response that was compressed upstream for some clients is a variant of its own and
// stays as it is; another, for clients that take nothing upstream has, is compressed here.
func TestOriginsVariantsAreUsed(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		text := prose(5000)
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		_, _ = io.WriteString(w, text)
		_ = w.Close()
		r.origin.Script("/p", testorigin.Answer{Handler: func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "max-age=60")
			h.Set("Vary", "accept-encoding, X-Other")
			h.Set("Content-Type", "text/css")
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				h.Set("Content-Encoding", "gzip")
				_, _ = w.Write(zipped.Bytes())
				return
			}
			_, _ = io.WriteString(w, text)
		}})
		for accept, want := range map[string]string{"gzip, br": "gzip", "br": "br", "zstd, br": "br"} {
			for range 2 {
				a := r.get("/p", "Accept-Encoding: "+accept)
				if got := a.Header.Get("Content-Encoding"); got != want || a.decoded(t) != text || want == "gzip" && a.body != zipped.String() {
					t.Errorf("Accept-Encoding %q: coding %q, %d bytes; want %q", accept, got, len(a.body), want)
				}
				if got := a.Header["Vary"]; len(got) != 1 || got[0] != "accept-encoding, X-Other" {
					t.Errorf("Vary %q, want the origin's alone", got)
				}
			}
		}
		r.hits("/p", 3)
	})
}

// HEAD has the fields of GET; the length of the coded form only where it is known, and
// nothing is made for it.
func TestHeadOfCoded(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.page("/p", prose(5000))
		r.get("/p")
		head := func() answered {
			a, err := r.do(t.Context(), http.MethodHead, "/p", "Accept-Encoding: zstd")
			if err != nil || a.body != "" {
				t.Fatalf("HEAD: %q, %v", a.body, err)
			}
			return a
		}
		want := shape{200, "zstd", `W/"v1"`, "Accept-Encoding", "", "", false}
		if diff := cmp.Diff(want, head().shape()); diff != "" {
			t.Errorf("before a GET (-want +got):\n%s", diff)
		}
		if n := r.objects(); n != 1 {
			t.Errorf("%d objects are stored, want the page alone", n)
		}
		a := r.get("/p", "Accept-Encoding: zstd")
		synctest.Wait()
		want.Length = true
		again := head()
		if diff := cmp.Diff(want, again.shape()); diff != "" || again.ContentLength != int64(len(a.body)) {
			t.Errorf("after a GET: length %d, want %d (-want +got):\n%s", again.ContentLength, len(a.body), diff)
		}
	})
}

// A 304 that freshens the response is enough for its coded form too.
func TestFreshenedKeepsItsCodedForm(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.page("/p", prose(5000), "x-version: 1")
		first := r.get("/p", "Accept-Encoding: br")
		later(61 * time.Second)
		r.page("/p", prose(5000), "x-version: 2")
		second := r.get("/p", "Accept-Encoding: br")
		second.expect(t, 200, "REVALIDATED", "fwd=stale; fwd-status=304; ttl=60")
		if second.body != first.body || second.Header.Get("X-Version") != "2" || second.ContentLength < 0 {
			t.Errorf("%d and %d bytes, X-Version %q", len(first.body), len(second.body), second.Header.Get("X-Version"))
		}
		if stored := r.store.Stats().Stored; stored != 2 {
			t.Errorf("%d bodies came into the store, want the page and its coded form", stored)
		}
	})
}

// A new version has a coded form of its own, and what is removed is not found by it.
func TestNewVersionIsCodedAnew(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		for _, text := range []string{prose(5000), "new " + prose(6000)} {
			r.page("/p", text)
			if a := r.get("/p", "Accept-Encoding: br"); a.decoded(t) != text {
				t.Errorf("%d bytes, want the version of %d", len(a.decoded(t)), len(text))
			}
			synctest.Wait()
			if a := r.get("/p", "Accept-Encoding: br"); a.decoded(t) != text || a.Header.Get("X-Cache") != "HIT" {
				t.Errorf("%d bytes, X-Cache %s, want a hit of the version of %d", len(a.decoded(t)), a.Header.Get("X-Cache"), len(text))
			}
			x, _ := r.exchange("/p")
			r.store.Remove(x.key)
			r.handler.end(x)
		}
		r.hits("/p", 2)
	})
}

// A part is never coded. Joined with the others it is a whole like any other.
func TestPartsAreNotCoded(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		text := prose(5000)
		r.page("/p", text)
		for _, part := range []string{"0-999", "2000-2999"} {
			a := r.get("/p", "Accept-Encoding: br", "Range: bytes="+part)
			if a.StatusCode != 206 || a.Header.Get("Content-Encoding") != "" || !strings.Contains(text, a.body) || len(a.body) != 1000 {
				t.Fatalf("the bytes %s: %d, %d bytes", part, a.StatusCode, len(a.body))
			}
			synctest.Wait()
			if n := r.objects(); n != 1 {
				t.Errorf("%d objects are stored, want the parts in one", n)
			}
		}
		for range 3 {
			if a := r.get("/p", "Accept-Encoding: br"); a.decoded(t) != text || a.StatusCode != 200 {
				t.Errorf("the whole: %d, %d bytes", a.StatusCode, len(a.body))
			}
			synctest.Wait()
		}
	})
}
