package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	storeAnswer = `{"limit_bytes":1073741824,"used_bytes":53687091,"objects":50,"fills":3,"windows":1,"stored":900,"refused":4,"too_large":2,` +
		`"evicted":30,"replaced":20,"removed":10,"failed":5,"detached":0,"corrupt":1,"partial":6,"surplus":0,` +
		`"disk_stored":800,"disk_refused":7,"recalled":120,"promoted":40,"spilled":12,"unspilled":1,"damaged":1}`
	diskAnswer = `{"objects":1204,"used_bytes":3435973837,"limit_bytes":107374182400,"index_bytes":28896,"queue_bytes":1048576,"queue_limit_bytes":134217728,` +
		`"loading":true,"loaded":404,"stored":810,"refused":7,"queue_full":2,"freshened":9,"recalled":110,"late":3,"evicted":20,"readmitted":5,"overruled":0,` +
		`"errors":8,"removals_lost":1,"written_bytes":4400000000,"new_bytes":4000000000,"readmitted_bytes":100000,"read_bytes":1,"write_amplification":1.1,` +
		`"drops":{"checksum":2,"torn":1,"foreign":0},"folders":[` +
		`{"path":"/var/cache/perigee","state":"working","used_bytes":3435973837,"limit_bytes":53687091200,"segments":12},` +
		`{"path":"/mnt/\u001bdisk2","state":"out","used_bytes":0,"limit_bytes":53687091200,"segments":0}]}`
)

const statsText = `Memory
  objects            50, 6 of them in part
  bytes              51.2 MiB of 1 GiB (5 %)
  arriving           3, 1 of them only passed on
  arrived            900 stored, 4 refused, 2 too large, 5 failed, 1 corrupt
  left               30 to make room, 20 replaced, 10 removed

Disk
  objects            1204, 404 of them found after the start; the index is still being loaded
  bytes              3.2 GiB of 100 GiB (3 %)
  index              28.2 KiB of memory
  recalled           120, 40 of them brought up into memory; 3 gave up waiting
  arrived            800 stored, 7 refused; 12 large ones written while they arrived, 1 of them given up
  left               20 to make room; 5 written again, because they are asked for
  dropped            checksum 2, torn 1
  damage met         by 1 reader
  queue              1 MiB of 128 MiB (1 %); 2 refused because it was full
  written            4.1 GiB, 3.7 GiB of it new; write amplification 1.10
  read               1 byte
  errors             8 of the file system, 1 removal not written down

Folders
  /var/cache/perigee working, 3.2 GiB of 50 GiB (6 %) in 12 segments
  "/mnt/\x1bdisk2"   out, 0 bytes of 50 GiB (0 %) in 0 segments
`

const noDiskText = `Memory
  objects            50, 6 of them in part
  bytes              51.2 MiB of 1 GiB (5 %)
  arriving           3, 1 of them only passed on
  arrived            900 stored, 4 refused, 2 too large, 5 failed, 1 corrupt
  left               30 to make room, 20 replaced, 10 removed

Disk
  none               this node keeps nothing on disk (store.disk)
`

// runCache runs `perigee cache ARGS`.
func runCache(t *testing.T, args ...string) (o outcome) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := newRoot()
	root.SetArgs(append([]string{"cache"}, args...))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	err := root.ExecuteContext(context.Background())
	var coded *exitCode
	switch {
	case errors.As(err, &coded):
		o.code = coded.code
	case err != nil:
		o.code = exitError
	}
	if err != nil {
		o.message = err.Error()
	}
	o.stdout, o.stderr = stdout.String(), stderr.String()
	return o
}

// answering is a node that has one answer to everything; it returns its address and what
// it was asked, and with which token.
func answering(t *testing.T, status int, text string) (addr string, asked func() string) {
	t.Helper()
	last := make(chan string, 16)
	node := newFakeNode(t, func(_ int, r *http.Request, _ string) (int, string, http.Header) {
		last <- r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Authorization")
		return status, text, nil
	})
	return strings.TrimPrefix(node.URL, "http://"), func() string {
		select {
		case text := <-last:
			return strings.TrimSpace(text)
		default:
			return ""
		}
	}
}

