package origin

import (
	"fmt"
	"net/http"
)

// ErrorKind is what kept an upstream's response from us.
type ErrorKind uint8

// The kinds of trouble. [ErrorKind.String] gives the proxy error type of RFC 9209
// §2.3 that is named here.
const (
	ErrUnknown        ErrorKind = iota // proxy_internal_error: a request that cannot be sent, or trouble of our own
	ErrResolve                         // dns_error: the upstream's name has no address
	ErrConnect                         // connection_refused
	ErrTLS                             // tls_protocol_error
	ErrTimeout                         // http_response_timeout: head, a gap in the body or upload, or the whole took too long
	ErrReset                           // connection_terminated: closed before the response's head was whole, or reset in the body
	ErrMalformed                       // http_protocol_error
	ErrOverloaded                      // connection_limit_reached: all connections taken and the queue full or too slow
	ErrForbidden                       // destination_ip_prohibited: the upstream is perigee's own admin address
	ErrCanceled                        // canceled (RFC 9209 has no type for it): the caller or its client left
	ErrResolveTimeout                  // dns_timeout
	ErrConnectTimeout                  // connection_timeout: of connecting or of the TLS handshake
	ErrUnreachable                     // destination_ip_unroutable: connecting failed in another manner than by refusal
	ErrCertificate                     // tls_certificate_error: the upstream's certificate is not valid for the name asked for
	ErrAlert                           // tls_alert_received: the upstream refused our handshake
	ErrIncomplete                      // http_response_incomplete: the body ended before its declared end
	ErrHeaderSize                      // http_response_header_section_size
	ErrUpgrade                         // http_upgrade_failed: 101 unasked, or to another protocol
	ErrLoop                            // proxy_loop_detected: for fetchers that can tell; a Pool cannot
	errorKinds
)

// kinds holds what is known of each kind: its RFC 9209 type, the status that a
// client gets for it, and the words for the operator. In the words %s is the
// upstream; the error itself stands between words and hint.
var kinds = [errorKinds]struct {
	token  string
	status int
	words  string
	hint   string
}{
	ErrUnknown:        {"proxy_internal_error", http.StatusBadGateway, "ask %s", ""},
	ErrResolve:        {"dns_error", http.StatusBadGateway, "find the address of %s", "is the name in the origin's URL right?"},
	ErrConnect:        {"connection_refused", http.StatusBadGateway, "connect to %s refused", "is the origin running?"},
	ErrTLS:            {"tls_protocol_error", http.StatusBadGateway, "TLS with %s", "does the origin speak TLS on that port?"},
	ErrTimeout:        {"http_response_timeout", http.StatusGatewayTimeout, "%s is too slow", "is the origin overloaded, or origin.timeouts too short?"},
	ErrReset:          {"connection_terminated", http.StatusBadGateway, "%s closed the connection without a whole answer", "look at the origin's log"},
	ErrMalformed:      {"http_protocol_error", http.StatusBadGateway, "%s answered what is not valid HTTP", "does the origin speak this protocol on that port?"},
	ErrOverloaded:     {"connection_limit_reached", http.StatusServiceUnavailable, "all connections to %s are taken", "is the origin slow, or origin.connections too low?"},
	ErrForbidden:      {"destination_ip_prohibited", http.StatusBadGateway, "connect to %s forbidden", "point the origin's URL at the origin"},
	ErrCanceled:       {"canceled", http.StatusBadGateway, "ask %s", ""},
	ErrResolveTimeout: {"dns_timeout", http.StatusGatewayTimeout, "find the address of %s", "does this machine's DNS resolver answer?"},
	ErrConnectTimeout: {"connection_timeout", http.StatusGatewayTimeout, "connect to %s", "is the origin up, and does a firewall drop packets?"},
	ErrUnreachable:    {"destination_ip_unroutable", http.StatusBadGateway, "connect to %s", "is the address right and is there a route to it?"},
	ErrCertificate:    {"tls_certificate_error", http.StatusBadGateway, "certificate of %s", "origin.host says which name is asked for"},
	ErrAlert:          {"tls_alert_received", http.StatusBadGateway, "%s refused TLS", "does it know the name asked for (origin.host)?"},
	ErrIncomplete:     {"http_response_incomplete", http.StatusBadGateway, "%s cut its answer short", "look at the origin's log"},
	ErrHeaderSize:     {"http_response_header_section_size", http.StatusBadGateway, "the response head of %s is too large", "does the origin set too many cookies?"},
	ErrUpgrade:        {"http_upgrade_failed", http.StatusBadGateway, "%s switched protocols", "look at the origin's log"},
	ErrLoop:           {"proxy_loop_detected", http.StatusLoopDetected, "%s leads back to perigee", "point the origin's URL at the origin"},
}

// String is the kind as logs, metrics and Proxy-Status spell it.
func (k ErrorKind) String() string {
	if k >= errorKinds {
		k = ErrUnknown
	}
	return kinds[k].token
}

// ErrorKinds lists every kind, for those who count by it.
func ErrorKinds() []ErrorKind {
	all := make([]ErrorKind, errorKinds)
	for i := range all {
		all[i] = ErrorKind(i)
	}
	return all
}

// Error is why an upstream's response, or the rest of its body, is not to be had.
type Error struct {
	Kind     ErrorKind
	Upstream string // URL of the upstream
	Err      error  // the details; nil where the kind says all
}

// Error says for the operator what failed and what to look at.
func (e *Error) Error() string {
	kind := kinds[ErrUnknown]
	if e.Kind < errorKinds {
		kind = kinds[e.Kind]
	}
	text := fmt.Sprintf(kind.words, e.Upstream)
	if e.Err != nil && e.Kind != ErrConnect { // a refusal's details repeat the words
		text += ": " + e.Err.Error()
	}
	if kind.hint != "" {
		text += ": " + kind.hint
	}
	return text
}

// Unwrap is the details.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether a time limit was the reason.
func (e *Error) Timeout() bool { return e.Status() == http.StatusGatewayTimeout }

// Status is what a client gets where nothing better can be served: 503 when we are
// overloaded, 504 for time-outs, 508 for a loop (RFC 5842 §7.2), else 502.
func (e *Error) Status() int {
	if e.Kind >= errorKinds {
		return http.StatusBadGateway
	}
	return kinds[e.Kind].status
}
