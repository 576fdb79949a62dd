package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"perigee/internal/testorigin"
)

const (
	pieceBytes = 64 << 10
	// knownTags is how many validators a client remembers for its conditional requests.
	knownTags = 256
	// soon is how long a client waits before it asks a process again that does not listen.
	soon = 2 * time.Millisecond
)

// client sends one request after the other and checks what comes.
type client struct {
	trial  *Trial
	http   *http.Client
	random *rand.Rand
	slow   bool // pauses in the middle of long bodies
	known  map[string]string
	buf    []byte
	want   []byte
}

func newClient(t *Trial, number int) *client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+number%8))}, Timeout: patience}
	return &client{
		trial: t, random: rand.New(rand.NewPCG(t.o.Seed, uint64(number))), slow: number%8 == 7,
		http:  &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableCompression: true, MaxIdleConnsPerHost: 2}, Timeout: 2 * patience},
		known: make(map[string]string), buf: make([]byte, pieceBytes), want: make([]byte, pieceBytes),
	}
}

// ask is one request.
type ask struct {
	object  *object
	variant string // "-" where there is but one
	method  string
	from    int64 // of a range; -1 = none is asked for
	to      int64 // end, not included; -1 = to the end of the body
	known   string
	url     string
	least   int64 // no older version may come
}

func (a *ask) String() string {
	s := a.method + " " + a.object.path()
	if a.variant != "-" {
		s += " variant " + a.variant
	}
	if a.from >= 0 {
		s += fmt.Sprintf(" range %d-%d", a.from, a.to)
	}
	if a.known != "" {
		s += " if-none-match " + a.known
	}
	return s
}

// invent makes up a request: the first objects are asked for most.
func (c *client) invent() *ask {
	o, first := c.trial.choose(c.random)
	a := &ask{object: o, variant: o.variantOf(variants[c.random.IntN(len(variants))]), method: http.MethodGet, from: -1, to: -1}
	switch roll := c.random.IntN(100); {
	case first: // all of it
	case roll < 12 || roll < 50 && o.number%10 == 9:
		a.from = c.random.Int64N(o.base)
		if c.random.IntN(3) > 0 {
			a.to = a.from + 1 + c.random.Int64N(o.base-a.from)
		}
	case roll < 18:
		a.known = c.known[o.path()+a.variant]
	case roll < 20:
		a.method = http.MethodHead
	}
	return a
}

// run asks until ctx ends.
func (c *client) run(ctx context.Context) {
	defer c.http.CloseIdleConnections()
	for ctx.Err() == nil {
		c.visit(ctx, c.invent())
	}
}

// visit sends a request and judges the response.
func (c *client) visit(ctx context.Context, a *ask) {
	p := c.trial.current()
	answered := p.answered.Load()
	t := &c.trial.tally
	a.least, a.url = a.object.least(), c.trial.url+a.object.path()
	resp, err := c.send(ctx, a)
	if err == nil {
		var version int64
		version, err = c.judge(ctx, a, resp, p)
		if errors.Is(err, errShort) && a.object.version.Load() != version && !p.doomed.Load() {
			t.cut.Add(1)
			return
		}
	}
	switch {
	case err == nil:
		t.requests.Add(1)
		p.answered.Store(true)
	case ctx.Err() != nil:
	case errors.Is(err, errWrong):
		t.fault("life %d: %v: %v", c.trial.life.Load(), a, err)
	case answered && !p.doomed.Load() && !p.ends(ctx):
		t.fault("life %d: %v: %v", c.trial.life.Load(), a, err)
	default:
		t.interrupted.Add(1)
		pause(ctx, soon)
	}
}

func (c *client) send(ctx context.Context, a *ask) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, a.method, a.url, nil)
	if err != nil {
		return nil, err
	}
	if a.variant != "-" {
		r.Header.Set(variantField, a.variant)
	}
	if a.from >= 0 && a.to >= 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", a.from, a.to-1))
	} else if a.from >= 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", a.from))
	}
	if a.known != "" {
		r.Header.Set("If-None-Match", a.known)
	}
	return c.http.Do(r)
}

var (
	// errWrong is a response that is never right, whatever happens to the process.
	errWrong = errors.New("wrong response")
	// errShort is a body that ended before its end.
	errShort = errors.New("the body ended early")
)

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errWrong, fmt.Sprintf(format, args...))
}

