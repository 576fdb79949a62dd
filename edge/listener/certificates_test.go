package listener

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var may2030 = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

func TestGet(t *testing.T) {
	t.Parallel()
	a, b, d := &tls.Certificate{}, &tls.Certificate{}, &tls.Certificate{}
	name := map[*tls.Certificate]string{a: "a", b: "b", d: "default", nil: "none"}
	hosts := map[string]*tls.Certificate{"A.Test.": a, "b.test": b}
	for _, c := range []struct {
		snapshot *Snapshot
		server   string
		want     string
	}{
		{nil, "a.test", "none"},
		{&Snapshot{}, "a.test", "none"},
		{&Snapshot{Hosts: hosts, Default: d}, "a.test", "a"},
		{&Snapshot{Hosts: hosts, Default: d}, "A.TEST", "a"},
		{&Snapshot{Hosts: hosts, Default: d}, "b.test.", "b"},
		{&Snapshot{Hosts: hosts, Default: d}, "www.a.test", "default"},
		{&Snapshot{Hosts: hosts, Default: d}, "", "default"},
		{&Snapshot{Hosts: hosts}, "c.test", "none"},
	} {
		var certs Certificates
		if c.snapshot != nil {
			certs.Replace(*c.snapshot)
		}
		got, err := certs.Get(&tls.ClientHelloInfo{ServerName: c.server})
		if err != nil || name[got] != c.want {
			t.Errorf("Get(%q) of %+v = %s, %v; want %s", c.server, c.snapshot, name[got], err, c.want)
		}
	}
}

func TestReplaceUnderHandshakes(t *testing.T) {
	t.Parallel()
	first, second := selfSigned(t, "localhost"), selfSigned(t, "localhost")
	var certs Certificates
	certs.Replace(Snapshot{Default: first})
	s, _ := start(t, Options{HTTPS: []string{"127.0.0.1:0"}, Answerer: http.HandlerFunc(hello), Certificates: certs.Get})
	_, secure := s.Addrs()
	shown := func() []byte {
		config := trusting(first, second)
		config.ServerName = "localhost"
		c, err := tls.Dial("tcp", secure[0].String(), config)
		if err != nil {
			t.Errorf("handshake: %v", err)
			return nil
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Raw
	}
	if !bytes.Equal(shown(), first.Certificate[0]) {
		t.Error("before Replace: not the first certificate")
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { shown() })
	}
	certs.Replace(Snapshot{Hosts: map[string]*tls.Certificate{"localhost": second}, Default: first})
	all.Wait()
	if !bytes.Equal(shown(), second.Certificate[0]) {
		t.Error("after Replace: not the second certificate")
	}
}

func TestSelfSigned(t *testing.T) {
	t.Parallel()
	names := []string{"A.test", "*.b.test", "192.0.2.1", "[2001:db8::1]"}
	cert, err := SelfSigned(names, may2030)
	if err != nil {
		t.Fatalf("SelfSigned(%q): %v", names, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	for _, name := range []string{"a.test", "x.b.test", "192.0.2.1", "2001:db8::1"} {
		for _, at := range []time.Time{may2030, may2030.Add(-30 * time.Minute), may2030.AddDate(0, 0, 364)} {
			if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: at}); err != nil {
				t.Errorf("SelfSigned(%q) at %v for %s: %v", names, at, name, err)
			}
		}
	}
	if life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore); life > 398*24*time.Hour {
		t.Errorf("it lives %v, more than browsers accept", life)
	}
	again, err := SelfSigned(names, may2030)
	if err != nil {
		t.Fatal(err)
	}
	if again.Leaf.SerialNumber.Cmp(cert.Leaf.SerialNumber) == 0 || cert.Leaf.SerialNumber.Sign() <= 0 {
		t.Errorf("serial numbers %v and %v: want different positive ones", cert.Leaf.SerialNumber, again.Leaf.SerialNumber)
	}
	if _, err := SelfSigned(nil, may2030); err == nil {
		t.Error("SelfSigned without names succeeded")
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	cert, err := SelfSigned([]string{"a.test"}, may2030)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cert *tls.Certificate
		now  time.Time
		want string
	}{
		{&cert, may2030, ""},
		{&cert, may2030.Add(-2 * time.Hour), "the certificate for a.test is valid only from 2030-05-01 11:00:00 on"},
		{&cert, may2030.AddDate(0, 0, 359), "the certificate for a.test expires on 2031-05-01 12:00:00"},
		{&cert, may2030.AddDate(0, 0, 366), "the certificate for a.test expired on 2031-05-01 12:00:00"},
		{&tls.Certificate{}, may2030, "not parsed"},
	} {
		got := strings.Join(Warnings(c.cert, c.now), "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("Warnings at %v = %q, want %q", c.now, got, c.want)
		}
	}
}

