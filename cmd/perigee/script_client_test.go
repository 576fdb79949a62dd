package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// question is what `get` is told to ask.
type question struct {
	method, url, host string
	header            http.Header
	body              string
	h2                bool
	from              string // local address
	sni               string
	roots             *x509.CertPool // nil = any certificate will do
	out               string         // file for the body
	cut               bool           // the body must end early
}

// answer is what came.
type answer struct {
	proto   string
	status  string // code and text
	code    int
	header  http.Header
	trailer http.Header
	interim []string // lines of the responses that came before
	names   []string // of the certificate
	body    []byte
	err     error // why the body ended early
}

const maxBody = 1 << 30

var getFlags = []string{"H=", "M=", "d=", "h2", "h1", "from=", "ca=", "sni=", "o=", "cut"}

// question reads the arguments of `get`.
func (s *story) question(args []string) *question {
	flags, args := s.args("get [FLAGS] URL", args, 1, 1, getFlags...)
	q := &question{method: http.MethodGet, url: args[0], header: make(http.Header), cut: flags["cut"] != nil}
	one := func(name string) string {
		if values := flags[name]; values != nil {
			return values[0]
		}
		return ""
	}
	for _, line := range flags["H"] {
		name, value, found := strings.Cut(line, ":")
		if !found {
			s.ts.Fatalf("%q is not a field", line)
		}
		if value = strings.TrimSpace(value); strings.EqualFold(name, "Host") {
			q.host = value
			continue
		}
		q.header[http.CanonicalHeaderKey(name)] = append(q.header[http.CanonicalHeaderKey(name)], value)
	}
	if method := one("M"); method != "" {
		q.method = method
	}
	q.body, q.from, q.sni, q.out = one("d"), one("from"), one("sni"), one("o")
	q.h2 = flags["h2"] != nil || s.wire == "tls2" && flags["h1"] == nil && strings.HasPrefix(q.url, "https:")
	if q.sni == "" {
		q.sni = hostOnly(q.host)
	}
	if file := one("ca"); file != "" {
		q.roots = x509.NewCertPool()
		if !q.roots.AppendCertsFromPEM([]byte(s.ts.ReadFile(file))) {
			s.ts.Fatalf("no certificate in %s", file)
		}
	}
	return q
}

func hostOnly(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return authority
}

// transport makes the connection that q is asked on.
func (q *question) transport() *http.Transport {
	dialer := &net.Dialer{}
	if q.from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(q.from)}
	}
	t := &http.Transport{
		DialContext: dialer.DialContext, DisableCompression: true, DisableKeepAlives: !q.h2, ForceAttemptHTTP2: q.h2,
		TLSClientConfig: &tls.Config{ServerName: q.sni, RootCAs: q.roots, InsecureSkipVerify: q.roots == nil},
	}
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(!q.h2)
	t.Protocols.SetHTTP2(q.h2)
	return t
}

// ask sends q and returns when the head has come, with the lines of the interim
// responses before it. Close ends the connection.
func (q *question) ask(ctx context.Context) (resp *http.Response, interim []string, closeConn func(), err error) {
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, hear(&interim)), q.method, q.url, body)
	if err != nil {
		return nil, nil, nil, err
	}
	r.Header, r.Host = q.header.Clone(), q.host
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", "story")
	}
	transport := q.transport()
	resp, err = transport.RoundTrip(r)
	if err != nil {
		transport.CloseIdleConnections()
		return nil, nil, nil, err
	}
	return resp, interim, func() {
		resp.Body.Close()
		transport.CloseIdleConnections()
	}, nil
}

// hear writes the interim responses of one request down. They come before its head,
// from the goroutine that brings that.
func hear(lines *[]string) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{Got1xxResponse: func(code int, fields textproto.MIMEHeader) error {
		if len(fields) == 0 {
			*lines = append(*lines, fmt.Sprintf("(%d):", code))
		}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			for _, value := range fields[name] {
				*lines = append(*lines, fmt.Sprintf("(%d): %s: %s", code, name, value))
			}
		}
		return nil
	}}
}

