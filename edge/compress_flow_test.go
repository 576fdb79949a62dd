package edge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// gated scripts a page whose pieces come when they are sent on the channel, and which
// ends when that is closed, or breaks off after an empty piece.
func (r *rig) gated(path string, fields ...string) chan<- string {
	pieces := make(chan string)
	r.origin.Script(path, testorigin.Answer{Handler: func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range append([]string{"Content-Type: text/plain"}, fields...) {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for piece := range pieces {
			if piece == "" {
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, piece)
			w.(http.Flusher).Flush()
		}
	}})
	return pieces
}

// open sends a GET and leaves the body to the caller, who closes it.
func (r *rig) open(target string, fields ...string) *http.Response {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://www.test"+target, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, each := range fields {
		name, value, _ := strings.Cut(each, ": ")
		request.Header.Add(name, value)
	}
	response, err := r.client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	return response
}

// What the origin has sent can be read in full before it sends more, in every coding,
// whether the response is stored or only passed on.
func TestNothingIsHeldBack(t *testing.T) {
	for _, directives := range []string{"max-age=60", "private"} {
		for _, coding := range []string{"br", "zstd", "gzip"} {
			t.Run(directives+" "+coding, func(t *testing.T) {
				compressing(t, func(t *testing.T, r *rig) {
					pieces := r.gated("/p", "Cache-Control: "+directives)
					response := r.open("/p", "Accept-Encoding: "+coding)
					defer response.Body.Close()
					if got := response.Header.Get("Content-Encoding"); got != coding {
						t.Fatalf("coding %q, want %q", got, coding)
					}
					var text *bufio.Reader
					for i, line := range []string{"first\n", "second\n", prose(100_000) + "\n", "fourth\n"} {
						pieces <- line
						if text == nil {
							text = bufio.NewReader(decoder(t, coding, response.Body))
						}
						got := make([]byte, len(line))
						if _, err := io.ReadFull(text, got); err != nil || string(got) != line {
							t.Fatalf("piece %d: %.20q, %v", i, got, err)
						}
					}
					close(pieces)
					if rest, err := io.ReadAll(text); len(rest) > 0 || err != nil {
						t.Errorf("after the end: %q, %v", rest, err)
					}
				})
			})
		}
	}
}

// A body that breaks off is cut in its coded form too, where the client can see it, and
// nothing of it is stored.
func TestCodedBodyIsCut(t *testing.T) {
	for _, directives := range []string{"max-age=60", "private"} {
		t.Run(directives, func(t *testing.T) {
			compressing(t, func(t *testing.T, r *rig) {
				pieces := r.gated("/p", "Cache-Control: "+directives)
				response := r.open("/p", "Accept-Encoding: gzip")
				defer response.Body.Close()
				pieces <- prose(50_000)
				pieces <- ""
				_, err := io.Copy(io.Discard, response.Body)
				if err == nil {
					t.Error("the client saw a whole body")
				}
				if record := r.last(); !record.Aborted || record.UpstreamError != "body-incomplete" {
					t.Errorf("record %+v", record)
				}
				if n := r.objects(); n != 0 {
					t.Errorf("%d objects are stored", n)
				}
				synctest.Wait()
				if r.handler.coders.busy != 0 {
					t.Errorf("%d coders are at work", r.handler.coders.busy)
				}
			})
		})
	}
}

func TestPrivateIsCodedOnItsWay(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		text := prose(200_000)
		r.page("/p", text, "cache-control: private", "content-length: 200000")
		for _, accept := range []string{"br", "zstd", "gzip"} {
			a := r.get("/p", "Accept-Encoding: "+accept)
			if got := a.shape(); got != (shape{200, accept, `W/"v1"`, "Accept-Encoding", "", "", false}) || a.decoded(t) != text {
				t.Errorf("%s: %+v, %d bytes", accept, got, len(a.body))
			}
			if record := r.last(); record.Encoding != accept || record.BodyBytes != int64(len(a.body)) || record.Tier != tierOrigin {
				t.Errorf("%s: record %+v", accept, record)
			}
			head, err := r.do(t.Context(), http.MethodHead, "/p", "Accept-Encoding: "+accept)
			if got := head.shape(); err != nil || got != a.shape() {
				t.Errorf("HEAD, %s: %+v, %v; want the fields of GET", accept, got, err)
			}
		}
		plain := r.get("/p")
		if got := plain.shape(); got.Coding != "" || got.ETag != `"v1"` || got.Vary != "Accept-Encoding" || !got.Length {
			t.Errorf("without Accept-Encoding: %+v", got)
		}
		part := r.get("/p", "Accept-Encoding: br", "Range: bytes=0-9")
		if part.StatusCode != 206 || part.body != text[:10] || part.Header.Get("Content-Encoding") != "" {
			t.Errorf("a range: %d, %q", part.StatusCode, part.body)
		}
		same := r.get("/p", "Accept-Encoding: br", `If-None-Match: W/"v1"`)
		if got := same.shape(); got.Status != 304 || got.ETag != `W/"v1"` || got.Vary != "Accept-Encoding" {
			t.Errorf("a condition: %+v", got)
		}
		post, err := r.do(t.Context(), http.MethodPost, "/p", "Accept-Encoding: br")
		if err != nil || post.Header.Get("Content-Encoding") != "" || post.body != text {
			t.Errorf("POST: %v, coding %q", err, post.Header.Get("Content-Encoding"))
		}
		if r.handler.coders.busy != 0 {
			t.Errorf("%d coders are at work", r.handler.coders.busy)
		}
	})
}

