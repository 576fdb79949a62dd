package edge

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/cachestore"
	"perigee/cachestore/ram"
	"perigee/httpcache"
	"perigee/internal/memnet"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// rig is an edge between a scripted origin and clients, all in one bubble: its
// clock is the bubble's, so an hour passes at once.
type rig struct {
	t       *testing.T
	net     *memnet.Network
	origin  *testorigin.Origin
	store   *cachestore.Store
	handler *Handler
	site    *Site
	client  *http.Client

	mu      sync.Mutex // guards records
	records []Record
}

// Record implements [Recorder].
func (r *rig) Record(record *Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, *record)
}

// last is the record of the request that ended last.
func (r *rig) last() Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) == 0 {
		r.t.Fatal("no request has been recorded")
	}
	return r.records[len(r.records)-1]
}

const rigBudget = 16 << 20

// inBubble runs a story.
func inBubble(t *testing.T, rules httpcache.Rules, story func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rules)
		story(t, r)
		r.close()
	})
}

func newRig(t *testing.T, rules httpcache.Rules) *rig {
	r := &rig{t: t, net: memnet.New(), origin: testorigin.New()}
	budget := cachestore.NewBudget(rigBudget)
	tier, err := ram.New(budget)
	if err != nil {
		t.Fatal(err)
	}
	r.store = cachestore.New(cachestore.Options{Budget: budget, Home: tier})
	pool, err := origin.NewPool(origin.Options{Upstream: "http://origin.test", Dial: r.net.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	stopOrigin := r.origin.Serve(r.net.Listen("origin.test:80"))
	t.Cleanup(func() { pool.Close(); stopOrigin() })

	r.handler = New(Options{Store: r.store, Recorder: r, Log: slog.New(slog.DiscardHandler)})
	r.site = &Site{Name: "www.test", Aliases: []string{"test"}, Rules: &rules, Origin: pool}
	r.handler.Swap(NewSites([]*Site{r.site}), Limits{})
	server := &http.Server{Handler: r.handler}
	edgeListener := r.net.Listen("www.test:80")
	go func() { _ = server.Serve(edgeListener) }()
	transport := &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return r.net.DialContext(ctx, network, "www.test:80")
		},
	}
	r.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() { transport.CloseIdleConnections(); _ = server.Close() })
	return r
}

// close ends the edge as a shutdown would, fills first.
func (r *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.handler.Close(ctx); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	if err := r.store.Close(); err != nil {
		r.t.Errorf("Close of the store: %v", err)
	}
	if used := r.store.Stats().UsedBytes; used != 0 {
		r.t.Errorf("%d bytes are still reserved at the end", used)
	}
}

// answered is a response that was read to its end.
type answered struct {
	*http.Response
	body string
	err  error // of reading the body
}

// do sends one request; fields are "Name: value".
func (r *rig) do(ctx context.Context, method, target string, fields ...string) (answered, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://www.test"+target, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, each := range fields {
		name, value, _ := strings.Cut(each, ": ")
		if name == "Host" {
			request.Host = value
			continue
		}
		request.Header.Add(name, value)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return answered{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answered{response, string(body), err}, nil
}

// get sends a GET and expects an answer.
func (r *rig) get(target string, fields ...string) answered {
	r.t.Helper()
	a, err := r.do(r.t.Context(), http.MethodGet, target, fields...)
	if err != nil {
		r.t.Fatalf("GET %s: %v", target, err)
	}
	return a
}

// herd sends n equal requests at once and returns their answers.
func (r *rig) herd(n int, target string, fields ...string) []answered {
	all := make([]answered, n)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i], all[i].err = r.do(r.t.Context(), http.MethodGet, target, fields...) })
	}
	wg.Wait()
	return all
}

// expect checks what X-Cache and Cache-Status say of an answer.
func (a answered) expect(t *testing.T, status int, xCache, cacheStatus string) {
	t.Helper()
	if a.StatusCode != status || a.Header.Get("X-Cache") != xCache {
		t.Errorf("%s: status %d, X-Cache %q, want %d, %q", a.Request.URL, a.StatusCode, a.Header.Get("X-Cache"), status, xCache)
	}
	if got := a.Header.Get(httpcache.CacheStatusField); got != "perigee; "+cacheStatus {
		t.Errorf("%s: Cache-Status %q, want %q", a.Request.URL, got, "perigee; "+cacheStatus)
	}
}

// hits checks how often the origin was asked for a path.
func (r *rig) hits(path string, want int) {
	r.t.Helper()
	if got := r.origin.Hits(path); got != want {
		r.t.Errorf("the origin was asked for %s %d times, want %d", path, got, want)
	}
}
