package edge

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// partSize is the length of the representations of these stories.
const partSize = 10_000

// publish makes a version of a representation the one that the origin has: its body
// depends on path and tag, and on nothing else.
func (r *rig) publish(path, etag string, fields ...string) {
	answer := testorigin.Answer{Fields: append([]string{"cache-control: max-age=60"}, fields...), Size: partSize}
	if etag != "" {
		answer.Fields = append(answer.Fields, "etag: "+etag)
	}
	r.origin.Script(path, answer)
}

// bytesOf is a part of a published body, both ends included.
func bytesOf(path, etag string, first, last int64) string {
	return string(testorigin.Body(testorigin.Seed(path, etag), partSize)[first : last+1])
}

// asks is the Range of each GET that the origin got for a path, "whole" without.
func (r *rig) asks(path string) (all []string) {
	for _, each := range r.origin.Requests() {
		if each.Path != path || each.Method != http.MethodGet {
			continue
		}
		field := each.Header.Get("Range")
		if field == "" {
			field = "whole"
		}
		all = append(all, field)
	}
	return all
}

// gives checks that an answer is these bytes of that version, and says so.
func (a answered) gives(t *testing.T, path, etag string, first, last int64) {
	t.Helper()
	if a.err != nil {
		t.Errorf("%s: %v", path, a.err)
		return
	}
	status, span := http.StatusPartialContent, fmt.Sprintf("bytes %d-%d/%d", first, last, partSize)
	if first == 0 && last == partSize-1 && a.StatusCode == http.StatusOK {
		status, span = http.StatusOK, ""
	}
	if a.StatusCode != status || a.Header.Get("Content-Range") != span || a.Header.Get("Etag") != etag {
		t.Errorf("%s: %d, Content-Range %q, ETag %s; want %d, %q, %s",
			path, a.StatusCode, a.Header.Get("Content-Range"), a.Header.Get("Etag"), status, span, etag)
	}
	if want := bytesOf(path, etag, first, last); a.body != want {
		t.Errorf("%s: the %d bytes of the body are not the bytes %d to %d of version %s", path, len(a.body), first, last, etag)
	}
}

