package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wholeRecord has a value in every field.
func wholeRecord() *Record {
	return &Record{
		Time:     time.Date(2026, 3, 1, 13, 14, 15, 678_900_000, time.FixedZone("CET", 3600)),
		Duration: 12345678 * time.Nanosecond, FirstByte: 1500 * time.Microsecond,
		Site: "www.example.com", Client: netip.MustParseAddr("2001:db8::1"),
		Method: "GET", Scheme: "https", Host: "www.example.com", Path: "/a%20b", Query: "q=1&r=2",
		Proto: "HTTP/2.0", TLS: "TLS 1.3", Status: 200, BodyBytes: 4096, Encoding: "br", Aborted: true,
		Cache: ResultMiss, Reason: "absent", Tier: "origin",
		Key:       [16]byte{0x00, 0x01, 0x9f, 0xa0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff},
		Collapsed: true, Stored: true,
		Upstream: "http://10.0.0.1:8080", UpstreamStatus: 200, UpstreamTime: 9 * time.Millisecond, UpstreamError: "reset",
		UserAgent: `curl/8 "x"`, Referer: "https://example.com/", RequestID: "r-1",
	}
}

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	cases := []struct {
		name string
		in   *Record
		want string
	}{
		{
			"every field", wholeRecord(),
			`{"ts":"2026-03-01T12:14:15.678Z","site":"www.example.com","client_ip":"2001:db8::1","method":"GET",` +
				`"scheme":"https","host":"www.example.com","path":"/a%20b","query":"q=1&r=2","proto":"HTTP/2.0",` +
				`"status":200,"bytes":4096,"dur_ms":12.345,"ttfb_ms":1.500,"encoding":"br","aborted":true,"cache":"miss",` +
				`"cache_reason":"absent","key_hash":"00019fa00405060708090a0b0c0d0eff","tier":"origin",` +
				`"collapsed":true,"stored":true,"origin":"http://10.0.0.1:8080","origin_ms":9.000,"origin_status":200,` +
				`"origin_error":"reset","tls":"TLS 1.3","ua":"curl/8 \"x\"","referer":"https://example.com/","request_id":"r-1"}`,
		},
		{
			"empty fields are left out", &Record{Time: start},
			`{"ts":"2026-03-01T00:00:00.000Z","status":0,"bytes":0,"dur_ms":0.000,"cache":"none"}`,
		},
		{
			"hostile text",
			&Record{Time: start, Path: "/\x00\n\r\t\x1b[31m\x7f\"\\", UserAgent: "\xff\xc3(\u2028\u009bé世", Referer: "a\xe2\x82"},
			`{"ts":"2026-03-01T00:00:00.000Z","path":"/\u0000\u000a\u000d\u0009\u001b[31m\u007f\"\\",` +
				`"status":0,"bytes":0,"dur_ms":0.000,"cache":"none","ua":"\ufffd\ufffd(\u2028\u009bé世","referer":"a\ufffd\ufffd"}`,
		},
		{
			"no zone", &Record{Time: start, Client: netip.MustParseAddr(`fe80::1%e"`), Cache: ResultHit},
			`{"ts":"2026-03-01T00:00:00.000Z","client_ip":"fe80::1","status":0,"bytes":0,"dur_ms":0.000,"cache":"hit"}`,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want+"\n", string(appendJSON(nil, c.in))); diff != "" {
				t.Errorf("line of %+v (-want +got):\n%s", c.in, diff)
			}
		})
	}
}

func TestAppendCombined(t *testing.T) {
	t.Parallel()
	forged := `" 200 1 "-" "-"` + "\n" + `10.9.9.9 - - [01/Jan/2026:00:00:00 +0000] "GET /admin HTTP/1.1`
	cases := []struct {
		name string
		in   *Record
		want string
	}{
		{
			"every field", wholeRecord(),
			`2001:db8::1 - - [01/Mar/2026:12:14:15 +0000] "GET /a%20b?q=1&r=2 HTTP/2.0" 200 4096 "https://example.com/" "curl/8 \"x\""`,
		},
		{
			"nothing known", &Record{Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Status: 400},
			`- - - [01/Mar/2026:00:00:00 +0000] "- - -" 400 0 "-" "-"`,
		},
		{
			"forged", &Record{Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Path: "/a b\\", UserAgent: forged},
			`- - - [01/Mar/2026:00:00:00 +0000] "- /a\x20b\\ -" 0 0 "-" "\" 200 1 \"-\" \"-\"\x0a10.9.9.9 - - [01/Jan/2026:00:00:00 +0000] \"GET /admin HTTP/1.1"`,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want+"\n", string(appendCombined(nil, c.in))); diff != "" {
				t.Errorf("line of %+v (-want +got):\n%s", c.in, diff)
			}
		})
	}
}

