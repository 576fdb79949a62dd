package httpcache

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"net/http"

	"github.com/dunglas/httpsfv"
)

// maxDigestBytes bounds a digest field, all lines together; a longer one is
// ignored.
const maxDigestBytes = 4 << 10

// Digest compares the content of a response with what the response says of it
// (RFC 9530). It belongs to one goroutine. Nil stands for a response that says
// nothing: it takes any content and agrees.
type Digest struct {
	checks []digestCheck
}

// contentMD5Field is what Content-Digest was before (RFC 1864).
const contentMD5Field = "Content-Md5"

// digestsContent reports the fields about the very bytes of one message's content
// (RFC 9530 §2), true of no other message of the same representation. The name is in
// canonical form.
func digestsContent(name string) bool {
	return name == ContentDigestField || name == contentMD5Field
}

// DropContentDigest removes the digests of the content from the fields of a stored
// response that is sent in part, for they are of the whole. Repr-Digest stays: it is
// of the representation, whatever is sent of it (RFC 9530 §3). Keys of h are in
// canonical form.
func DropContentDigest(h http.Header) {
	delete(h, ContentDigestField)
	delete(h, contentMD5Field)
}

// digestCheck is one algorithm and the values that it must come to.
type digestCheck struct {
	sum  hash.Hash
	want [][]byte
}

// NewDigest returns what the content of the response has to agree with, or nil
// where there is nothing to verify. Repr-Digest and Content-Digest are read of a
// 200 without Content-Range only, for there both are about the very bytes of the
// content. Of each field the strongest algorithm counts that we know; unknown
// and malformed members are ignored, and so is a field that is no dictionary.
func NewDigest(resp Response) *Digest {
	if resp.Status != http.StatusOK || len(resp.Header[ContentRangeField]) > 0 {
		return nil
	}
	var d Digest
	for _, field := range [...]string{ReprDigestField, ContentDigestField} {
		algorithm, value := strongestDigest(resp.Header[field])
		if value != nil {
			d.expect(algorithm, value)
		}
	}
	if len(d.checks) == 0 {
		return nil
	}
	return &d
}

// strongestDigest returns the strongest algorithm known in a digest field, and
// its value; nil for none.
func strongestDigest(lines []string) (digestAlgorithm, []byte) {
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if size == 0 || size > maxDigestBytes {
		return digestAlgorithm{}, nil
	}
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return digestAlgorithm{}, nil
	}
	for _, algorithm := range digestAlgorithms() {
		member, _ := dictionary.Get(algorithm.name)
		if item, ok := member.(httpsfv.Item); ok {
			if value, ok := item.Value.([]byte); ok && len(value) == algorithm.size {
				return algorithm, value
			}
		}
	}
	return digestAlgorithm{}, nil
}

type digestAlgorithm struct {
	name  string
	size  int
	start func() hash.Hash
}

// digestAlgorithms returns those that we verify, the strongest first.
func digestAlgorithms() [2]digestAlgorithm {
	return [...]digestAlgorithm{{"sha-512", sha512.Size, sha512.New}, {"sha-256", sha256.Size, sha256.New}}
}

// expect adds a value; an algorithm is reckoned once for both fields.
func (d *Digest) expect(algorithm digestAlgorithm, value []byte) {
	for i := range d.checks {
		if check := &d.checks[i]; check.sum.Size() == algorithm.size {
			check.want = append(check.want, value)
			return
		}
	}
	d.checks = append(d.checks, digestCheck{algorithm.start(), [][]byte{value}})
}

// Write takes the next bytes of the content. It never fails.
func (d *Digest) Write(p []byte) (int, error) {
	if d != nil {
		for _, check := range d.checks {
			check.sum.Write(p)
		}
	}
	return len(p), nil
}

// Agrees reports whether the content written so far is what the response says.
func (d *Digest) Agrees() bool {
	if d == nil {
		return true
	}
	for _, check := range d.checks {
		got := check.sum.Sum(nil)
		for _, want := range check.want {
			if !bytes.Equal(got, want) {
				return false
			}
		}
	}
	return true
}