// What the origin is asked for when clients ask for parts one after the other: what is
// there already never, what is missing alone (RFC 9111 §3.3, §3.4).
func TestPartsAreStoredAndCombined(t *testing.T) {
	type step struct {
		ask         string // Range of the client, "" for the whole
		first, last int64  // what it is to get
		upstream    string // what the origin is asked for, "" for nothing
	}
	const end = partSize - 1
	tests := map[string][]step{
		"smaller ranges": {
			{"bytes=0-999", 0, 999, "bytes=0-999"},
			{"bytes=10-19", 10, 19, ""},
			{"bytes=0-0", 0, 0, ""},
			{"bytes=999-999", 999, 999, ""},
			{"bytes=0-999", 0, 999, ""},
		},
		"overlapping": {
			{"bytes=0-99", 0, 99, "bytes=0-99"},
			{"bytes=50-149", 50, 149, "bytes=100-149"},
			{"bytes=0-149", 0, 149, ""},
		},
		"overlapping before": {
			{"bytes=100-199", 100, 199, "bytes=100-199"},
			{"bytes=50-149", 50, 149, "bytes=50-99"},
			{"bytes=50-199", 50, 199, ""},
		},
		"a gap in the middle": {
			{"bytes=0-99", 0, 99, "bytes=0-99"},
			{"bytes=200-299", 200, 299, "bytes=200-299"},
			{"bytes=0-299", 0, 299, "bytes=100-199"},
			{"bytes=50-250", 50, 250, ""},
		},
		"two gaps are one question": {
			{"bytes=100-199", 100, 199, "bytes=100-199"},
			{"bytes=300-399", 300, 399, "bytes=300-399"},
			{"bytes=0-399", 0, 399, "bytes=0-299"},
			{"bytes=0-399", 0, 399, ""},
		},
		"adjacent": {
			{"bytes=0-99", 0, 99, "bytes=0-99"},
			{"bytes=100-199", 100, 199, "bytes=100-199"},
			{"bytes=99-100", 99, 100, ""},
		},
		"a suffix": {
			{"bytes=-100", end - 99, end, "bytes=-100"},
			{"bytes=-50", end - 49, end, ""},
			{fmt.Sprintf("bytes=%d-", end-9), end - 9, end, ""},
			{"bytes=-200", end - 199, end, fmt.Sprintf("bytes=%d-%d", end-199, end-100)},
		},
		"an open end": {
			{"bytes=9000-", 9000, end, "bytes=9000-"},
			{"bytes=9500-9599", 9500, 9599, ""},
			{"bytes=-1000", 9000, end, ""},
			{"bytes=8990-", 8990, end, "bytes=8990-8999"},
		},
		"beyond the end": {
			{"bytes=9990-20000", 9990, end, "bytes=9990-20000"},
			{"bytes=9995-30000", 9995, end, ""},
		},
		"the whole after its beginning": {
			{"bytes=0-4999", 0, 4999, "bytes=0-4999"},
			{"", 0, end, fmt.Sprintf("bytes=5000-%d", end)},
			{"", 0, end, ""},
			{"bytes=-1", end, end, ""},
			{"bytes=4990-5010", 4990, 5010, ""},
		},
		"the whole after its end": {
			{"bytes=-5000", 5000, end, "bytes=-5000"},
			{"", 0, end, "bytes=0-4999"},
			{"", 0, end, ""},
		},
		"the whole by its parts": {
			{"bytes=0-4999", 0, 4999, "bytes=0-4999"},
			{"bytes=5000-", 5000, end, fmt.Sprintf("bytes=5000-%d", end)},
			{"", 0, end, ""},
		},
		"all of it as a range": {
			{"bytes=0-", 0, end, "bytes=0-"},
			{"", 0, end, ""},
			{"bytes=5-6", 5, 6, ""},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.publish("/x", `"v1"`)
				var want []string
				for i, each := range steps {
					var fields []string
					if each.ask != "" {
						fields = []string{"Range: " + each.ask}
					}
					a := r.get("/x", fields...)
					a.gives(t, "/x", `"v1"`, each.first, each.last)
					xCache := "HIT"
					if each.upstream != "" {
						want, xCache = append(want, each.upstream), "MISS"
					}
					if got := a.Header.Get("X-Cache"); got != xCache {
						t.Errorf("step %d, %q: X-Cache %s, want %s (%s)", i, each.ask, got, xCache, a.Header.Get(httpcache.CacheStatusField))
					}
					synctest.Wait()
				}
				if got := r.asks("/x"); !slices.Equal(got, want) {
					t.Errorf("the origin was asked for %q, want %q", got, want)
				}
				for i, each := range r.origin.Requests() {
					if got := each.Header.Get("If-Range"); i > 0 && got != `"v1"` {
						t.Errorf("question %d, for %s, came with If-Range %q, want \"v1\"", i, each.Header.Get("Range"), got)
					}
				}
				if n := r.store.Stats().Objects; n != 1 {
					t.Errorf("%d objects are stored, want all parts in one", n)
				}
			})
		})
	}
}

// Without a strong validator nobody can say that two parts are of one representation:
// each is asked for whole, and so is the rest (RFC 9111 §3.4).
func TestPartsWithoutStrongValidatorAreNotCombined(t *testing.T) {
	for name, fields := range map[string][]string{
		"none": nil, "weak": {`etag: W/"v1"`}, "a date": {"last-modified: Fri, 31 Dec 1999 23:59:59 GMT"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				etag := ""
				if name == "weak" {
					etag = `W/"v1"`
				}
				r.publish("/x", "", fields...)
				for _, each := range []struct {
					ask         string
					first, last int64
				}{{"bytes=0-99", 0, 99}, {"bytes=10-19", 10, 19}, {"bytes=50-149", 50, 149}, {"bytes=60-69", 60, 69}} {
					r.get("/x", "Range: "+each.ask).gives(t, "/x", etag, each.first, each.last)
				}
				r.get("/x").gives(t, "/x", etag, 0, partSize-1)
				r.get("/x", "Range: bytes=0-9").gives(t, "/x", etag, 0, 9)
				if got, want := r.asks("/x"), []string{"bytes=0-99", "bytes=50-149", "whole"}; !slices.Equal(got, want) {
					t.Errorf("the origin was asked for %q, want %q", got, want)
				}
				for _, each := range r.origin.Requests() {
					if got := each.Header.Get("If-Range"); got != "" {
						t.Errorf("the origin got If-Range %q for what has no strong validator", got)
					}
				}
			})
		})
	}
}

