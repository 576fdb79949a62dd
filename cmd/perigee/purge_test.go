package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeNode answers orders as it is told, and notes them.
type fakeNode struct {
	*httptest.Server
	answer func(n int, r *http.Request, body string) (status int, text string, fields http.Header) // n counts from 1

	mu      sync.Mutex // guards what follows
	orders  []fakeOrder
	queries []string // of GET
}

type fakeOrder struct{ Path, Body, Key, Token string }

const completeReceipt = `{"id":"1f0c6b2d9a7e4f5380a1b2c3d4e5f607","state":"complete","edges":[{"name":"fra-1","acked_ms":3}],"missing":[]}`

// newFakeNode starts a node; a nil answer completes every order.
func newFakeNode(t *testing.T, answer func(n int, r *http.Request, body string) (int, string, http.Header)) *fakeNode {
	t.Helper()
	if answer == nil {
		answer = func(int, *http.Request, string) (int, string, http.Header) { return 200, completeReceipt, nil }
	}
	node := &fakeNode{answer: answer}
	node.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the body did not come whole: %v", err)
		}
		node.mu.Lock()
		if r.Method == http.MethodGet {
			node.queries = append(node.queries, r.URL.RequestURI())
		} else {
			node.orders = append(node.orders, fakeOrder{
				Path: r.URL.EscapedPath(), Body: string(body), Key: r.Header.Get("Idempotency-Key"), Token: r.Header.Get("Authorization"),
			})
		}
		n := len(node.orders)
		node.mu.Unlock()
		status, text, fields := node.answer(n, r, string(body))
		for name, lines := range fields {
			w.Header()[name] = lines
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(node.Close)
	return node
}

// bodies lists what was ordered: path and body.
func (n *fakeNode) bodies() (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, each := range n.orders {
		all = append(all, each.Path+" "+each.Body)
	}
	return all
}

// outcome is what a command line came to.
type outcome struct {
	code           int
	stdout, stderr string
	message        string          // of the error, shown unless it is silent
	pauses         []time.Duration // that it made
}

// runPurge runs `perigee purge` against a node. Pauses are over at once.
func (n *fakeNode) runPurge(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	return runPurge(t, context.Background(), strings.TrimPrefix(n.URL, "http://"), stdin, args...)
}

func runPurge(t *testing.T, ctx context.Context, addr, stdin string, args ...string) (o outcome) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	clock := time.Unix(0, 0)
	cmd := newPurgeWith(func(ctx context.Context, d time.Duration) error {
		o.pauses = append(o.pauses, d)
		return ctx.Err()
	}, func() time.Time { clock = clock.Add(3 * time.Second); return clock })
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetFlagErrorFunc(newRoot().FlagErrorFunc())
	cmd.SetArgs(append(args, "--admin", addr))
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err := cmd.ExecuteContext(ctx)
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

