package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"

	"perigee/internal/testorigin"
)

// servedOrigin is an origin and the socket that it is served on.
type servedOrigin struct {
	*testorigin.Origin
	address string
	tls     *tls.Config // nil in clear
	stop    func()
}

func (o *servedOrigin) serve(address string) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	o.address = l.Addr().String()
	if o.tls != nil {
		o.stop = sync.OnceFunc(o.ServeTLS(l, o.tls))
		return nil
	}
	o.stop = sync.OnceFunc(o.Serve(l))
	return nil
}

func (s *story) origin(_ bool, args []string) {
	flags, args := s.args("origin [-tls] NAME [HOST…]", args, 1, -1, "tls")
	name, scheme := args[0], "http"
	o := &servedOrigin{Origin: testorigin.New()}
	if flags["tls"] != nil {
		hosts := args[1:]
		if len(hosts) == 0 {
			hosts = []string{"127.0.0.1"}
		}
		certificate, _ := testorigin.Certificate(hosts...)
		o.tls, scheme = &tls.Config{Certificates: []tls.Certificate{certificate}}, "https"
		s.trust(&certificate)
	}
	s.ts.Check(o.serve("127.0.0.1:0"))
	s.origins[name] = o
	if s.first == "" {
		s.first = name
	}
	s.setenv(name, scheme+"://"+o.address)
	s.setenv(name+"_ADDR", o.address)
}

// trust adds a certificate to those that perigees trust.
func (s *story) trust(certificate *tls.Certificate) {
	s.roots = append(s.roots, certificate)
	var all []byte
	for _, each := range s.roots {
		cert, _, err := encodePair(each)
		s.ts.Check(err)
		all = append(all, cert...)
	}
	file := s.ts.MkAbs("origin-roots.pem")
	s.ts.Check(os.WriteFile(file, all, 0o600))
	s.setenv("SSL_CERT_FILE", file)
}

