package httpcache

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What a response was stored for is told in the form in which it is compared.
func TestSelecting(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000_000, 0)
	request := func(h http.Header) *Request { return NewRequest(&http.Request{Method: http.MethodGet, Header: h}) }
	resp := Response{Status: 200, RequestTime: now, ResponseTime: now, Header: http.Header{
		"Cache-Control": {"max-age=60, stale-while-revalidate=5"}, "Expires": {"0"}, "Vary": {"X-A, Accept-Encoding, X-B"},
		"Surrogate-Control": {"content=\"x\""}, "Etag": {`"v"`},
	}}
	req := request(http.Header{"X-A": {"1,2"}, "Accept-Encoding": {"gzip;q=0.5, br"}})
	s, refusal := NewStored(&Rules{}, req, resp)
	if refusal != Storable {
		t.Fatal(refusal)
	}
	want := []Selecting{{"accept-encoding", "br, gzip", true}, {"x-a", "1, 2", true}, {Name: "x-b"}}
	if diff := cmp.Diff(want, s.Selecting()); diff != "" {
		t.Errorf("Selecting (-want +got):\n%s", diff)
	}
	want = []Selecting{{"accept-encoding", "", true}, {Name: "x-a"}, {"x-b", "", true}}
	if diff := cmp.Diff(want, SelectingOf(s.Vary(), request(http.Header{"X-B": {""}}))); diff != "" {
		t.Errorf("SelectingOf (-want +got):\n%s", diff)
	}
	if got := SelectingOf(nil, req); got != nil {
		t.Errorf("SelectingOf nothing is %v", got)
	}
	fields := []string{"Cache-Control: max-age=60, stale-while-revalidate=5", "Expires: 0"}
	if diff := cmp.Diff(fields, s.FreshnessFields()); diff != "" {
		t.Errorf("FreshnessFields (-want +got):\n%s", diff)
	}
	rules := &Rules{StaleWhileRevalidate: time.Hour, StaleIfError: time.Minute}
	if refresh, failure := s.StaleWindows(rules); refresh != 5*time.Second || failure != time.Minute || s.Strict() {
		t.Errorf("StaleWindows %v, %v, strict %t; want 5s, 1m, false", refresh, failure, s.Strict())
	}
	resp.Header = http.Header{"Cache-Control": {"max-age=60, must-revalidate"}}
	if s, _ = NewStored(&Rules{}, req, resp); s == nil {
		t.Fatal("not stored")
	}
	if refresh, failure := s.StaleWindows(rules); refresh != 0 || failure != 0 || !s.Strict() {
		t.Errorf("StaleWindows %v, %v, strict %t under must-revalidate", refresh, failure, s.Strict())
	}
}