func writePEM(t *testing.T, kind string, ders ...[]byte) string {
	t.Helper()
	var buf bytes.Buffer
	for _, der := range ders {
		if err := pem.Encode(&buf, &pem.Block{Type: kind, Bytes: der}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "f.pem")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pkcs8(t *testing.T, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestLoadPair(t *testing.T) {
	t.Parallel()
	ours, other := selfSigned(t, "a.test"), selfSigned(t, "b.test")
	key := ours.PrivateKey.(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	agree, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain := writePEM(t, "CERTIFICATE", ours.Certificate[0], other.Certificate[0])
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for _, c := range []struct{ name, cert, key, want string }{
		{"PKCS 8", chain, writePEM(t, "PRIVATE KEY", pkcs8(t, key)), ""},
		{"SEC 1", chain, writePEM(t, "EC PRIVATE KEY", sec1), ""},
		{"no certificate file", missing, chain, "read certificate: open " + missing},
		{"no key file", chain, missing, "read private key: open " + missing},
		{"another key", chain, writePEM(t, "PRIVATE KEY", pkcs8(t, other.PrivateKey)), "does not belong to the first certificate"},
		{"another kind of key", chain, writePEM(t, "PRIVATE KEY", pkcs8(t, ed25519.NewKeyFromSeed(make([]byte, 32)))), "does not belong"},
		{"exchanged", writePEM(t, "PRIVATE KEY", pkcs8(t, key)), chain, "holds a PRIVATE KEY and no certificate; are the two files exchanged?"},
		{"certificate as key", chain, chain, "holds a certificate and no private key"},
		{"empty certificate", writePEM(t, "CERTIFICATE"), chain, "holds no PEM certificate"},
		{"empty key", chain, writePEM(t, "PRIVATE KEY"), "holds no PEM private key"},
		{"damaged certificate", writePEM(t, "CERTIFICATE", []byte("x")), chain, "certificate 1 of the chain"},
		{"damaged key", chain, writePEM(t, "PRIVATE KEY", []byte("x")), "is damaged or of an unknown kind"},
		{"encrypted key", chain, writePEM(t, "ENCRYPTED PRIVATE KEY", []byte("x")), "openssl pkey"},
		{"key that cannot sign", chain, writePEM(t, "PRIVATE KEY", pkcs8(t, agree)), "is of a kind that cannot sign"},
	} {
		pair, err := LoadPair(c.cert, c.key)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: LoadPair = %v, want an error with %q", c.name, err, c.want)
			}
			continue
		}
		if err != nil || len(pair.Certificate) != 2 || pair.Leaf == nil || pair.Leaf.DNSNames[0] != "a.test" {
			t.Errorf("%s: LoadPair = %d certificates, leaf %v, %v; want a chain of 2 for a.test", c.name, len(pair.Certificate), pair.Leaf, err)
		}
	}
}

func TestLoadPairRSA(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: selfSigned(t, "x").Leaf.SerialNumber, DNSNames: []string{"rsa.test"}, NotAfter: may2030}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := writePEM(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	if _, err := LoadPair(writePEM(t, "CERTIFICATE", der), keyFile); err != nil {
		t.Errorf("LoadPair of PKCS #1: %v", err)
	}
}

// FuzzParsePEM: no input makes the parsers panic, and what they accept can be used.
func FuzzParsePEM(f *testing.F) {
	c, err := SelfSigned([]string{"a.test"}, may2030)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"))
	f.Add([]byte(""))
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, err := parseChain(data)
		if (err == nil) != (len(chain) > 0) {
			t.Errorf("parseChain: %d certificates and %v", len(chain), err)
		}
		for _, c := range chain {
			if matches(c, other) {
				t.Error("a fresh key matches")
			}
			_ = describe(c)
		}
		if key, err := parseKey(data); err == nil && key.Public() == nil {
			t.Error("a key without its public half")
		}
	})
}
