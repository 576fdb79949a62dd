package purge

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
)

func TestScopeWords(t *testing.T) {
	t.Parallel()
	for scope := ScopeURL; scope <= ScopeAll; scope++ {
		if got, err := ParseScope(scope.String()); err != nil || got != scope {
			t.Errorf("ParseScope(%q) = %v, %v", scope, got, err)
		}
	}
	for _, word := range []string{"", "none", "URL", "everything"} {
		if got, err := ParseScope(word); err == nil {
			t.Errorf("ParseScope(%q) = %v, want an error", word, got)
		}
	}
	if got := Scope(99).String(); got != "none" {
		t.Errorf("Scope(99) is %q", got)
	}
}

// TestNetworks: where a request came from is what the listener says, if it does.
func TestNetworks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		network, client string
		want            int
	}{
		{"198.51.100.0/24", "198.51.100.7", 200},
		{"198.51.100.0/24", "::ffff:198.51.100.7", 200},
		{"::ffff:198.51.100.0/120", "198.51.100.7", 200},
		{"198.51.100.99/24", "198.51.100.7", 200},
		{"198.51.100.0/24", "198.51.101.7", 403},
		{"2001:db8::/32", "2001:db8::1%eth0", 200},
		{"2001:db8::/32", "198.51.100.7", 403},
		{"::/0", "198.51.100.7", 403},
		{"0.0.0.0/0", "", 403},
	} {
		r := newRig(t)
		r.Swap([]SiteOptions{{Name: siteWWW, Tokens: []Token{{
			Name: "net", Secret: secretNet, Scopes: []Scope{ScopeTag}, Networks: []netip.Prefix{netip.MustParsePrefix(c.network)},
		}}}})
		addr, _ := netip.ParseAddr(c.client)
		q := request{target: "/service/" + siteWWW + "/purge/t", token: secretNet}.http()
		w := httptest.NewRecorder()
		r.Public().ServeHTTP(w, q.WithContext(WithClient(q.Context(), addr)))
		if w.Code != c.want {
			t.Errorf("a token of %s used from %q: status %d, want %d", c.network, c.client, w.Code, c.want)
		}
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	if _, ok := newBucket(-1, 1).take(1e9, rigStart); !ok {
		t.Error("a rate below zero bounds")
	}
	b := newBucket(10, 5)
	if _, ok := b.take(5, rigStart); !ok {
		t.Error("a rested bucket is not full")
	}
	if wait, ok := b.take(1, rigStart); ok || wait != 100*time.Millisecond {
		t.Errorf("an empty bucket: %v, %v; want 100ms, false", wait, ok)
	}
	if _, ok := b.take(1, rigStart.Add(-time.Hour)); ok {
		t.Error("a clock that goes back fills the bucket")
	}
	if _, ok := b.take(1, rigStart.Add(time.Millisecond)); ok {
		t.Error("a clock that went back and came again fills the bucket")
	}
	if _, ok := b.take(6, rigStart.Add(time.Hour)); ok {
		t.Error("a bucket holds more than its burst")
	}
	if _, ok := b.take(5, rigStart.Add(time.Hour)); !ok {
		t.Error("a refusal took something")
	}
}

// classedNames knows two forms of each URL with a query, and a class in each scheme.
type classedNames struct{ testNames }

func (classedNames) Forms(_, scheme, host, path, query string) (queries, classes []string) {
	if query == "" {
		return []string{""}, nil
	}
	if query == "many" {
		for i := range maxForms {
			queries = append(queries, strconv.Itoa(i))
		}
	}
	return append(queries, query, query+"&whole"), []string{scheme + " " + host + path}
}

// TestForms: the purge of a URL strikes all forms of it, and all that No-Vary-Search
// makes equal to it; where that is too much, its path.
func TestForms(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.options.Names = classedNames{}
	if _, err := r.Purge(t.Context(), Order{Site: siteWWW, URLs: []string{"/a", "https://example.com/b?x=1", "/c?many"}}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		siteWWW + " url " + siteWWW + "/a", siteWWW + " url " + siteWWW + "/b?x=1", siteWWW + " url " + siteWWW + "/b?x=1&whole",
		siteWWW + " class https example.com/b", siteWWW + " class http example.com/b", siteWWW + " path " + siteWWW + "/c",
	}
	for _, host := range []string{siteWWW, "example.com", "img.example.com"} {
		want = append(want, siteWWW+" class https "+host+"/c", siteWWW+" class http "+host+"/c")
	}
	if diff := cmp.Diff(want, r.struck()); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
	record, _ := r.history.find(r.log.all()[0].ID)
	if diff := cmp.Diff(map[string]int{"url": 3, "path": 1}, record.Items); diff != "" {
		t.Errorf("the history counts what was ordered (-want +got)\n%s", diff)
	}
}

// TestDryRunsAreBounded: counting reads the whole store, so few may at once.
func TestDryRunsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	order := Order{Site: siteWWW, Tags: []string{"t"}, DryRun: true}
	r.count = func(string, []cachestore.Mark, time.Time) (int, bool) {
		if len(r.counts) < maxCounts {
			_, err := r.Purge(t.Context(), order)
			return 1, err != nil
		}
		var refusal *Refusal
		if _, err := r.Purge(t.Context(), order); !errors.As(err, &refusal) || refusal.Status != http.StatusTooManyRequests || refusal.RetryAfter == 0 {
			t.Errorf("one dry run too many: %v", err)
		}
		return 1, false
	}
	if receipt, err := r.Purge(t.Context(), order); err != nil || *receipt.Count != 1 || receipt.AtLeast {
		t.Errorf("receipt %+v, %v", receipt, err)
	}
	r.options.Count = nil
	var refusal *Refusal
	if _, err := r.Purge(t.Context(), order); !errors.As(err, &refusal) || refusal.Status != http.StatusNotImplemented {
		t.Errorf("without anything to count: %v", err)
	}
	if text := refusal.Error(); text == "" {
		t.Error("a refusal without a reason")
	}
}

// TestProblemsAreBounded: of very many, the first hundred are named and the rest
// counted.
func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	order := Order{Site: siteWWW}
	for i := range MaxItems {
		order.URLs = append(order.URLs, fmt.Sprint("bad", i, strings.Repeat("x", 1000)))
	}
	var refusal *Refusal
	if _, err := r.Purge(t.Context(), order); !errors.As(err, &refusal) || len(refusal.Problems) != maxProblems+1 {
		t.Fatalf("%d problems: %v", len(refusal.Problems), err)
	}
	if got, want := refusal.Problems[maxProblems], "and 400 more"; got != want {
		t.Errorf("the last is %q, want %q", got, want)
	}
	for _, problem := range refusal.Problems {
		if len(problem) > 300 {
			t.Errorf("a problem of %d bytes", len(problem))
		}
	}
}
