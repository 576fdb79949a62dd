package origin_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"perigee/internal/memnet"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// TestHTTP2Frames: an upstream that breaks HTTP/2 frame by frame.
func TestHTTP2Frames(t *testing.T) {
	t.Parallel()
	certificate, roots := testorigin.Certificate("origin.test")
	for _, tc := range []struct {
		name   string
		answer func(f *http2.Framer, stream uint32) // then nothing, pings not answered
		hangUp bool
		kind   origin.ErrorKind
		after  time.Duration
	}{
		{name: "reset", answer: func(f *http2.Framer, s uint32) { f.WriteRSTStream(s, http2.ErrCodeInternal) }, kind: origin.ErrReset},
		{name: "goaway", answer: func(f *http2.Framer, s uint32) { f.WriteGoAway(s, http2.ErrCodeInternal, nil) }, hangUp: true, kind: origin.ErrReset},
		{name: "hung up", answer: func(*http2.Framer, uint32) {}, hangUp: true, kind: origin.ErrReset},
		{name: "dead", answer: func(*http2.Framer, uint32) {}, kind: origin.ErrReset, after: 30 * time.Second},
		{name: "no status", answer: func(f *http2.Framer, s uint32) { writeHead(f, s, true, "a", "b") }, kind: origin.ErrMalformed},
		{name: "upper case", answer: func(f *http2.Framer, s uint32) { writeHead(f, s, true, ":status", "200", "A", "b") }, kind: origin.ErrMalformed},
		{name: "frame for no stream", answer: func(f *http2.Framer, s uint32) { f.WriteData(s+100, true, []byte("x")) }, kind: origin.ErrMalformed},
		{name: "body beyond its length", answer: func(f *http2.Framer, s uint32) {
			writeHead(f, s, false, ":status", "200", "content-length", "2")
			f.WriteData(s, true, []byte("xxx"))
		}, kind: origin.ErrMalformed},
		{name: "body short of its length", answer: func(f *http2.Framer, s uint32) {
			writeHead(f, s, false, ":status", "200", "content-length", "4")
			f.WriteData(s, true, []byte("xxx"))
		}, kind: origin.ErrIncomplete},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				l := n.Listen("origin.test:443")
				go serveFrames(l, certificate, tc.answer, tc.hangUp, false)
				p := newPool(t, origin.Options{Upstream: "https://origin.test", RootCAs: roots, Dial: n.DialContext, Header: time.Hour, Idle: time.Hour})
				start := time.Now()
				req := get("/")
				req.Method, req.Body, req.ContentLength = "POST", io.NopCloser(strings.NewReader("x")), 1 // not sent twice
				_, _, err := fetchAll(t.Context(), p, req)
				if kindOf(err) != tc.kind || time.Since(start) != tc.after {
					t.Errorf("got %v (%s) after %v, want %s after %v", err, kindOf(err), time.Since(start), tc.kind, tc.after)
				}
				p.Close()
				l.Close()
			})
		})
	}
}

// writeHead sends a head of names and values.
func writeHead(f *http2.Framer, stream uint32, end bool, fields ...string) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	const frame = 16 << 10 // the least that a peer must take (RFC 9113 §4.2)
	first := block.Next(frame)
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: end, EndHeaders: block.Len() == 0})
	for block.Len() > 0 {
		more := block.Next(frame)
		f.WriteContinuation(stream, block.Len() == 0, more)
	}
}

// serveFrames answers the requests on each connection with answer, and pings if it
// is told to.
func serveFrames(l *memnet.Listener, certificate tls.Certificate, answer func(*http2.Framer, uint32), hangUp, pings bool) {
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer raw.Close()
			c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
			preface := make([]byte, len(http2.ClientPreface))
			if _, err := io.ReadFull(c, preface); err != nil {
				return
			}
			f := http2.NewFramer(c, c)
			f.WriteSettings()
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if ping, ok := frame.(*http2.PingFrame); ok && pings && !ping.IsAck() {
					f.WritePing(true, ping.Data)
				}
				ending, ok := frame.(interface{ StreamEnded() bool })
				if ok && ending.StreamEnded() {
					answer(f, frame.Header().StreamID)
					if hangUp {
						return
					}
				}
			}
		}()
	}
}
