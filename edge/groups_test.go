package edge

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// A POST whose answer invalidates a group strikes all that is in it, and nothing else
// (RFC 9875).
func TestCacheGroups(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		other := *r.site
		other.Name, other.Aliases = "other.test", nil
		r.handler.Swap(NewSites([]*Site{r.site, &other}), Limits{})
		page := func(path, groups string) {
			r.origin.Script(path, testorigin.Answer{Fields: []string{"cache-control: max-age=600", "cache-groups: " + groups}, Text: path})
		}
		page("/a", `"g"`)
		page("/b", `"h", "g"`)
		page("/c", `"h"`)
		page("/d", `g, "G"`) // a token, and another case: other groups, or none
		paths := []string{"/a", "/b", "/c", "/d"}
		load := func() {
			for _, path := range paths {
				r.get(path)
			}
			r.get("/a", "Host: other.test")
		}
		strike := func(method string, status int, field string) {
			t.Helper()
			r.origin.Script("/act", testorigin.Answer{Status: status, Fields: []string{"cache-group-invalidation: " + field}})
			if a, err := r.do(t.Context(), method, "/act"); err != nil || a.StatusCode != status {
				t.Fatalf("%s: %v, %v", method, a.Response, err)
			}
		}
		check := func(what string, hits ...bool) {
			t.Helper()
			for i, path := range paths {
				r.get(path).isHit(t, what+": "+path, hits[i])
			}
			r.get("/a", "Host: other.test").isHit(t, what+": another site", true)
		}
		load()
		check("nothing struck", true, true, true, true)
		strike(http.MethodPost, 200, `"g"`)
		check("g struck", false, false, true, true)
		check("stored again", true, true, true, true)
		strike(http.MethodGet, 200, `"g"`)
		check("by GET", true, true, true, true)
		strike(http.MethodPost, 500, `"g"`)
		check("by an error", true, true, true, true)
		strike(http.MethodDelete, 204, `"h"`)
		check("h struck", true, false, false, true)
		strike("BREW", 200, `"g", "h"`)
		check("by a method nobody knows", false, false, false, true)
		strike(http.MethodPost, 302, `"g`)
		check("malformed", true, true, true, true)
		strike(http.MethodPost, 302, `"g"`)
		check("by a redirect", false, false, true, true)
	})
}

// What was asked for before a group was struck is of before, also if it comes after: it
// is not stored, and who asks afterwards gets what is of afterwards.
func TestGroupStruckDuringFetch(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/act", testorigin.Answer{Status: 204, Fields: []string{`cache-group-invalidation: "g"`}})
		serve := func(text string) {
			r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=600", `cache-groups: "g"`}, Text: text, Delay: 2 * time.Second})
		}
		serve("old")
		var wg sync.WaitGroup
		wg.Go(func() {
			if a := r.get("/x"); a.body != "old" {
				t.Errorf("the first client got %q", a.body)
			}
		})
		later(time.Second)
		r.post("/act", 204)
		serve("new")
		wg.Wait()
		synctest.Wait()
		if a := r.get("/x"); a.body != "new" {
			t.Errorf("after the group was struck: %q, %s", a.body, a.Header.Get(httpcache.CacheStatusField))
		}
	})
}

// A body that is still arriving when its group is struck goes on for who reads it, and
// answers nobody else.
func TestGroupStruckDuringFill(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/act", testorigin.Answer{Status: 204, Fields: []string{`cache-group-invalidation: "g"`}})
		r.origin.Script("/x", testorigin.Answer{
			Fields: []string{"cache-control: max-age=600", `cache-groups: "g"`, `etag: "v1"`}, Size: partSize, Chunk: 1000, Gap: time.Second,
		})
		var wg sync.WaitGroup
		wg.Go(func() { r.get("/x").gives(t, "/x", `"v1"`, 0, partSize-1) })
		later(3 * time.Second)
		r.post("/act", 204)
		r.publish("/x", `"v2"`, `cache-groups: "g"`)
		r.get("/x").gives(t, "/x", `"v2"`, 0, partSize-1)
		wg.Wait()
		synctest.Wait()
		r.get("/x").gives(t, "/x", `"v2"`, 0, partSize-1)
		r.hits("/x", 2)
	})
}

// Parts are in groups too, each with those of its own response.
func TestGroupsOfParts(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/act", testorigin.Answer{Status: 204, Fields: []string{`cache-group-invalidation: "g"`}})
		r.publish("/x", `"v1"`, `cache-groups: "g"`)
		r.get("/x", "Range: bytes=0-99")
		r.publish("/x", `"v1"`) // leaves the group, but the first part was in it
		r.get("/x", "Range: bytes=100-199")
		synctest.Wait()
		r.post("/act", 204)
		r.publish("/x", `"v2"`)
		r.get("/x", "Range: bytes=50-149").gives(t, "/x", `"v2"`, 50, 149)
		r.get("/x", "Range: bytes=150-159").gives(t, "/x", `"v2"`, 150, 159)
	})
}

// A client that leaves does not keep its POST from having invalidated.
func TestGroupStruckThoughClientLeft(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Fields: []string{"cache-control: max-age=600", `cache-groups: "g"`}, Text: "hi"})
		r.origin.Script("/act", testorigin.Answer{Fields: []string{`cache-group-invalidation: "g"`}, Size: 1 << 20, Chunk: 1000, Gap: time.Second})
		r.get("/x")
		ctx, leave := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer leave()
		_, _ = r.do(ctx, http.MethodPost, "/act")
		r.get("/x").isHit(t, "after the group was struck", false)
	})
}
