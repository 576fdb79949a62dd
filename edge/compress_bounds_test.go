package edge

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// Where all encoders are at work, the others get the page as it is, at once. Coders at
// rest make room for those of another kind.
func TestNoEncoderFree(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.handler.coders.limit = 1
		held := r.handler.coders.take(Brotli, wholeBody)
		text := prose(5000)
		r.page("/p", text)
		r.page("/private", text, "cache-control: private")
		for _, path := range []string{"/p", "/private"} {
			a := r.get(path, "Accept-Encoding: br")
			if got := a.shape(); got != (shape{200, "", `"v1"`, "Accept-Encoding", got.Ranges, "", true}) || a.body != text {
				t.Errorf("%s: %+v", path, got)
			}
		}
		r.handler.coders.put(held)
		for _, accept := range []string{"gzip", "zstd", "br", "gzip"} {
			if a := r.get("/p", "Accept-Encoding: "+accept); a.Header.Get("Content-Encoding") != accept || a.decoded(t) != text {
				t.Errorf("%s: coding %q", accept, a.Header.Get("Content-Encoding"))
			}
			synctest.Wait()
			if c := &r.handler.coders; c.busy != 0 || c.rest != 1 {
				t.Errorf("%s: %d coders at work, %d at rest; want 0, 1", accept, c.busy, c.rest)
			}
		}
	})
}

// Encoders that wait for others never take all: of 8, bodies that are passed on get 4,
// bodies that are still arriving 4, the two together 6, and what is stored whole is
// compressed whatever else goes on. Those who find none get the identity.
func TestWaitingHoldsNotAllEncoders(t *testing.T) {
	for _, test := range []struct {
		first, then       string // directives of the slow pages
		ofFirst, ofSecond int    // that are compressed
	}{
		{"private", "max-age=60", 4, 2},
		{"max-age=60", "private", 4, 2},
	} {
		t.Run(test.first+" first", func(t *testing.T) {
			compressing(t, func(t *testing.T, r *rig) {
				c := &r.handler.coders
				c.limit = 8
				text := prose(5000)
				r.page("/p", text)
				r.get("/p")
				var bodies []io.Closer
				for i, directives := range []string{test.first, test.then} {
					path := []string{"/first", "/then"}[i]
					pieces := r.gated(path, "Cache-Control: "+directives)
					defer close(pieces)
					coded := 0
					for n := range maxEncoders {
						slow := r.open(fmt.Sprintf("%s?%d", path, n), "Accept-Encoding: gzip")
						bodies = append(bodies, slow.Body)
						if slow.Header.Get("Content-Encoding") == "gzip" {
							coded++
						}
						if slow.Header.Get("Vary") != "Accept-Encoding" {
							t.Errorf("%s: Vary %q", path, slow.Header.Get("Vary"))
						}
					}
					if want := []int{test.ofFirst, test.ofSecond}[i]; coded != want {
						t.Errorf("%d slow pages of %q are compressed, want %d", coded, directives, want)
					}
				}
				for _, accept := range []string{"br", "zstd"} {
					if a := r.get("/p", "Accept-Encoding: "+accept); a.Header.Get("Content-Encoding") != accept || a.decoded(t) != text {
						t.Errorf("a stored page: coding %q, want %s", a.Header.Get("Content-Encoding"), accept)
					}
				}
				for _, body := range bodies {
					_ = body.Close()
				}
			})
		})
	}
}

// Whatever the bound, a body that is all there finds an encoder while others wait, and
// each use gives back what it took.
func TestRoomForEachUse(t *testing.T) {
	for limit := encodersPerProcessor; limit <= maxEncoders; limit++ {
		c := &coders{limit: limit}
		var held []*coder
		fill := func(u use) (n int) {
			for one := c.take(Gzip, u); one != nil; one = c.take(Gzip, u) {
				held = append(held, one)
				n++
			}
			return n
		}
		got := []int{fill(relayedBody), fill(arrivingBody), fill(wholeBody)}
		if got[0] != limit/2 || got[1] < 1 || got[2] != limit-got[0]-got[1] || got[2] < limit/4 {
			t.Errorf("of %d encoders: %d relay, %d for what arrives, %d for what is whole", limit, got[0], got[1], got[2])
		}
		for _, one := range held {
			c.put(one)
		}
		if c.busy != 0 || c.held != [uses]int{} || c.rest != limit {
			t.Errorf("of %d encoders: %d are at work (%v), %d at rest", limit, c.busy, c.held, c.rest)
		}
		if n := fill(wholeBody); n != limit {
			t.Errorf("%d of %d encoders for what is whole, alone", n, limit)
		}
	}
}