func TestPurgeOrders(t *testing.T) {
	t.Parallel()
	const www = "/v1/sites/www.example.com/purge "
	cases := []struct {
		args []string
		want []string
	}{
		{[]string{"--url", "https://WWW.example.com:8443/a?b=1&c=<2>,3"}, []string{www + `{"urls":["https://WWW.example.com:8443/a?b=1&c=<2>,3"]}`}},
		{
			[]string{"--site", "www.example.com", "--tag", "a", "--url", "/a", "--url", "/b", "--prefix", "/c", "--host", "*.example.com"},
			[]string{www + `{"urls":["/a","/b"],"prefixes":["/c"],"tags":["a"],"hosts":["*.example.com"]}`},
		},
		{[]string{"--site", "*", "--all", "--soft"}, []string{"/v1/sites/%2A/purge " + `{"everything":true,"soft":true}`}},
		{[]string{"--site", "zone/a b", "--tag", "x"}, []string{"/v1/sites/zone%2Fa%20b/purge " + `{"tags":["x"]}`}},
		{[]string{"--prefix", "www.example.com/a"}, []string{www + `{"prefixes":["www.example.com/a"]}`}},
		{[]string{"--host", "www.example.com", "--wait", "5s"}, []string{www + `{"hosts":["www.example.com"],"wait":"5s"}`}},
		{[]string{"--url", "http://www.example.com?x", "--dry-run"}, []string{www + `{"urls":["http://www.example.com?x"],"dry_run":true}`}},
		{
			[]string{"--site", "www.example.com", "--url", "/a", "--tag", "x", "--ignore-query"},
			[]string{www + `{"urls":["/a"],"ignore_query":true,"tags":["x"]}`},
		},
		{
			[]string{"--url", "https://www.example.com/a", "--url", "https://b.example/", "--url", "https://www.example.com/c"},
			[]string{www + `{"urls":["https://www.example.com/a","https://www.example.com/c"]}`, `/v1/sites/b.example/purge {"urls":["https://b.example/"]}`},
		},
		{[]string{"--site", "www.example.com", "--url", "https://example.com/"}, []string{www + `{"urls":["https://example.com/"]}`}},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			node := newFakeNode(t, nil)
			if o := node.runPurge(t, "", c.args...); o.code != exitOK {
				t.Errorf("exit code %d, want 0: %s", o.code, o.message)
			}
			if diff := cmp.Diff(c.want, node.bodies()); diff != "" {
				t.Errorf("orders (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPurgeUsage(t *testing.T) {
	t.Parallel()
	cases := []struct {
		args  []string
		stdin string
		want  string
	}{
		{nil, "", "purge what?"},
		{[]string{"https://www.example.com/"}, "", "stands in flags"},
		{[]string{"--url", "/a"}, "", "--url /a does not say of which site: --site"},
		{[]string{"--url", "/a?x=http://b"}, "", "does not say of which site"},
		{[]string{"--tag", "x"}, "", "--tag x does not say of which site"},
		{[]string{"--prefix", "/a"}, "", "--prefix /a does not say of which site"},
		{[]string{"--host", "*.example.com"}, "", "does not say of which site"},
		{[]string{"--all"}, "", "--all does not say of which site"},
		{[]string{"--all", "--site", "s", "--tag", "x"}, "", "--all stands alone"},
		{[]string{"--all", "--site", "s", "--file", "-"}, "", "--all stands alone"},
		{[]string{"--url", "https://us er@x/"}, "", "is not a host"},
		{[]string{"--url", "https:///a"}, "", "is not a host"},
		{[]string{"--site", "s", "--tag", "x", "--wait", "61s"}, "", "--wait 1m1s is not from 0s to 1m0s"},
		{[]string{"--site", "s", "--tag", "x", "--wait", "-1s"}, "", "--wait -1s"},
		{[]string{"--site", "s", "--tag", "x", "--no-such-flag"}, "", "no-such-flag"},
		{[]string{"--site", "s", "--file", "-"}, "\n# nothing\n", "the list is empty; nothing was purged"},
		{[]string{"--site", "s", "--file", "-"}, "/a\nwww.example.com/a\n", `line 2: "www.example.com/a" is neither`},
		{[]string{"--file", "-"}, "https://a.example/\n/b\n", "line 2 /b does not say of which site"},
		{[]string{"--site", "s", "--tag", "x", "--admin", "no address"}, "", "is not an address"},
		{[]string{"history", "--limit", "0"}, "", "--limit 0"},
		{[]string{"history", "x"}, "", "takes no arguments"},
		{[]string{"status"}, "", "status of which purge?"},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " ")+c.stdin, func(t *testing.T) {
			t.Parallel()
			node := newFakeNode(t, nil)
			addr := strings.TrimPrefix(node.URL, "http://")
			args := c.args
			if i := len(args) - 2; i >= 0 && args[i] == "--admin" {
				args, addr = args[:i], args[i+1]
			}
			o := runPurge(t, t.Context(), addr, c.stdin, args...)
			if o.code != exitUsage || !strings.Contains(o.message, c.want) {
				t.Errorf("exit code %d, %q; want %d and %q", o.code, o.message, exitUsage, c.want)
			}
			if got := node.bodies(); got != nil {
				t.Errorf("ordered %q", got)
			}
		})
	}
}

func TestPurgeOutcomes(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		status int
		body   string
		args   []string
		code   int
		stdout string // whole, if not empty
		want   string // in the error's text
	}{
		{
			"complete", 200, completeReceipt,
			[]string{"--url", "https://a.example/", "--url", "https://a.example/b", "--prefix", "a.example/c"},
			0,
			"purged 2 URLs, 1 prefix of a.example: complete on fra-1 after 3 ms\nid 1f0c6b2d9a7e4f5380a1b2c3d4e5f607\n", "",
		},
		{
			"soft", 200, completeReceipt,
			[]string{"--site", "a", "--tag", "x", "--soft"},
			0,
			"soft-purged 1 tag of a: complete on fra-1 after 3 ms\nid 1f0c6b2d9a7e4f5380a1b2c3d4e5f607\n", "",
		},
		{
			"pending", 202, `{"id":"ab","state":"pending","edges":[],"missing":["fra-1","fra-2"]}`,
			[]string{"--site", "a", "--all"},
			4,
			"purged everything of a: pending; not yet on fra-1, fra-2\nid ab\n", "",
		},
		{
			"partial", 202, `{"id":"ab","state":"partial","edges":[{"name":"fra-1","acked_ms":3},{"name":"fra-3"}],"missing":["fra-2"]}`,
			[]string{"--site", "a", "--all"},
			4,
			"purged everything of a: partial on fra-1 after 3 ms, fra-3; not yet on fra-2\nid ab\n", "",
		},
		{"dry run", 200, `{"state":"dry_run","count":1,"at_least":false}`, []string{"--site", "a", "--all", "--dry-run"}, 0, "1 stored response would be purged\n", ""},
		{
			"dry run, unfinished", 200, `{"state":"dry_run","count":1204,"at_least":true}`,
			[]string{"--site", "a", "--all", "--dry-run"},
			0,
			"at least 1204 stored responses would be purged: counting stopped before its end\n", "",
		},
		{"an edge that plays with the terminal", 200, `{"id":"a","state":"complete","edges":[{"name":"\u001b[2J"}]}`, []string{"--site", "a", "--all"}, 0, "purged everything of a: complete on \"\\x1b[2J\"\nid a\n", ""},

		{"no such site", 404, `{"error":"there is no site \"a.example\""}`, []string{"--url", "https://a.example/"}, 1, "", `there is no site "a.example" (no --site was given, so a.example was taken for it`},
		{"no such site, named", 404, `{"error":"there is no site \"x\""}`, []string{"--site", "x", "--all"}, 1, "", `the node answered 404: there is no site "x"`},
		{"a node that cannot", 404, `{"error":"no such path","paths":["GET /healthz"]}`, []string{"--site", "x", "--all"}, 1, "", "cannot purge"},
		{"not of this site", 403, `{"error":"the token is not of this site"}`, []string{"--url", "https://a.example/"}, 1, "", "say --site"},
		{"no token", 401, `{"error":"a token is required"}`, []string{"--site", "x", "--all"}, 1, "", "wants a token: --token-file F"},
		{
			"items", 400, `{"error":"the order is not valid; nothing was purged","problems":["urls[1]: has a space","tags[0]: has a comma","urls[7]: odd","and 3 more"]}`,
			[]string{"--site", "x", "--url", "/a", "--url", "/b c", "--tag", "d,e"},
			1, "",
			"nothing was purged\n  --url, \"/b c\": has a space\n  --tag, \"d,e\": has a comma\n  urls[7]: odd\n  and 3 more",
		},
		{"no JSON", 502, "Bad Gateway\n", []string{"--site", "x", "--all"}, 1, "", "the node answered 502: Bad Gateway"},
		{"another program", 200, "<html>", []string{"--site", "x", "--all"}, 1, "", "not one of this version"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			node := newFakeNode(t, func(int, *http.Request, string) (int, string, http.Header) { return c.status, c.body, nil })
			o := node.runPurge(t, "", c.args...)
			if o.code != c.code || !strings.Contains(o.message, c.want) {
				t.Errorf("exit code %d, error %q; want %d and %q", o.code, o.message, c.code, c.want)
			}
			if diff := cmp.Diff(c.stdout, o.stdout); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
			if n := len(node.bodies()); n != 1 {
				t.Errorf("%d orders, want 1", n)
			}
		})
	}
}

