package edge

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

func TestHitAndAge(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/5000?cc=max-age%3D7200&etag=v1"
		first := r.get(target)
		first.expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=7200; stored")
		later(time.Hour)
		second := r.get(target)
		second.expect(t, 200, "HIT", "hit; ttl=3600")
		if age := second.Header.Get("Age"); age != "3600" {
			t.Errorf("Age %q after an hour, want 3600", age)
		}
		if second.Header.Get("Date") != first.Header.Get("Date") {
			t.Error("the Date of a stored response changed")
		}
		if first.body != second.body || len(second.body) != 5000 {
			t.Errorf("bodies of %d and %d bytes", len(first.body), len(second.body))
		}
		record := r.last()
		if record.Cache != ResultHit || record.Reason != "fresh" || record.Tier != tierRAM || record.BodyBytes != 5000 || record.Site != "www.test" {
			t.Errorf("record %+v", record)
		}
		r.hits("/size/5000", 1)
	})
}

func TestRevalidated(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60&etag=v1&h=X-Version:1"
		first := r.get(target)
		later(61 * time.Second)
		again := r.get(target)
		again.expect(t, 200, "REVALIDATED", "fwd=stale; fwd-status=304; ttl=60")
		if again.body != first.body {
			t.Error("the validated body differs")
		}
		if n := r.origin.NotModified("/size/100"); n != 1 {
			t.Errorf("the origin answered %d times 304, want 1", n)
		}
		r.get(target).expect(t, 200, "HIT", "hit; ttl=60")
	})
}

// What has expired and cannot be validated was still there: RFC 9211 §2.2 calls
// that stale, and not a miss.
func TestExpiredWithoutValidatorWasStale(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D60"
		r.get(target)
		later(2 * time.Minute)
		r.get(target).expect(t, 200, "MISS", "fwd=stale; fwd-status=200; ttl=60; stored")
	})
}

