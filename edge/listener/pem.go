package listener

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// parseChain reads the CERTIFICATE blocks of a PEM file.
func parseChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	var other string
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			other = block.Type
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	switch {
	case len(chain) > 0:
		return chain, nil
	case other != "":
		return nil, fmt.Errorf("holds a %s and no certificate; are the two files exchanged?", other)
	}
	return nil, errors.New("holds no PEM certificate (-----BEGIN CERTIFICATE-----)")
}

// parseKey reads the first private key of a PEM file: PKCS #8, PKCS #1 or SEC 1.
func parseKey(data []byte) (crypto.Signer, error) {
	var other string
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			other = block.Type
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("is encrypted; decrypt it with `openssl pkey -in FILE -out FILE`")
		}
		return parseKeyBlock(block.Bytes)
	}
	if other == "CERTIFICATE" {
		return nil, errors.New("holds a certificate and no private key; are the two files exchanged?")
	}
	return nil, errors.New("holds no PEM private key (-----BEGIN PRIVATE KEY-----)")
}

func parseKeyBlock(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		if s, ok := key.(crypto.Signer); ok {
			return s, nil
		}
		return nil, fmt.Errorf("is of a kind that cannot sign (%T)", key)
	}
	if k, e := x509.ParsePKCS1PrivateKey(der); e == nil {
		return k, nil
	}
	if k, e := x509.ParseECPrivateKey(der); e == nil {
		return k, nil
	}
	return nil, fmt.Errorf("is damaged or of an unknown kind: %w", err)
}

// matches reports whether key is the private half of c's public key.
func matches(c *x509.Certificate, key crypto.Signer) bool {
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(c.PublicKey)
}

// describe names a certificate by the first of its names.
func describe(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	case c.Subject.CommonName != "":
		return c.Subject.CommonName
	}
	return "nobody"
}