func TestCacheStats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, answer, want string }{
		{"memory and disk", `{"version":"1","store":` + storeAnswer + `,"disk":` + diskAnswer + `}`, statsText},
		{"memory alone", `{"version":"1","store":` + storeAnswer + `}`, noDiskText},
	} {
		addr, asked := answering(t, 200, c.answer)
		got := runCache(t, "stats", "--admin", addr)
		if got.code != exitOK || asked() != "GET /v1/stats" {
			t.Errorf("%s: code %d, %s", c.name, got.code, got.message)
		}
		if diff := cmp.Diff(c.want, got.stdout); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestCacheStatsNothingWritten(t *testing.T) {
	t.Parallel()
	addr, _ := answering(t, 200, `{"store":{},"disk":{"write_amplification":null,"drops":{"torn":0}}}`)
	got := runCache(t, "stats", "--admin", addr)
	for _, want := range []string{"amplification not known yet", "dropped            nothing\n", "0 bytes of 0 bytes\n"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%q is not in:\n%s", want, got.stdout)
		}
	}
}

func TestCacheStatsJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, disk, want string }{
		{"disk", `,"disk":` + diskAnswer, diskAnswer},
		{"none", ``, `null`},
	} {
		addr, _ := answering(t, 200, `{"version":"1","panics":2,"store":`+storeAnswer+c.disk+`}`)
		got := runCache(t, "stats", "--json", "--admin", addr)
		want := `{"store":` + storeAnswer + `,"disk":` + c.want + `}`
		if diff := cmp.Diff(decoded(t, want), decoded(t, got.stdout)); diff != "" || got.code != exitOK {
			t.Errorf("%s: code %d, (-want +got):\n%s", c.name, got.code, diff)
		}
	}
}