func FuzzAccessLogLine(f *testing.F) {
	f.Add("GET", "/a", "q=1", "curl", "https://example.com", 200)
	f.Add("G\nET", "/\x00\"\\", "\xff\xfe", "\u2028\u2029\x7f\u009b", "\xe2\x82", -1)
	f.Add("", "", "", "", "", 0)
	f.Fuzz(func(t *testing.T, method, path, query, agent, referer string, status int) {
		r := &Record{Method: method, Path: path, Query: query, UserAgent: agent, Referer: referer, Status: status}
		line := appendJSON(nil, r)
		var got struct {
			Method, Path, Query, UA, Referer string
			Status                           int
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("line %q of %+v: %v", line, r, err)
		}
		want := got
		want.Method, want.Path, want.Query = valid(method), valid(path), valid(query)
		want.UA, want.Referer, want.Status = valid(agent), valid(referer), status
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("line %q reads back otherwise (-want +got):\n%s", line, diff)
		}
		checkOneLine(t, line)

		combined := appendCombined(nil, r)
		checkOneLine(t, combined)
		if got := unescapedQuotes(combined); got != 6 {
			t.Errorf("combined line %q of %+v has %d quotes that delimit, want 6", combined, r, got)
		}
	})
}

// valid is s as encoding/json reads it: a U+FFFD for each byte that is no UTF-8.
func valid(s string) string { return string([]rune(s)) }

// checkOneLine fails if line holds a control byte anywhere but one at its end.
func checkOneLine(t *testing.T, line []byte) {
	t.Helper()
	if i := bytes.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }); i != len(line)-1 {
		t.Errorf("line %q: control byte at %d, want the only one at %d", line, i, len(line)-1)
	}
}

func unescapedQuotes(line []byte) int {
	quotes := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			quotes++
		}
	}
	return quotes
}

// sink is a writer whose writes can be held up, cut or refused.
type sink struct {
	mu     sync.Mutex
	got    bytes.Buffer
	writes int
	room   int           // bytes it still takes; -1 = any number
	gate   chan struct{} // each write waits for one value; nil = no waiting
}

func (s *sink) Write(p []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.room >= 0 && len(p) > s.room {
		n := s.room
		s.got.Write(p[:n])
		s.room = 0
		return n, errors.New("no space left")
	}
	if s.room >= 0 {
		s.room -= len(p)
	}
	return s.got.Write(p)
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

func newLog(t *testing.T, o AccessLogOptions) *AccessLog {
	t.Helper()
	l, err := NewAccessLog(o)
	if err != nil {
		t.Fatalf("NewAccessLog(%+v): %v", o, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestAccessLogFlushTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{room: -1}
		l := newLog(t, AccessLogOptions{Writer: out})
		l.Record(&Record{Path: "/1"})
		synctest.Wait()
		if got := out.text(); got != "" {
			t.Errorf("written at once: %q, want it to be kept for company", got)
		}
		time.Sleep(accessLogFlushEvery)
		synctest.Wait()
		if got := strings.Count(out.text(), "\n"); got != 1 {
			t.Errorf("%d lines after %v, want 1", got, accessLogFlushEvery)
		}
		l.Close()
	})
}

func TestAccessLogFlushBySize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{room: -1}
		l := newLog(t, AccessLogOptions{Writer: out})
		l.Record(&Record{Path: "/" + strings.Repeat("x", accessLogFlushBytes)})
		synctest.Wait() // and no time passes
		if got := strings.Count(out.text(), "\n"); got != 1 {
			t.Errorf("%d lines without time passing, want 1", got)
		}
		l.Close()
	})
}

func TestAccessLogCloseFlushes(t *testing.T) {
	t.Parallel()
	out := &sink{room: -1}
	l := newLog(t, AccessLogOptions{Writer: out, Format: AccessLogCombined})
	for range 3 {
		l.Record(wholeRecord())
	}
	l.Close()
	l.Close()
	if got := strings.Count(out.text(), "\n"); got != 3 {
		t.Errorf("%d lines after Close, want 3:\n%s", got, out.text())
	}
	l.Record(wholeRecord())
	if got := l.Dropped(); got != 1 {
		t.Errorf("Dropped() = %d after a record on a closed log, want 1", got)
	}
}

func TestAccessLogDropsWhenFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{room: -1, gate: make(chan struct{})}
		l := newLog(t, AccessLogOptions{Writer: out})
		line := int64(len(appendJSON(nil, wholeRecord())))
		perBuffer := accessLogBytes / line
		l.Record(wholeRecord())
		time.Sleep(accessLogFlushEvery)
		synctest.Wait() // the writer stands at the gate with one line
		for range perBuffer + 5 {
			l.Record(wholeRecord())
		}
		if got := l.Dropped(); got != 5 {
			t.Errorf("Dropped() = %d, want the 5 lines beyond %d bytes", got, accessLogBytes)
		}
		if got := cap(l.active); got != accessLogBytes {
			t.Errorf("buffer grew to %d bytes, want %d", got, accessLogBytes)
		}
		close(out.gate)
		l.Close()
		if got := int64(strings.Count(out.text(), "\n")); got != perBuffer+1 {
			t.Errorf("%d lines written, want %d", got, perBuffer+1)
		}
	})
}

