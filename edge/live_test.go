package edge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// streaming puts the rule for live streams on some paths.
func (r *rig) streaming() {
	r.ruled(Rule{Match: Match{Paths: globs("/live/*")}, Live: true})
}

// A segment that is missing is missing for a second at most, whatever the origin says;
// elsewhere the origin's word counts.
func TestMissingSegment(t *testing.T) {
	for _, cc := range []string{"max-age=3600", "s-maxage=3600", "public", ""} {
		t.Run(cc, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.streaming()
				missing := testorigin.Answer{Status: 404, Text: "not yet"}
				if cc != "" {
					missing.Fields = []string{"cache-control: " + cc}
				}
				r.origin.Script("/live/7.m4s", missing)
				for _, a := range r.herd(50, "/live/7.m4s") {
					if a.err != nil || a.StatusCode != 404 {
						t.Errorf("%d, %v", a.StatusCode, a.err)
					}
				}
				r.hits("/live/7.m4s", 1)
				later(900 * time.Millisecond)
				if a := r.get("/live/7.m4s"); a.StatusCode != 404 || a.Header.Get("X-Cache") != "HIT" {
					t.Errorf("%d, X-Cache %s within the second; want the 404 from the store", a.StatusCode, a.Header.Get("X-Cache"))
				}
				r.origin.Script("/live/7.m4s", testorigin.Answer{Fields: []string{"cache-control: max-age=60"}, Text: "the segment"})
				later(200 * time.Millisecond)
				if a := r.get("/live/7.m4s"); a.StatusCode != 200 || a.body != "the segment" {
					t.Errorf("%d, %q after the second", a.StatusCode, a.body)
				}
				r.get("/live/7.m4s").isHit(t, "the segment", true)
				r.hits("/live/7.m4s", 2)
			})
		})
	}
}

func TestMissingElsewhere(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.streaming()
		const target = "/other/7.m4s?status=404&cc=max-age%3D3600"
		r.get(target)
		later(10 * time.Second)
		r.get(target).expect(t, 404, "HIT", "hit; ttl=3590")
	})
}

// Players that wait at the upstream for the same part wait together, though the
// playlists live for no time at all; those that wait for another do not.
func TestBlockingPlaylists(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.streaming()
		const path = "/live/list.m3u8"
		for round := range 3 {
			r.origin.Script(path, testorigin.Answer{
				Fields: []string{"cache-control: max-age=1"}, Text: fmt.Sprintf("list %d", round), Delay: 2 * time.Second,
			})
			before := r.origin.Hits(path)
			for _, a := range r.herd(50, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=0", path, round)) {
				if a.err != nil || a.body != fmt.Sprintf("list %d", round) {
					t.Errorf("round %d: %q, %v", round, a.body, a.err)
				}
			}
			if n := r.origin.Hits(path) - before; n != 1 {
				t.Errorf("round %d: 50 players cost %d questions, want 1", round, n)
			}
		}
	})
}

// A playlist keeps its age: players reckon with it.
func TestPlaylistKeepsItsAge(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.streaming()
		const target = "/live/list.m3u8?body=x&cc=max-age%3D6&age=2"
		r.get(target)
		later(3 * time.Second)
		a := r.get(target)
		a.expect(t, 200, "HIT", "hit; ttl=1")
		if got := a.Header.Get("Age"); got != "5" {
			t.Errorf("Age %q, want 5", got)
		}
		later(time.Second)
		r.get(target).isHit(t, "at the end of its lifetime", false)
	})
}

// Whoever joins while a segment is still being made gets what there is at once, and each
// chunk as it arrives, with one question to the origin.
func TestChunksLeaveAsTheyArrive(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.streaming()
		const (
			chunk  = 2000
			chunks = 8
			gap    = 500 * time.Millisecond
		)
		r.origin.Script("/live/8.m4s", testorigin.Answer{
			Fields: []string{"cache-control: max-age=60"}, Size: chunk * chunks, Chunk: chunk, Gap: gap, Chunked: true,
		})
		began := time.Now()
		want := testorigin.Body(testorigin.Seed("/live/8.m4s", ""), chunk*chunks)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				if late, err := r.watch("/live/8.m4s", want, func(n int) time.Time {
					return began.Add(time.Duration((n-1)/chunk) * gap)
				}); err != nil || late > 50*time.Millisecond {
					t.Errorf("viewer %d: a byte came %v late, %v", i, late, err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		r.hits("/live/8.m4s", 1)
	})
}

// watch reads a body, compares it and tells by how much the latest byte was late: due
// tells when the nth byte left the origin, and nothing is late that left before the
// viewer came.
func (r *rig) watch(path string, want []byte, due func(n int) time.Time) (late time.Duration, err error) {
	came := time.Now()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://www.test"+path, nil)
	if err != nil {
		return 0, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body := bufio.NewReader(response.Body)
	for n := 1; ; n++ {
		c, err := body.ReadByte()
		if err == io.EOF && n == len(want)+1 {
			return late, nil
		}
		if err != nil {
			return late, fmt.Errorf("byte %d: %w", n, err)
		}
		if n > len(want) || c != want[n-1] {
			return late, fmt.Errorf("byte %d is another", n)
		}
		from := due(n)
		if from.Before(came) {
			from = came
		}
		late = max(late, time.Since(from))
	}
}

// A live channel: a generator makes a segment each second and lists it; players follow.
// Nobody misses a segment that has been listed for a second, and each is fetched once.
func TestLiveChannel(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.streaming()
		const segments = 10
		segment := func(n int) string { return fmt.Sprintf("/live/%d.m4s", n) }
		for n := range segments + 1 {
			r.origin.Script(segment(n), testorigin.Answer{Status: 404, Fields: []string{"cache-control: max-age=30"}, Text: "not yet"})
		}
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := range segments {
				time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second)))
				r.origin.Script(segment(n), testorigin.Answer{Fields: []string{"cache-control: max-age=60"}, Text: segment(n)})
			}
		})
		var mu sync.Mutex // guards good
		good := make([]int, segments)
		for player := range 30 {
			wg.Go(func() {
				for n := range segments {
					// Too early on purpose: the 404 must not last.
					time.Sleep(time.Until(began.Add(time.Duration(n)*time.Second - 10*time.Millisecond)))
					r.get(segment(n))
					time.Sleep(time.Until(began.Add(time.Duration(n+1)*time.Second + time.Duration(player)*time.Millisecond)))
					if a := r.get(segment(n)); a.StatusCode == 200 && a.body == segment(n) {
						mu.Lock()
						good[n]++
						mu.Unlock()
					} else {
						t.Errorf("player %d, segment %d: %d, %s", player, n, a.StatusCode, a.Header.Get(httpcache.CacheStatusField))
					}
				}
			})
		}
		wg.Wait()
		for n, each := range good {
			if each != 30 {
				t.Errorf("segment %d reached %d of 30 players", n, each)
			}
			if asked := r.origin.Hits(segment(n)); asked > 2 {
				t.Errorf("segment %d was asked for %d times, want one 404 and one answer", n, asked)
			}
		}
	})
}
