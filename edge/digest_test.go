package edge

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// A body that contradicts the origin's digest of it is not stored, and is counted (RFC
// 9530).
func TestReprDigest(t *testing.T) {
	digest := func(of string) string {
		sum := sha256.Sum256([]byte(of))
		return ": sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	const text = "the content"
	tests := map[string]struct {
		fields []string
		stored bool
	}{
		"none":                      {nil, true},
		"right":                     {[]string{"repr-digest" + digest(text)}, true},
		"wrong":                     {[]string{"repr-digest" + digest("another")}, false},
		"of the content":            {[]string{"content-digest" + digest(text)}, true},
		"of the content, wrong":     {[]string{"content-digest" + digest("another")}, false},
		"one of two wrong":          {[]string{"repr-digest" + digest(text), "content-digest" + digest("another")}, false},
		"an algorithm nobody knows": {[]string{"repr-digest: md6=:AAAA:"}, true},
		"malformed":                 {[]string{"repr-digest: sha-256=nonsense"}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				r.origin.Script("/x", testorigin.Answer{Fields: append(test.fields, "cache-control: max-age=60", `etag: "v1"`), Text: text})
				if a := r.get("/x"); a.err != nil || a.body != text {
					t.Errorf("the client got %q, %v", a.body, a.err)
				}
				synctest.Wait()
				a := r.get("/x")
				a.isHit(t, "the next request", test.stored)
				if a.body != text {
					t.Errorf("the next client got %q", a.body)
				}
				for _, field := range test.fields {
					name, value, _ := strings.Cut(field, ": ")
					if got := a.Header.Get(name); got != value {
						t.Errorf("%s %q, want it passed on: %q", name, got, value)
					}
				}
				synctest.Wait()
				want := int64(2)
				if test.stored {
					want = 0
				}
				if n := r.store.Stats().Corrupt; n != want {
					t.Errorf("%d bodies were counted as corrupt, want %d", n, want)
				}
			})
		})
	}
}

// A herd gets what the origin sent, and nothing of it stays; a body that is right the
// next time is stored.
func TestWrongDigestForHerd(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/50000?cc=max-age%3D60&etag=v1&delay=1s&gap=10ms&chunk=5000&digest="
		for _, a := range r.herd(20, target+"bad") {
			if a.err != nil || len(a.body) != 50000 {
				t.Errorf("%d bytes, %v", len(a.body), a.err)
			}
		}
		synctest.Wait()
		if stats := r.store.Stats(); stats.Objects != 0 || stats.Corrupt != 1 {
			t.Errorf("%d objects stored, %d corrupt; want none and 1", stats.Objects, stats.Corrupt)
		}
		r.hits("/size/50000", 1)
		r.get(target + "good")
		synctest.Wait()
		r.get(target+"good").isHit(t, "the right body", true)
	})
}

// The digest is of the whole: of a part it says nothing, and is no reason not to store
// one.
func TestDigestOfPart(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const target = "/size/10000?cc=max-age%3D60&etag=v1&digest=good"
		a := r.get(target, "Range: bytes=0-99")
		if a.StatusCode != 206 || a.Header.Get("Repr-Digest") == "" {
			t.Errorf("%d, Repr-Digest %q", a.StatusCode, a.Header.Get("Repr-Digest"))
		}
		r.get(target, "Range: bytes=10-19").isPart(t, "HIT")
		r.get(target)
		synctest.Wait()
		r.get(target).isHit(t, "the whole", true)
		if n := r.store.Stats().Corrupt; n != 0 {
			t.Errorf("%d bodies were counted as corrupt", n)
		}
	})
}
