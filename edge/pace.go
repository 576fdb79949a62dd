package edge

import (
	"net/http"
	"time"
)

const (
	// clientPatience is how long a client may take nothing of a response.
	clientPatience = 60 * time.Second
	// clientRate is the slowest that a client may take a piece, in bytes a second. A
	// client that stands still would hold memory and a connection to the upstream.
	clientRate = 1 << 10
	// unpacedBytes is the most that is sent without a deadline, since so much fits
	// into the buffers on the way: what is small costs no timer.
	unpacedBytes = 16 << 10
)

// send sends a piece of the body, within a deadline if it is not small.
func (x *exchange) send(piece []byte) error {
	if x.record.BodyBytes > 0 || len(piece) > unpacedBytes {
		x.pace(len(piece))
	}
	n, err := x.w.Write(piece)
	x.record.BodyBytes += int64(n)
	if err != nil {
		return errClient
	}
	return nil
}

// pace gives the client time to take n bytes more.
func (x *exchange) pace(n int) {
	if w, ok := x.w.(deadliner); ok {
		x.paced = true
		_ = w.SetWriteDeadline(clock().Add(clientPatience + time.Duration(n)*time.Second/clientRate))
	}
}

// unpace takes the deadline back: the connection goes on to other requests.
func (x *exchange) unpace() {
	if w, ok := x.w.(deadliner); ok && x.paced {
		x.paced = false
		_ = w.SetWriteDeadline(time.Time{})
	}
}

// deadliner is what response writers of net/http are besides.
type deadliner interface {
	http.ResponseWriter
	SetWriteDeadline(t time.Time) error
}
