package listener

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const rawCases = "../../testdata/raw/"

var rawLimits = Limits{TargetBytes: 1 << 10, FieldBytes: 8 << 10, Fields: 64, HeaderTime: 20 * time.Second}

// rawCase is a line of testdata/raw: README.txt there says what it means.
type rawCase struct {
	id, bytes string
	outcomes  []string
	fin       bool
	reaches   []string // whole requests
	broken    bool
}

var repeated = regexp.MustCompile(`\{((?:[^{}*]|\\.)+)\*(\d+)\}`)

func expand(text string) string {
	return repeated.ReplaceAllStringFunc(text, func(s string) string {
		m := repeated.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
}

func loadRaw(t *testing.T, dir string, least int) []rawCase {
	t.Helper()
	files, err := filepath.Glob(rawCases + dir + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", dir, err)
	}
	var cases []rawCase
	seen := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			columns := strings.Split(strings.TrimSuffix(line, "\n"), " | ")
			if len(columns) != 5 || seen[columns[0]] || !strings.HasPrefix(columns[1], "RFC ") {
				t.Fatalf("%s: %q: want five columns and an id of its own", name, line)
			}
			seen[columns[0]] = true
			c := rawCase{id: columns[0], bytes: expand(columns[2]), outcomes: strings.Fields(columns[3])}
			if dir == "h1" {
				if c.bytes, err = strconv.Unquote(`"` + c.bytes + `"`); err != nil {
					t.Fatalf("%s: bytes: %v", c.id, err)
				}
			}
			if c.fin = c.outcomes[0] == "fin"; c.fin {
				c.outcomes = c.outcomes[1:]
			}
			switch reach := expand(columns[4]); reach {
			case "-":
			case "broken":
				c.broken = true
			default:
				c.reaches = strings.Split(reach, " ; ")
			}
			cases = append(cases, c)
		}
	}
	if len(cases) < least {
		t.Fatalf("%d cases in %s, want at least %d", len(cases), dir, least)
	}
	return cases
}

// recorder is an answerer that reads and remembers everything it gets, and says in
// its answer what it was asked.
type recorder struct {
	running sync.WaitGroup // a refusal may be read before the request's end is remembered

	mu     sync.Mutex
	whole  []string
	broken int
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.running.Add(1)
	defer r.running.Done()
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	asked := fmt.Sprintf("%s %s %s %q", req.Method, req.RequestURI, req.Host, body)
	if err != nil {
		r.broken++
		r.mu.Unlock()
		http.Error(w, "broken", http.StatusBadGateway)
		return
	}
	r.whole = append(r.whole, asked)
	r.mu.Unlock()
	_, _ = io.WriteString(w, asked)
}

// take returns what has come since it was last called.
func (r *recorder) take() (whole []string, broken int) {
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	whole, broken = r.whole, r.broken
	r.whole, r.broken = nil, 0
	return whole, broken
}

const rawVictim = "GET /victim HTTP/1.1\r\nHost: victim\r\nConnection: close\r\n\r\n"

const victimAsked = `GET /victim victim ""`

// exchangeRaw writes parts in turn and reads responses until the connection ends.
func exchangeRaw(t *testing.T, nc net.Conn, fin bool, parts ...string) (statuses, bodies []string) {
	t.Helper()
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		for _, part := range parts {
			if _, err := io.WriteString(nc, part); err != nil {
				return // refused, and closed
			}
		}
		if w, ok := nc.(interface{ CloseWrite() error }); ok && fin {
			_ = w.CloseWrite()
			if c, ok := nc.(*tls.Conn); ok {
				_ = c.NetConn().(*net.TCPConn).CloseWrite()
			}
		}
	})
	br := bufio.NewReader(nc)
	method := "GET"
	if strings.HasPrefix(strings.Join(parts, ""), "HEAD") {
		method = "HEAD"
	}
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				statuses = append(statuses, "hangs")
			}
			return statuses, bodies
		}
		body, _ := io.ReadAll(resp.Body)
		method = "GET"
		statuses, bodies = append(statuses, strconv.Itoa(resp.StatusCode)), append(bodies, string(body))
	}
}