// judge reads a response and compares it with what the origin has sent.
func (c *client) judge(ctx context.Context, a *ask, resp *http.Response, p *process) (version int64, err error) {
	defer resp.Body.Close()
	if resp.StatusCode >= 500 {
		return 0, fmt.Errorf("status %d, %s", resp.StatusCode, resp.Header.Get("Cache-Status"))
	}
	etag := resp.Header.Get("ETag")
	version, ok := a.object.parse(etag, a.variant)
	switch now := a.object.version.Load(); {
	case !ok:
		return 0, wrong("status %d with the validator %q", resp.StatusCode, etag)
	case version > now:
		return version, wrong("version %d, the origin is at %d", version, now)
	case version < a.least:
		return version, wrong("version %d after %d was the least that may be served; %s, Age %q, life of %v",
			version, a.least, resp.Header.Get("Cache-Status"), resp.Header.Get("Age"), time.Since(p.began).Round(time.Millisecond))
	}
	c.note(a, resp, p)
	from, to, err := a.expect(resp, etag, version)
	if err != nil {
		return version, err
	}
	if resp.StatusCode == http.StatusOK && len(c.known) < knownTags {
		c.known[a.object.path()+a.variant] = etag
	}
	if err := c.compare(ctx, resp.Body, a.object.seed(a.variant, version), from, to); err != nil {
		return version, fmt.Errorf("%w (%s, Age %q)", err, resp.Header.Get("Cache-Status"), resp.Header.Get("Age"))
	}
	return version, nil
}

// expect checks status and fields, and returns which bytes must follow.
func (a *ask) expect(resp *http.Response, etag string, version int64) (from, to int64, err error) {
	size := a.object.size(version)
	switch {
	case resp.StatusCode == http.StatusNotModified && a.known == etag:
		return 0, 0, nil
	case resp.StatusCode == http.StatusPartialContent && a.from >= 0:
		from, to = a.from, size
		if a.to >= 0 {
			to = min(a.to, size)
		}
		if want, got := fmt.Sprintf("bytes %d-%d/%d", from, to-1, size), resp.Header.Get("Content-Range"); got != want {
			return 0, 0, wrong("Content-Range %q, want %q", got, want)
		}
	case resp.StatusCode == http.StatusOK && (a.known == "" || a.known != etag):
		to = size
	default:
		return 0, 0, wrong("status %d, validator %s", resp.StatusCode, etag)
	}
	if length := resp.Header.Get("Content-Length"); length != "" && length != strconv.FormatInt(to-from, 10) {
		return 0, 0, wrong("Content-Length %s, want %d", length, to-from)
	}
	if a.method == http.MethodHead {
		return 0, 0, nil
	}
	return from, to, nil
}

// note counts where a response came from.
func (c *client) note(a *ask, resp *http.Response, p *process) {
	t := &c.trial.tally
	switch {
	case a.method == http.MethodHead:
		t.heads.Add(1)
	case resp.StatusCode == http.StatusOK:
		t.whole.Add(1)
	case resp.StatusCode == http.StatusPartialContent:
		t.partial.Add(1)
	default:
		t.unmodified.Add(1)
	}
	switch how := resp.Header.Get("X-Cache"); {
	case strings.Contains(how, "HIT"):
		t.hits.Add(1)
		if a.object.asked.Load() < p.life && c.trial.current() == p {
			t.diskHits.Add(1)
			p.firstHit.CompareAndSwap(0, int64(time.Since(p.began)))
		}
	case strings.Contains(how, "REVALIDATED"):
		t.revalidated.Add(1)
	}
}

// compare reads a body that must be the bytes of seed between from and to.
func (c *client) compare(ctx context.Context, body io.Reader, seed uint64, from, to int64) error {
	stop := int64(-1) // where a slow client pauses
	if c.slow && to-from > 4*pieceBytes {
		stop = from + (to-from)/2
	}
	for at := from; ; {
		n, err := body.Read(c.buf)
		if n > 0 {
			if at+int64(n) > to {
				return wrong("more than the %d bytes that there are", to-from)
			}
			want := c.want[:n]
			testorigin.Fill(want, seed, at)
			if !bytes.Equal(c.buf[:n], want) {
				return wrong("bytes %d to %d of %d are not those of the origin", at, at+int64(n), to)
			}
			at += int64(n)
			c.trial.tally.bytes.Add(int64(n))
			if stop >= 0 && at >= stop {
				stop = -1
				pause(ctx, 200*time.Millisecond)
			}
		}
		switch {
		case err == io.EOF && at == to:
			return nil
		case err == io.EOF:
			return wrong("%d of %d bytes came, and then a regular end", at-from, to-from)
		case err != nil:
			return fmt.Errorf("%w after %d of %d bytes: %w", errShort, at-from, to-from, err)
		}
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
