package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// spanned is a range of bytes, both ends included.
type spanned struct{ first, last int64 }

// givesParts checks that an answer is a multipart of these ranges of version v1, in
// this order.
func (a answered) givesParts(t *testing.T, path string, want ...spanned) {
	t.Helper()
	kind, parameters, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if a.err != nil || err != nil || a.StatusCode != 206 || kind != "multipart/byteranges" || a.Header.Get("Content-Range") != "" {
		t.Errorf("%d, Content-Type %q, Content-Range %q, %v, %v; want a multipart/byteranges",
			a.StatusCode, a.Header.Get("Content-Type"), a.Header.Get("Content-Range"), a.err, err)
		return
	}
	if a.ContentLength != int64(len(a.body)) {
		t.Errorf("Content-Length %d of a body of %d bytes", a.ContentLength, len(a.body))
	}
	var got []spanned
	parts := multipart.NewReader(strings.NewReader(a.body), parameters["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("part %d: %v", len(got), err)
			return
		}
		text, err := io.ReadAll(part)
		var each spanned
		if _, bad := fmt.Sscanf(part.Header.Get("Content-Range"), "bytes %d-%d/10000", &each.first, &each.last); err != nil || bad != nil {
			t.Errorf("part %d: Content-Range %q, %v", len(got), part.Header.Get("Content-Range"), err)
			return
		}
		if string(text) != bytesOf(path, `"v1"`, each.first, each.last) {
			t.Errorf("part %d has not the bytes %d to %d", len(got), each.first, each.last)
		}
		if kind := part.Header.Get("Content-Type"); kind != "application/octet-stream" {
			t.Errorf("part %d: Content-Type %q, want that of the whole", len(got), kind)
		}
		got = append(got, each)
	}
	if !slices.Equal(got, want) {
		t.Errorf("parts %v, want %v", got, want)
	}
}

// Several ranges at once (RFC 9110 §14.6), from a whole and from parts, and what the
// origin is asked for them.
func TestSeveralRanges(t *testing.T) {
	tests := []struct {
		name     string
		before   []string // ranges that were asked for before, "" for the whole
		ask      string
		want     []spanned
		upstream []string // what the origin is asked for ask
	}{
		{"of a whole", []string{""}, "bytes=0-9,5000-5009,-10", []spanned{{0, 9}, {5000, 5009}, {9990, 9999}}, nil},
		{"in the client's order", []string{""}, "bytes=5000-5009, 0-9", []spanned{{5000, 5009}, {0, 9}}, nil},
		{"one lies outside", []string{""}, "bytes=0-9,20000-20009,30-39", []spanned{{0, 9}, {30, 39}}, nil},
		{"of nothing yet", nil, "bytes=0-9,30-39", []spanned{{0, 9}, {30, 39}}, []string{"whole"}},
		{"of parts that are there", []string{"bytes=0-99", "bytes=200-299"}, "bytes=0-9,200-209", []spanned{{0, 9}, {200, 209}}, nil},
		{"of parts, one lacks", []string{"bytes=0-99"}, "bytes=0-9,200-209", []spanned{{0, 9}, {200, 209}}, []string{"bytes=200-209"}},
		{"of parts, both lack", []string{"bytes=0-99"}, "bytes=150-159,200-209", []spanned{{150, 159}, {200, 209}}, []string{"bytes=150-209"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.publish("/x", `"v1"`)
				for _, each := range test.before {
					if each == "" {
						r.get("/x")
						continue
					}
					r.get("/x", "Range: "+each)
				}
				r.get("/x", "Range: "+test.ask).givesParts(t, "/x", test.want...)
				if got := r.asks("/x")[len(test.before):]; !slices.Equal(got, test.upstream) {
					t.Errorf("the origin was asked for %q, want %q", got, test.upstream)
				}
			})
		})
	}
}

