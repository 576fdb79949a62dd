package listener

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Frames are found in whatever pieces their bytes come.
func TestFramesInPieces(t *testing.T) {
	t.Parallel()
	var stream bytes.Buffer
	fr := http2.NewFramer(&stream, nil)
	_ = fr.WriteSettings()
	_ = fr.WriteData(1, false, make([]byte, 70))
	_ = fr.WritePing(false, [8]byte{})
	_ = fr.WriteData(1, true, nil)
	want := []string{"SETTINGS 0", "DATA 70", "PING 8", "DATA 0 end"}
	for size := 1; size < stream.Len()+1; size++ {
		var f frames
		var got []string
		for rest := stream.Bytes(); len(rest) > 0; {
			n := min(size, len(rest))
			f.walk(rest[:n], func(kind http2.FrameType, flags http2.Flags, length int) {
				line := kind.String() + " " + strconv.Itoa(length)
				if kind == http2.FrameData && flags.Has(http2.FlagDataEndStream) {
					line += " end"
				}
				got = append(got, line)
			})
			rest = rest[n:]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("in pieces of %d: -want +got\n%s", size, diff)
		}
	}
}

// flooder is a raw HTTP/2 client.
type flooder struct {
	t  *testing.T
	c  *tls.Conn
	fr *http2.Framer
}

func newFlooder(t *testing.T, s *Set) *flooder {
	t.Helper()
	_, https := s.Addrs()
	c, err := tls.Dial("tcp", https[0].String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocolH2}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := &flooder{t: t, c: c, fr: http2.NewFramer(c, c)}
	_ = f.fr.WriteSettings()
	return f
}

// request opens a stream with a GET.
func (f *flooder) request(stream uint32) error {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
}

// A connection that sends control frames and lets itself be answered nothing is cut
// after a bounded number of them. Others go on.
func TestFloodsCutTheirConnection(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]func(f *flooder, i int) error{
		"ping":          func(f *flooder, i int) error { return f.fr.WritePing(false, [8]byte{byte(i)}) },
		"settings":      func(f *flooder, i int) error { return f.fr.WriteSettings() },
		"window update": func(f *flooder, i int) error { return f.fr.WriteWindowUpdate(0, 1) },
		"priority": func(f *flooder, i int) error {
			return f.fr.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := rawServer(t, true, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			f := newFlooder(t, s)
			go func() { _, _ = io.Copy(io.Discard, f.c) }()
			_ = f.c.SetDeadline(time.Now().Add(20 * time.Second))
			var err error
			sent := 0
			for ; err == nil && sent < 100*floodBalance; sent++ {
				err = frame(f, sent)
			}
			if err == nil {
				t.Fatalf("%d frames were taken", sent)
			}
			if floods := s.Stats().Floods; floods != 1 {
				t.Errorf("%d floods counted, want 1", floods)
			}
		})
	}
}

// Requests that are answered earn what they cost: a busy connection is never cut.
func TestAnsweredRequestsAreNoFlood(t *testing.T) {
	t.Parallel()
	s, _ := rawServer(t, true, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	f := newFlooder(t, s)
	ended := make(chan struct{}, 100)
	go func() {
		defer close(ended)
		for {
			frame, err := f.fr.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok && h.StreamEnded() {
				ended <- struct{}{}
			}
		}
	}()
	_ = f.c.SetDeadline(time.Now().Add(20 * time.Second))
	for i := range 3 * floodBalance {
		if err := f.request(uint32(2*i + 1)); err != nil {
			t.Fatalf("after %d requests: %v", i, err)
		}
		if _, ok := <-ended; !ok {
			t.Fatalf("after %d requests the connection was cut", i)
		}
	}
	if floods := s.Stats().Floods; floods != 0 {
		t.Errorf("%d floods counted", floods)
	}
}

// A long download is acknowledged by two window updates for each of its frames, as
// Go's client does it: that is no flood.
func TestDownloadIsNoFlood(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	s, _ := rawServer(t, true, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 1<<20)
		for range size / len(piece) {
			_, _ = w.Write(piece)
		}
	}))
	_, https := s.Addrs()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	a, err := (&http.Client{Transport: transport}).Get("https://" + https[0].String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{a.Body}, make([]byte, 4<<10))
	if a.ProtoMajor != 2 || n != size || err != nil {
		t.Errorf("%s: %d bytes of %d, %v", a.Proto, n, size, err)
	}
	if floods := s.Stats().Floods; floods != 0 {
		t.Errorf("%d floods counted", floods)
	}
}