func TestPurgeNodeIsAway(t *testing.T) {
	t.Parallel()
	node := newFakeNode(t, nil)
	node.Close()
	o := node.runPurge(t, "", "--site", "a", "--all")
	if o.code != exitError || !strings.Contains(o.message, "is it running") {
		t.Errorf("exit code %d, error %q; want 1 and a hint", o.code, o.message)
	}
}

func TestPurgeToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	node := newFakeNode(t, func(n int, _ *http.Request, _ string) (int, string, http.Header) {
		if n == 2 {
			return 401, `{"error":"the token is not valid"}`, nil
		}
		return 200, completeReceipt, nil
	})
	node.runPurge(t, "", "--site", "a", "--all", "--token-file", file)
	if got := node.orders[0].Token; got != "Bearer s3cret" {
		t.Errorf("Authorization: %q, want the file's token", got)
	}
	if o := node.runPurge(t, "", "--site", "a", "--all", "--token-file", file); o.code != exitError || !strings.Contains(o.message, "does not take the token of "+file) {
		t.Errorf("a token that is refused: exit code %d, %q", o.code, o.message)
	}
	if o := node.runPurge(t, "", "--site", "a", "--all", "--token-file", file+".gone"); o.code != exitError || !strings.Contains(o.message, "--token-file") {
		t.Errorf("a token file that is missing: exit code %d, %q", o.code, o.message)
	}
}