// What does not become smaller is coded once; then it is known.
func TestVainIsNotRepeated(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.origin.Script("/p", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `etag: "v1"`, "content-type: text/plain"}, Size: 5000})
		first := r.get("/p", "Accept-Encoding: br")
		synctest.Wait()
		if n := r.objects(); n != 1 {
			t.Errorf("%d objects are stored, want the page alone", n)
		}
		second := r.get("/p", "Accept-Encoding: br")
		if second.Header.Get("Content-Encoding") != "" || second.body != first.decoded(t) || second.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("coding %q, Vary %q", second.Header.Get("Content-Encoding"), second.Header.Get("Vary"))
		}
		if a := r.get("/p", "Accept-Encoding: br", `If-None-Match: W/"v1"`); a.StatusCode != 304 || a.Header.Get("Etag") != `"v1"` {
			t.Errorf("%d, %s; want 304 with the strong tag", a.StatusCode, a.Header.Get("Etag"))
		}
	})
}

// A stream that waits for its origin holds an encoder, but nobody else's turn.
func TestWaitingTakesNoTurn(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.handler.coders.turns = make(chan struct{}, 1)
		pieces := r.gated("/slow", "Cache-Control: max-age=60")
		slow := r.open("/slow", "Accept-Encoding: br")
		defer slow.Body.Close()
		pieces <- "a line\n"
		r.page("/p", prose(5000))
		if a := r.get("/p", "Accept-Encoding: br"); a.decoded(t) != prose(5000) || a.Header.Get("Content-Encoding") != "br" {
			t.Errorf("coding %q", a.Header.Get("Content-Encoding"))
		}
		close(pieces)
		_, _ = io.Copy(io.Discard, slow.Body)
	})
}

// A handler that closes ends what is being coded; rig.close sees to the rest.
func TestCloseWhileCoding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, httpcache.Rules{})
		r.reconfigure(func(s *Site) { s.Compress = testCompression() })
		pieces := r.gated("/p", "Cache-Control: max-age=60")
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := r.do(ctx, http.MethodGet, "/p", "Accept-Encoding: br")
			done <- err
		}()
		pieces <- prose(10_000)
		synctest.Wait()
		if r.handler.coders.busy != 1 {
			t.Fatalf("%d coders are at work, want 1", r.handler.coders.busy)
		}
		leave()
		<-done
		synctest.Wait()
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := r.handler.Close(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v", err)
		}
		if r.handler.coders.busy != 0 {
			t.Errorf("%d coders are at work after Close", r.handler.coders.busy)
		}
		close(pieces)
		r.close()
	})
}

// A page that the store has no room for is compressed all the same, and its coded form
// is not kept either.
func TestCodedPassesWhereNothingIsStored(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.reconfigure(func(s *Site) { s.MaxObjectBytes = 2000 })
		text := prose(500_000)
		r.page("/p", text)
		for _, a := range r.herd(3, "/p", "Accept-Encoding: zstd") {
			if a.decoded(t) != text {
				t.Errorf("coding %q, %d bytes", a.Header.Get("Content-Encoding"), len(a.body))
			}
		}
		synctest.Wait()
		if n := r.objects(); n != 0 {
			t.Errorf("%d objects are stored", n)
		}
	})
}

// Where only the coded form finds no place, it is not made anew for each client.
func TestUnkeptIsNotRepeated(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.page("/p", prose(200_000))
		r.get("/p")
		r.reconfigure(func(s *Site) { s.MaxObjectBytes = 1000 })
		if a := r.get("/p", "Accept-Encoding: br"); a.Header.Get("Content-Encoding") != "br" || a.decoded(t) != prose(200_000) {
			t.Errorf("coding %q", a.Header.Get("Content-Encoding"))
		}
		synctest.Wait()
		if a := r.get("/p", "Accept-Encoding: br"); a.Header.Get("Content-Encoding") != "" {
			t.Errorf("coding %q, want none for a while", a.Header.Get("Content-Encoding"))
		}
		later(unkeptFor)
		if a := r.get("/p", "Accept-Encoding: br"); a.Header.Get("Content-Encoding") != "br" {
			t.Errorf("coding %q, want another attempt", a.Header.Get("Content-Encoding"))
		}
	})
}

