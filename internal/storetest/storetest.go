package storetest

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Stored is the metadata of a fresh response; vary fields are "Name: value" pairs
// of request and response.
func Stored(t testing.TB, vary ...string) *httpcache.Stored {
	t.Helper()
	return Tagged(t, "", 0, vary...)
}

// Tagged is Stored with an entity tag, quotes included, of a response that came the
// given time after the first.
func Tagged(t testing.TB, etag string, after time.Duration, vary ...string) *httpcache.Stored {
	t.Helper()
	r, _ := http.NewRequest("GET", "http://a.test/x", nil)
	came := epoch.Add(after)
	h := http.Header{"Cache-Control": {"max-age=3600"}, "Date": {came.Format(http.TimeFormat)}}
	if etag != "" {
		h.Set("ETag", etag)
	}
	for _, each := range vary {
		name, value, _ := strings.Cut(each, ": ")
		r.Header.Add(name, value)
		h.Add("Vary", name)
	}
	s, refusal := httpcache.NewStored(&httpcache.Rules{}, httpcache.NewRequest(r), httpcache.Response{
		Status: 200, Header: h, ContentLength: -1, RequestTime: came, ResponseTime: came,
	})
	if refusal != 0 {
		t.Fatalf("the test's response is refused: %v", refusal)
	}
	return s
}

// Key is the i-th key.
func Key(i int) (key httpcache.Key) {
	binary.BigEndian.PutUint64(key[:], rand.New(rand.NewPCG(1, uint64(i))).Uint64())
	binary.BigEndian.PutUint64(key[8:], uint64(i))
	return key
}

// Content is a body that can be told from every other.
func Content(seed, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// Read returns n bytes of o from off; n < 0 is all.
func Read(ctx context.Context, o *cachestore.Object, off, n int64) ([]byte, error) {
	reader, err := o.Open(off, n)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var all []byte
	for {
		piece, err := reader.Next(ctx)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, piece...)
	}
}