// A 304 about another version than the one that was asked for must not reach a
// client that set no condition: the whole is fetched.
func TestContradictory304(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D60&etag=v1"
		r.get(target)
		later(2 * time.Minute)
		r.origin.Script("/size/100", testorigin.Answer{Handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"v2"`)
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = io.WriteString(w, "version 2")
		}})
		if a := r.get(target); a.StatusCode != 200 || a.body != "version 2" {
			t.Errorf("status %d, body %.20q", a.StatusCode, a.body)
		}
	})
}

// A field that private names goes to the client it was made for, and to no other.
func TestWithheldFieldReachesItsClientOnly(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = `/size/10?cc=max-age%3D60,private%3D%22x-user%22&h=X-User:me`
		if got := r.get(target).Header.Get("X-User"); got != "me" {
			t.Errorf("the client it was made for got %q", got)
		}
		a := r.get(target)
		a.expect(t, 200, "HIT", "hit; ttl=60")
		if got := a.Header.Get("X-User"); got != "" {
			t.Errorf("another client got %q", got)
		}
	})
}

// Nor to those who waited for the same answer.
func TestWithheldFieldReachesNoFollower(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		got := 0
		for _, a := range r.herd(10, `/size/10?cc=max-age%3D60,private%3D%22x-user%22&h=X-User:me&delay=1s`) {
			if a.err != nil || a.StatusCode != 200 {
				t.Errorf("%v", a.err)
			} else if a.Header.Get("X-User") != "" {
				got++
			}
		}
		if got != 1 {
			t.Errorf("%d clients got the field that was made for one", got)
		}
		r.hits("/size/10", 1)
	})
}

// The status that a request's own conditions and ranges make of one stored object
// (RFC 9110 §13.2.2, §14.2): none of them reaches the origin.
func TestConditionsAndRangesOfAHit(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/0123456789?cc=max-age%3D600&etag=v1" // the body is the path
		const whole = "/text/0123456789"
		tests := []struct {
			name                string
			fields              []string
			status              int
			body, range_, plain string // plain: a text of ours that the body begins with
		}{
			{"the same tag", []string{`If-None-Match: "v1"`}, 304, "", "", ""},
			{"another tag", []string{`If-None-Match: "v0"`}, 200, whole, "", ""},
			{"a precondition that fails", []string{`If-Match: "v0"`}, 412, "", "", "The stored response does not meet"},
			{"a range", []string{"Range: bytes=6-8"}, 206, "012", "bytes 6-8/16", ""},
			{"the last bytes", []string{"Range: bytes=-4"}, 206, "6789", "bytes 12-15/16", ""},
			{"a range of the version it has", []string{"Range: bytes=6-8", `If-Range: "v1"`}, 206, "012", "bytes 6-8/16", ""},
			{"a range of another version", []string{"Range: bytes=6-8", `If-Range: "v0"`}, 200, whole, "", ""},
			{"a range outside", []string{"Range: bytes=16-"}, 416, "", "bytes */16", "The response has 16 bytes"},
			{"no range", []string{"Range: lines=1-2"}, 200, whole, "", ""},
		}
		r.get(target)
		for _, test := range tests {
			a := r.get(target, test.fields...)
			if test.plain != "" && strings.HasPrefix(a.body, test.plain) {
				a.body = ""
			}
			if a.StatusCode != test.status || a.body != test.body || a.Header.Get("Content-Range") != test.range_ {
				t.Errorf("%s: %d, body %q, Content-Range %q; want %d, %q, %q",
					test.name, a.StatusCode, a.body, a.Header.Get("Content-Range"), test.status, test.body, test.range_)
			}
			if got := a.Header.Get("X-Cache"); got != "HIT" {
				t.Errorf("%s: X-Cache %q, want HIT", test.name, got)
			}
		}
		r.hits("/text/0123456789", 1)
	})
}

// Several clients share what the first one's request brings, so its condition and
// its range stay here: else they would get a 304, or a part.
func TestFirstClientsConditionIsNotPassedOn(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/text/abc?cc=max-age%3D600&etag=v1"
		if a := r.get(target, `If-None-Match: "v1"`, "Range: bytes=0-1"); a.StatusCode != 304 {
			t.Errorf("status %d, want 304", a.StatusCode)
		}
		if a := r.get(target); a.StatusCode != 200 || a.body != "/text/abc" {
			t.Errorf("the next client got %d, %q", a.StatusCode, a.body)
		}
		r.hits("/text/abc", 1)
	})
}

// HEAD is answered from what GET stored. A HEAD that finds a stale response asks by
// HEAD: an answer that speaks of another version makes the stored one invalid, one
// that speaks of the same updates it (RFC 9111 §4.3.5).
func TestHead(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		version := func(n string) {
			r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `etag: "` + n + `"`}, Size: 1000})
		}
		head := func() answered {
			a, err := r.do(t.Context(), http.MethodHead, "/x")
			if err != nil || a.body != "" || a.ContentLength != 1000 {
				t.Fatalf("HEAD: %v, %v", a.Response, err)
			}
			return a
		}
		version("1")
		head().expect(t, 200, "MISS", "fwd=miss; fwd-status=200; detail=method")
		r.get("/x")
		head().expect(t, 200, "HIT", "hit; ttl=60")
		version("2")
		later(2 * time.Minute)
		head().expect(t, 200, "MISS", "fwd=stale; fwd-status=200; detail=method")
		if last, _ := r.origin.Last("/x"); last.Method != http.MethodHead {
			t.Errorf("the origin was asked by %s, want HEAD", last.Method)
		}
		a := r.get("/x")
		a.expect(t, 200, "MISS", "fwd=miss; fwd-status=200; ttl=60; stored")
		if a.Header.Get("Etag") != `"2"` {
			t.Errorf("Etag %s, want that of the new version", a.Header.Get("Etag"))
		}
		later(2 * time.Minute)
		head().expect(t, 200, "REVALIDATED", "fwd=stale; fwd-status=304; ttl=60")
		r.get("/x").expect(t, 200, "HIT", "hit; ttl=60")
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range map[string]string{httpcache.CacheControlField: "max-age=60", "Etag": `"2"`, "X-New": "yes", "Content-Length": "1000"} {
				w.Header().Set(name, value)
			}
		}})
		later(2 * time.Minute)
		head().expect(t, 200, "MISS", "fwd=stale; fwd-status=200; detail=method")
		a = r.get("/x")
		a.expect(t, 200, "HIT", "hit; ttl=60")
		if a.Header.Get("X-New") != "yes" {
			t.Errorf("the stored response has not the field of the response to HEAD: %v", a.Header)
		}
		r.hits("/x", 6)
	})
}

// A 204 has no Content-Length (RFC 9110 §8.6), whatever the origin says, and a
// client that counted on one would take the next response for a body.
func TestNoContentHasNoLength(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		listener := r.net.Listen("raw.test:80")
		defer listener.Close()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
				_ = conn.Close()
			}
		}()
		pool := r.pool(originAt("http://raw.test"))
		r.reconfigure(func(s *Site) { s.Origin = pool })
		for range 2 {
			if got := r.raw("GET /a HTTP/1.1"); !strings.HasPrefix(got, "HTTP/1.1 204 ") || strings.Contains(got, "Content-Length") {
				t.Errorf("got\n%s\nwant a 204 without Content-Length", got)
			}
		}
	})
}

// Between look-up and reading an object may be evicted: the upstream is asked.
func TestGoneBeforeReading(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D600"
		r.get(target)
		x, w := r.exchange(target)
		found, d := x.look(x.now)
		r.store.Remove(x.key)
		x.answer(found, reply{result: ResultHit, status: hitStatus(d, ""), age: d.Age})
		r.handler.end(x)
		if w.Code != 200 || w.Body.Len() != 100 {
			t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
		}
		r.hits("/size/100", 2)
	})
}

// It is asked once: a store that loses faster than an upstream brings must not make
// a request go round for ever.
func TestGoneTwiceEnds(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/100?cc=max-age%3D600"
		r.get(target)
		x, w := r.exchange(target)
		found, d := x.look(x.now)
		r.store.Remove(x.key)
		x.refetched = true
		x.answer(found, reply{result: ResultHit, status: hitStatus(d, ""), age: d.Age})
		r.handler.end(x)
		if got := w.Result().Header.Get(httpcache.CacheStatusField); w.Code != 503 || !strings.HasSuffix(got, "detail=store-churn") {
			t.Errorf("%d, %q; want 503, detail=store-churn", w.Code, got)
		}
		r.hits("/size/100", 1)
	})
}

// A client that wants a stored response or none is told so by 504 (RFC 9111
// §5.2.1.7), where the site obeys clients.
func TestOnlyIfCached(t *testing.T) {
	inBubble(t, httpcache.Rules{HonourRequest: true}, func(t *testing.T, r *rig) {
		const target = "/text/a?cc=max-age%3D60"
		const wish = "Cache-Control: only-if-cached"
		if a := r.get(target, wish); a.StatusCode != 504 || a.Header.Get("X-Cache") != "ERROR" {
			t.Errorf("%d, X-Cache %q; want 504, ERROR", a.StatusCode, a.Header.Get("X-Cache"))
		}
		r.hits("/text/a", 0)
		r.get(target)
		r.get(target, wish).expect(t, 200, "HIT", "hit; ttl=60")
	})
}

// The length of a body that is still arriving may be unknown, and with it where a
// range ends: the whole is an answer too (RFC 9110 §14.2).
func TestRangeOfUnknownLength(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/30000?cc=max-age%3D60&chunked=1&gap=1s&chunk=10000&ranges=0"
		if a := r.get(target, "Range: bytes=5-9"); a.StatusCode != 200 || len(a.body) != 30000 {
			t.Errorf("while it arrives: %d, %d bytes; want 200 and the whole", a.StatusCode, len(a.body))
		}
		later(time.Second)
		if a := r.get(target, "Range: bytes=5-9"); a.StatusCode != 206 || len(a.body) != 5 {
			t.Errorf("when it has come: %d, %d bytes; want 206 and 5", a.StatusCode, len(a.body))
		}
	})
}

// Which responses that may not be stored tell that others of the resource may not
// either: those that answer one request's condition, range or fault do not.
func TestSpeaksOfAll(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{
		200: true, 203: true, 204: true, 206: false, 301: true, 302: true, 304: false, 400: false, 401: false, 403: false,
		404: true, 410: true, 413: false, 416: false, 431: false, 500: false, 503: false,
	} {
		if got := speaksOfAll(status); got != want {
			t.Errorf("speaksOfAll(%d) = %v, want %v", status, got, want)
		}
	}
}