// answer asks q and reads all of what comes.
func (q *question) answer(ctx context.Context) (*answer, error) {
	resp, interim, closeConn, err := q.ask(ctx)
	switch {
	case err != nil && q.cut && ctx.Err() == nil:
		// The cut came before the head was on its way.
		return &answer{status: "(cut before the head)", err: err}, nil
	case err != nil:
		return nil, err
	}
	defer closeConn()
	a := headOf(resp)
	a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
	a.trailer, a.interim = resp.Trailer, interim
	return a, nil
}

func headOf(resp *http.Response) *answer {
	a := &answer{proto: resp.Proto, status: resp.Status, code: resp.StatusCode, header: resp.Header}
	if resp.ContentLength >= 0 && resp.Header.Get("Content-Length") == "" {
		a.header.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		a.names = resp.TLS.PeerCertificates[0].DNSNames
	}
	return a
}

// lines are what is printed of an answer.
func (a *answer) lines() []string {
	lines := []string{a.proto + " " + a.status}
	for name, values := range a.header {
		for _, value := range values {
			lines = append(lines, name+": "+value)
		}
	}
	slices.Sort(lines[1:])
	lines = append(lines, a.interim...)
	if a.names != nil {
		lines = append(lines, "(certificate): "+strings.Join(a.names, " "))
	}
	return append(lines, fmt.Sprintf("(body): %d bytes, sha256 %x", len(a.body), sha256.Sum256(a.body)))
}

func (s *story) get(neg bool, args []string) {
	q := s.question(args)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := q.answer(ctx)
	switch {
	case neg && err == nil:
		s.ts.Fatalf("there was an answer: %s", a.status)
	case neg && ctx.Err() != nil:
		s.ts.Fatalf("neither an answer nor an end: %v", err)
	case neg:
		fmt.Fprintln(s.ts.Stderr(), err)
		return
	}
	s.ts.Check(err)
	s.take(q, a)
}

// take makes a the answer that further lines speak of.
func (s *story) take(q *question, a *answer) {
	s.last = a
	for _, line := range a.lines() {
		fmt.Fprintln(s.ts.Stdout(), line)
	}
	switch {
	case q.cut && a.err == nil:
		s.ts.Fatalf("the body came whole: %d bytes", len(a.body))
	case !q.cut && a.err != nil:
		s.ts.Fatalf("the body was cut after %d bytes: %v", len(a.body), a.err)
	}
	if q.out != "" {
		s.ts.Check(os.WriteFile(s.ts.MkAbs(q.out), a.body, 0o600))
	}
}

// herdResult is what many clients got.
type herdResult struct {
	q       *question
	answers []*answer
	err     error
}

func (s *story) parallel(_ bool, args []string) {
	n, q := s.herd(args)
	s.takeHerd(askAll(n, q))
}

// herd reads N get ….
func (s *story) herd(args []string) (int, *question) {
	if len(args) < 3 || args[1] != "get" {
		s.ts.Fatalf("usage: N get [FLAGS] URL")
	}
	return s.number(args[0]), s.question(args[2:])
}

// askAll asks q from n clients at once.
func askAll(n int, q *question) herdResult {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	result := herdResult{q: q, answers: make([]*answer, n)}
	faults := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { result.answers[i], faults[i] = q.answer(ctx) })
	}
	all.Wait()
	result.err = errors.Join(faults...)
	return result
}

