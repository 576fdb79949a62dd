package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
	"perigee/edge/listener"
)

func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Address == "" {
		o.Address = "127.0.0.1:9180"
	}
	s, err := New(o)
	if err != nil {
		t.Fatalf("New(%+v): %v", o, err)
	}
	return s
}

// ask sends one request; fields are pairs of name and value, "Host" included.
func ask(s *Server, method, path string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:9180"
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		} else {
			r.Header.Add(fields[i], fields[i+1])
		}
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func TestNewNeedsTokenOffLoopback(t *testing.T) {
	t.Parallel()
	cases := []struct {
		address, token string
		ok             bool
	}{
		{"127.0.0.1:9180", "", true},
		{"127.1.2.3:0", "", true},
		{"[::1]:9180", "", true},
		{"[::ffff:127.0.0.1]:9180", "", true},
		{"LocalHost:9180", "", true},
		{":9180", "", false},
		{"0.0.0.0:9180", "", false},
		{"[::]:9180", "", false},
		{"192.0.2.1:9180", "", false},
		{"admin.example.com:9180", "", false},
		{"localhost.example.com:9180", "", false},
		{":9180", "s3cret", true},
		{"192.0.2.1:9180", "s3cret", true},
		{"127.0.0.1", "", false},
	}
	for _, c := range cases {
		_, err := New(Options{Address: c.address, Token: c.token})
		if (err == nil) != c.ok {
			t.Errorf("New(address %q, token %q): error %v, want one: %v", c.address, c.token, err, !c.ok)
		}
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	reload := func(context.Context) ReloadResult { return ReloadResult{OK: true} }
	local := newServer(t, Options{Address: "localhost:9180", Reload: reload})
	guarded := newServer(t, Options{Address: "127.0.0.1:9180", Token: "s3cret", Reload: reload})
	public := newServer(t, Options{Address: "edge.example.com:9180", Token: "s3cret", Reload: reload})
	bearer := []string{"Authorization", "Bearer s3cret"}
	wrong := []string{"Authorization", "Bearer s3cre"}
	cases := []struct {
		name         string
		server       *Server
		method, path string
		fields       []string
		want         int
	}{
		{"loopback, no token", local, "GET", "/v1/stats", nil, 200},
		{"loopback, a token that is none", local, "GET", "/v1/stats", bearer, 401},
		{"loopback with token, none sent", guarded, "POST", "/v1/reload", nil, 200},
		{"loopback with token, sent", guarded, "POST", "/v1/reload", bearer, 200},
		{"scheme in other case", guarded, "GET", "/v1/stats", []string{"Authorization", "bEARER s3cret"}, 200},
		{"loopback with token, wrong", guarded, "GET", "/v1/stats", wrong, 401},
		{"another scheme", guarded, "GET", "/v1/stats", []string{"Authorization", "Basic s3cret"}, 401},
		{"two tokens", guarded, "GET", "/v1/stats", append(bearer, bearer...), 401},
		{"empty token", guarded, "GET", "/v1/stats", []string{"Authorization", "Bearer "}, 401},
		{"wrong token to an open path", guarded, "GET", "/healthz", wrong, 200},

		{"off loopback, no token", public, "GET", "/metrics", nil, 401},
		{"off loopback, token", public, "GET", "/metrics", bearer, 200},
		{"off loopback, wrong token", public, "GET", "/metrics", wrong, 401},
		{"off loopback, pprof", public, "GET", "/debug/pprof/heap", nil, 401},
		{"off loopback, unknown path tells nothing", public, "GET", "/nowhere", nil, 401},
		{"off loopback, health", public, "GET", "/healthz", nil, 200},
		{"off loopback, ready", public, "GET", "/readyz", nil, 200},

		{"host localhost", local, "GET", "/v1/stats", []string{"Host", "LOCALHOST:9180"}, 200},
		{"host an IPv6 literal", local, "GET", "/v1/stats", []string{"Host", "[::1]:9180"}, 200},
		{"host without port", local, "GET", "/v1/stats", []string{"Host", "[::1]"}, 200},
		{"host a name that was rebound", local, "GET", "/v1/stats", []string{"Host", "evil.example:9180"}, 421},
		{"host like ours", local, "GET", "/v1/stats", []string{"Host", "localhost.evil.example"}, 421},
		{"host rebound, open path", local, "GET", "/readyz", []string{"Host", "evil.example"}, 421},
		{"host configured", public, "GET", "/healthz", []string{"Host", "Edge.Example.com"}, 200},
		{"host another, off loopback", public, "GET", "/healthz", []string{"Host", "evil.example"}, 421},
		{"host another, with the token", public, "GET", "/metrics", append([]string{"Host", "prometheus-target"}, bearer...), 200},

		{"another site's form", local, "POST", "/v1/reload", []string{"Origin", "https://evil.example"}, 403},
		{"another site's fetch", local, "POST", "/v1/reload", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a sandboxed page", local, "POST", "/v1/reload", []string{"Origin", "null"}, 403},
		{"a page of our own", local, "POST", "/v1/reload", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"typed by hand", local, "POST", "/v1/reload", []string{"Sec-Fetch-Site", "none"}, 200},

		{"unknown path", local, "GET", "/nowhere", nil, 404},
		{"wrong method", local, "GET", "/v1/reload", nil, 405},
		{"HEAD is GET", local, "HEAD", "/metrics", nil, 200},
		{"pprof index", local, "GET", "/debug/pprof/", nil, 200},
		{"pprof without slash", local, "GET", "/debug/pprof", nil, 301},
		{"pprof profile by name", local, "GET", "/debug/pprof/goroutine", nil, 200},
		{"pprof command line", local, "GET", "/debug/pprof/cmdline", nil, 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := ask(c.server, c.method, c.path, c.fields...)
			if w.Code != c.want {
				t.Errorf("%s %s %v: %d, want %d; body %s", c.method, c.path, c.fields, w.Code, c.want, w.Body)
			}
			if c.want == 401 && w.Header().Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("401 without WWW-Authenticate: %v", w.Header())
			}
		})
	}
}

