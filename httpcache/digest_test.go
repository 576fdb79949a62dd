package httpcache

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// RFC 9530 §2 and §3: of what is sent in part only the digest of the representation
// still holds.
func TestDropContentDigest(t *testing.T) {
	t.Parallel()
	h := get("Content-Digest: sha-256=:AA=:", "Content-MD5: x", "Repr-Digest: sha-256=:AA=:", "Content-Type: a/b").Header
	DropContentDigest(h)
	want := http.Header{"Repr-Digest": {"sha-256=:AA=:"}, "Content-Type": {"a/b"}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("DropContentDigest (-want +got):\n%s", diff)
	}
}