func TestAccessLogLineBeyondBuffer(t *testing.T) {
	t.Parallel()
	out := &sink{room: -1}
	l := newLog(t, AccessLogOptions{Writer: out})
	l.Record(&Record{Path: strings.Repeat("x", accessLogBytes)})
	l.Record(&Record{Path: "/fits"})
	l.Close()
	if got := strings.Count(out.text(), "\n"); got != 1 || l.Dropped() != 1 {
		t.Errorf("%d lines written, %d dropped, want 1 and 1", got, l.Dropped())
	}
}

func TestAccessLogWriteErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []string
		out := &sink{room: 10}
		l := newLog(t, AccessLogOptions{Writer: out, OnError: func(err error) { told = append(told, err.Error()) }})
		flush := func() {
			time.Sleep(accessLogFlushEvery)
			synctest.Wait()
		}
		l.Record(&Record{Path: "/cut"})
		l.Record(&Record{Path: "/lost"})
		flush()
		l.Record(&Record{Path: "/lost-too"})
		flush()
		if diff := cmp.Diff([]string{"access log: no space left"}, told); diff != "" {
			t.Errorf("errors told (-want +got):\n%s", diff)
		}
		if l.Dropped() != 3 || l.WriteErrors() != 2 {
			t.Errorf("Dropped() = %d, WriteErrors() = %d, want 3 and 2", l.Dropped(), l.WriteErrors())
		}
		out.mu.Lock()
		out.room = -1
		out.mu.Unlock()
		l.Record(&Record{Path: "/again"})
		l.Close()
		lines := strings.Split(strings.TrimSuffix(out.text(), "\n"), "\n")
		if len(lines) != 2 || !json.Valid([]byte(lines[1])) {
			t.Errorf("after the disk had room again: %q, want the cut line ended and a whole one", lines)
		}
	})
}

func TestAccessLogReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	l := newLog(t, AccessLogOptions{Path: path})
	l.Record(&Record{Path: "/1"})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Record(&Record{Path: "/2"})
	if err := l.Reopen(); err != nil {
		t.Fatalf("Reopen: %v", err)
	}
	l.Record(&Record{Path: "/3"})
	l.Close()
	got := [2]int{countLines(t, path+".1"), countLines(t, path)}
	if want := [2]int{2, 1}; got != want {
		t.Errorf("lines in the old and the new file: %v, want %v", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm() &^ 0o640; got != 0 {
		t.Errorf("mode %v, want nothing beyond 0640", info.Mode())
	}
	if err := l.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Reopen after Close: %v, want %v", err, os.ErrClosed)
	}
}

func TestAccessLogReopenKeepsOldFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	l := newLog(t, AccessLogOptions{Path: filepath.Join(dir, "access.log")})
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Reopen in a folder that is gone: %v, want %v", err, fs.ErrNotExist)
	}
	l.Record(&Record{Path: "/1"})
	l.Close()
	if got := countLines(t, filepath.Join(dir+".moved", "access.log")); got != 1 {
		t.Errorf("%d lines in the old file, want 1", got)
	}
}

func TestNewAccessLogErrors(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]AccessLogOptions{
		"nowhere":   {},
		"no folder": {Path: filepath.Join(t.TempDir(), "absent", "access.log")},
	} {
		if l, err := NewAccessLog(o); err == nil {
			l.Close()
			t.Errorf("%s: NewAccessLog(%+v) gave no error", name, o)
		}
	}
}

func TestAccessLogConcurrent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	l := newLog(t, AccessLogOptions{Path: path})
	const writers, each = 8, 500
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				l.Record(wholeRecord())
			}
		})
	}
	for range 5 {
		if err := l.Reopen(); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
	l.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte{'\n'}), []byte{'\n'})
	for _, line := range lines {
		if !json.Valid(line) {
			t.Fatalf("broken line %q", line)
		}
	}
	if got := uint64(len(lines)) + l.Dropped(); got != writers*each {
		t.Errorf("%d lines and %d dropped, want %d together", len(lines), l.Dropped(), writers*each)
	}
}

func TestAccessLogAllocatesNothing(t *testing.T) {
	l := newLog(t, AccessLogOptions{Writer: discard{}})
	r := wholeRecord()
	// A collection may empty the pool in between: the mean tells, not the worst.
	if got := testing.AllocsPerRun(5000, func() { l.Record(r) }); got >= 1 {
		t.Errorf("%v allocations per record, want 0", got)
	}
}

func BenchmarkAccessLog(b *testing.B) {
	for name, format := range map[string]AccessLogFormat{"json": AccessLogJSON, "combined": AccessLogCombined} {
		b.Run(name, func(b *testing.B) {
			l, err := NewAccessLog(AccessLogOptions{Writer: discard{}, Format: format})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			r := wholeRecord()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l.Record(r)
				}
			})
		})
	}
}

// discard is io.Discard without its other methods.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func countLines(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte{'\n'})
}
