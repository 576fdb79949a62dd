package edge

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// lie is a 206 as an origin should not send it: to a request for the bytes 100 to 199.
type lie struct {
	status  int
	span    string // Content-Range, "" for none
	kind    string // Content-Type
	body    string
	length  int  // Content-Length, 0 for the true one, -1 for none
	unasked bool // given to requests without Range too
}

// lyingOrigin tells the lie to each Range, the truth about version v1 to others.
func lyingOrigin(l lie) http.HandlerFunc {
	whole := bytesOf("/x", `"v1"`, 0, partSize-1)
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set(httpcache.CacheControlField, "max-age=60")
		h.Set("Etag", `"v1"`)
		h.Set("Content-Type", "application/octet-stream")
		if r.Header.Get("Range") == "" && !l.unasked {
			_, _ = w.Write([]byte(whole))
			return
		}
		if l.span != "" {
			h.Set("Content-Range", l.span)
		}
		if l.kind != "" {
			h.Set("Content-Type", l.kind)
		}
		n := len(l.body)
		if l.length > 0 {
			n = l.length
		}
		h.Set("Content-Length", strconv.Itoa(n))
		if l.length < 0 {
			h.Del("Content-Length")
		}
		w.WriteHeader(l.status)
		if l.length < 0 {
			_ = http.NewResponseController(w).Flush() // else net/http counts
		}
		_, _ = w.Write([]byte(l.body))
	}
}

// Whatever an origin makes of Range, nothing false is stored, nobody gets bytes that
// are not where the answer says they are, and the origin is not asked for ever.
func TestOriginsThatLieAboutParts(t *testing.T) {
	part := func(first, last int64) string { return bytesOf("/x", `"v1"`, first, last) }
	multipart := "--b\r\nContent-Range: bytes 100-199/10000\r\n\r\n" + part(100, 199) + "\r\n--b--\r\n"
	tests := map[string]lie{
		"other bytes":                {status: 206, span: "bytes 300-399/10000", body: part(300, 399)},
		"fewer bytes":                {status: 206, span: "bytes 100-149/10000", body: part(100, 149)},
		"more bytes":                 {status: 206, span: "bytes 50-299/10000", body: part(50, 299)},
		"a length beside the point":  {status: 206, span: "bytes 100-199/10000", body: part(100, 149)},
		"a body that is cut":         {status: 206, span: "bytes 100-199/10000", body: part(100, 149), length: 100},
		"chunked, too short":         {status: 206, span: "bytes 100-199/10000", body: part(100, 149), length: -1},
		"chunked, too long":          {status: 206, span: "bytes 100-199/10000", body: part(100, 299), length: -1},
		"a smaller whole":            {status: 206, span: "bytes 100-199/150", body: part(100, 199)},
		"no length of the whole":     {status: 206, span: "bytes 100-199/*", body: part(100, 199)},
		"no Content-Range":           {status: 206, body: part(100, 199)},
		"another unit":               {status: 206, span: "lines 100-199/10000", body: part(100, 199)},
		"reversed":                   {status: 206, span: "bytes 199-100/10000", body: part(100, 199)},
		"several parts":              {status: 206, kind: "multipart/byteranges; boundary=b", body: multipart},
		"not satisfiable":            {status: 416, span: "bytes */50", body: "no"},
		"not satisfiable, unfounded": {status: 416, body: "no"},
		"not modified":               {status: 304},
		"precondition failed":        {status: 412, body: "no"},
		"bad request":                {status: 400, body: "no"},
		"forbidden":                  {status: 403, body: "no"},
		"not implemented":            {status: 501, body: "no"},
		"unasked":                    {status: 206, span: "bytes 0-4999/10000", body: part(0, 4999), unasked: true},
	}
	for name, l := range tests {
		for _, base := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, base %v", name, base), func(t *testing.T) {
				inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
					if base {
						r.publish("/x", `"v1"`)
						r.get("/x", "Range: bytes=0-99")
					}
					r.origin.Script("/x", testorigin.Answer{Handler: lyingOrigin(l)})
					before := r.origin.Hits("/x")
					for range 3 {
						a, err := r.do(t.Context(), http.MethodGet, "/x", "Range: bytes=100-199")
						a.truthful(t, err)
						synctest.Wait()
					}
					if n := r.origin.Hits("/x") - before; n > 3*(maxRounds+2) {
						t.Errorf("3 requests cost %d questions", n)
					}
					if base {
						r.get("/x", "Range: bytes=0-99").gives(t, "/x", `"v1"`, 0, 99)
					}
					// What is stored by now is true: the origin tells the truth again.
					r.publish("/x", `"v1"`)
					r.get("/x").gives(t, "/x", `"v1"`, 0, partSize-1)
					r.get("/x", "Range: bytes=100-199").gives(t, "/x", `"v1"`, 100, 199)
				})
			})
		}
	}
}

