package edge

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// clientPatience is how long a client may take nothing at all.
	clientPatience = 5 * time.Second
	// pacedBytes is the most that is sent under one deadline. At the slowest rate that
	// is let pass by default it takes 64 s, so that who stands still is gone within 75.
	pacedBytes = 64 << 10
	// unpacedBytes is the most that is sent without a deadline, since so much fits
	// into the buffers on the way: what is small costs no timer.
	unpacedBytes = 16 << 10
	// paceRest is how long a deadline is left as it is: setting one costs a system's
	// timer, and a client that keeps up needs no new one for each piece.
	paceRest = 5 * time.Second
)

// send sends a piece of the body, within deadlines if it is not small.
func (x *exchange) send(piece []byte) error {
	for len(piece) > 0 {
		part := piece[:min(len(piece), pacedBytes)]
		if x.record.BodyBytes > 0 || len(part) > unpacedBytes {
			x.pace(pacedBytes)
		}
		n, err := x.w.Write(part)
		x.record.BodyBytes += int64(n)
		if err != nil {
			return errClient
		}
		piece = piece[len(part):]
	}
	return nil
}

// pace gives the client time for n bytes more. A client that stands still would
// hold memory and a connection to the upstream for as long as it likes.
func (x *exchange) pace(n int) {
	w, ok := x.w.(deadliner)
	if !ok || x.limits == nil || x.limits.MinRate <= 0 {
		return
	}
	now := clock()
	if now.Sub(x.pacedAt) < paceRest && n <= x.pacedFor {
		return
	}
	x.pacedAt, x.pacedFor = now, n
	part := time.Duration(int64(n) * int64(time.Second) / x.limits.MinRate)
	_ = w.SetWriteDeadline(now.Add(clientPatience + paceRest + part))
}

// unpace takes the deadline back. On HTTP/2 it is a timer of the stream, which would
// end the stream also while we wait for the upstream and not for the client.
func (x *exchange) unpace() {
	if w, ok := x.w.(deadliner); ok && !x.pacedAt.IsZero() {
		x.pacedAt = time.Time{}
		_ = w.SetWriteDeadline(time.Time{})
	}
}

// endPacing ends the pacing of a response. What is left in the stream's buffers goes
// out under its last deadline; then that is taken back, for x/net's timer of a stream
// that was reset meanwhile would keep the stream's memory until it fires.
func (x *exchange) endPacing() {
	if x.pacedAt.IsZero() {
		return
	}
	if x.r.ProtoMajor > 1 && !x.record.Aborted {
		x.flush()
	}
	x.unpace()
}

// deadliner is what response writers of net/http are besides.
type deadliner interface {
	http.ResponseWriter
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

var errSlowUpload = errors.New("the client sends its body too slowly")

// upload is a request's body that has to come at the slowest rate let pass. Only
// the time in which we wait for the client counts, not that of a slow upstream.
type upload struct {
	io.ReadCloser
	w      deadliner
	rate   int64 // bytes a second
	waited time.Duration
	got    int64

	mu    sync.Mutex // guards ended and, with it, whose the connection's deadline is
	ended bool
	slow  atomic.Bool
}

// Read implements [io.Reader].
func (u *upload) Read(p []byte) (int, error) {
	began := clock()
	if !u.allow(began.Add(clientPatience + time.Duration(int64(len(p))*int64(time.Second)/u.rate))) {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := u.ReadCloser.Read(p)
	u.allow(time.Time{})
	u.waited += clock().Sub(began)
	u.got += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) || err == nil && u.waited > clientPatience &&
		u.got < int64(u.waited.Seconds())*u.rate {
		u.slow.Store(true)
		return n, errSlowUpload
	}
	return n, err
}

// allow sets the connection's deadline for reading, unless the exchange is over
// and the connection belongs to the next.
func (u *upload) allow(until time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return false
	}
	_ = u.w.SetReadDeadline(until)
	return true
}

// end tells that the exchange is over.
func (u *upload) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	u.ended = true
	var until time.Time
	if c, ok := u.ReadCloser.(*content); ok && !c.whole() {
		until = clock().Add(clientPatience) // see stopReading
	}
	_ = u.w.SetReadDeadline(until)
}
