package edge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
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
	"perigee/purge"
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

// ended is the records of the requests that have ended. A client may have all of its
// answer a moment before that, so it lets everything come to rest first.
func (r *rig) ended() []Record {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

// last is the record of the request that ended last.
func (r *rig) last() Record {
	r.t.Helper()
	records := r.ended()
	if len(records) == 0 {
		r.t.Fatal("no request has been recorded")
	}
	return records[len(records)-1]
}

const (
	rigBudget = 16 << 20
	rigRate   = 1 << 10 // of the slowest client let pass, bytes a second
)

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

// later lets the clock of the bubble that it is called in go on; so does time.Sleep.
func later(d time.Duration) { time.Sleep(d) }

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

	r.handler = New(Options{Store: r.store, Ledger: purge.New(purge.Options{}), Recorder: r, Log: slog.New(slog.DiscardHandler)})
	r.site = &Site{Name: "www.test", Aliases: []string{"test"}, Rules: &rules, Origin: pool}
	r.handler.Swap(NewSites([]*Site{r.site}), Limits{MinRate: rigRate})
	server := &http.Server{Handler: r.handler, DisableGeneralOptionsHandler: true}
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
	time.Sleep(time.Second) // net/http lingers on connections that it closes
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.handler.Close(ctx); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	if err := r.store.Close(context.Background()); err != nil {
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

// reconfigure puts a changed copy of the site in the place of the one that is served.
func (r *rig) reconfigure(change func(*Site)) {
	site := *r.site
	change(&site)
	r.site = &site
	r.handler.Swap(NewSites([]*Site{r.site}), *r.handler.limits.Load())
}

// fetcherFunc is a Fetcher that is a function.
type fetcherFunc func(ctx context.Context, req *origin.Request) (*origin.Response, error)

func (f fetcherFunc) Fetch(ctx context.Context, req *origin.Request) (*origin.Response, error) {
	return f(ctx, req)
}

// pool is another pool of connections to the rig's network. It ends with the test.
func (r *rig) pool(o origin.Options) *origin.Pool {
	r.t.Helper()
	o.Dial = r.net.DialContext
	pool, err := origin.NewPool(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(pool.Close)
	return pool
}

// logTo makes the handler log into the buffer that is returned. Read it when no
// request is under way.
func (r *rig) logTo() *bytes.Buffer {
	var log bytes.Buffer
	r.handler.log = slog.New(slog.NewTextHandler(&log, nil)) // which locks for each line
	return &log
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
	var body strings.Builder
	body.Grow(int(max(0, response.ContentLength)))
	_, err = io.Copy(&body, response.Body)
	return answered{response, body.String(), err}, nil
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

// dial is a bare connection to the edge.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	conn, err := r.net.DialContext(r.t.Context(), "tcp", "www.test:80")
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// ask sends text, the head of a request, over conn and leaves the rest to others.
func (r *rig) ask(conn net.Conn, head string) {
	r.t.Helper()
	if _, err := io.WriteString(conn, head); err != nil {
		r.t.Fatalf("sending %q: %v", head, err)
	}
}

// raw sends a request with this request line over a connection of its own and
// returns everything that comes back.
func (r *rig) raw(line string, fields ...string) string {
	r.t.Helper()
	conn := r.dial()
	defer conn.Close()
	r.ask(conn, line+"\r\nHost: www.test\r\nConnection: close\r\n"+strings.Join(append(fields, "\r\n"), "\r\n"))
	all, err := io.ReadAll(conn)
	if err != nil {
		r.t.Fatalf("%s: %v", line, err)
	}
	return string(all)
}

// direct gives a request to the handler without a wire in between: over TLS, as far
// as the handler can see, if the URL begins with https.
func (r *rig) direct(method, url string) answered {
	r.t.Helper()
	w := httptest.NewRecorder()
	request := httptest.NewRequest(method, url, nil)
	r.handler.ServeHTTP(w, request)
	response := w.Result() // w.Header() is the handler's again
	response.Request = request
	return answered{Response: response, body: w.Body.String()}
}

// exchange is a GET that has been admitted and not answered. Give it to the
// handler's end.
func (r *rig) exchange(target string) (*exchange, *httptest.ResponseRecorder) {
	r.t.Helper()
	request := httptest.NewRequest(http.MethodGet, "http://www.test"+target, nil)
	w := httptest.NewRecorder()
	x := r.handler.begin(w, request, time.Now())
	if fault := x.admit(); fault != nil {
		r.t.Fatalf("GET %s: %+v", target, *fault)
	}
	return x, w
}

// originAt is a pool's options for an upstream.
func originAt(url string) origin.Options { return origin.Options{Upstream: url} }

// compare reads a body to its end and compares it with want on the way, so that
// nothing large is kept.
func compare(body, want io.Reader) error {
	a, b := bufio.NewReaderSize(body, 32<<10), bufio.NewReaderSize(want, 32<<10)
	for n := int64(0); ; {
		_, err := a.Peek(1)
		if errors.Is(err, io.EOF) {
			if _, err := b.Peek(1); err == nil {
				return fmt.Errorf("the body ended after %d bytes", n)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		p, _ := a.Peek(a.Buffered())
		q, _ := b.Peek(len(p))
		if !bytes.Equal(p, q) {
			return fmt.Errorf("the body differs between the bytes %d and %d", n, n+int64(len(p)))
		}
		_, _ = a.Discard(len(p))
		_, _ = b.Discard(len(q))
		n += int64(len(p))
	}
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