func TestUnknownPathListsWhatExists(t *testing.T) {
	t.Parallel()
	w := ask(newServer(t, Options{}), "GET", "/v1/reload")
	var got problem
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 404 {
		t.Fatalf("GET /v1/reload on a server without reload: %d %s, %v", w.Code, w.Body, err)
	}
	want := []string{
		"GET /debug/pprof", "GET /debug/pprof/", "GET /debug/pprof/cmdline", "GET /debug/pprof/profile",
		"GET /debug/pprof/symbol", "GET /debug/pprof/trace", "GET /healthz", "GET /metrics", "GET /readyz",
		"GET /v1/stats", "POST /debug/pprof/symbol", "POST /v1/cache/verify",
	}
	if diff := cmp.Diff(want, got.Paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestMethodNotAllowedSaysWhatIs(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{Reload: func(context.Context) ReloadResult { return ReloadResult{} }})
	for path, want := range map[string]string{
		"/healthz": "GET, HEAD", "/v1/reload": "POST", "/debug/pprof/symbol": "GET, HEAD, POST",
	} {
		w := ask(s, "DELETE", path)
		if got := w.Header().Get("Allow"); w.Code != 405 || got != want {
			t.Errorf("DELETE %s: %d, Allow %q, want 405 and %q", path, w.Code, got, want)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	var state atomic.Value
	state.Store("starting: no site is loaded")
	s := newServer(t, Options{Ready: func() error {
		if text := state.Load().(string); text != "" {
			return errors.New(text)
		}
		return nil
	}})
	if w := ask(s, "GET", "/readyz"); w.Code != 503 || w.Body.String() != "starting: no site is loaded\n" {
		t.Errorf("starting: %d %q", w.Code, w.Body)
	}
	if w := ask(s, "GET", "/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("alive while starting: %d %q", w.Code, w.Body)
	}
	state.Store("")
	if w := ask(s, "GET", "/readyz"); w.Code != 200 || w.Body.String() != "ready\n" {
		t.Errorf("ready: %d %q", w.Code, w.Body)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	results := []ReloadResult{
		{OK: true, Changed: []string{"www.example.com"}, Message: "1 site changed"},
		{Errors: []string{`perigee.yaml:3:1: unknown key "lisen"`}, Message: "the configuration before is still in force"},
	}
	calls := 0
	s := newServer(t, Options{Reload: func(ctx context.Context) ReloadResult {
		calls++
		return results[calls-1]
	}})
	for i, want := range []struct {
		status int
		body   string
	}{
		{200, `{"ok":true,"changed":["www.example.com"],"errors":[],"message":"1 site changed"}`},
		{422, `{"ok":false,"changed":[],"errors":["perigee.yaml:3:1: unknown key \"lisen\""],"message":"the configuration before is still in force"}`},
	} {
		w := ask(s, "POST", "/v1/reload")
		if w.Code != want.status {
			t.Errorf("reload %d: status %d, want %d", i, w.Code, want.status)
		}
		if diff := cmp.Diff(want.body, compact(t, w.Body.Bytes())); diff != "" {
			t.Errorf("reload %d (-want +got):\n%s", i, diff)
		}
	}
}

func compact(t *testing.T, body []byte) string {
	t.Helper()
	var out strings.Builder
	var raw ReloadResult
	if err := json.Unmarshal(body, &raw); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	if err := json.NewEncoder(&out).Encode(raw); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

func TestReloadOneAtATime(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	s := newServer(t, Options{Reload: func(ctx context.Context) ReloadResult {
		close(entered)
		<-leave
		return ReloadResult{OK: ctx.Err() == nil}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan ReloadResult, 1)
	go func() {
		result, _ := s.Reload(ctx)
		first <- result
	}()
	<-entered
	cancel() // whoever asked has left: the reload goes on
	if w := ask(s, "POST", "/v1/reload"); w.Code != 409 || !strings.Contains(w.Body.String(), ErrReloading.Error()) {
		t.Errorf("a second reload: %d %s, want 409 and %q", w.Code, w.Body, ErrReloading)
	}
	close(leave)
	if result := <-first; !result.OK {
		t.Errorf("the first reload was ended by its caller's leaving")
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{
		Version: "v1.2.3",
		Store: func() cachestore.Stats {
			return cachestore.Stats{
				LimitBytes: 1, UsedBytes: 2, Objects: 3, Fills: 4, Windows: 5, Stored: 6, Refused: 7,
				TooLarge: 8, Evicted: 9, Replaced: 10, Removed: 11, Failed: 12, Detached: 13, Corrupt: 16, Partial: 17,
				Surplus: 18, DepotStored: 19, DepotRefused: 20, Recalled: 21, Promoted: 22, Spilled: 23, Unspilled: 24, Damaged: 25,
			}
		},
		Listener: func() listener.Stats {
			return listener.Stats{
				Open: 1, Hijacked: 2, Clients: 3, Requests: 4, Accepted: 5, AcceptErrors: 6, Handshakes: 7,
				Refused: map[listener.Refusal]uint64{listener.RefusalPerIP: 8},
				Faults:  map[listener.Fault]uint64{listener.FaultTimeout: 9},
			}
		},
		AccessLogDropped: func() uint64 { return 14 },
		Panics:           func() int64 { return 15 },
	})
	w := ask(s, "GET", "/v1/stats")
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("body %s: %v", w.Body, err)
	}
	want := map[string]any{
		"version": "v1.2.3", "access_log_dropped": 14.0, "panics": 15.0,
		"store": map[string]any{
			"limit_bytes": 1.0, "used_bytes": 2.0, "objects": 3.0, "fills": 4.0, "windows": 5.0, "stored": 6.0, "refused": 7.0,
			"too_large": 8.0, "evicted": 9.0, "replaced": 10.0, "removed": 11.0, "failed": 12.0, "detached": 13.0, "corrupt": 16.0, "partial": 17.0,
			"surplus": 18.0, "disk_stored": 19.0, "disk_refused": 20.0, "recalled": 21.0, "promoted": 22.0,
			"spilled": 23.0, "unspilled": 24.0, "damaged": 25.0,
		},
		"connections": map[string]any{
			"open": 1.0, "hijacked": 2.0, "clients": 3.0, "requests": 4.0, "accepted": 5.0, "accept_errors": 6.0, "handshakes": 7.0,
			"refused": map[string]any{"connections_per_ip": 8.0}, "handshake_faults": map[string]any{"timeout": 9.0},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{Address: "127.0.0.1:0"})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://" + ln.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || string(body) != "ok\n" {
		t.Errorf("GET /healthz: %q, %v", body, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve after Shutdown: %v, want nil", err)
	}
}

// anywhere is a listener that says it is reachable from other machines.
type anywhere struct{ net.Listener }

func (anywhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9180} }

func TestServeRefusesListenerOffLoopback(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// A hosts file may send localhost elsewhere.
	s := newServer(t, Options{Address: "localhost:9180"})
	if err := s.Serve(anywhere{ln}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("Serve off loopback without a token: %v, want an error that names the token", err)
	}
}