// takeHerd checks that everybody got the same, and counts the lines of the heads.
func (s *story) takeHerd(result herdResult) {
	s.ts.Check(result.err)
	q, first := result.q, result.answers[0]
	counts := make(map[string]int)
	for i, a := range result.answers {
		if !q.cut && (a.code != first.code || !bytes.Equal(a.body, first.body)) || (a.err == nil) != (first.err == nil) {
			s.ts.Fatalf("client %d got %s and %d bytes (%v), client 0 %s and %d bytes (%v)",
				i, a.status, len(a.body), a.err, first.status, len(first.body), first.err)
		}
		for _, line := range a.lines() {
			counts[line]++
		}
	}
	var lines []string
	for line, n := range counts {
		lines = append(lines, fmt.Sprintf("%d× %s", n, line))
	}
	sort.Strings(lines)
	s.take(q, first)
	for _, line := range lines {
		fmt.Fprintln(s.ts.Stdout(), line)
	}
}

func (s *story) begin(_ bool, args []string) {
	if len(args) < 3 {
		s.ts.Fatalf("usage: begin NAME [N] get …")
	}
	name, args := args[0], args[1:]
	if args[0] == "get" {
		args = append([]string{"1"}, args...)
	}
	n, q := s.herd(args)
	done := make(chan herdResult, 1)
	s.herds[name] = done
	go func() { done <- askAll(n, q) }()
}

func (s *story) end(_ bool, args []string) {
	_, args = s.args("end NAME", args, 1, 1)
	done := s.herds[args[0]]
	if done == nil {
		s.ts.Fatalf("nothing named %s was begun", args[0])
	}
	s.takeHerd(<-done) // it ends within patience
}

func (s *story) answered() *answer {
	if s.last == nil {
		s.ts.Fatalf("there is no answer yet")
	}
	return s.last
}

func (s *story) status(_ bool, args []string) {
	_, args = s.args("status N", args, 1, 1)
	if a := s.answered(); a.code != s.number(args[0]) {
		s.ts.Fatalf("status %s, want %s\n%s", a.status, args[0], excerpt(a.body))
	}
}

func (s *story) field(neg bool, args []string) {
	_, args = s.args("field NAME [REGEXP]", args, 1, 2)
	a := s.answered()
	value, has := strings.Join(a.header.Values(args[0]), ", "), len(a.header.Values(args[0])) > 0
	switch {
	case len(args) == 1 && has == neg:
		s.ts.Fatalf("field %s: %q, present: %t", args[0], value, has)
	case len(args) == 2 && (has && s.regexp(args[1]).MatchString(value)) == neg:
		s.ts.Fatalf("field %s is %q (present: %t), against %#q", args[0], value, has, args[1])
	}
}

func (s *story) body(neg bool, args []string) {
	_, args = s.args("body REGEXP", args, 1, 1)
	if a := s.answered(); s.regexp(args[0]).Match(a.body) == neg {
		s.ts.Fatalf("the body, against %#q:\n%s", args[0], excerpt(a.body))
	}
}

func excerpt(body []byte) []byte { return body[:min(len(body), 4096)] }

// stream is a request that the story follows as its answer comes.
type stream struct {
	q      *question
	cancel context.CancelFunc
	headed chan struct{} // closed when head or fault is there
	head   *answer
	ended  chan struct{} // closed when the body has ended
	got    buffer
	err    error // of the head until headed is closed, of the body until ended is
}

func (s *story) open(_ bool, args []string) {
	if len(args) < 3 || args[1] != "get" {
		s.ts.Fatalf("usage: open NAME get [FLAGS] URL")
	}
	ctx, cancel := context.WithCancel(context.Background())
	st := &stream{q: s.question(args[2:]), cancel: cancel, headed: make(chan struct{}), ended: make(chan struct{})}
	s.streams[args[0]] = st
	go st.run(ctx)
}

func (st *stream) run(ctx context.Context) {
	defer close(st.ended)
	resp, interim, closeConn, err := st.q.ask(ctx)
	if err != nil {
		st.err = err
		close(st.headed)
		return
	}
	defer closeConn()
	st.head = headOf(resp)
	st.head.interim = interim
	close(st.headed)
	_, st.err = io.Copy(&st.got, resp.Body)
}

