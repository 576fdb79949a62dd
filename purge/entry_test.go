package purge

import (
	"strings"
	"testing"
)

// made takes what a function that makes entries returns.
type made struct {
	Entry
	err error
}

func make2(e Entry, err error) made { return made{e, err} }

func TestEntries(t *testing.T) {
	t.Parallel()
	const site = "www.example.com"
	tests := []struct {
		name  string
		got   made
		kind  Kind
		value string
	}{
		{"url", make2(URL(site, "www.example.com", "/a", "")), KindURL, "www.example.com/a"},
		{"url with query", make2(URL(site, "www.example.com", "/a", "b=?")), KindURL, "www.example.com/a?b=?"},
		{"IPv6", make2(URL(site, "[::1]", "/", "")), KindURL, "[::1]/"},
		{"path", make2(Path(site, "www.example.com", "/a/")), KindPath, "www.example.com/a/"},
		{"prefix", make2(Prefix(site, "www.example.com", "/a/b")), KindPrefix, "www.example.com/a/b"},
		{"prefix with slashes", make2(Prefix(site, "www.example.com", "/a//")), KindPrefix, "www.example.com/a"},
		{"root", make2(Prefix(site, "www.example.com", "/")), KindPrefix, "www.example.com/"},
		{"slashes", make2(Prefix(site, "www.example.com", "//")), KindPrefix, "www.example.com/"},
		{"any host", make2(Prefix("*", "*", "/a")), KindPrefix, "*/a"},
		{"tag", make2(Tag(site, "Item 1")), KindTag, "Item 1"},
		{"host", make2(Host(site, "www.example.com")), KindHost, "www.example.com"},
		{"hosts", make2(Host(site, "*.example.com")), KindHost, "*.example.com"},
		{"class", make2(Class(site, "x")), KindClass, "x"},
		{"site", make2(Site(site)), KindSite, ""},
		{"everything", made{Entry: Everything()}, KindEverything, ""},
	}
	for _, test := range tests {
		if test.got.err != nil || test.got.Kind != test.kind || test.got.Value != test.value {
			t.Errorf("%s: %+v, error %v, want %v %q", test.name, test.got.Entry, test.got.err, test.kind, test.value)
		}
		if err := test.got.Validate(); err != nil {
			t.Errorf("%s: Validate: %v", test.name, err)
		}
	}
}

func TestEntriesRefused(t *testing.T) {
	t.Parallel()
	const site = "www.example.com"
	long := strings.Repeat("x", MaxValueBytes)
	tests := []struct {
		name string
		got  made
	}{
		{"no site", make2(Tag("", "a"))},
		{"long site", make2(Tag(strings.Repeat("s", 256), "a"))},
		{"no host", make2(URL(site, "", "/a", ""))},
		{"host in capitals", make2(URL(site, "WWW.example.com", "/a", ""))},
		{"host with port", make2(URL(site, "www.example.com:80", "/a", ""))},
		{"host with path", make2(URL(site, "www.example.com/a", "/b", ""))},
		{"host with query", make2(URL(site, "www.example.com?a", "/b", ""))},
		{"any host of one that is known", make2(URL(site, "*", "/a", ""))},
		{"no path", make2(URL(site, "www.example.com", "", "a"))},
		{"path without slash", make2(URL(site, "www.example.com", "a", ""))},
		{"path with dots", make2(URL(site, "www.example.com", "/a/../b", ""))},
		{"path with space", make2(Path(site, "www.example.com", "/a b"))},
		{"path with query", make2(Path(site, "www.example.com", "/a?b"))},
		{"url whose path has a query", make2(URL(site, "www.example.com", "/a?b", "c"))},
		{"prefix with query", make2(Prefix(site, "www.example.com", "/a?b"))},
		{"no prefix", make2(Prefix(site, "www.example.com", ""))},
		{"query with fragment", make2(URL(site, "www.example.com", "/a", "b#c"))},
		{"long", make2(URL(site, "www.example.com", "/", long))},
		{"no tag", make2(Tag(site, ""))},
		{"tag with space", make2(Tag(site, " a"))},
		{"tag with line", make2(Tag(site, "a\nb"))},
		{"long tag", make2(Tag(site, long+"x"))},
		{"no host", make2(Host(site, ""))},
		{"star", make2(Host(site, "*"))},
		{"all hosts", make2(Host(site, "*."))},
		{"star within", make2(Host(site, "*.*.example.com"))},
		{"no class", make2(Class(site, ""))},
	}
	for _, test := range tests {
		if test.got.err == nil {
			t.Errorf("%s: %+v, want an error", test.name, test.got.Entry)
		}
	}
	for _, e := range []Entry{
		{},
		{Site: site, Kind: kindEnd},
		{Site: site, Kind: kindGroup, Value: "a"},
		{Site: site, Kind: KindSite, Value: "a"},
		{Site: site, Kind: KindEverything},
		{Kind: KindSite},
		{Site: site, Kind: KindURL, Value: "www.example.com/a?"},
		{Site: site, Kind: KindTag, Value: "a", Who: strings.Repeat("w", 256)},
	} {
		if err := e.Validate(); err == nil {
			t.Errorf("%+v is valid, want an error", e)
		}
	}
}

func TestKindNames(t *testing.T) {
	t.Parallel()
	seen := map[string]Kind{}
	for k := range kindEnd {
		name := k.String()
		if other, twice := seen[name]; name == "" || twice {
			t.Errorf("kind %d is called %q, as is %d", k, name, other)
		}
		seen[name] = k
	}
	if got := kindEnd.String(); got != "kind 9" {
		t.Errorf("unknown kind: %q", got)
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	id := NewID()
	if id == NewID() || id == (ID{}) {
		t.Error("NewID gives what it gave")
	}
	if got, err := ParseID(id.String()); got != id || err != nil {
		t.Errorf("ParseID(%q) = %v, %v", id, got, err)
	}
	for _, bad := range []string{"", "12", id.String() + "00", strings.Repeat("x", 32)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) succeeds", bad)
		}
	}
}