// When the representation changes between two parts no answer has bytes of both, and
// what was stored of the old one is gone.
func TestPartsOfChangedRepresentationAreDiscarded(t *testing.T) {
	for name, second := range map[string]testorigin.Answer{
		"the origin obeys If-Range":   {Size: partSize},
		"the origin ignores Range":    {Size: partSize, NoRanges: true},
		"the origin ignores If-Range": {Handler: unconditionalPart("/x", `"v2"`)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.publish("/x", `"v1"`)
				r.get("/x", "Range: bytes=0-99").gives(t, "/x", `"v1"`, 0, 99)
				second.Fields = []string{"cache-control: max-age=60", `etag: "v2"`}
				r.origin.Script("/x", second)
				r.get("/x", "Range: bytes=50-149").gives(t, "/x", `"v2"`, 50, 149)
				synctest.Wait()
				r.get("/x", "Range: bytes=0-9").gives(t, "/x", `"v2"`, 0, 9)
				r.get("/x").gives(t, "/x", `"v2"`, 0, partSize-1)
				if n := r.origin.Hits("/x"); n > 5 {
					t.Errorf("the origin was asked %d times", n)
				}
			})
		})
	}
}

// unconditionalPart answers every Range with that part of a version, whatever If-Range
// says, and everything else with the whole.
func unconditionalPart(path, etag string) http.HandlerFunc {
	body := testorigin.Body(testorigin.Seed(path, etag), partSize)
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set(httpcache.CacheControlField, "max-age=60")
		h.Set("Etag", etag)
		var first, last int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
			_, _ = w.Write(body)
			return
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(body)))
		h.Set("Content-Length", fmt.Sprint(last-first+1))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(body[first : last+1])
	}
}

// An origin that ignores Range is asked once, whatever parts a herd wants, and what it
// gives is stored whole.
func TestOriginWithoutRanges(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{
			Fields: []string{"cache-control: max-age=60", `etag: "v1"`}, Size: partSize, NoRanges: true, Delay: time.Second, Gap: 10 * time.Millisecond, Chunk: 1000,
		})
		ranges := make([]string, 50)
		for i := range ranges {
			ranges[i] = fmt.Sprintf("bytes=%d-%d", i*100, i*100+149)
		}
		for i, a := range r.many("/x", ranges) {
			a.gives(t, "/x", `"v1"`, int64(i*100), int64(i*100+149))
		}
		r.hits("/x", 1)
		later(time.Second)
		a := r.get("/x")
		a.gives(t, "/x", `"v1"`, 0, partSize-1)
		if got := a.Header.Get("X-Cache"); got != "HIT" {
			t.Errorf("X-Cache %s of the whole, want HIT", got)
		}
		r.hits("/x", 1)
	})
}

// many asks for several ranges at once.
func (r *rig) many(target string, ranges []string) []answered {
	all := make([]answered, len(ranges))
	var wg sync.WaitGroup
	for i, each := range ranges {
		wg.Go(func() {
			a, err := r.do(r.t.Context(), http.MethodGet, target, "Range: "+each)
			if err != nil {
				a.err = err
			}
			all[i] = a
		})
	}
	wg.Wait()
	return all
}

