package origin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"golang.org/x/net/http2"
)

// dialKind is the kind of an error from resolving or connecting.
func dialKind(err error) ErrorKind {
	var dns *net.DNSError
	var bad *Error
	switch {
	case errors.As(err, &bad):
		return bad.Kind
	case errors.As(err, &dns) && dns.IsTimeout:
		return ErrResolveTimeout
	case errors.As(err, &dns):
		return ErrResolve
	case errors.Is(err, syscall.ECONNREFUSED):
		return ErrConnect
	case timedOut(err):
		return ErrConnectTimeout
	}
	return ErrUnreachable
}

// handshakeKind is the kind of an error from a TLS handshake.
func handshakeKind(err error) ErrorKind {
	var verify *tls.CertificateVerificationError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &verify), errors.As(err, &host), errors.As(err, &authority), errors.As(err, &invalid):
		return ErrCertificate
	case alerted(err):
		return ErrAlert
	case timedOut(err):
		return ErrConnectTimeout
	case broken(err):
		return ErrReset
	}
	return ErrTLS
}

// alerted reports an alert that the upstream sent. In TLS 1.3 one may come after the
// handshake, such as for a client certificate that is missed.
func alerted(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// exchangeKind is the kind of an error from a connection that was there: in writing
// the request, in the response's head or (inBody) in its body.
func exchangeKind(err error, inBody bool) ErrorKind {
	var stream http2.StreamError
	switch {
	case errors.As(err, &stream):
		// PROTOCOL_ERROR is what our own side resets with when it is shown nonsense.
		if stream.Code == http2.ErrCodeProtocol {
			return textKind(err)
		}
		return ErrReset
	case alerted(err):
		return ErrAlert
	case timedOut(err):
		return ErrTimeout
	case inBody && errors.Is(err, io.ErrUnexpectedEOF):
		return ErrIncomplete
	case broken(err):
		return ErrReset
	}
	return textKind(err)
}

// texts are errors of net/http that have no type. Tests provoke those about heads,
// GOAWAY and lost connections; the others are seen only when an upstream closes a
// connection at the moment we take it.
var texts = []struct {
	part string
	kind ErrorKind
}{
	{"response headers exceeded", ErrHeaderSize},
	{"response header list larger", ErrHeaderSize},
	{"server closed idle connection", ErrReset},
	{"server sent GOAWAY", ErrReset},
	{"client connection lost", ErrReset},
	{"client conn could not be established", ErrReset},
	{"client connection force closed", ErrReset},
}

func textKind(err error) ErrorKind {
	text := err.Error()
	for _, each := range texts {
		if strings.Contains(text, each.part) {
			return each.kind
		}
	}
	return ErrMalformed
}

func timedOut(err error) bool {
	var limit interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &limit) && limit.Timeout()
}

// broken reports that the connection ended.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, os.ErrClosed) || errors.Is(err, http.ErrAbortHandler)
}

// ended is the error of a context that is done.
func ended(ctx context.Context, upstream string) *Error {
	cause := context.Cause(ctx)
	var limit *Error
	if errors.As(cause, &limit) {
		return limit
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{Kind: ErrTimeout, Upstream: upstream, Err: cause}
	}
	return &Error{Kind: ErrCanceled, Upstream: upstream, Err: cause}
}
