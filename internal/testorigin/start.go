package testorigin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Start serves a new origin in clear on a free port of 127.0.0.1 until the test
// ends.
func Start(t testing.TB) *Origin {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := New()
	o.URL = "http://" + l.Addr().String()
	t.Cleanup(o.Serve(l))
	return o
}

// StartTLS is Start with TLS and HTTP/2, and a certificate for the names given
// (127.0.0.1 if none are). roots is what a client must trust.
func StartTLS(t testing.TB, names ...string) (o *Origin, roots *x509.CertPool) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		names = []string{"127.0.0.1"}
	}
	certificate, roots := Certificate(names...)
	o = New()
	o.URL = "https://" + l.Addr().String()
	t.Cleanup(o.ServeTLS(l, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	return o, roots
}

// Serve serves on l in clear, in a goroutine. stop closes the listener and all
// connections, releases what is held and waits for the handlers.
func (o *Origin) Serve(l net.Listener) (stop func()) {
	return o.serve(l, nil)
}

// ServeTLS is Serve with TLS. Config names the protocols that are offered; without
// NextProtos these are h2 and http/1.1.
func (o *Origin) ServeTLS(l net.Listener, config *tls.Config) (stop func()) {
	config = config.Clone()
	if config.NextProtos == nil {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	return o.serve(l, config)
}

func (o *Origin) serve(l net.Listener, config *tls.Config) (stop func()) {
	hands := &hands{handler: o}
	hands.idle.L = &hands.mu
	server := &http.Server{
		Handler:   hands,
		TLSConfig: config,
		ErrorLog:  log.New(io.Discard, "", 0), // scripts break connections on purpose
		ConnState: hands.conn,
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if config != nil {
			server.ServeTLS(l, "", "")
			return
		}
		server.Serve(l)
	}()
	return func() {
		server.Close()
		<-ended
		hands.stop()
	}
}

// hands knows the handlers at work and the connections that they took over, which
// http.Server forgets.
type hands struct {
	handler http.Handler

	mu      sync.Mutex // guards what follows
	idle    sync.Cond  // working became 0
	working int
	taken   []net.Conn
}

func (h *hands) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.working++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.working--
		h.idle.Broadcast()
	}()
	h.handler.ServeHTTP(w, r)
}

func (h *hands) conn(c net.Conn, state http.ConnState) {
	if state == http.StateHijacked {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.taken = append(h.taken, c)
	}
}

// stop closes what was taken over and waits for the handlers.
func (h *hands) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.working > 0 {
		for _, c := range h.taken {
			c.Close()
		}
		h.taken = nil
		h.idle.Wait()
	}
}

// Certificate makes a self-signed certificate for names, host names or IP addresses,
// and the pool that trusts it. It is valid from 1990, for the clock of a synctest
// bubble begins in 2000.
func Certificate(names ...string) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("testorigin: " + err.Error())
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "testorigin"},
		NotBefore:             time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic("testorigin: " + err.Error())
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic("testorigin: " + err.Error())
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}
