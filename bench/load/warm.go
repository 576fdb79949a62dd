package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
)

// warm fetches targets that differ by a number, twice, so that they are stored.
func warm(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("warm", flag.ExitOnError)
	url := f.String("url", "", "`URL` of the cache")
	path := f.String("path", "/size/1024?cc=max-age%3D3600&seed=NUMBER", "target; NUMBER is replaced by 1, 2, …")
	size := f.Int64("size", 1024, "bytes of each body")
	n := f.Int("n", 1000, "how many targets")
	f.Parse(args)
	client := clientFrom(1)
	hits := 0
	for round := range 2 {
		for i := 1; i <= *n; i++ {
			v := visit{
				client: client, url: *url + strings.ReplaceAll(*path, "NUMBER", strconv.Itoa(i)),
				want: &seeded{seed: uint64(i), n: *size, scratch: make([]byte, pieceBytes)}, buf: make([]byte, pieceBytes),
				head: func(xCache string) {
					if round == 1 && strings.Contains(xCache, "HIT") {
						hits++
					}
				},
			}
			if _, err := v.get(ctx); err != nil {
				return err
			}
		}
	}
	if hits < *n {
		return fmt.Errorf("%d of %d targets were hits the second time", hits, *n)
	}
	return nil
}
