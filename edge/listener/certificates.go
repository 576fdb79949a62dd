package listener

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Snapshot says which certificate a host is shown. It is not changed after Replace.
type Snapshot struct {
	Hosts   map[string]*tls.Certificate // by host name, in any letter case, without a port
	Default *tls.Certificate            // for other names and clients that send none; nil = refuse them
}

// Certificates is an atomic snapshot of host → certificate. The zero value has
// none. It may be used concurrently.
type Certificates struct {
	snapshot atomic.Pointer[Snapshot]
}

// Replace makes s what handshakes see from now on. Its map is copied.
func (c *Certificates) Replace(s Snapshot) {
	hosts := make(map[string]*tls.Certificate, len(s.Hosts))
	for host, cert := range s.Hosts {
		hosts[canonicalName(host)] = cert
	}
	c.snapshot.Store(&Snapshot{Hosts: hosts, Default: s.Default})
}

// Get is Options.Certificates over the snapshot: the certificate of exactly that
// host, else the default one, else nil, nil.
func (c *Certificates) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s := c.snapshot.Load()
	if s == nil {
		return nil, nil
	}
	if cert := s.Hosts[canonicalName(hello.ServerName)]; cert != nil {
		return cert, nil
	}
	return s.Default, nil
}

// canonicalName is a host name in lower case without its trailing dot. It
// allocates only where something changes.
func canonicalName(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// LoadPair reads a certificate chain (leaf first) and its private key, both PEM.
// Errors say which file is at fault and how. A certificate that is out of date
// loads; [Warnings] tells.
func LoadPair(certFile, keyFile string) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read private key: %w", err)
	}
	chain, err := parseChain(certPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %s: %w", certFile, err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("private key %s: %w", keyFile, err)
	}
	if !matches(chain[0], key) {
		return tls.Certificate{}, fmt.Errorf("private key %s does not belong to the first certificate in %s (for %s)", keyFile, certFile, describe(chain[0]))
	}
	pair := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}

// expirySoon is how long before its end a certificate is worth a warning.
const expirySoon = 7 * 24 * time.Hour

// Warnings says in words what is wrong with a certificate that could be loaded: it
// has expired, is about to, or is not valid yet. nil = nothing.
func Warnings(cert *tls.Certificate, now time.Time) []string {
	leaf := cert.Leaf
	if leaf == nil {
		return []string{"the certificate cannot be examined: it was not parsed"}
	}
	var ws []string
	switch left := leaf.NotAfter.Sub(now); {
	case left < 0:
		ws = append(ws, fmt.Sprintf("the certificate for %s expired on %s; browsers refuse it", describe(leaf), leaf.NotAfter.UTC().Format(time.DateTime)))
	case left < expirySoon:
		ws = append(ws, fmt.Sprintf("the certificate for %s expires on %s", describe(leaf), leaf.NotAfter.UTC().Format(time.DateTime)))
	}
	if now.Before(leaf.NotBefore) {
		ws = append(ws, fmt.Sprintf("the certificate for %s is valid only from %s on; is the clock right?", describe(leaf), leaf.NotBefore.UTC().Format(time.DateTime)))
	}
	return ws
}

// Self-signed certificates last a year, below the 398 days that browsers accept, and
// begin an hour early for clients whose clock is behind.
const (
	selfSignedLife  = 365 * 24 * time.Hour
	selfSignedEarly = time.Hour
)

// SelfSigned makes a certificate for names (host names and IP addresses, at least
// one) that nobody has to trust: ECDSA P-256, a fresh key and random serial number, in
// memory only, valid for a year from now.
func SelfSigned(names []string, now time.Time) (tls.Certificate, error) {
	if len(names) == 0 {
		return tls.Certificate{}, errors.New("self-signed certificate: no names")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("self-signed certificate: %w", err)
	}
	// 127 bits: positive and at most 20 octets (RFC 5280 §4.1.2.2), 0 excluded.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("self-signed certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: "perigee self-signed"},
		NotBefore:             now.Add(-selfSignedEarly),
		NotAfter:              now.Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(strings.Trim(name, "[]")); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, canonicalName(name))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("self-signed certificate for %s: %w", strings.Join(names, ", "), err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("self-signed certificate for %s: %w", strings.Join(names, ", "), err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
