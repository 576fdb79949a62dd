package listener

import (
	"io"
	"net"
	"net/http"
	"testing"
)

func benchRequest(b *testing.B, https, h2 bool) {
	cert := selfSigned(b, "localhost")
	body := make([]byte, 1024)
	s, _ := start(b, Options{
		HTTP: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, Certificates: only(cert),
		Answerer: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{"text/plain"}
			_, _ = w.Write(body)
		}),
	})
	clear, secure := s.Addrs()
	url := "http://" + clear[0].String() + "/"
	if https {
		_, port, _ := net.SplitHostPort(secure[0].String())
		url = "https://localhost:" + port + "/"
	}
	hc := client(b, &http.Transport{TLSClientConfig: trusting(cert), ForceAttemptHTTP2: h2})
	b.ReportAllocs()
	for b.Loop() {
		resp, err := hc.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}

// The figures include Go's client.
func BenchmarkRequestH1(b *testing.B)    { benchRequest(b, false, false) }
func BenchmarkRequestH1TLS(b *testing.B) { benchRequest(b, true, false) }
func BenchmarkRequestH2(b *testing.B)    { benchRequest(b, true, true) }

// BenchmarkAccept is a whole connection: connect, one request, close.
func BenchmarkAccept(b *testing.B) {
	s, _ := start(b, Options{
		HTTP: []string{"127.0.0.1:0"}, Answerer: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	})
	clear, _ := s.Addrs()
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("tcp", clear[0].String())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func BenchmarkGate(b *testing.B) {
	var g gate
	g.setLimits(Limits{Connections: 1000, ConnectionsPerIP: 10})
	from := clientKey(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)})
	b.ReportAllocs()
	for b.Loop() {
		c := conn{gate: &g, from: from}
		if !g.admit(&c) {
			b.Fatal("refused")
		}
		g.release(&c)
	}
}