// refusals answers the first orders with these, and completes the rest.
func refusals(status int, retryAfter ...string) func(int, *http.Request, string) (int, string, http.Header) {
	return func(n int, _ *http.Request, _ string) (int, string, http.Header) {
		if n > len(retryAfter) {
			return 200, completeReceipt, nil
		}
		fields := http.Header{}
		if retryAfter[n-1] != "" {
			fields.Set("Retry-After", retryAfter[n-1])
		}
		return status, `{"error":"not now"}`, fields
	}
}

func TestPurgeRetries(t *testing.T) {
	t.Parallel()
	const s = time.Second
	cases := []struct {
		name   string
		answer func(int, *http.Request, string) (int, string, http.Header)
		code   int
		pauses []time.Duration
	}{
		{"at the node's word", refusals(429, "5", "0", "60"), 0, []time.Duration{5 * s, 0, 60 * s}},
		{"without its word", refusals(503, "", "", ""), 0, []time.Duration{s, 2 * s, 4 * s}},
		{"not for ever", refusals(503, "1", "1", "1", "1"), 1, []time.Duration{s, s, s}},
		{"not when it is long", refusals(429, "61"), 1, nil},
		{"not at a word that is none", refusals(429, "soon"), 1, nil},
		{"not at other statuses", refusals(500, "1"), 1, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			node := newFakeNode(t, c.answer)
			o := node.runPurge(t, "", "--site", "a", "--all")
			if o.code != c.code {
				t.Errorf("exit code %d, want %d: %s", o.code, c.code, o.message)
			}
			if diff := cmp.Diff(c.pauses, o.pauses); diff != "" {
				t.Errorf("pauses (-want +got):\n%s", diff)
			}
			if len(node.orders) != len(c.pauses)+1 {
				t.Fatalf("%d orders, want %d", len(node.orders), len(c.pauses)+1)
			}
			if n := strings.Count(o.stderr, "not now"); n != len(c.pauses) {
				t.Errorf("stderr %q tells of %d pauses, want %d", o.stderr, n, len(c.pauses))
			}
			for _, each := range node.orders {
				if each != node.orders[0] || each.Key == "" {
					t.Errorf("repeated as %+v, which is another order than %+v", each, node.orders[0])
				}
			}
		})
	}
}

// list is a list of n lines.
func list(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "/%d\n", i+1)
	}
	return text.String()
}

func TestPurgeList(t *testing.T) {
	t.Parallel()
	node := newFakeNode(t, nil)
	o := node.runPurge(t, list(1201), "--site", "a", "--file", "-")
	if o.code != exitOK || o.stdout != "purged 1201 items of a in 3 orders: complete\n" {
		t.Errorf("exit code %d, stdout %q: %s", o.code, o.stdout, o.message)
	}
	if o.stderr != "perigee: 1000 of 1201 items\n" {
		t.Errorf("progress on what is no terminal: %q, want it after 6 s of 9", o.stderr)
	}
	keys, last := map[string]bool{}, 0
	for _, each := range node.orders {
		keys[each.Key] = true
		var body struct{ URLs []string }
		if err := json.Unmarshal([]byte(each.Body), &body); err != nil {
			t.Fatal(err)
		}
		for _, url := range body.URLs {
			if last++; url != fmt.Sprintf("/%d", last) {
				t.Fatalf("%s comes as number %d", url, last)
			}
		}
	}
	if last != 1201 || len(keys) != 3 {
		t.Errorf("%d items in orders of %d keys, want 1201 and 3", last, len(keys))
	}
}