// truthful checks that an answer with bytes has those that it says it has, unless it is
// plainly one that the origin has made and we have only passed on.
func (a answered) truthful(t *testing.T, err error) {
	t.Helper()
	if err != nil || a.err != nil {
		return // visible
	}
	switch a.StatusCode {
	case http.StatusOK:
		if a.body != bytesOf("/x", `"v1"`, 0, partSize-1) {
			t.Errorf("a 200 of %d bytes that are not the whole", len(a.body))
		}
	case http.StatusPartialContent:
		var first, last int64
		if _, err := fmt.Sscanf(a.Header.Get("Content-Range"), "bytes %d-%d/10000", &first, &last); err != nil || first > last || last >= partSize {
			if a.Header.Get("X-Cache") != "MISS" || strings.Contains(a.Header.Get(httpcache.CacheStatusField), "stored") {
				t.Errorf("Content-Range %q of a response that is not just passed on: %s", a.Header.Get("Content-Range"), a.Header.Get(httpcache.CacheStatusField))
			}
			return
		}
		if a.body != bytesOf("/x", `"v1"`, first, last) && a.Header.Get("X-Cache") != "MISS" {
			t.Errorf("%d bytes that are not the bytes %d to %d", len(a.body), first, last)
		}
	}
}

// Parts of one representation whose length changed under the same tag are not joined.
func TestPartsOfOtherLengthAreNotJoined(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v1"`)
		r.get("/x", "Range: bytes=0-99")
		other := string(testorigin.Body(7, 5000))
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `etag: "v1"`}, Size: 5000, Seed: 7})
		a := r.get("/x", "Range: bytes=50-149")
		if a.StatusCode != 206 || a.body != other[50:150] || a.Header.Get("Content-Range") != "bytes 50-149/5000" {
			t.Errorf("%d, Content-Range %q, %d bytes; want those of the shorter one alone", a.StatusCode, a.Header.Get("Content-Range"), len(a.body))
		}
		synctest.Wait()
		if a := r.get("/x"); a.StatusCode != 200 || a.body != other {
			t.Errorf("%d with %d bytes, want the shorter one", a.StatusCode, len(a.body))
		}
	})
}

// Conditions on what is stored in parts need none of its bytes, and If-Range chooses
// between a part and the whole (RFC 9110 §13.2.2).
func TestConditionsOnParts(t *testing.T) {
	const end = partSize - 1
	tests := []struct {
		name        string
		method      string
		fields      []string
		status      int
		first, last int64 // of the body, if there is one
		upstream    []string
	}{
		{"HEAD", "HEAD", nil, 200, 0, -1, nil},
		{"the same tag", "GET", []string{`If-None-Match: "v1"`}, 304, 0, -1, nil},
		{"the same tag and a range that lacks", "GET", []string{`If-None-Match: "v1"`, "Range: bytes=500-599"}, 304, 0, -1, nil},
		{"another tag", "GET", []string{`If-None-Match: "v0"`, "Range: bytes=10-19"}, 206, 10, 19, nil},
		{"a precondition that holds", "GET", []string{`If-Match: "v1"`, "Range: bytes=10-19"}, 206, 10, 19, nil},
		{"If-Range, the same", "GET", []string{`If-Range: "v1"`, "Range: bytes=10-19"}, 206, 10, 19, nil},
		{"If-Range, the same, more than is there", "GET", []string{`If-Range: "v1"`, "Range: bytes=50-149"}, 206, 50, 149, []string{"bytes=100-149"}},
		{"If-Range, another", "GET", []string{`If-Range: "v0"`, "Range: bytes=10-19"}, 200, 0, end, []string{"bytes=100-9999"}},
		{"If-Range, weak", "GET", []string{`If-Range: W/"v1"`, "Range: bytes=10-19"}, 200, 0, end, []string{"bytes=100-9999"}},
		{"a range that is malformed", "GET", []string{"Range: bytes=9-1"}, 200, 0, end, []string{"bytes=100-9999"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.publish("/x", `"v1"`)
				r.get("/x", "Range: bytes=0-99")
				a, err := r.do(t.Context(), test.method, "/x", test.fields...)
				if err != nil {
					t.Fatal(err)
				}
				if test.last >= 0 {
					a.gives(t, "/x", `"v1"`, test.first, test.last)
				}
				if a.StatusCode != test.status {
					t.Errorf("status %d, want %d", a.StatusCode, test.status)
				}
				if test.method == "HEAD" && a.ContentLength != partSize {
					t.Errorf("Content-Length %d of HEAD, want that of the whole", a.ContentLength)
				}
				if got := r.asks("/x")[1:]; !slices.Equal(got, test.upstream) {
					t.Errorf("the origin was asked for %q, want %q", got, test.upstream)
				}
			})
		})
	}
}