func (s *story) stream(name string) *stream {
	st := s.streams[name]
	if st == nil {
		s.ts.Fatalf("nothing named %s was opened", name)
	}
	return st
}

func (s *story) await(what string, done <-chan struct{}) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-done:
	case <-deadline.C:
		s.ts.Fatalf("%s: not within %v", what, patience)
	}
}

func (s *story) head(_ bool, args []string) {
	_, args = s.args("head NAME", args, 1, 1)
	st := s.stream(args[0])
	s.await("head", st.headed)
	if st.head == nil {
		s.ts.Fatalf("no answer: %v", st.err)
	}
	s.last = st.head
	for _, line := range st.head.lines() {
		fmt.Fprintln(s.ts.Stdout(), line)
	}
}

func (s *story) read(_ bool, args []string) {
	_, args = s.args("read NAME TEXT|N", args, 2, 2)
	st := s.stream(args[0])
	size, err := strconv.Atoi(args[1])
	s.poll("read", func() (bool, string) {
		text := st.got.String()
		if err == nil {
			return len(text) >= size, fmt.Sprintf("%d bytes", len(text))
		}
		return strings.Contains(text, args[1]), text
	})
}

func (s *story) rest(_ bool, args []string) {
	flags, args := s.args("rest [-cut] [-o FILE] NAME", args, 1, 1, "cut", "o=")
	st := s.stream(args[0])
	s.await("rest", st.ended)
	if st.head == nil {
		s.ts.Fatalf("no answer: %v", st.err)
	}
	a := *st.head
	a.body, a.err = []byte(st.got.String()), st.err
	st.q.cut = st.q.cut || flags["cut"] != nil
	if flags["o"] != nil {
		st.q.out = flags["o"][0]
	}
	s.take(st.q, &a)
}

func (s *story) leave(_ bool, args []string) {
	_, args = s.args("leave NAME", args, 1, 1)
	st := s.stream(args[0])
	st.cancel()
	s.await("leave", st.ended)
}

// bareConn is a connection whose bytes the story writes and reads itself.
type bareConn struct {
	conn  net.Conn
	got   buffer
	ended chan struct{}
}

func (s *story) dial(_ bool, args []string) {
	_, args = s.args("dial NAME URL", args, 2, 2)
	u, err := url.Parse(args[1])
	s.ts.Check(err)
	dialer := &net.Dialer{Timeout: patience}
	conn, err := dialer.Dial("tcp", u.Host)
	s.ts.Check(err)
	if u.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	b := &bareConn{conn: conn, ended: make(chan struct{})}
	s.wires[args[0]] = b
	go func() {
		defer close(b.ended)
		_, _ = io.Copy(&b.got, conn) // its end is what eof looks at
	}()
}

func (s *story) bare(name string) *bareConn {
	b := s.wires[name]
	if b == nil {
		s.ts.Fatalf("nothing named %s was dialled", name)
	}
	return b
}

func (s *story) send(_ bool, args []string) {
	flags, args := s.args("send [-file FILE] NAME [TEXT]", args, 1, 2, "file=")
	text := ""
	if len(args) == 2 {
		text = strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(args[1])
	}
	if flags["file"] != nil {
		text = strings.ReplaceAll(s.ts.ReadFile(flags["file"][0]), "\n", "\r\n")
	}
	_, err := s.bare(args[0]).conn.Write([]byte(text))
	s.ts.Check(err)
}

func (s *story) expect(_ bool, args []string) {
	_, args = s.args("expect NAME REGEXP", args, 2, 2)
	b, re := s.bare(args[0]), s.regexp(args[1])
	s.poll("expect", func() (bool, string) {
		text := strings.ReplaceAll(b.got.String(), "\r\n", "\n")
		return re.MatchString(text), text
	})
}

func (s *story) eof(_ bool, args []string) {
	_, args = s.args("eof NAME", args, 1, 1)
	s.await("eof", s.bare(args[0]).ended)
}
