package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	inTime   = time.Second     // what a normal request may take
	patience = 5 * time.Second // when a normal client gives up
)

// kind is one way of asking normally.
type kind struct {
	name   string
	client *http.Client
	url    string // ends in "=" for a new object each time
}

// answered is what came of one normal request.
type answered struct {
	kind string
	took time.Duration
	err  error
}

// normal is a client of several kinds that asks at a rate, whether earlier requests
// are answered or not.
type normal struct {
	kinds []kind

	mu   sync.Mutex // guards results
	done []answered
}

// newNormal makes a client that comes from an address of its own.
func newNormal(clear, secure string) *normal {
	client := func(http2, keep bool) *http.Client {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 100, 1)}, Timeout: patience}
		return &http.Client{Timeout: patience, Transport: &http.Transport{
			DialContext: d.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true,
			ForceAttemptHTTP2: http2, DisableKeepAlives: !keep, MaxIdleConnsPerHost: 64,
		}}
	}
	const hit, miss = "/size/1024?cc=max-age%3D3600", "/size/1024?cc=max-age%3D3600&n="
	return &normal{kinds: []kind{
		{"HTTP/1.1 hit", client(false, true), "http://" + clear + hit},
		{"HTTP/1.1 miss", client(false, true), "http://" + clear + miss},
		{"HTTP/1.1 hit, new TLS connection", client(false, false), "https://" + secure + hit},
		{"HTTP/2 hit", client(true, true), "https://" + secure + hit},
		{"HTTP/2 miss", client(true, true), "https://" + secure + miss},
	}}
}

// ask sends the n-th request and reads all of the response.
func (c *normal) ask(ctx context.Context, n int, began time.Time) {
	k := c.kinds[n%len(c.kinds)]
	url := k.url
	if strings.HasSuffix(url, "=") {
		url += fmt.Sprint(n)
	}
	err := fetch(ctx, k.client, url)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, answered{k.name, time.Since(began), err})
}

func fetch(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n == 0) {
		err = fmt.Errorf("status %d and %d bytes", resp.StatusCode, n)
	}
	return err
}

// run asks rate times a second until during ends, and returns when the last one is
// answered or given up.
func (c *normal) run(during context.Context, rate int) {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case began := <-tick.C:
			all.Go(func() { c.ask(context.Background(), n, began) }) // bounded by patience
		case <-during.Done():
			return
		}
	}
}

// judgement is what a normal client would say.
type judgement struct {
	Requests int
	InTime   int
	P50, P99 time.Duration
	Worst    time.Duration
	Late     map[string]int // by kind: not answered, or too late
	Error    string         // the first one
}

// share is that of the requests answered in time; 0 for none at all.
func (j judgement) share() float64 {
	return float64(j.InTime) / float64(max(j.Requests, 1))
}

func judge(done []answered) judgement {
	j := judgement{Requests: len(done), Late: make(map[string]int)}
	slices.SortFunc(done, func(a, b answered) int { return cmp.Compare(a.took, b.took) })
	for _, a := range done {
		if a.err == nil && a.took <= inTime {
			j.InTime++
			continue
		}
		j.Late[a.kind]++
		if a.err != nil && j.Error == "" {
			j.Error = a.err.Error()
		}
	}
	if n := len(done); n > 0 {
		j.P50, j.P99, j.Worst = done[n/2].took, done[(n*99+99)/100-1].took, done[n-1].took
	}
	return j
}