// HTTP/1.0 has no way to tell a cut body from a whole one of unknown length.
func TestOldClientsGetTheIdentity(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.page("/p", prose(5000))
		got := r.raw("GET /p HTTP/1.0", "Accept-Encoding: gzip")
		if strings.Contains(got, "Content-Encoding") || !strings.Contains(got, "\r\nVary: Accept-Encoding\r\n") {
			t.Errorf("got %.400s", got)
		}
	})
}

// badEncoder fails as no real one should.
type badEncoder struct{ codingWriter }

func (badEncoder) Write([]byte) (int, error) { panic("the encoder broke") }

// An encoder that breaks cuts the response, once: the next client gets the page as it
// is. It is not used again and its turn is free.
func TestBrokenEncoder(t *testing.T) {
	compressing(t, func(t *testing.T, r *rig) {
		r.page("/p", prose(5000))
		r.get("/p")
		one, err := newCoder(kind{Brotli, once})
		if err != nil {
			t.Fatal(err)
		}
		one.codingWriter = badEncoder{one.codingWriter}
		c := &r.handler.coders
		c.busy, c.held[wholeBody] = 1, 1
		c.put(one)
		if a, err := r.do(t.Context(), http.MethodGet, "/p", "Accept-Encoding: br"); err == nil && a.err == nil {
			t.Errorf("the client saw a whole body of %d bytes", len(a.body))
		}
		synctest.Wait()
		if a := r.get("/p", "Accept-Encoding: br"); a.Header.Get("Content-Encoding") != "" || a.body != prose(5000) {
			t.Errorf("coding %q", a.Header.Get("Content-Encoding"))
		}
		if c.busy != 0 || c.rest != 0 || len(c.turns) != 0 || r.handler.Panics() != 1 {
			t.Errorf("%d coders at work, %d at rest, %d turns taken, %d panics", c.busy, c.rest, len(c.turns), r.handler.Panics())
		}
	})
}

// heldBy is what an encoder of a kind holds when it has coded text.
func heldBy(t *testing.T, k kind, text string) int64 {
	t.Helper()
	one, err := newCoder(k)
	if err != nil {
		t.Fatal(err)
	}
	body := &codedBody{
		ctx: t.Context(), from: &relayedSource{Reader: strings.NewReader(text), buf: new([relayBytes]byte)}, coder: one,
		turns: make(chan struct{}, 1),
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Fatal(err)
	}
	live := func() int64 {
		runtime.GC()
		runtime.GC() // the first one leaves what is in pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	with := live()
	runtime.KeepAlive(one)
	body.coder, one = nil, nil
	without := live()
	runtime.KeepAlive(text)
	return with - without
}

// An encoder takes no more memory than encoderBytes says. Garbage of other tests may go
// between two looks at the heap, hence the least of several.
func TestEncoderMemory(t *testing.T) {
	text := prose(4 << 20)
	for c := Brotli; c < codings; c++ {
		for e := range efforts {
			held := heldBy(t, kind{c, e}, text)
			for tries := 0; held > encoderBytes && tries < 5; tries++ {
				held = min(held, heldBy(t, kind{c, e}, text))
			}
			if held > encoderBytes || held <= 0 {
				t.Errorf("an encoder of %s, effort %d, holds %d KiB, want some and at most %d", c, e, held>>10, encoderBytes>>10)
			}
		}
	}
}

// BenchmarkCodedHit is BenchmarkHit of a page that is compressed.
func BenchmarkCodedHit(b *testing.B) {
	h := benchHandler(b)
	site := *h.Sites().All()[0]
	site.Compress = testCompression()
	h.Swap(NewSites([]*Site{&site}), Limits{Fields: 128, TargetBytes: 16 << 10})
	for _, accept := range []string{"", "gzip, deflate, br, zstd"} {
		b.Run("accept="+accept, func(b *testing.B) {
			r, _ := http.NewRequest("GET", "http://www.test/page", nil)
			r.RemoteAddr, r.RequestURI = "192.0.2.1:1234", "/page"
			r.Header.Set("User-Agent", "bench")
			r.Header.Set("Accept-Encoding", accept)
			w := &nullWriter{header: make(http.Header)}
			for range 2 {
				clear(w.header)
				h.ServeHTTP(w, r)
				h.background.Wait()
			}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
			if got := w.header.Get("Content-Encoding"); (got == "br") != (accept != "") || w.header.Get("X-Cache") != "HIT" {
				b.Fatalf("coding %q, X-Cache %q", got, w.header.Get("X-Cache"))
			}
		})
	}
}

// A reader that gives nothing and no error must not be asked for ever.
func TestCodingAnEmptyReaderEnds(t *testing.T) {
	one, err := newCoder(kind{Gzip, inPass})
	if err != nil {
		t.Fatal(err)
	}
	body := &codedBody{
		ctx: t.Context(), from: &relayedSource{Reader: emptyReader{}, buf: new([relayBytes]byte)}, coder: one,
		turns: make(chan struct{}, 1),
	}
	if _, err := io.Copy(io.Discard, body); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v, want %v", err, io.ErrNoProgress)
	}
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }
