//lint:file-ignore SA1019 net/http's own HTTP/2 takes a bare *tls.Conn only, so that nothing can stand between: see docs/decisions.md

package listener

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// HTTP/2 lets a client make the server work by frames that cost next to nothing:
// resets, pings, settings, streams that are opened to be broken (CVE-2023-44487,
// CVE-2025-8671 and their kin). net/http bounds some of them, and none by what they
// bring. Here every such frame costs one of floodBalance, and what is answered
// earns it back, so that only a client which never lets itself be answered runs out.
const (
	// floodBalance is what a connection begins with, and the most it may have.
	floodBalance = 1000
	// A response's frames earn one each, and its last two more. A second earns ten:
	// keep-alive pings over days are no flood.
	earnedByFrame, earnedByEnd, earnedBySecond = 1, 2, 10
	// Window updates have a balance of their own, for honest clients send many: Go's
	// sends two for each 4 KiB that it reads. Content earns four a frame and one for
	// each updateBytes.
	updatesByFrame, updateBytes = 4, 1 << 10
	// updatesMost is the most of them: a window of many MiB may be on its way before
	// the client says anything of it.
	updatesMost = 1 << 20
)

var errFlood = errors.New("more control frames than a connection may send for what it is answered")

// metered is an HTTP/2 connection, decrypted, whose frames are counted.
type metered struct {
	*tls.Conn
	counts  *counts
	control balance
	updates balance
	in      frames    // Read's own
	out     frames    // Write's own
	paid    time.Time // until when seconds have been earned; Read's own
}

func newMetered(c *tls.Conn, counts *counts) *metered {
	m := &metered{Conn: c, counts: counts}
	m.control.n.Store(floodBalance)
	m.updates.n.Store(floodBalance)
	m.in.skip = len(http2.ClientPreface)
	return m
}

// Read implements [net.Conn]. It fails once the connection has run out.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	var control, updates int64
	m.in.walk(p[:n], func(kind http2.FrameType, _ http2.Flags, length int) {
		switch {
		case kind == http2.FrameWindowUpdate:
			updates++
		case kind != http2.FrameData || length == 0:
			control++
		}
	})
	if control+updates == 0 {
		return n, err
	}
	m.earnTime()
	if !m.control.spend(control) || !m.updates.spend(updates) {
		m.counts.floods.Add(1)
		_ = m.Conn.NetConn().Close() // at once: a goodbye would wait for a client that does not read
		return 0, errFlood
	}
	return n, err
}

// earnTime earns for the time since it was called last.
func (m *metered) earnTime() {
	now := clock()
	if m.paid.IsZero() {
		m.paid = now
	}
	if seconds := int64(now.Sub(m.paid) / time.Second); seconds > 0 {
		m.paid = m.paid.Add(time.Duration(seconds) * time.Second)
		m.control.earn(earnedBySecond*seconds, floodBalance)
		m.updates.earn(earnedBySecond*seconds, updatesMost)
	}
}

// Write implements [net.Conn].
func (m *metered) Write(p []byte) (int, error) {
	var control, updates int64
	m.out.walk(p, func(kind http2.FrameType, flags http2.Flags, length int) {
		switch kind {
		case http2.FrameData:
			updates += updatesByFrame + int64(length/updateBytes)
		case http2.FrameHeaders:
		default:
			return
		}
		control += earnedByFrame
		if flags.Has(http2.FlagDataEndStream) { // the same bit in both kinds
			control += earnedByEnd
		}
	})
	m.control.earn(control, floodBalance)
	m.updates.earn(updates, updatesMost)
	return m.Conn.Write(p)
}

// balance is what a connection may still send of a kind.
type balance struct{ n atomic.Int64 }

// spend tells whether there was so much.
func (b *balance) spend(n int64) bool { return n == 0 || b.n.Add(-n) >= 0 }

// earn adds n, up to the most that there may be. Who has run out stays so.
func (b *balance) earn(n, most int64) {
	for n > 0 {
		held := b.n.Load()
		if held < 0 || b.n.CompareAndSwap(held, min(held+n, most)) {
			return
		}
	}
}

// frameHeader is the length of an HTTP/2 frame's header (RFC 9113 §4.1).
const frameHeader = 9

// frames finds the frames in a stream of bytes that comes in pieces.
type frames struct {
	skip   int // bytes to the next frame's header
	header [frameHeader]byte
	held   int // bytes of header that have come
}

func (f *frames) walk(p []byte, see func(kind http2.FrameType, flags http2.Flags, length int)) {
	for len(p) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(p))
			f.skip -= n
			p = p[n:]
			continue
		}
		n := copy(f.header[f.held:], p)
		p = p[n:]
		if f.held += n; f.held < frameHeader {
			return
		}
		f.held = 0
		f.skip = int(binary.BigEndian.Uint32(f.header[:4]) >> 8)
		see(http2.FrameType(f.header[3]), http2.Flags(f.header[4]), f.skip)
	}
}

// serveH2 has HTTP/2 served by x/net's server, which unlike the one inside net/http
// can be given a connection that is not a bare *tls.Conn.
func (e *engine) serveH2() error {
	h2 := &http2.Server{}
	if err := http2.ConfigureServer(e.server, h2); err != nil {
		return err
	}
	e.server.TLSNextProto[protocolH2] = func(server *http.Server, c *tls.Conn, handler http.Handler) {
		ctx := context.Background()
		if base, ok := handler.(interface{ BaseContext() context.Context }); ok {
			ctx = base.BaseContext()
		}
		h2.ServeConn(newMetered(c, &e.set.counts), &http2.ServeConnOpts{Context: ctx, BaseConfig: server, Handler: handler})
	}
	return nil
}

// clock is this package's door to the clock.
func clock() time.Time { return time.Now() }
