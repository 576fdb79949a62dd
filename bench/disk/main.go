// Disk tells how much of what was sent through a cache is stored, and how long a cache
// takes after it was killed until what lies on its disk is served.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// longest bounds every command.
const longest = 5 * time.Minute

// command is one thing to find out. It gets its arguments and prints what it found.
type command func(ctx context.Context, args []string) error

func commands() map[string]command {
	return map[string]command{"share": share, "start": start}
}

func main() {
	if len(os.Args) < 2 || commands()[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "disk: share or start? Each takes -h.")
		os.Exit(2)
	}
	ctx, end := context.WithTimeout(context.Background(), longest)
	defer end()
	if err := commands()[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "disk %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// targets are URLs that differ by a number.
type targets struct {
	url      string // with NUMBER in it
	first, n int
}

func (t *targets) flags(f *flag.FlagSet) {
	f.StringVar(&t.url, "url", "", "`URL` with NUMBER in it")
	f.IntVar(&t.first, "first", 1, "the first number that was asked for")
	f.IntVar(&t.n, "n", 1, "how many were")
}

// isHit asks for a target and tells whether the response was stored.
func (t *targets) isHit(ctx context.Context, number int) (bool, error) {
	url := strings.ReplaceAll(t.url, "NUMBER", strconv.Itoa(number))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, err
	}
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return strings.Contains(resp.Header.Get("X-Cache"), "HIT"), nil
}

// share asks for some of the targets that were asked for, spread evenly over them, and
// prints how many of a hundred are hits.
func share(ctx context.Context, args []string) error {
	var t targets
	f := flag.NewFlagSet("share", flag.ExitOnError)
	t.flags(f)
	ask := f.Int("ask", 200, "how many to ask for")
	f.Parse(args)
	hits, asked := 0, max(1, min(t.n, *ask))
	for i := range asked {
		hit, err := t.isHit(ctx, t.first+i*t.n/asked)
		if err != nil {
			return err
		}
		if hit {
			hits++
		}
	}
	fmt.Println(hits * 100 / asked)
	return nil
}
