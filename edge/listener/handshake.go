package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// Fault is why a TLS handshake failed.
type Fault uint8

// The faults. The zero value is none.
const (
	FaultNone          Fault = iota
	FaultTimeout             // not finished within Limits.HeaderTime
	FaultGone                // the client closed the connection
	FaultPlainHTTP           // HTTP in clear on a TLS address; answered with 400
	FaultNotTLS              // bytes that are neither
	FaultVersion             // the client offers nothing from TLS 1.2 on
	FaultNoCertificate       // no certificate for the name it asks for
	FaultRejected            // the client sent an alert: it does not trust the certificate, mostly
	FaultOther               // no common cipher or protocol, malformed messages
	numFaults
)

// String is the fault as metrics and logs name it.
func (f Fault) String() string {
	names := [numFaults]string{
		"none", "timeout", "gone", "plain_http", "not_tls", "version", "no_certificate", "rejected", "other",
	}
	if f >= numFaults {
		return "unknown"
	}
	return names[f]
}

// protocolH2 is HTTP/2 as ALPN names it (RFC 9113 §3.2).
const protocolH2 = "h2"

// tlsConfig is the one configuration of all handshakes. Key exchange (X25519MLKEM768
// first), cipher suites and rotating session tickets are Go's defaults.
func (s *Set) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{protocolH2, "http/1.1"},
		GetConfigForClient: noteVersion,
		GetCertificate:     s.certificate,
	}
}

// noteVersion sees each ClientHello before its version is judged, so that the
// refusal can be counted by its reason.
func noteVersion(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !slices.ContainsFunc(hello.SupportedVersions, func(v uint16) bool { return v >= tls.VersionTLS12 }) {
		if c, ok := hello.Conn.(*conn); ok {
			c.fault = FaultVersion
		}
	}
	return nil, nil
}

// certificate asks Options.Certificates and remembers a no.
func (s *Set) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, err := s.options.Certificates(hello)
	if cert == nil || err != nil {
		if c, ok := hello.Conn.(*conn); ok {
			c.fault = FaultNoCertificate
		}
	}
	return cert, err
}

// handshake does the TLS handshake on c within HeaderTime. On failure c is closed
// and counted by reason, and nil returned.
func (e *engine) handshake(c *conn) *tls.Conn {
	ctx, cancel := context.WithTimeout(context.Background(), e.limits.HeaderTime)
	defer cancel()
	t := tls.Server(c, e.set.tls)
	err := t.HandshakeContext(ctx)
	if err == nil {
		e.set.counts.handshakes.Add(1)
		return t
	}
	fault := faultOf(c, err)
	if fault == FaultPlainHTTP {
		const answer = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" +
			"This port speaks HTTPS; use https:// in the address.\n"
		if end, ok := ctx.Deadline(); ok && c.SetWriteDeadline(end) == nil {
			_, _ = io.WriteString(c, answer) // a courtesy
		}
	}
	_ = c.Close()
	if !e.wasCut(c) {
		e.set.counts.faults[fault].Add(1)
		e.set.log.Debug("TLS handshake failed", "client", c.RemoteAddr(), "reason", fault.String(), "error", err)
	}
	return nil
}

// wasCut reports whether a drain closed c: then the failure is not the client's.
func (e *engine) wasCut(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return c.cut
}

func faultOf(c *conn, err error) Fault {
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case c.fault != FaultNone:
		return c.fault
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return FaultTimeout
	case errors.As(err, &record):
		if looksLikeHTTP(record.RecordHeader) {
			return FaultPlainHTTP
		}
		return FaultNotTLS
	// crypto/tls reports an alert it received as an OpError of this name.
	case errors.As(err, &op) && op.Op == "remote error":
		return FaultRejected
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return FaultGone
	}
	return FaultOther
}

// looksLikeHTTP reports whether a TLS record header is the start of a request line.
func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE":
		return true
	}
	return false
}