// A herd that wants one part costs one question, before anything is known of the target
// and later; one that wants different parts costs at most one for each.
func TestHerdsOnParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `etag: "v1"`}, Size: partSize, Delay: time.Second})
		same := func(n int, ask string, first, last int64) {
			for _, a := range r.many("/x", slices.Repeat([]string{ask}, n)) {
				a.gives(t, "/x", `"v1"`, first, last)
			}
		}
		same(50, "bytes=0-99", 0, 99)
		r.hits("/x", 1)
		same(50, "bytes=1000-1099", 1000, 1099)
		r.hits("/x", 2)
		ranges := make([]string, 20)
		for i := range ranges {
			ranges[i] = fmt.Sprintf("bytes=%d-%d", 2000+i*10, 2000+i*10+9)
		}
		for i, a := range r.many("/x", append(ranges, ranges...)) {
			i %= len(ranges)
			a.gives(t, "/x", `"v1"`, int64(2000+i*10), int64(2000+i*10+9))
		}
		r.hits("/x", 2+len(ranges))
		for _, a := range r.herd(20, "/x") {
			a.gives(t, "/x", `"v1"`, 0, partSize-1)
		}
		r.hits("/x", 3+len(ranges))
		if n := r.store.Stats(); n.Objects != 1 || n.Partial != 0 {
			t.Errorf("%d objects, %d of them partial; want one that is whole", n.Objects, n.Partial)
		}
	})
}

// What is stored in parts becomes stale as a whole does, and is good again after a 304.
func TestStalePartIsValidated(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v1"`)
		r.get("/x", "Range: bytes=0-99")
		later(2 * time.Minute)
		a := r.get("/x", "Range: bytes=10-19")
		a.gives(t, "/x", `"v1"`, 10, 19)
		if a.Header.Get("X-Cache") != "REVALIDATED" || r.origin.NotModified("/x") != 1 {
			t.Errorf("X-Cache %s after %d 304; want REVALIDATED after 1", a.Header.Get("X-Cache"), r.origin.NotModified("/x"))
		}
		r.get("/x", "Range: bytes=20-29").expect(t, 206, "HIT", "hit; ttl=60")
		r.hits("/x", 2)
		later(2 * time.Minute)
		r.get("/x", "Range: bytes=50-149").gives(t, "/x", `"v1"`, 50, 149)
		r.get("/x", "Range: bytes=0-149").gives(t, "/x", `"v1"`, 0, 149)
		asks := r.asks("/x")
		if len(asks) != 4 || asks[3] != "bytes=100-149" {
			t.Errorf("the origin was asked for %q, want a validation and the part that was missing", asks)
		}
		later(2 * time.Minute)
		r.publish("/x", `"v2"`)
		r.get("/x", "Range: bytes=10-19").gives(t, "/x", `"v2"`, 10, 19)
		r.get("/x", "Range: bytes=50-149").gives(t, "/x", `"v2"`, 50, 149)
	})
}

// A client leaves in the middle of its part: the part comes whole nevertheless.
func TestPartOutlivesItsClient(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `etag: "v1"`}, Size: partSize, Gap: time.Second, Chunk: 500})
		ctx, leave := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer leave()
		if a, err := r.do(ctx, http.MethodGet, "/x", "Range: bytes=0-1999"); err == nil && a.err == nil {
			t.Error("the client that left got everything")
		}
		later(5 * time.Second)
		r.get("/x", "Range: bytes=0-1999").gives(t, "/x", `"v1"`, 0, 1999)
		r.hits("/x", 1)
	})
}

// The origin hangs up in the middle of a part: its client can see that, the parts of
// before still answer, and the next client gets the part.
func TestOriginBreaksOffInPart(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.publish("/x", `"v1"`)
		r.get("/x", "Range: bytes=0-99")
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=60", `etag: "v1"`}, Size: partSize, Abort: true, AbortAt: 50})
		if a, err := r.do(t.Context(), http.MethodGet, "/x", "Range: bytes=50-249"); err == nil && a.err == nil {
			t.Errorf("%d with %d bytes of a part that did not come whole, want a visible end", a.StatusCode, len(a.body))
		}
		synctest.Wait()
		r.publish("/x", `"v1"`)
		hits := r.origin.Hits("/x")
		r.get("/x", "Range: bytes=0-99").gives(t, "/x", `"v1"`, 0, 99)
		r.hits("/x", hits)
		r.get("/x", "Range: bytes=50-249").gives(t, "/x", `"v1"`, 50, 249)
		r.get("/x").gives(t, "/x", `"v1"`, 0, partSize-1)
	})
}
