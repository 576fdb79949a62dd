package origin

import (
	"io"
	"net/http"
	"time"
)

// Response is what an upstream answered: final, so never 1xx but for 101.
type Response struct {
	Status int         // 101, or 200 to 999
	Header http.Header // as received, hop-by-hop fields included; the receiver's own

	// Body is never nil. Reading to EOF or Close frees the upstream's connection;
	// Close may be called again, and while another goroutine reads. Errors of Read
	// are *Error, but for io.EOF and reading after Close. For 101 it is an
	// io.ReadWriteCloser, neither Idle nor Total bounds it, and only Close ends it.
	Body io.ReadCloser

	// Trailer returns the fields that came behind the body, nil for none. They are
	// complete once Body has given io.EOF, and not to be asked for before.
	Trailer func() http.Header

	ContentLength int64     // of the body, or for HEAD of the body that GET would have; -1 unknown
	Proto         string    // HTTP/1.1, HTTP/2.0
	Upstream      string    // URL of the upstream that answered
	RequestTime   time.Time // when the request was sent (RFC 9111 §4.2.3)
	ResponseTime  time.Time // when the response's head was there
}
