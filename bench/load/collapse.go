package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"perigee/internal/testorigin"
)

// crowd is many clients for one object that nobody has asked for before.
type crowd struct {
	url, origin, admin string // of perigee, of the origin, of perigee's operator
	rate               int64  // bytes per second at which the origin sends
}

// collapse sends a crowd to a cold object on a slow origin.
func collapse(ctx context.Context, args []string) error {
	var c crowd
	f := flag.NewFlagSet("collapse", flag.ExitOnError)
	f.StringVar(&c.url, "url", "", "`URL` of perigee")
	f.StringVar(&c.origin, "origin", "", "`URL` of its origin")
	f.StringVar(&c.admin, "admin", "", "`URL` of perigee's operator listener")
	f.Int64Var(&c.rate, "rate", 30_000_000, "bytes per second of the origin")
	pid := f.Int("pid", 0, "process of perigee, whose memory is watched")
	clients := f.Int("clients", 1000, "how many stay to the end")
	leavers := f.Int("leavers", 20, "how many more leave in the middle")
	size := f.Int64("size", 100_000_000, "bytes of the object")
	growth := f.Int64("growth", 0, "bytes by which the resident memory may grow beyond the object")
	f.Parse(args)

	if err := c.leaderLeaves(ctx); err != nil {
		return fmt.Errorf("the client that asked first leaves: %w", err)
	}
	before, err := memoryOf(*pid)
	if err != nil {
		return err
	}
	result := watch(ctx, *pid)
	err = c.gather(ctx, *clients, *leavers, *size)
	peak, samples, end, watchErr := result()
	if err = errors.Join(err, watchErr); err != nil {
		return err
	}
	fmt.Printf("memory before: VmRSS %.1f MiB; it may grow by %.1f MiB\n", float64(before.now)/mib, float64(*size+*growth)/mib)
	return withinBound(peak, samples, end, before.now+*size+*growth)
}

// script has the origin answer path with a slow body.
func (c *crowd) script(ctx context.Context, path string, seed uint64, size int64) error {
	_, err := fetchText(ctx, fmt.Sprintf("%s/_set%s?cc=max-age%%3D3600&size=%d&seed=%d&chunk=262144&rate=%d", c.origin, path, size, seed, c.rate))
	return err
}

// askedOnce fails unless the origin has been asked for path just once.
func (c *crowd) askedOnce(ctx context.Context, path string) error {
	hits, err := fetchText(ctx, c.origin+"/_hits?path="+path)
	if err == nil && hits != "1" {
		err = fmt.Errorf("the origin was asked %s times for %s, not once", hits, path)
	}
	return err
}

// leaderLeaves has the client for which the origin is asked leave while another
// one follows what it brings.
func (c *crowd) leaderLeaves(ctx context.Context) error {
	const path, seed, size = "/left", 5, 20_000_000
	if err := c.script(ctx, path, seed, size); err != nil {
		return err
	}
	led, followed := make(chan struct{}), make(chan struct{})
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error {
		v := visit{
			client: clientFrom(2), url: c.url + path, buf: make([]byte, pieceBytes), leave: 1,
			want: &seeded{seed: seed, n: size, scratch: make([]byte, pieceBytes)},
			first: func() {
				close(led)
				_ = wait(both, followed) // if that never comes, the other one says why
			},
		}
		_, err := v.get(both)
		return err
	})
	group.Go(func() error {
		if err := wait(both, led); err != nil {
			return err
		}
		v := visit{
			client: clientFrom(3), url: c.url + path, buf: make([]byte, pieceBytes), first: func() { close(followed) },
			want: &seeded{seed: seed, n: size, scratch: make([]byte, pieceBytes)},
		}
		_, err := v.get(both)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := c.askedOnce(ctx, path); err != nil {
		return err
	}
	fmt.Println("the client that asked first left; the one that followed got every byte, the origin was asked once")
	return nil
}

// moments is when something happened to each client, after the start of all.
type moments []time.Duration

func (m moments) String() string {
	sorted := slices.Sorted(slices.Values(m))
	n := len(sorted)
	return fmt.Sprintf("first %.2f s, median %.2f s, 99 %% %.2f s, last %.2f s",
		sorted[0].Seconds(), sorted[n/2].Seconds(), sorted[n*99/100].Seconds(), sorted[n-1].Seconds())
}

// before counts the clients to which it happened before at.
func (m moments) before(at time.Duration) (n int) {
	for _, each := range m {
		if each < at {
			n++
		}
	}
	return n
}

// filled waits until perigee has begun a fill and ended it.
func (c *crowd) filled(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for begun := false; ; {
		text, err := fetchText(ctx, c.admin+"/v1/stats")
		if err != nil {
			return err
		}
		var stats struct{ Store struct{ Fills int64 } }
		if err := json.Unmarshal([]byte(text), &stats); err != nil {
			return fmt.Errorf("/v1/stats: %w", err)
		}
		if begun && stats.Store.Fills == 0 {
			return nil
		}
		begun = begun || stats.Store.Fills > 0
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// gather sends all clients at once, from several addresses of loopback, because
// perigee bounds the connections of one.
func (c *crowd) gather(ctx context.Context, clients, leavers int, size int64) error {
	const path, seed = "/cold", 7
	if err := c.script(ctx, path, seed, size); err != nil {
		return err
	}
	want := held(testorigin.Body(seed, size))
	var from []*http.Client
	for host := range byte(8) {
		from = append(from, clientFrom(10+host))
	}
	first, whole := make(moments, clients), make(moments, clients) // each client writes its own
	var bytes atomic.Int64
	begin := make(chan struct{})
	var began time.Time
	group, groupCtx := errgroup.WithContext(ctx)
	for i := range clients + leavers {
		group.Go(func() error {
			v := visit{client: from[i%len(from)], url: c.url + path, want: want, buf: make([]byte, pieceBytes)}
			if i < clients {
				v.first = func() { first[i] = time.Since(began) }
			} else {
				v.leave = 1 + size*int64(i-clients)/int64(2*leavers)
			}
			<-begin
			n, err := v.get(groupCtx)
			bytes.Add(n)
			if i < clients {
				whole[i] = time.Since(began)
			}
			return err
		})
	}
	began = time.Now()
	close(begin)
	err := c.filled(groupCtx)
	fillTime := time.Since(began)
	if err := errors.Join(group.Wait(), err); err != nil {
		return err
	}
	fmt.Printf("%d clients got %d bytes each and compared them, %d left in the middle; %.1f GB in %.1f s\n",
		clients, size, leavers, float64(bytes.Load())/1e9, time.Since(began).Seconds())
	fmt.Printf("the origin needs %.2f s at its pace, the fill has taken %.2f s\n", float64(size)/float64(c.rate), fillTime.Seconds())
	fmt.Printf("first byte: %v; at %d clients before the fill ended\nwhole body: %v\n", first, first.before(fillTime), whole)
	return c.askedOnce(ctx, path)
}

func wait(ctx context.Context, until <-chan struct{}) error {
	select {
	case <-until:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fetchText gets a short text.
func fetchText(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: status %d: %s", url, resp.StatusCode, text)
	}
	return strings.TrimSpace(string(text)), err
}
