package main

import (
	"fmt"
	"strings"
	"testing"

	"perigee/internal/testorigin"
)

// A load program that finds no fault would find none in a cache that makes them.
func TestVisitFindsWhatDiffers(t *testing.T) {
	t.Parallel()
	origin := testorigin.Start(t)
	const size = 200_000
	for _, each := range []struct{ name, path, want string }{
		{"the same", "/size/200000?seed=3", ""},
		{"without Content-Length", "/size/200000?seed=3&chunked=1", ""},
		{"other bytes", "/size/200000?seed=4", "are not those of the origin"},
		{"too short", "/size/199999?seed=3", "199999 bytes came, not 200000"},
		{"too long", "/size/200001?seed=3", "are not those of the origin"},
		{"cut", "/size/200000?seed=3&abort=150000", "unexpected EOF"},
		{"cut without Content-Length", "/size/200000?seed=3&chunked=1&abort=150000", "unexpected EOF"},
		{"an error", "/size/200000?seed=3&status=404", "status 404"},
	} {
		for name, want := range map[string]body{
			"seeded": &seeded{seed: 3, n: size, scratch: make([]byte, pieceBytes)},
			"held":   held(testorigin.Body(3, size)),
		} {
			t.Run(each.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				v := visit{client: clientFrom(1), url: origin.URL + each.path, want: want, buf: make([]byte, pieceBytes)}
				n, err := v.get(t.Context())
				if each.want == "" && (err != nil || n != size) {
					t.Errorf("%s: %d bytes, %v; want %d, no error", each.path, n, err, size)
				}
				if each.want != "" && !strings.Contains(fmt.Sprint(err), each.want) {
					t.Errorf("%s: %v; want an error that says %q", each.path, err, each.want)
				}
			})
		}
	}
}

func TestThings(t *testing.T) {
	t.Parallel()
	const total, smallest, largest = 64 << 20, 1 << 10, 20_000_000
	all := things(1, total, smallest, largest)
	var sum int64
	small, chunked := 0, 0
	for _, each := range all {
		if each.size < smallest || each.size > largest {
			t.Errorf("an object of %d bytes, want between %d and %d", each.size, smallest, largest)
		}
		if each.size < 100<<10 {
			small++
		}
		if each.chunked {
			chunked++
		}
		sum += each.size
	}
	if sum < total || sum-all[len(all)-1].size >= total {
		t.Errorf("%d bytes in all with and %d without the last object, want %d between them", sum, sum-all[len(all)-1].size, total)
	}
	if small == 0 || chunked != len(all)/2 {
		t.Errorf("of %d objects %d are small and %d chunked, want some and half of them", len(all), small, chunked)
	}
}

func TestWithinBound(t *testing.T) {
	t.Parallel()
	for _, each := range []struct {
		peak, most, bound int64
		fine              bool
	}{{10, 12, 12, true}, {10, 13, 12, false}, {13, 12, 12, false}} {
		if err := withinBound(each.peak, 1, memory{most: each.most}, each.bound); (err == nil) != each.fine {
			t.Errorf("withinBound(peak %d, most %d, bound %d): %v", each.peak, each.most, each.bound, err)
		}
	}
}
