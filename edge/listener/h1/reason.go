package h1

import (
	"net/http"
	"sync/atomic"
)

// Reason is why a request is refused. Each has one status.
type Reason uint8

// The reasons. The zero value is none.
const (
	ReasonNone             Reason = iota
	ReasonRequestLine             // malformed, HTTP/0.9 included
	ReasonMethod                  // CONNECT, or longer than any method there is
	ReasonVersion                 // neither HTTP/1.0 nor HTTP/1.1
	ReasonTarget                  // of no form that is served, or malformed
	ReasonTargetLength            // more than Limits.TargetBytes
	ReasonLineEnding              // a CR or LF that stands alone
	ReasonField                   // malformed field line, or a character that none may have
	ReasonFold                    // obs-fold (RFC 9112 §5.2)
	ReasonFieldBytes              // more than Limits.FieldBytes
	ReasonFields                  // more than Limits.Fields
	ReasonHost                    // missing, repeated, malformed, or unlike the target's
	ReasonContentLength           // malformed, repeated, or unlike the body
	ReasonFraming                 // Content-Length beside Transfer-Encoding
	ReasonTransferEncoding        // malformed, or in HTTP/1.0
	ReasonCoding                  // a transfer coding other than chunked
	ReasonChunk                   // malformed chunk
	ReasonTrailer                 // malformed trailer section, or framing in it
	ReasonTruncated               // the client ended inside a head
	ReasonConnection              // a connection-specific field in HTTP/2 or later
	NumReasons                    // how many there are, none included
)

// String is the reason as metrics and logs name it.
func (r Reason) String() string {
	names := [NumReasons]string{
		"none", "request_line", "method", "version", "target", "target_length", "line_ending", "field", "fold",
		"field_bytes", "fields", "host", "content_length", "framing", "transfer_encoding", "coding", "chunk",
		"trailer", "truncated", "connection",
	}
	if r >= NumReasons {
		return "unknown"
	}
	return names[r]
}

// Status is the status code of the refusal, 400 if no other fits.
func (r Reason) Status() int {
	switch r {
	case ReasonMethod, ReasonCoding:
		return http.StatusNotImplemented
	case ReasonVersion:
		return http.StatusHTTPVersionNotSupported
	case ReasonTargetLength:
		return http.StatusRequestURITooLong
	case ReasonFieldBytes, ReasonFields:
		return http.StatusRequestHeaderFieldsTooLarge
	default:
		return http.StatusBadRequest
	}
}

// Text is a line for the client: what is wrong with the request.
func (r Reason) Text() string {
	texts := [NumReasons]string{
		"", "The request line is malformed.", "The method is not implemented.", "The HTTP version is not supported.",
		"The request target is malformed.", "The request target is too long.", "A line does not end in CR LF.",
		"A field line is malformed.", "A field line is folded.", "The header section is too large.",
		"The header section has too many fields.", "The Host field is missing or malformed.",
		"Content-Length is malformed or does not fit the content.", "Content-Length and Transfer-Encoding exclude each other.",
		"Transfer-Encoding is malformed.", "The transfer coding is not implemented.", "A chunk is malformed.",
		"The trailer section is malformed.", "The request ends too early.", "A field belongs to another version of HTTP.",
	}
	if r >= NumReasons {
		return ""
	}
	return texts[r]
}

// Counts are refusals by reason. The zero value is ready; safe for concurrent use.
type Counts struct {
	n [NumReasons]atomic.Uint64
}

// Add counts one refusal.
func (c *Counts) Add(r Reason) {
	if r < NumReasons {
		c.n[r].Add(1)
	}
}

// Count is how many refusals r has had.
func (c *Counts) Count(r Reason) uint64 {
	if r >= NumReasons {
		return 0
	}
	return c.n[r].Load()
}