// A GET that a rule sends past the cache is compressed like a private one, with HEAD to
// match; other methods and those who ask for another protocol are let alone.
func TestBypassedGetIsCoded(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		text := prose(50_000)
		r.page("/p", text, "cache-control: private", "content-digest: sha-256=:x:")
		r.ruled(Rule{Match: Match{Cookies: [][]Named{{named("session")}}}, Bypass: true})
		coded := shape{200, "br", `W/"v1"`, "Accept-Encoding", "", "", false}
		plain := shape{200, "", `"v1"`, "", "", "sha-256=:x:", true}
		ranged := plain
		ranged.Ranges = "bytes" // as the origin says of a GET
		for _, test := range []struct {
			method string
			fields []string
			want   shape
		}{
			{"GET", []string{"Cookie: session=1"}, coded},
			{"HEAD", []string{"Cookie: session=1"}, coded},
			{"GET", []string{"Cookie: session=1", `If-None-Match: W/"v1"`}, shape{304, "", `W/"v1"`, "Accept-Encoding", "", "", false}},
			{"POST", []string{"Cookie: session=1"}, plain},
			{"OPTIONS", nil, plain},
			{"GET", []string{"Connection: upgrade", "Upgrade: websocket"}, ranged},
		} {
			a, err := r.do(t.Context(), test.method, "/p", append(test.fields, "Accept-Encoding: br")...)
			if err != nil {
				t.Fatal(err)
			}
			got := a.shape()
			if got.Status == 304 {
				got.Length, got.MD, got.Ranges = false, "", ""
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s %q (-want +got):\n%s", test.method, test.fields, diff)
			}
			if cache := a.Header.Get("X-Cache"); cache != "BYPASS" {
				t.Errorf("%s %q: X-Cache %q, want BYPASS", test.method, test.fields, cache)
			}
			if test.method == "GET" && got.Status == 200 && a.decoded(t) != text {
				t.Errorf("%s %q: %d bytes that are not the page", test.method, test.fields, len(a.body))
			}
		}
		if record := r.last(); record.Encoding != "" {
			t.Errorf("encoding %q is recorded for an identity", record.Encoding)
		}
		if busy := r.handler.coders.busy; busy != 0 {
			t.Errorf("%d coders are at work", busy)
		}
	})
}

// A coded form that saves less than one byte in twenty is not kept; one that saves a
// little more is.
func TestLittleGainIsNotKept(t *testing.T) {
	noise := make([]byte, 10_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for _, test := range []struct {
		same int // bytes of the body that are all the same, and cost next to nothing coded
		want int // objects stored
	}{{300, 1}, {800, 2}} {
		t.Run(strconv.Itoa(test.same), func(t *testing.T) {
			compressing(t, func(t *testing.T, r *rig) {
				text := string(noise[:len(noise)-test.same]) + strings.Repeat("a", test.same)
				r.page("/p", text)
				for range 2 {
					if a := r.get("/p", "Accept-Encoding: zstd"); a.decoded(t) != text {
						t.Errorf("%d bytes that are not the page", len(a.body))
					}
					synctest.Wait()
					if n := r.objects(); n != test.want {
						t.Errorf("a gain of %d bytes of %d: %d objects are stored, want %d", test.same, len(text), n, test.want)
					}
				}
				if got, want := r.last().Encoding, []string{"", "zstd"}[test.want-1]; got != want {
					t.Errorf("a gain of %d bytes of %d: the second client got %q, want %q", test.same, len(text), got, want)
				}
			})
		})
	}
}
