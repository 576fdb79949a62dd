package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// recent is from how many of the objects before it a request for an old one chooses.
const recent = 150

// thing is an object of the mix.
type thing struct {
	size    int64
	chunked bool
}

// things makes objects of at least total bytes in all. Their sizes are spread
// evenly over the orders of magnitude; every other one has no Content-Length.
func things(seed uint64, total, smallest, largest int64) []thing {
	random := rand.New(rand.NewPCG(seed, 1))
	var all []thing
	for sum := int64(0); sum < total; {
		size := int64(float64(smallest) * math.Exp(random.Float64()*math.Log(float64(largest)/float64(smallest))))
		all = append(all, thing{size: size, chunked: len(all)%2 == 1})
		sum += size
	}
	return all
}

func (t thing) path(number int) string {
	path := fmt.Sprintf("/size/%d?cc=max-age%%3D3600&seed=%d", t.size, number)
	if t.chunked {
		path += "&chunked=1"
	}
	return path
}

// tally is what the clients of a mix have seen.
type tally struct {
	requests, bytes atomic.Int64
	mu              sync.Mutex // guards results
	results         map[string]int
}

func (t *tally) result(xCache string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.results[xCache]++
}

// mix sends a mixed load: each object once, and between them old ones again.
func mix(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("mix", flag.ExitOnError)
	url := f.String("url", "", "`URL` of perigee")
	pid := f.Int("pid", 0, "process of perigee, whose memory is watched")
	clients := f.Int("clients", 64, "how many at once")
	total := f.Int64("bytes", 2<<30, "bytes of all objects together")
	smallest := f.Int64("smallest", 1<<10, "bytes of the smallest object")
	largest := f.Int64("largest", 20_000_000, "bytes of the largest")
	bound := f.Int64("bound", 0, "bytes that the process may hold resident")
	seed := f.Uint64("seed", 1, "of the mix")
	f.Parse(args)

	all := things(*seed, *total, *smallest, *largest)
	var sum int64
	for _, t := range all {
		sum += t.size
	}
	fmt.Printf("%d objects of %d bytes to %d bytes, %.0f MiB in all, every other one without Content-Length; %d clients\n",
		len(all), *smallest, *largest, float64(sum)/mib, *clients)

	result := watch(ctx, *pid)
	began := time.Now()
	t := &tally{results: map[string]int{}}
	err := visitAll(ctx, *url, all, *clients, *seed, t)
	took := time.Since(began)
	peak, samples, end, watchErr := result()
	fmt.Printf("%d requests, %.0f MiB, every byte compared, in %.1f s; X-Cache %v\n",
		t.requests.Load(), float64(t.bytes.Load())/mib, took.Seconds(), t.results)
	if err != nil {
		return err
	}
	if watchErr != nil {
		return watchErr
	}
	return withinBound(peak, samples, end, *bound)
}

// visitAll has clients fetch all objects, and after every other one an old one.
func visitAll(ctx context.Context, url string, all []thing, clients int, seed uint64, t *tally) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	client := clientFrom(1)
	for id := range clients {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(seed, uint64(id)+2))
			buf, scratch := make([]byte, pieceBytes), make([]byte, pieceBytes)
			for {
				i := int(next.Add(1)) - 1
				if i >= len(all) {
					return nil
				}
				for _, number := range []int{i, max(0, i-1-random.IntN(recent))}[:1+i%2] {
					v := visit{
						client: client, url: url + all[number].path(number+1), head: t.result,
						want: &seeded{seed: uint64(number + 1), n: all[number].size, scratch: scratch}, buf: buf,
					}
					n, err := v.get(ctx)
					t.requests.Add(1)
					t.bytes.Add(n)
					if err != nil {
						return err
					}
				}
			}
		})
	}
	return group.Wait()
}