// encodePair is a certificate and its key as PEM.
func encodePair(certificate *tls.Certificate) (cert, key []byte, err error) {
	der, err := x509.MarshalECPrivateKey(certificate.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		return nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	return cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func (s *story) stopOrigin(_ bool, args []string) {
	_, args = s.args("stop-origin NAME", args, 1, 1)
	s.named(args[0]).stop()
}

func (s *story) startOrigin(_ bool, args []string) {
	_, args = s.args("start-origin NAME", args, 1, 1)
	o := s.named(args[0])
	s.ts.Check(o.serve(o.address))
}

func (s *story) named(name string) *servedOrigin {
	o := s.origins[name]
	if o == nil {
		s.ts.Fatalf("no origin named %q", name)
	}
	return o
}

// about takes -o NAME off args and finds the origin that is spoken of.
func (s *story) about(usage string, args []string, least, most int) (*servedOrigin, []string) {
	flags, args := s.args(usage, args, least, most, "o=")
	if names := flags["o"]; names != nil {
		return s.named(names[0]), args
	}
	return s.named(s.first), args
}

func (s *story) script(_ bool, args []string) {
	o, args := s.about("script [-o NAME] PATH QUERY", args, 2, 2)
	query, err := url.ParseQuery(strings.ReplaceAll(args[1], ";", "%3B")) // which is no separator here either
	s.ts.Check(err)
	answer, _, err := testorigin.ParseAnswer(query)
	s.ts.Check(err)
	o.Script(args[0], answer)
}

func (s *story) unscript(_ bool, args []string) {
	o, args := s.about("unscript [-o NAME] PATH", args, 1, 1)
	o.Unscript(args[0])
}

func (s *story) hold(_ bool, args []string) {
	o, args := s.about("hold [-o NAME] PATH", args, 1, 1)
	release := o.Hold(args[0])
	s.setRelease(o, args[0], release)
}

func (s *story) setRelease(o *servedOrigin, path string, release func()) {
	s.gates["hold "+o.address+path] = &gate{onEnd: release}
}

func (s *story) release(_ bool, args []string) {
	o, args := s.about("release [-o NAME] PATH", args, 1, 1)
	held := s.gates["hold "+o.address+args[0]]
	if held == nil {
		s.ts.Fatalf("%s is not held", args[0])
	}
	held.onEnd()
}

func (s *story) waiting(_ bool, args []string) {
	o, args := s.about("waiting [-o NAME] PATH N", args, 2, 2)
	want := s.number(args[1])
	s.poll("waiting", func() (bool, string) {
		got := o.Waiting(args[0])
		return got == want, plural(got, "request")
	})
}

func (s *story) hits(_ bool, args []string) {
	o, args := s.about("hits [-o NAME] PATH N", args, 2, 2)
	got, want := 0, s.number(args[1])
	switch {
	case args[0] == "all":
		got = o.Total()
	case strings.Contains(args[0], "?"):
		got = o.HitsURI(args[0])
	default:
		got = o.Hits(args[0])
	}
	if got != want {
		s.ts.Fatalf("the origin was asked for %s %s, want %d", args[0], plural(got, "time"), want)
	}
}

func (s *story) notModified(_ bool, args []string) {
	o, args := s.about("not-modified [-o NAME] PATH N", args, 2, 2)
	if got, want := o.NotModified(args[0]), s.number(args[1]); got != want {
		s.ts.Fatalf("the origin answered 304 for %s %s, want %d", args[0], plural(got, "time"), want)
	}
}

func (s *story) asked(neg bool, args []string) {
	o, args := s.about("asked [-o NAME] PATH REGEXP", args, 2, 2)
	last, ok := o.Last(args[0])
	if !ok {
		s.ts.Fatalf("the origin was never asked for %s", args[0])
	}
	text := requestText(&last)
	if matched := s.regexp(args[1]).MatchString(text); matched == neg {
		s.ts.Fatalf("the origin's last request for %s, against %#q:\n%s", args[0], args[1], text)
	}
}

// requestText is a request as /echo shows it, with the SNI if there was one.
func requestText(r *testorigin.Received) string {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.URI + " " + r.Proto + "\nHost: " + r.Host + "\n")
	if r.SNI != "" {
		b.WriteString("(SNI): " + r.SNI + "\n")
	}
	_ = r.Header.Write(&crlfStripper{&b})
	return b.String()
}

type crlfStripper struct{ b *strings.Builder }

func (c *crlfStripper) Write(p []byte) (int, error) {
	c.b.WriteString(strings.ReplaceAll(string(p), "\r", ""))
	return len(p), nil
}

func (s *story) regexp(pattern string) *regexp.Regexp {
	re, err := regexp.Compile("(?m)" + pattern)
	s.ts.Check(err)
	return re
}

// gate is an answer that the story gives piece by piece. Every request for it gets
// all pieces from the first on.
type gate struct {
	fields http.Header
	onEnd  func()

	mu      sync.Mutex // guards what follows
	pieces  [][]byte
	ended   bool
	aborted bool
	moved   chan struct{} // closed and made anew when any of it changes
}

func (s *story) gate(_ bool, args []string) {
	o, args := s.about("gate PATH [Name: value…]", args, 1, -1)
	g := &gate{fields: make(http.Header), moved: make(chan struct{})}
	for _, line := range args[1:] {
		name, value, _ := strings.Cut(line, ":")
		g.fields.Add(name, strings.TrimSpace(value))
	}
	s.gates[args[0]] = g
	o.Script(args[0], testorigin.Answer{Handler: g.ServeHTTP})
}

func (s *story) emit(_ bool, args []string) {
	flags, args := s.args("emit [-bytes N|-end|-abort] PATH [TEXT]", args, 1, 2, "bytes=", "end", "abort")
	g := s.gates[args[0]]
	if g == nil {
		s.ts.Fatalf("no gate at %s", args[0])
	}
	switch {
	case flags["end"] != nil:
		g.end(false)
	case flags["abort"] != nil:
		g.end(true)
	case flags["bytes"] != nil:
		g.change(func() {
			g.pieces = append(g.pieces, testorigin.Body(uint64(len(g.pieces)+1), int64(s.number(flags["bytes"][0]))))
		})
	default:
		text := strings.NewReplacer(`\n`, "\n", `\r`, "\r").Replace(args[1])
		g.change(func() { g.pieces = append(g.pieces, []byte(text)) })
	}
}

func (g *gate) end(abort bool) {
	if g.onEnd != nil {
		g.onEnd()
		return
	}
	g.change(func() { g.ended, g.aborted = true, abort || g.aborted })
}

func (g *gate) change(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
	close(g.moved)
	g.moved = make(chan struct{})
}

// next is piece i if there is one, else what to wait for.
func (g *gate) next(i int) (piece []byte, ended, aborted bool, moved chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i < len(g.pieces) {
		return g.pieces[i], false, false, nil
	}
	return nil, g.ended, g.aborted, g.moved
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, values := range g.fields {
		w.Header()[name] = values
	}
	control := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = control.Flush()
	for i := 0; ; {
		piece, ended, aborted, moved := g.next(i)
		switch {
		case piece != nil:
			if _, err := w.Write(piece); err != nil {
				return
			}
			_ = control.Flush()
			i++
		case aborted:
			panic(http.ErrAbortHandler)
		case ended:
			return
		default:
			select {
			case <-moved:
			case <-r.Context().Done():
				return
			}
		}
	}
}
