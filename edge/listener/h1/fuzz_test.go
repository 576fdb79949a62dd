package h1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scripted is a connection whose client sends input in pieces and then ends.
type scripted struct {
	net.Conn
	input   []byte
	piece   func() int // how much the next read gives at most
	written bytes.Buffer
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.input) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.input[:min(len(s.input), max(1, s.piece()))])
	s.input = s.input[n:]
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error)     { return s.written.Write(p) }
func (s *scripted) SetReadDeadline(time.Time) error { return nil }
func (s *scripted) SetDeadline(time.Time) error     { return nil }
func (s *scripted) Close() error                    { return nil }

// heard is what came of an input.
type heard struct {
	Messages []string // whole ones, as passed on
	Reason   Reason   // of the refusal
	Answer   string
}

// drive reads as net/http does: message after message, in reads of size.
func drive(t testing.TB, input []byte, size int, piece func() int) heard {
	t.Helper()
	client := &scripted{input: input, piece: piece}
	counts := &Counts{}
	c := New(client, &Options{
		Limits:     Limits{TargetBytes: 8 << 10, FieldBytes: 64 << 10, Fields: 1000},
		HeaderTime: time.Hour, Counts: counts,
	})
	var h heard
	var message bytes.Buffer
	p := make([]byte, size)
	for reads := 0; ; reads++ {
		if reads > 2*len(input)+100 {
			t.Fatalf("%q: no end after %d reads", input, reads)
		}
		n, err := c.Read(p)
		message.Write(p[:n])
		if c.busy && c.phase == phaseHead {
			h.Messages = append(h.Messages, message.String())
			message.Reset()
			c.Idle()
		}
		if err != nil {
			break
		}
	}
	for r := ReasonNone + 1; r < NumReasons; r++ {
		if n := counts.Count(r); n > 1 || n == 1 && h.Reason != ReasonNone {
			t.Fatalf("%q: refused more than once", input)
		} else if n == 1 {
			h.Reason = r
		}
	}
	h.Answer = client.written.String()
	return h
}

func whole() int { return 1 << 30 }

// seeds are the cases that are kept as data, and what fuzzing was begun with.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	names, err := filepath.Glob("../../../testdata/raw/h1/*.txt")
	if err != nil || len(names) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	var all [][]byte
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			columns := strings.Split(line, " | ")
			raw, err := strconv.Unquote(`"` + columns[2] + `"`)
			if err != nil {
				f.Fatalf("%s: %v", columns[0], err)
			}
			all = append(all, []byte(raw))
		}
	}
	return all
}

// FuzzMessages holds the reader against the grammar, and what it lets by against
// net/http, which must see the same messages.
func FuzzMessages(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 2000 {
			t.Skip() // limits
		}
		h := drive(t, input, 4<<10, whole)
		if diff := cmp.Diff(grammarMessages(input), h.Messages); diff != "" {
			t.Fatalf("%q: messages by the grammar (-) and by the reader (+), which refused for %q:\n%s", input, h.Reason, diff)
		}
		if refused := h.Answer != ""; refused != (h.Reason != ReasonNone) {
			t.Fatalf("%q: reason %q, answered with %q", input, h.Reason, h.Answer)
		}
		for _, message := range h.Messages {
			compare(t, message)
		}
	})
}

// compare lets net/http read what the reader has let by.
func compare(t *testing.T, message string) {
	t.Helper()
	br := bufio.NewReader(strings.NewReader(message))
	r, err := http.ReadRequest(br)
	if err != nil {
		t.Fatalf("%q: net/http says %v", message, err)
	}
	var head Head
	end, reason := head.parse([]byte(message), &Limits{TargetBytes: 8 << 10, FieldBytes: 64 << 10, Fields: 1000})
	if reason != ReasonNone {
		t.Fatalf("%q: refused for %q when read again", message, reason)
	}
	host := string(head.Host())
	if head.absolute {
		host = string(head.named.of(head.raw))
	}
	if got := string(head.Method()); got != r.Method {
		t.Errorf("%q: method %q, net/http has %q", message, got, r.Method)
	}
	if got := string(head.Target()); got != r.RequestURI {
		t.Errorf("%q: target %q, net/http has %q", message, got, r.RequestURI)
	}
	if host != r.Host {
		t.Errorf("%q: host %q, net/http has %q", message, host, r.Host)
	}
	if head.Minor() != r.ProtoMinor || head.Length() != r.ContentLength {
		t.Errorf("%q: minor version %d and length %d, net/http has %d and %d", message, head.Minor(), head.Length(), r.ProtoMinor, r.ContentLength)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%q: net/http reads the body: %v", message, err)
	}
	if !head.chunked && string(body) != message[end:] {
		t.Errorf("%q: body %q, net/http has %q", message, message[end:], body)
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		t.Errorf("%q: net/http leaves %q", message, rest)
	}
}

// FuzzSplit reads the same input in other pieces: nothing may come of that.
func FuzzSplit(f *testing.F) {
	for i, seed := range seeds(f) {
		f.Add(seed, []byte{byte(i), 1, byte(i / 7)}, uint16(i))
	}
	f.Fuzz(func(t *testing.T, input, pieces []byte, size uint16) {
		want := drive(t, input, 4<<10, whole)
		next := 0
		got := drive(t, input, 1+int(size)%5000, func() int {
			if len(pieces) == 0 {
				return 1
			}
			next++
			return int(pieces[next%len(pieces)])
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q in other pieces (-whole +pieces):\n%s", input, diff)
		}
	})
}
