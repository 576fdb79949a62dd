package testorigin_test

import (
	"crypto/tls"
	"crypto/x509"
)

func clientTLS(roots *x509.CertPool) *tls.Config { return &tls.Config{RootCAs: roots} }