func TestPurgeListFails(t *testing.T) {
	t.Parallel()
	answer := func(n int, _ *http.Request, _ string) (int, string, http.Header) {
		if n == 2 {
			return 400, `{"error":"the order is not valid","problems":["urls[9]: is odd"]}`, nil
		}
		return 200, completeReceipt, nil
	}
	node := newFakeNode(t, answer)
	o := node.runPurge(t, "# from the CMS\n"+list(1200), "--site", "a", "--file", "-")
	if o.code != exitError || !strings.HasPrefix(o.stdout, "purged 500 URLs of a: complete") {
		t.Errorf("exit code %d, stdout %q", o.code, o.stdout)
	}
	for _, want := range []string{"line 511, \"/510\": is odd", "line 502 is the first that is not done", "`tail -n +502`"} {
		if !strings.Contains(o.message, want) {
			t.Errorf("error %q lacks %q", o.message, want)
		}
	}
	if len(node.orders) != 2 {
		t.Errorf("%d orders, want none after the one that failed", len(node.orders))
	}

	node = newFakeNode(t, answer)
	o = node.runPurge(t, list(1200), "--site", "a", "--file", "-", "--json")
	var got purgeReport
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil {
		t.Fatalf("stdout %q: %v", o.stdout, err)
	}
	got.Orders = nil
	want := purgeReport{
		State: "failed", Items: 500, Error: "the node answered 400: the order is not valid",
		Problems: []string{`line 510, "/510": is odd`}, FirstNotDone: 501,
	}
	if diff := cmp.Diff(want, got); diff != "" || o.code != exitError {
		t.Errorf("exit code %d, report (-want +got):\n%s", o.code, diff)
	}
}

// What was done before an interruption is told, and where to go on.
func TestPurgeIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	node := newFakeNode(t, func(n int, r *http.Request, _ string) (int, string, http.Header) {
		if n == 2 {
			cancel()
			<-r.Context().Done()
		}
		return 200, completeReceipt, nil
	})
	o := runPurge(t, ctx, strings.TrimPrefix(node.URL, "http://"), list(1200), "--site", "a", "--file", "-")
	if o.code != exitError || !strings.HasPrefix(o.message, "interrupted\nline 501 is the first") {
		t.Errorf("exit code %d, error %q", o.code, o.message)
	}
}

