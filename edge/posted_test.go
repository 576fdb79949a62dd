package edge

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// A POST whose answer says by Content-Location that it is what a GET would have is
// stored, and answers GET; every other one only invalidates (RFC 9110 §9.3.3).
func TestPostedContent(t *testing.T) {
	tests := map[string]struct {
		status int
		fields []string
		stored bool
	}{
		"with all of it":          {200, []string{"cache-control: max-age=60", "content-location: /x"}, true},
		"absolute":                {200, []string{"cache-control: max-age=60", "content-location: http://www.test/x"}, true},
		"without a lifetime":      {200, []string{"content-location: /x", "last-modified: Fri, 31 Dec 1999 23:59:59 GMT"}, false},
		"without a place":         {200, []string{"cache-control: max-age=60"}, false},
		"of another place":        {200, []string{"cache-control: max-age=60", "content-location: /y"}, false},
		"of another host":         {200, []string{"cache-control: max-age=60", "content-location: http://evil.test/x"}, false},
		"of another query":        {200, []string{"cache-control: max-age=60", "content-location: /x?a"}, false},
		"private":                 {200, []string{"cache-control: private, max-age=60", "content-location: /x"}, false},
		"with a cookie":           {200, []string{"cache-control: max-age=60", "content-location: /x", "set-cookie: a=b"}, false},
		"an error":                {500, []string{"cache-control: max-age=60", "content-location: /x"}, false},
		"that is a part of it":    {206, []string{"cache-control: max-age=60", "content-location: /x", "content-range: bytes 0-1/9", `etag: "p"`}, false},
		"that varies by anything": {200, []string{"cache-control: max-age=60", "content-location: /x", "vary: *"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, req *http.Request) {
					if req.Method == http.MethodGet {
						w.Header().Set(httpcache.CacheControlField, "max-age=60")
						_, _ = io.WriteString(w, "got")
						return
					}
					for _, field := range test.fields {
						name, value, _ := strings.Cut(field, ": ")
						w.Header().Add(name, value)
					}
					w.WriteHeader(test.status)
					_, _ = io.WriteString(w, "ok")
				}})
				a := r.post("/x", test.status)
				if a.body != "ok" {
					t.Errorf("the POST got %q", a.body)
				}
				synctest.Wait()
				want := "got"
				if test.stored {
					want = "ok"
				}
				if a := r.get("/x"); a.StatusCode != 200 || a.body != want {
					t.Errorf("GET after the POST: %d, %q; want %q (%s)", a.StatusCode, a.body, want, a.Header.Get(httpcache.CacheStatusField))
				}
			})
		})
	}
}

// posting scripts a resource that gives each POST and GET the number of its question.
func (r *rig) posting(path string) {
	n := 0
	r.origin.Script(path, testorigin.Answer{Handler: func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		n++ // one question at a time
		w.Header().Set(httpcache.CacheControlField, "max-age=60")
		w.Header().Set("Content-Location", path)
		w.Header().Set("Etag", `"`+itoa(int64(n))+`"`)
		_, _ = io.WriteString(w, strings.ToLower(req.Method)+" "+itoa(int64(n)))
	}})
}

// Every POST reaches the origin and replaces what was stored, and each client gets the
// answer to its own.
func TestPostsAreNeverAnsweredFromStore(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.posting("/x")
		r.get("/x")
		for _, want := range []string{"post 2", "post 3"} {
			a := r.send(http.MethodPost, "/x", strings.NewReader("data"), 4)
			if a.StatusCode != 200 || a.body != want {
				t.Errorf("POST: %d, %q, want %q", a.StatusCode, a.body, want)
			}
			synctest.Wait()
			if a := r.get("/x"); a.body != want || a.Header.Get("X-Cache") != "HIT" {
				t.Errorf("GET: %q, X-Cache %s; want %q from the store", a.body, a.Header.Get("X-Cache"), want)
			}
		}
		r.hits("/x", 3)
	})
}

// A POST's conditions and ranges are the origin's affair: what it answers goes to the
// client as it is.
func TestPostWithConditions(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.posting("/x")
		for i, fields := range [][]string{{`If-None-Match: "1"`}, {"Range: bytes=0-0"}, {`If-Match: "9"`}} {
			want := "post " + itoa(int64(i+1))
			if a := r.post("/x", 200, fields...); a.body != want {
				t.Errorf("%q: %q, want %q", fields, a.body, want)
			}
			synctest.Wait()
			if a := r.get("/x"); a.body != want {
				t.Errorf("GET after %q: %q, want %q", fields, a.body, want)
			}
		}
	})
}

// Two POSTs at once, the answer of the first comes last: it is not what a GET gets, for
// the second has changed the resource since. Nobody can say so the other way round.
func TestPostsOvertakeEachOther(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, req *http.Request) {
			name := req.Header.Get("X-Name")
			if name == "slow" {
				time.Sleep(5 * time.Second)
			}
			w.Header().Set(httpcache.CacheControlField, "max-age=60")
			w.Header().Set("Content-Location", "/x")
			_, _ = io.WriteString(w, req.Method+name)
		}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			a, err := r.do(t.Context(), http.MethodPost, "/x", "X-Name: slow")
			if err != nil || a.body != "POSTslow" {
				t.Errorf("%q, %v", a.body, err)
			}
		}()
		later(time.Second)
		r.post("/x", 200, "X-Name: fast")
		<-done
		synctest.Wait()
		if a := r.get("/x"); a.body == "POSTslow" {
			t.Errorf("GET: %q, the answer to a POST that another overtook", a.body)
		}
	})
}

// A client that leaves in the middle of its answer: what is stored is whole or nothing.
func TestPostersLeave(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const size = 200_000
		r.origin.Script("/x", testorigin.Answer{
			Fields: []string{"cache-control: max-age=60", "content-location: /x", `etag: "v1"`}, Size: size, Chunk: 10_000, Gap: 100 * time.Millisecond,
		})
		ctx, leave := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer leave()
		if a, err := r.do(ctx, http.MethodPost, "/x"); err == nil && a.err == nil {
			t.Error("the client that left got everything")
		}
		later(10 * time.Second)
		if a := r.get("/x"); a.err != nil || a.body != string(testorigin.Body(testorigin.Seed("/x", `"v1"`), size)) {
			t.Errorf("GET after that: %d bytes, %v", len(a.body), a.err)
		}
	})
}