func (c *rawCase) run(t *testing.T, dial func() net.Conn, rec *recorder, cut int) {
	t.Helper()
	victim := rawVictim
	if c.fin {
		victim = ""
	}
	first, rest := c.bytes[:len(c.bytes)*cut/4], c.bytes[len(c.bytes)*cut/4:]
	statuses, bodies := exchangeRaw(t, dial(), c.fin, first, rest+victim)
	whole, broken := rec.take()
	if n := len(whole); n > 0 && whole[n-1] == victimAsked {
		whole = whole[:n-1]
		if last := len(bodies) - 1; last < 0 || bodies[last] != victimAsked {
			t.Errorf("%s: the victim arrived, but the last response is not its own: %s %q", c.id, statuses, bodies)
		}
		statuses = statuses[:max(0, len(statuses)-1)]
		if refused := slices.IndexFunc(statuses, func(s string) bool { return s >= "400" && s != "417" }); refused >= 0 {
			t.Errorf("%s: the victim was answered after a refusal: %s", c.id, statuses)
		}
	}
	got := strings.Join(statuses, ",")
	if got == "" {
		got = "close"
	}
	if !slices.Contains(c.outcomes, got) {
		t.Errorf("%s, %d/4 apart: %.200q was answered with %s %q, want one of %s", c.id, cut, c.bytes, got, bodies, c.outcomes)
	}
	if diff := cmp.Diff(c.reaches, whole); diff != "" && !(len(c.reaches) == 0 && len(whole) == 0) {
		t.Errorf("%s, %d/4 apart: %.200q: what arrived (-want +got):\n%s", c.id, cut, c.bytes, diff)
	}
	if broken > 1 || broken > 0 && !c.broken {
		t.Errorf("%s, %d/4 apart: %.200q: %d requests arrived broken", c.id, cut, c.bytes, broken)
	}
	statuses, bodies = exchangeRaw(t, dial(), false, rawVictim)
	rec.take()
	if !slices.Equal(statuses, []string{"200"}) || bodies[0] != victimAsked {
		t.Errorf("%s: then a victim elsewhere was answered with %s %q", c.id, statuses, bodies)
	}
}

// TestRawHTTP1 runs every case in clear and over TLS, in one write and in several.
func TestRawHTTP1(t *testing.T) {
	t.Parallel()
	cases := loadRaw(t, "h1", 200)
	for _, secure := range []bool{false, true} {
		for cut := range 4 {
			t.Run(fmt.Sprintf("tls=%t/%d", secure, cut), func(t *testing.T) {
				t.Parallel()
				rec := &recorder{}
				s, dial := rawServer(t, secure, rec)
				for _, c := range cases {
					c.run(t, dial, rec, cut)
				}
				total := uint64(0)
				for _, n := range s.Stats().BadRequests {
					total += n
				}
				if total < uint64(len(cases)/2) {
					t.Errorf("BadRequests counts %d, want one for each refusal", total)
				}
			})
		}
	}
}

func rawServer(t *testing.T, secure bool, a Answerer) (*Set, func() net.Conn) {
	t.Helper()
	cert := selfSigned(t, "localhost")
	s, _ := start(t, Options{
		HTTP: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, Certificates: only(cert),
		Answerer: a, Limits: rawLimits,
	})
	clear, tlsAddrs := s.Addrs()
	return s, func() net.Conn {
		addr := clear[0]
		if secure {
			addr = tlsAddrs[0]
		}
		nc, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		if !secure {
			return nc
		}
		config := trusting(cert)
		config.ServerName, config.NextProtos = "localhost", []string{"http/1.1"}
		return tls.Client(nc, config)
	}
}

// TestRefusalsAreCounted looks at one of each reason that HTTP/1.1 has.
func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	s, dial := rawServer(t, false, &recorder{})
	before := s.Stats().BadRequests
	exchangeRaw(t, dial(), false, "GET / HTTP/1.1\r\n\r\n")
	after := s.Stats().BadRequests
	var changed bytes.Buffer
	for reason, n := range after {
		if n != before[reason] {
			fmt.Fprintf(&changed, "%s+%d ", reason, n-before[reason])
		}
	}
	if changed.String() != "host+1 " {
		t.Errorf("a request without Host changed %q, want host+1", changed.String())
	}
}
