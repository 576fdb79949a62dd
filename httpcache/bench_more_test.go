package httpcache

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func campaignRule() *QueryRule {
	return &QueryRule{Exclude: []Glob{NewGlob("utm_*"), NewGlob("fbclid"), NewGlob("*clid*")}, Sort: true}
}

// hostileQueries fill a target of 16 KiB: as many parameters as fit, and fewer
// with names that are long to compare, in an order without pattern.
func hostileQueries() map[string]string {
	shuffled := func(n int, name func(i int) string) string {
		members := make([]string, n)
		for i := range members {
			members[i] = name(int(spread(uint64(i)) % uint64(n)))
		}
		return strings.Join(members, "&")
	}
	return map[string]string{
		"hostile-many":  shuffled(8192, func(i int) string { return string(rune('a' + i%26)) }),
		"hostile-alike": shuffled(780, func(i int) string { return fmt.Sprintf("%%61aaaaaaaaaaaaa%04d", i) }),
		"hostile-same":  shuffled(4096, func(int) string { return "%61" }),
	}
}

func BenchmarkGlob(b *testing.B) {
	for _, bench := range []struct{ name, pattern, text string }{
		{"prefix", "/static/*", "/static/js/app.4f3c2b1a.js"},
		{"middle", "/*/live/*.m3u8", "/tv/live/one/index.m3u8"},
		{"hostile", "*" + strings.Repeat("a", 100) + "b*", strings.Repeat("a", 16<<10)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			glob := NewGlob(bench.pattern)
			for b.Loop() {
				glob.Match(bench.text)
			}
		})
	}
}

func BenchmarkQueryRule(b *testing.B) {
	queries := hostileQueries()
	for _, bench := range []struct{ name, query string }{
		{"unchanged", "id=1&page=2&q=some+text"},
		{"unchanged-encoded", "a%5Bb%5D=1&id=2"},
		{"excluded", "id=1&page=2&utm_source=a&utm_medium=b"},
		{"sorted", "q=some+text&page=2&id=1"},
		{"hostile-many", queries["hostile-many"]},
		{"hostile-alike", queries["hostile-alike"]},
		{"hostile-same", queries["hostile-same"]},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			rule := campaignRule()
			for b.Loop() {
				rule.Reduce(bench.query)
			}
		})
	}
}

func BenchmarkNoVarySearch(b *testing.B) {
	rule, ok := ParseNoVarySearch([]string{`key-order, params=("utm_source" "utm_medium" "gclid")`})
	if !ok {
		b.Fatal("not read")
	}
	queries := hostileQueries()
	for _, bench := range []struct{ name, query string }{
		{"canonical", "id=1&page=2&q=some+text"},
		{"reduced", "q=some%20text&utm_source=a&page=2&utm_medium=b&id=1"},
		{"hostile-many", queries["hostile-many"]},
		{"hostile-alike", queries["hostile-alike"]},
		{"hostile-same", queries["hostile-same"]},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rule.Reduce(bench.query)
			}
		})
	}
}

func BenchmarkCDNLoop(b *testing.B) {
	b.ReportAllocs()
	lines := []string{"other.example; v=1", "perigee; node=fra-1"}
	for b.Loop() {
		CDNLoop(lines, "perigee", "ams-1")
	}
}

