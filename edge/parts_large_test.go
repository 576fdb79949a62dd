package edge

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// A representation that the store has no room for as a whole.
const (
	hugeBytes = 20_000_000
	huge      = "/size/20000000"
	hugeAsk   = huge + "?cc=max-age%3D6000&etag=v1"
)

func hugePart(first, last int64) io.Reader {
	return testorigin.Reader(testorigin.Seed(huge, `"v1"`), first, last+1)
}

func (r *rig) hugeRange(first, last int64) error {
	return r.whole(hugeAsk, 0, hugePart(first, last), "Range", fmt.Sprintf("bytes=%d-%d", first, last))
}

// Parts of what is too large to be stored whole are stored as far as there is room: the
// ones that are asked for again are hits.
func TestPartsOfHugeRepresentation(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		spans := [][2]int64{{0, 99_999}, {10_000_000, 10_099_999}, {hugeBytes - 100_000, hugeBytes - 1}}
		for range 2 {
			for _, each := range spans {
				if err := r.hugeRange(each[0], each[1]); err != nil {
					t.Errorf("%v: %v", each, err)
				}
				synctest.Wait()
			}
		}
		r.hits(huge, len(spans))
		if err := r.hugeRange(50_000, 149_999); err != nil {
			t.Error(err)
		}
		if got := r.asks(huge); got[len(got)-1] != "bytes=100000-149999" {
			t.Errorf("the origin was asked for %q, want the missing bytes alone", got[len(got)-1])
		}
	})
}

// All of it, for several clients at once, one of them slow, when parts are there: each
// gets every byte, from parts and from what is only passed on.
func TestWholeOfHugeRepresentationBesideParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, each := range [][2]int64{{0, 99_999}, {5_000_000, 5_099_999}} {
			if err := r.hugeRange(each[0], each[1]); err != nil {
				t.Fatalf("%v: %v", each, err)
			}
			synctest.Wait()
		}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				pause := time.Duration(0)
				if i == 3 {
					pause = time.Minute
				}
				if err := r.whole(hugeAsk, pause, hugePart(0, hugeBytes-1)); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			})
			wg.Go(func() {
				first := int64(i) * 3_000_000
				if err := r.hugeRange(first, first+199_999); err != nil {
					t.Errorf("range %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if n := r.origin.Hits(huge); n > 2+6+6+6 {
			t.Errorf("the origin was asked %d times", n)
		}
		if err := r.hugeRange(0, 999); err != nil {
			t.Error(err)
		}
	})
}

// A part that is itself too large is passed on, herd or not, and those who ask for it
// later are not held up.
func TestHugePart(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const first, last = 1_000_000, 16_000_000
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := r.hugeRange(first, last); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for range 2 {
			if err := r.hugeRange(first, last); err != nil {
				t.Error(err)
			}
		}
		if err := r.hugeRange(2_000_000, 2_000_099); err != nil {
			t.Error(err)
		}
	})
}

// The version changes while clients that fell behind go on by ranges of their own: they
// are cut, and never get bytes of both.
func TestHugeRepresentationChanges(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		script := func(etag string) {
			r.origin.Script(huge, testorigin.Answer{Fields: []string{"cache-control: max-age=6000", "etag: " + etag}, Size: hugeBytes})
		}
		script(`"v1"`)
		if err := r.hugeRange(0, 99_999); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				err := r.whole(huge+"?cc=max-age%3D6000&etag=v1", time.Duration(i)*time.Minute, hugePart(0, hugeBytes-1))
				if err != nil && strings.Contains(err.Error(), "differs") {
					t.Errorf("client %d: %v", i, err)
				}
			})
		}
		later(30 * time.Second)
		script(`"v2"`)
		wg.Wait()
		r.post(hugeAsk, 200)
		a, err := r.do(t.Context(), http.MethodGet, hugeAsk, "Range: bytes=50-149")
		want, _ := io.ReadAll(testorigin.Reader(testorigin.Seed(huge, `"v2"`), 50, 150))
		if err != nil || a.body != string(want) {
			t.Errorf("%d with %d bytes, %v; want those of the new version", a.StatusCode, len(a.body), err)
		}
	})
}