func TestCacheVerify(t *testing.T) {
	t.Parallel()
	const well = `{"segments":3,"records":1204,"bytes":3435973837,"damaged":0,"dropped":0,"skipped":0,"loading":false}`
	const ill = `{"segments":3,"records":12,"bytes":2048,"damaged":2,"dropped":1,"skipped":1,"loading":true}`
	const cut = `{"segments":1,"records":2,"bytes":2048,"damaged":1,"dropped":1,"skipped":0,"loading":false,"error":"the node is about to stop"}`
	cases := []struct {
		name    string
		status  int
		answer  string
		args    []string
		code    int
		stdout  string // "JSON" = the answer
		message string // begins so
		asked   string
	}{
		{"well", 200, well, nil, exitOK, "read 1204 records in 3 segments, 3.2 GiB\nnothing was damaged\n", "", "POST /v1/cache/verify?rate=64MiB"},
		{"well, in JSON", 200, well, []string{"--json", "--rate", "0"}, exitOK, "JSON", "", "POST /v1/cache/verify?rate=0"},
		{
			"damaged", 200, ill,
			[]string{"--rate=1GiB"},
			exitPartial,
			"read 12 records in 3 segments, 2 KiB\n2 records damaged; 1 stored response dropped for it\n1 segment not read: let go meanwhile, or not readable\n" +
				"the index was still being loaded: what had not been found yet was not read\n",
			"something was damaged", "POST /v1/cache/verify?rate=1GiB",
		},
		{"damaged, in JSON", 200, ill, []string{"--json"}, exitPartial, "JSON", "something was damaged", "POST /v1/cache/verify?rate=64MiB"},
		{
			"ended early", 503, cut, nil, exitError, "read 2 records in 1 segment, 2 KiB\n1 record damaged; 1 stored response dropped for it\n",
			"not all was read: the node is about to stop", "POST /v1/cache/verify?rate=64MiB",
		},
		{"ended early, in JSON", 503, cut, []string{"--json"}, exitError, "JSON", "not all was read", "POST /v1/cache/verify?rate=64MiB"},
		{"ended at once", 503, `{"segments":0,"records":0,"error":"the node is about to stop"}`, nil, exitError, "", "the node answered 503: the node is about to stop", "POST /v1/cache/verify?rate=64MiB"},
		{"no disk", 404, `{"error":"this node keeps nothing on disk (store.disk)"}`, nil, exitError, "", "the node at ADDR: this node keeps nothing on disk (store.disk)", "POST /v1/cache/verify?rate=64MiB"},
		{"another one", 409, `{"error":"what is on disk is being verified already"}`, nil, exitError, "", "the node at ADDR: what is on disk is being verified already", "POST /v1/cache/verify?rate=64MiB"},
		{"an older node", 404, `{"error":"no such path","paths":["GET /metrics"]}`, nil, exitError, "", "the node at ADDR cannot verify: it is of an older version", "POST /v1/cache/verify?rate=64MiB"},
		{"no token", 401, `{"error":"a token is required"}`, nil, exitError, "", "the node at ADDR wants a token: --token-file F", "POST /v1/cache/verify?rate=64MiB"},
		{"no JSON", 200, `<html>`, nil, exitError, "", "the node's answer is not one of this version", "POST /v1/cache/verify?rate=64MiB"},
		{"wrong rate", 200, well, []string{"--rate", "fast"}, exitUsage, "", `--rate: "fast" is not a size`, ""},
		{"wrong flag", 200, well, []string{"--speed", "1MiB"}, exitUsage, "", "unknown flag: --speed", ""},
		{"an argument", 200, well, []string{"now"}, exitUsage, "", "perigee cache verify takes no arguments", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr, asked := answering(t, c.status, c.answer)
			got := runCache(t, append([]string{"verify", "--admin", addr}, c.args...)...)
			if got.code != c.code || !strings.HasPrefix(strings.ReplaceAll(got.message, addr, "ADDR"), c.message) || c.message == "" && got.message != "" {
				t.Errorf("code %d, %q; want %d, %q", got.code, got.message, c.code, c.message)
			}
			if text := asked(); text != c.asked {
				t.Errorf("asked %q, want %q", text, c.asked)
			}
			if c.stdout == "JSON" {
				if diff := cmp.Diff(decoded(t, c.answer), decoded(t, got.stdout)); diff != "" {
					t.Errorf("JSON (-want +got):\n%s", diff)
				}
			} else if diff := cmp.Diff(c.stdout, got.stdout); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCacheCommandLine(t *testing.T) {
	t.Parallel()
	addr, _ := answering(t, 401, `{"error":"the token is not valid"}`)
	for _, c := range []struct {
		args    []string
		code    int
		message string
	}{
		{[]string{"ls"}, exitUsage, `there is no command "ls" of perigee cache: stats, verify`},
		{[]string{"stats", "x"}, exitUsage, "perigee cache stats takes no arguments"},
		{[]string{"stats", "--rate", "1MiB"}, exitUsage, "unknown flag: --rate"},
		{[]string{"stats", "--token-file", "/no/such/file"}, exitError, "--token-file: open /no/such/file"},
		{[]string{"stats", "--admin", addr}, exitError, "the node at " + addr + " wants a token: --token-file F"},
		{[]string{"stats", "--admin", "a b"}, exitUsage, `--admin "a b" is not an address`},
		{[]string{"stats", "--admin", "127.0.0.1:1"}, exitError, "no answer from a node at 127.0.0.1:1"},
		{[]string{"verify", "--admin", "127.0.0.1:1"}, exitError, "no answer from a node at 127.0.0.1:1"},
		{nil, exitOK, ""},
	} {
		got := runCache(t, c.args...)
		if got.code != c.code || !strings.HasPrefix(got.message, c.message) {
			t.Errorf("perigee cache %v: code %d, %q; want %d, %q", c.args, got.code, got.message, c.code, c.message)
		}
	}
	for _, answer := range []string{`{"version":"1"}`, `[]`, `nonsense`} {
		addr, _ := answering(t, 200, answer)
		if got := runCache(t, "stats", "--admin", addr); got.code != exitError || !strings.Contains(got.message, "not one of this version") {
			t.Errorf("answered %s: code %d, %q", answer, got.code, got.message)
		}
	}
}

func TestRoughly(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1024: "1 KiB", 1536: "1.5 KiB", 102400: "100 KiB", 1 << 20: "1 MiB",
		150<<20 + 1<<19: "150 MiB", 5 << 30: "5 GiB", 3 << 39: "1.5 TiB", 2048 << 40: "2048 TiB",
	} {
		if got := roughly(n); got != want {
			t.Errorf("roughly(%d) = %q, want %q", n, got, want)
		}
	}
}

// decoded is JSON as values, so that its form does not matter.
func decoded(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