// What is not answered by several parts, though several were asked for.
func TestSeveralRangesOtherwise(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v1"`)
		r.get("/x")
		r.get("/x", "Range: bytes=0-9,20000-").gives(t, "/x", `"v1"`, 0, 9)
		a := r.get("/x", "Range: bytes=10000-,20000-20001")
		if a.StatusCode != 416 || a.Header.Get("Content-Range") != "bytes */10000" {
			t.Errorf("all outside: %d, Content-Range %q; want 416", a.StatusCode, a.Header.Get("Content-Range"))
		}
		var many []string
		for i := range 200 {
			many = append(many, fmt.Sprintf("%d-%d", i*20, i*20))
		}
		r.get("/x", "Range: bytes="+strings.Join(many, ",")).gives(t, "/x", `"v1"`, 0, partSize-1)
		if a := r.get("/x", "Range: bytes=0-9,30-39", `If-Range: "v0"`); a.StatusCode != 200 || len(a.body) != partSize {
			t.Errorf("If-Range of another version: %d with %d bytes, want the whole", a.StatusCode, len(a.body))
		}
		r.hits("/x", 1)
	})
}

// Several ranges of a body that is still arriving come as they arrive.
func TestSeveralRangesOfFill(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `etag: "v1"`}, Size: partSize, Chunk: 1000, Gap: time.Second})
		r.get("/x", "Range: bytes=0-9,9000-9009").givesParts(t, "/x", spanned{0, 9}, spanned{9000, 9009})
		later(5 * time.Second)
		r.get("/x").gives(t, "/x", `"v1"`, 0, partSize-1)
		r.hits("/x", 1)
	})
}

// The origin breaks off before the second part: the client can see it.
func TestSeveralRangesCutShort(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{
			Fields: []string{"cache-control: max-age=60", `etag: "v1"`}, Size: partSize, Chunk: 1000, Gap: time.Second, Abort: true, AbortAt: 5000,
		})
		if a, err := r.do(t.Context(), http.MethodGet, "/x", "Range: bytes=0-9,9000-9009"); err == nil && a.err == nil {
			t.Errorf("%d with %d bytes and no error", a.StatusCode, len(a.body))
		}
		if record := r.last(); !record.Aborted || record.UpstreamError != "body-incomplete" {
			t.Errorf("record %+v, want a cut by the upstream", record)
		}
	})
}

// A client that leaves between two parts leaves nothing behind; close checks that.
func TestClientLeavesBetweenParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `etag: "v1"`}, Size: partSize, Chunk: 1000, Gap: time.Second})
		ctx, leave := context.WithTimeout(t.Context(), 3*time.Second)
		defer leave()
		if a, err := r.do(ctx, http.MethodGet, "/x", "Range: bytes=0-9,9000-9009"); err == nil && a.err == nil {
			t.Error("the client that left got everything")
		}
		later(time.Minute)
	})
}

// forgetful forgets a key when the first byte of a body goes out.
type forgetful struct {
	*httptest.ResponseRecorder
	forget func()
}

func (f *forgetful) Write(p []byte) (int, error) {
	f.forget()
	return f.ResponseRecorder.Write(p)
}

// The bytes of a part may leave the store while the one before it goes out.
func TestPartIsGoneWhileAnotherIsSent(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v1"`)
		r.get("/x", "Range: bytes=0-99")
		r.get("/x", "Range: bytes=200-299")
		synctest.Wait()
		request := httptest.NewRequest(http.MethodGet, "http://www.test/x", nil)
		request.Header.Set("Range", "bytes=0-9,200-209")
		w := &forgetful{ResponseRecorder: httptest.NewRecorder()}
		x := r.handler.begin(w, request, time.Now())
		if fault := x.admit(); fault != nil {
			t.Fatalf("%+v", *fault)
		}
		w.forget = func() { r.store.Remove(x.key) }
		x.fromCache()
		response := w.Result()
		response.Request = request
		answered{Response: response, body: w.Body.String()}.givesParts(t, "/x", spanned{0, 9}, spanned{200, 209})
		if x.record.Aborted {
			t.Error("the answer was cut")
		}
		x.record.Aborted = false // else end panics, as it should
		r.handler.end(x)
		r.hits("/x", 2)
	})
}