// What the hit path calls must not allocate.
func TestMoreAllocations(t *testing.T) {
	rules, now := &Rules{StaleWhileRevalidate: time.Minute}, origo.Add(3500*time.Second)
	r := browserGet()
	s := mustStore(t, rules, r, typicalAnswer())
	decision := Decide(rules, NewRequest(r), s, now)
	rule, glob := campaignRule(), NewGlob("/*/live/*.m3u8")
	none, wordy := (*NoVarySearch)(nil), &QueryRule{Exclude: []Glob{NewGlob("*" + strings.Repeat("aaaaaaab", 8) + "*")}}
	lines := []string{"other.example; v=\"1, 2\"", "perigee; node=fra-1"}
	have := []ByteRange{{0, 99}, {200, 299}}
	target := Target{Scheme: "https", Host: "www.example.com", Path: "/", Facets: "country=de"}
	long := strings.Repeat("%61", nameBuffer) + "=1&b%20=2"
	for _, test := range []struct {
		name string
		most float64
		call func()
	}{
		{"Key with facets", 0, func() { target.Key() }},
		{"GroupKey", 0, func() { GroupKey("https", "www.example.com", "a group") }},
		{"Glob", 0, func() { glob.Match("/tv/live/one/index.m3u8") }},
		{"Reduce unchanged", 0, func() { rule.Reduce("a%20b=1&id=1&page=2") }},
		{"Reduce unchanged, long names", 0, func() { rule.Reduce(long) }},
		{"Reduce unchanged, long patterns", 0, func() { wordy.Reduce(long) }},
		{"Reduce excluded", 2, func() { rule.Reduce("id=1&page=2&utm_source=a") }},
		{"NoVarySearch of none", 0, func() { none.Reduce("b=1&a=2") }},
		{"CDNLoop", 0, func() { CDNLoop(lines, "perigee", "ams-1") }},
		{"Covers", 0, func() { Covers(have, ByteRange{10, 19}) }},
		{"Lacking nothing", 0, func() { Lacking(have, ByteRange{10, 19}) }},
		{"EarlyRefresh", 0, func() { EarlyRefresh(rules, s, decision, 7) }},
	} {
		if got := testing.AllocsPerRun(100, test.call); got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}

// Whatever a table says stays unchanged costs nothing.
func TestUnchangedQueryIsFree(t *testing.T) {
	unchanged := 0
	for _, r := range readTables(t) {
		if r.file != "query" {
			continue
		}
		rule, query := queryRule(t, r)
		if rule.Reduce(query) != query {
			continue
		}
		unchanged++
		if got := testing.AllocsPerRun(10, func() { rule.Reduce(query) }); got > 0 {
			t.Errorf("%s: %q is unchanged and costs %v allocations", r.id, query, got)
		}
	}
	if unchanged == 0 {
		t.Error("no row of the table query leaves its query unchanged")
	}
}

// The points of many objects are spread over the whole last tenth, also where
// their seeds count up.
func TestRefreshAtIsEven(t *testing.T) {
	t.Parallel()
	const objects, tenths = 10000, 10
	s := mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=1000, stale-while-revalidate=10"))
	var count [tenths]int
	for seed := range uint64(objects) {
		at := RefreshAt(s, seed)
		if at < 900*time.Second || at >= 1000*time.Second {
			t.Fatalf("seed %d: refreshed at %s, want in the last tenth of 1000 s", seed, at)
		}
		count[(at-900*time.Second)/(10*time.Second)]++
	}
	for i, n := range count {
		if n < objects/tenths*8/10 || n > objects/tenths*12/10 {
			t.Errorf("part %d of the last tenth has %d of %d objects", i, n, objects)
		}
	}
}

func TestNoVarySearchBounds(t *testing.T) {
	t.Parallel()
	list := func(n int, name string) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("%q", fmt.Sprintf("%s%d", name, i))
		}
		return "params=(" + strings.Join(names, " ") + ")"
	}
	long := strings.Repeat("x", 100)
	for _, test := range []struct {
		field string
		want  bool
	}{
		{list(maxSearchNames, "a"), true},
		{list(maxSearchNames+1, "a"), false},
		{list(30, long), true},
		{list(maxSearchNames, long), false},
		{"params, except=" + strings.TrimPrefix(list(maxSearchNames+1, "a"), "params="), false},
	} {
		if rule, ok := ParseNoVarySearch([]string{test.field}); ok != test.want {
			t.Errorf("ParseNoVarySearch of %d bytes, %.40q…: %v, %t, want %t", len(test.field), test.field, rule, ok, test.want)
		}
	}
	if _, ok := ParseNoVarySearch([]string{list(30, long), list(30, long)}); ok {
		t.Error("two lines that are too long together are read")
	}
}

func TestDigestBound(t *testing.T) {
	t.Parallel()
	value := digestValue("{sha-256:hello}")
	filler := ", x=\"" + strings.Repeat("a", maxDigestBytes) + "\""
	if d := NewDigest(answer("Repr-Digest: sha-256=" + value + filler)); d != nil {
		t.Error("a digest field beyond the bound is read")
	}
}