func TestPurgeJSON(t *testing.T) {
	t.Parallel()
	answers := []string{
		completeReceipt, `{"id":"02","state":"pending","missing":["fra-2"]}`, `{"id":"03","state":"partial","missing":["fra-2"]}`,
	}
	node := newFakeNode(t, func(n int, _ *http.Request, _ string) (int, string, http.Header) {
		return 200 + n/2*2, answers[n-1], nil
	})
	o := node.runPurge(t, list(1001), "--site", "a", "--file", "-", "--json")
	var got map[string]any
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil {
		t.Fatalf("stdout %q: %v", o.stdout, err)
	}
	want := map[string]any{
		"state": "pending", "items": 1001.0,
		"orders": []any{
			map[string]any{
				"site": "a", "items": 500.0, "id": "1f0c6b2d9a7e4f5380a1b2c3d4e5f607", "state": "complete",
				"edges": []any{map[string]any{"name": "fra-1", "acked_ms": 3.0}},
			},
			map[string]any{"site": "a", "items": 500.0, "id": "02", "state": "pending", "missing": []any{"fra-2"}},
			map[string]any{"site": "a", "items": 1.0, "id": "03", "state": "partial", "missing": []any{"fra-2"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || o.code != exitPartial {
		t.Errorf("exit code %d, report (-want +got):\n%s", o.code, diff)
	}

	node = newFakeNode(t, func(n int, _ *http.Request, _ string) (int, string, http.Header) {
		return 200, fmt.Sprintf(`{"state":"dry_run","count":%d,"at_least":%t}`, 10*n, n == 1), nil
	})
	o = node.runPurge(t, list(501), "--site", "a", "--file", "-", "--json", "--dry-run")
	var dry purgeReport
	if err := json.Unmarshal([]byte(o.stdout), &dry); err != nil {
		t.Fatalf("stdout %q: %v", o.stdout, err)
	}
	if o.code != exitOK || dry.State != "dry_run" || *dry.Count != 30 || !*dry.AtLeast || len(dry.Orders) != 2 {
		t.Errorf("exit code %d, dry run %s", o.code, o.stdout)
	}
}

const historyRecord = `{"id":"%s","site":"a.example","who":"cms","from":"192.0.2.7","at":"2026-01-02T03:04:05.5Z","soft":true,` +
	`"items":{"url":2,"tag":3},"values":["/news","item\u001b"],"state":"%s","edges":[{"name":"fra-1","acked_ms":3}],"missing":[]}`

func TestPurgeHistory(t *testing.T) {
	t.Parallel()
	node := newFakeNode(t, func(_ int, r *http.Request, _ string) (int, string, http.Header) {
		if r.URL.Query().Get("before") != "" {
			return 200, `{"purges":[` + fmt.Sprintf(historyRecord, "02", "complete") + `]}`, nil
		}
		return 200, `{"purges":[` + fmt.Sprintf(historyRecord, "01", "pending") + `],"next":"01"}`, nil
	})
	o := node.runPurge(t, "", "history", "--site", "a.example", "--limit", "250")
	want := `WHEN                  SITE       WHO  FROM       STATE     ID  WHAT
2026-01-02T03:04:05Z  a.example  cms  192.0.2.7  pending   01  soft 3 tag, 2 url: /news "item\x1b" …
2026-01-02T03:04:05Z  a.example  cms  192.0.2.7  complete  02  soft 3 tag, 2 url: /news "item\x1b" …
`
	if diff := cmp.Diff(want, o.stdout); diff != "" || o.code != exitOK {
		t.Errorf("exit code %d (%s), stdout (-want +got):\n%s", o.code, o.message, diff)
	}
	asked := []string{"/v1/purges?limit=200&site=a.example", "/v1/purges?before=01&limit=200&site=a.example"}
	if diff := cmp.Diff(asked, node.queries); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	o = node.runPurge(t, "", "history", "--limit", "2", "--json")
	var page struct{ Purges []struct{ ID string } }
	if err := json.Unmarshal([]byte(o.stdout), &page); err != nil || len(page.Purges) != 2 {
		t.Errorf("--json: %q, %v", o.stdout, err)
	}

	node = newFakeNode(t, func(int, *http.Request, string) (int, string, http.Header) { return 200, `{"purges":[]}`, nil })
	if o = node.runPurge(t, "", "history"); o.stdout != "no purges are remembered\n" || o.code != exitOK {
		t.Errorf("an empty history: exit code %d, %q", o.code, o.stdout)
	}
	node = newFakeNode(t, func(int, *http.Request, string) (int, string, http.Header) {
		return 403, `{"error":"the token is not of this site"}`, nil
	})
	if o = node.runPurge(t, "", "history", "--site", "b"); o.code != exitError || !strings.Contains(o.message, "403: the token is not of this site") {
		t.Errorf("history of another's site: exit code %d, %q", o.code, o.message)
	}
}

func TestPurgeStatus(t *testing.T) {
	t.Parallel()
	for state, code := range map[string]int{"complete": exitOK, "pending": exitPartial} {
		node := newFakeNode(t, func(int, *http.Request, string) (int, string, http.Header) {
			return 200, fmt.Sprintf(historyRecord, "01", state), nil
		})
		o := node.runPurge(t, "", "status", "0/1")
		want := "id     01\nstate  " + state + ` on fra-1 after 3 ms
site   a.example
what   soft 3 tag, 2 url: /news "item\x1b" …
who    cms
from   192.0.2.7
when   2026-01-02T03:04:05.5Z
`
		if diff := cmp.Diff(want, o.stdout); diff != "" || o.code != code {
			t.Errorf("%s: exit code %d, want %d; stdout (-want +got):\n%s", state, o.code, code, diff)
		}
		if o := node.runPurge(t, "", "status", "01", "--json"); o.code != code || !strings.Contains(o.stdout, `"who": "cms"`) {
			t.Errorf("%s as JSON: exit code %d, %q", state, o.code, o.stdout)
		}
		if diff := cmp.Diff([]string{"/v1/purges/0%2F1", "/v1/purges/01"}, node.queries); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	}
	node := newFakeNode(t, func(int, *http.Request, string) (int, string, http.Header) {
		return 404, `{"error":"there is no purge \"x\""}`, nil
	})
	if o := node.runPurge(t, "", "status", "x"); o.code != exitError || !strings.Contains(o.message, "there is no purge") {
		t.Errorf("no such purge: exit code %d, %q", o.code, o.message)
	}
}