// What is answered by us of a stored part, and needs no body.
func TestRefusalsOnParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v1"`)
		r.get("/x", "Range: bytes=0-99")
		if a := r.get("/x", `If-Match: "v0"`, "Range: bytes=500-599"); a.StatusCode != 412 {
			t.Errorf("status %d where If-Match fails, want 412", a.StatusCode)
		}
		a := r.get("/x", "Range: bytes=10000-")
		if a.StatusCode != 416 || a.Header.Get("Content-Range") != "bytes */10000" {
			t.Errorf("%d, Content-Range %q beyond the end; want 416 and the length", a.StatusCode, a.Header.Get("Content-Range"))
		}
		r.hits("/x", 1)
	})
}

// A range beyond the end of what nothing is known of gets the origin's own word.
func TestFirstRangeUnsatisfiable(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v1"`)
		a := r.get("/x", "Range: bytes=20000-")
		if a.StatusCode != 416 || a.Header.Get("Content-Range") != "bytes */10000" {
			t.Errorf("%d, Content-Range %q; want 416 and the length", a.StatusCode, a.Header.Get("Content-Range"))
		}
		r.get("/x", "Range: bytes=0-9").gives(t, "/x", `"v1"`, 0, 9)
	})
}

// A client's If-Range or condition does not travel with the range of a first request:
// its answer is to serve others.
func TestFirstRangeWithIfRange(t *testing.T) {
	for _, test := range []struct {
		condition   string
		first, last int64
	}{{`"v1"`, 10, 19}, {`"v0"`, 0, partSize - 1}} {
		t.Run(test.condition, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.publish("/x", `"v1"`)
				r.get("/x", "Range: bytes=10-19", "If-Range: "+test.condition).gives(t, "/x", `"v1"`, test.first, test.last)
				r.get("/x", "Range: bytes=500-599").gives(t, "/x", `"v1"`, 500, 599)
				r.hits("/x", 1)
			})
		})
	}
}

// Variants have parts of their own.
func TestPartsOfVariants(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Vary", "Accept-Language")
			unconditionalPart("/x", strconv.Quote(req.Header.Get("Accept-Language")))(w, req)
		}})
		for range 2 {
			for _, language := range []string{"de", "fr"} {
				tag := strconv.Quote(language)
				r.get("/x", "Accept-Language: "+language, "Range: bytes=0-99").gives(t, "/x", tag, 0, 99)
				r.get("/x", "Accept-Language: "+language, "Range: bytes=50-149").gives(t, "/x", tag, 50, 149)
				synctest.Wait()
			}
		}
		r.get("/x", "Accept-Language: fr").gives(t, "/x", `"fr"`, 0, partSize-1)
		r.hits("/x", 5)
	})
}

// What is private is passed on, part by part, and nobody waits for another's.
func TestRangesOfPrivate(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: private", `etag: "v1"`}, Size: partSize})
		ranges := make([]string, 20)
		for i := range ranges {
			ranges[i] = fmt.Sprintf("bytes=%d-%d", i*10, i*10+9)
		}
		for i, a := range r.many("/x", ranges) {
			a.gives(t, "/x", `"v1"`, int64(i*10), int64(i*10+9))
		}
		if n := r.store.Stats().Objects; n != 0 {
			t.Errorf("%d objects are stored, want nothing", n)
		}
		r.hits("/x", len(ranges))
	})
}

// An unsafe method invalidates parts as it does wholes.
func TestPostInvalidatesParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v1"`)
		r.get("/x", "Range: bytes=0-99")
		r.post("/x", 200)
		r.publish("/x", `"v2"`)
		r.get("/x", "Range: bytes=0-99").gives(t, "/x", `"v2"`, 0, 99)
		r.get("/x", "Range: bytes=50-149").gives(t, "/x", `"v2"`, 50, 149)
	})
}

// A representation that is longer than what may be stored is not stored in parts
// either, and its ranges are answered all the same.
func TestPartsOfTooLargeRepresentation(t *testing.T) {
	inBubble(t, httpcache.Rules{MaxBytes: 5000}, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.MaxObjectBytes = 5000 })
		r.publish("/x", `"v1"`)
		for i := int64(0); i < 3; i++ {
			r.get("/x", "Range: bytes=100-199").gives(t, "/x", `"v1"`, 100, 199)
			synctest.Wait()
		}
		if n := r.store.Stats().Objects; n != 0 {
			t.Errorf("%d objects are stored, want nothing", n)
		}
	})
}
