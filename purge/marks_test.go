package purge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
)

const testSite = "www.example.com"

func testLedger() *Ledger { return New(Options{Key: [16]byte{1, 2, 3}}) }

// answerAt is a response at a URL of the test's site.
func answerAt(path, query string) cachestore.Subject {
	return cachestore.Subject{
		Site: testSite, Scheme: "https", Host: "www.example.com", Path: path, Query: query, Status: 200, MediaType: "text/html; charset=utf-8",
		Tags: []string{"item-1", "type=image/PNG"}, Groups: []string{"scripts"},
	}
}

func TestMarksStruck(t *testing.T) {
	t.Parallel()
	classed := answerAt("/s", "a=1")
	classed.Class = "class of s"
	other := answerAt("/", "")
	other.Site = "other.example.com"
	anywhere := answerAt("/a/b", "q")
	anywhere.Site = "*"
	missing := answerAt("/", "")
	missing.Status, missing.MediaType = 404, "Text/HTML"
	deep := strings.Repeat("/d", maxPrefixes)
	tests := []struct {
		s     cachestore.Subject
		e     made
		wants bool
	}{
		{answerAt("/a", "b"), make2(URL(testSite, "www.example.com", "/a", "b")), true},
		{answerAt("/a", "b"), make2(URL(testSite, "www.example.com", "/a", "")), false},
		{answerAt("/a", ""), make2(URL(testSite, "www.example.com", "/a", "b")), false},
		{answerAt("/a", "b"), make2(URL(testSite, "www.example.com", "/a/", "b")), false},
		{answerAt("/a", "b"), make2(Path(testSite, "www.example.com", "/a")), true},
		{answerAt("/a", ""), make2(Path(testSite, "www.example.com", "/a")), true},
		{answerAt("/a/", ""), make2(Path(testSite, "www.example.com", "/a")), false},
		{answerAt("/a/b", "q"), make2(Prefix(testSite, "www.example.com", "/a/b")), true},
		{answerAt("/a/b/", ""), make2(Prefix(testSite, "www.example.com", "/a/b")), true},
		{answerAt("/a/b/c", ""), make2(Prefix(testSite, "www.example.com", "/a/b/")), true},
		{answerAt("/a/bc", ""), make2(Prefix(testSite, "www.example.com", "/a/b")), false},
		{answerAt("/a//b/c", ""), make2(Prefix(testSite, "www.example.com", "/a//b")), true},
		{answerAt("/a//b/c", ""), make2(Prefix(testSite, "www.example.com", "/a/b")), false},
		{answerAt("/a", ""), make2(Prefix(testSite, "www.example.com", "/")), true},
		{answerAt("/", ""), make2(Prefix(testSite, "www.example.com", "/")), true},
		{answerAt("/a", ""), make2(Prefix(testSite, "example.com", "/")), false},
		{answerAt(deep, ""), make2(Prefix(testSite, "www.example.com", deep)), true},
		{answerAt(deep+"/e", ""), make2(Prefix(testSite, "www.example.com", deep)), true},
		{answerAt(deep+"/e", ""), make2(Prefix(testSite, "www.example.com", deep+"/e")), true},
		{answerAt(deep+"/e/f", ""), make2(Prefix(testSite, "www.example.com", deep+"/e")), true},
		{answerAt(deep+"/f", ""), make2(Prefix(testSite, "www.example.com", deep+"/e")), true}, // too much
		{answerAt(deep, ""), make2(Prefix(testSite, "www.example.com", deep+"/e")), false},
		{answerAt("/x"+deep, ""), make2(Prefix(testSite, "www.example.com", deep+"/e")), false},
		{answerAt("/", ""), make2(Tag(testSite, "item-1")), true},
		{answerAt("/", ""), make2(Tag(testSite, "item")), false},
		{answerAt("/", ""), make2(Tag(testSite, "Item-1")), false},
		{answerAt("/", ""), make2(Tag(testSite, "status=200")), true},
		{answerAt("/", ""), make2(Tag(testSite, "status=404")), false},
		{missing, make2(Tag(testSite, "status=404")), true},
		{missing, make2(Tag(testSite, "type=text/html")), true},
		{answerAt("/", ""), make2(Tag(testSite, "type=text/HTML")), true},
		{answerAt("/", ""), make2(Tag(testSite, "type=image/png")), true},
		{answerAt("/", ""), make2(Tag(testSite, "type=image/gif")), false},
		{answerAt("/", ""), make2(Host(testSite, "www.example.com")), true},
		{answerAt("/", ""), make2(Host(testSite, "*.example.com")), true},
		{answerAt("/", ""), make2(Host(testSite, "*.com")), true},
		{answerAt("/", ""), make2(Host(testSite, "*.www.example.com")), false},
		{answerAt("/", ""), make2(Host(testSite, "example.com")), false},
		{answerAt("/", ""), make2(Host(testSite, "*.ample.com")), false},
		{answerAt("/", ""), make2(Site(testSite)), true},
		{answerAt("/", ""), made{Entry: Everything()}, true},
		{other, make2(Site(testSite)), false},
		{other, make2(Tag(testSite, "item-1")), false},
		{other, make2(Host(testSite, "www.example.com")), false},
		{other, make2(Prefix(testSite, "www.example.com", "/")), false},
		{other, made{Entry: Everything()}, true},
		{classed, make2(Class(testSite, "class of s")), true},
		{classed, make2(Class(testSite, "class")), false},
		{answerAt("/s", "a=1"), make2(Class(testSite, "class of s")), false},
		{anywhere, make2(URL("*", "*", "/a/b", "q")), true},
		{anywhere, make2(URL("*", "www.example.com", "/a/b", "q")), true},
		{anywhere, make2(Path("*", "*", "/a/b")), true},
		{anywhere, make2(Prefix("*", "*", "/a")), true},
		{anywhere, make2(Prefix("*", "other.example.com", "/a")), false},
	}
	l := testLedger()
	for _, test := range tests {
		if test.e.err != nil {
			t.Errorf("%v", test.e.err)
		}
		struck := l.MarkOf(test.e.Site, test.e.Kind, test.e.Value)
		if got := slices.Contains(l.Marks(test.s), struck); got != test.wants {
			t.Errorf("%s %q of %s strikes %s%s?%s: %v, want %v", test.e.Kind, test.e.Value, test.e.Site, test.s.Host, test.s.Path, test.s.Query, got, test.wants)
		}
	}
}

func TestGroupMark(t *testing.T) {
	t.Parallel()
	l := testLedger()
	marks := l.Marks(answerAt("/", ""))
	if !slices.Contains(marks, l.GroupMark(testSite, "https", "www.example.com", "scripts")) {
		t.Error("a response lacks the mark of its group")
	}
	for _, other := range []cachestore.Mark{
		l.GroupMark(testSite, "http", "www.example.com", "scripts"),
		l.GroupMark(testSite, "https", "example.com", "scripts"),
		l.GroupMark(testSite, "https", "www.example.com", "script"),
		l.GroupMark(testSite, "https", "www.example.comscripts", ""),
		l.MarkOf(testSite, KindTag, "scripts"),
	} {
		if slices.Contains(marks, other) {
			t.Error("a response has the mark of another group")
		}
	}
}

func TestMarksKeyed(t *testing.T) {
	t.Parallel()
	s := answerAt("/a/b", "c")
	one, same, other := testLedger().Marks(s), testLedger().Marks(s), New(Options{Key: [16]byte{9}}).Marks(s)
	if diff := cmp.Diff(one, same); diff != "" {
		t.Errorf("two ledgers with one key (-one +other):\n%s", diff)
	}
	for i := range one {
		if one[i] == other[i] {
			t.Errorf("mark %d is the same under another key", i)
		}
	}
	if unique := slices.Compact(slices.Sorted(slices.Values(one))); len(unique) != len(one) {
		t.Errorf("%d marks, %d different ones", len(one), len(unique))
	}
}

func TestMarksAllocate(t *testing.T) {
	s := answerAt(strings.Repeat("/abc", 100), "c")
	s.Site, s.Class = "*", "class"
	for i := range 1000 {
		s.Tags = append(s.Tags, fmt.Sprint("tag-", i))
	}
	l := testLedger()
	if n := testing.AllocsPerRun(10, func() { l.Marks(s) }); n > 3 {
		t.Errorf("%v allocations, want the slice, the status and a type in capitals", n)
	}
	if marks := l.Marks(s); cap(marks) < len(marks) || len(marks) > boundMarks(&s) {
		t.Errorf("%d marks, %d were reckoned", len(marks), boundMarks(&s))
	}
}

// covers is what a purge covers, in words rather than hashes.
func covers(e Entry, s cachestore.Subject) bool {
	host, path, query, _ := splitURL(e.Value)
	sameHost := host == s.Host || host == anyHost && s.Site == catchAll
	if e.Kind != KindEverything && e.Site != s.Site {
		return false
	}
	switch e.Kind {
	case KindEverything, KindSite:
		return true
	case KindURL:
		return sameHost && path == s.Path && query == s.Query
	case KindPath:
		return sameHost && path == s.Path
	case KindPrefix:
		below := strings.TrimRight(path, "/") + "/"
		return sameHost && (s.Path+"/" == below || strings.HasPrefix(s.Path, below))
	case KindHost:
		return e.Value == s.Host || strings.HasPrefix(e.Value, "*") && strings.HasSuffix(s.Host, e.Value[1:])
	case KindTag:
		media, _, _ := strings.Cut(s.MediaType, ";")
		return slices.Contains(s.Tags, e.Value) || e.Value == fmt.Sprint("status=", s.Status) || strings.EqualFold(e.Value, "type="+media)
	case KindClass:
		return e.Value == s.Class
	}
	return false
}

// world makes entries and responses that have to do with each other.
type world struct{ *rand.Rand }

func (w world) pick(all ...string) string { return all[w.IntN(len(all))] }

func (w world) path() string {
	var path strings.Builder
	for range w.IntN(4) {
		path.WriteString(w.pick("/", "/a", "/b", "/ab"))
	}
	if path.Len() == 0 {
		return "/"
	}
	return path.String()
}

func (w world) subject() cachestore.Subject {
	s := cachestore.Subject{
		Site: w.pick("one", "two", "*"), Scheme: w.pick("http", "https"), Host: w.pick("a.test", "x.a.test", "b.x.a.test", "[::1]"),
		Path: w.path(), Query: w.pick("", "q", "q=1"), Class: w.pick("", "", "c1", "c2"), MediaType: w.pick("", "text/html; charset=x", "Image/PNG"),
		Status: []int{200, 404, 301}[w.IntN(3)],
	}
	for range w.IntN(4) {
		s.Tags = append(s.Tags, w.pick("item", "item-1", "Item", "x"))
	}
	return s
}

func (w world) entry() Entry {
	site := w.pick("one", "two", "*")
	host := w.pick("a.test", "x.a.test", "b.x.a.test", "[::1]", "*")
	if host == "*" && site != "*" {
		host = "a.test"
	}
	var m made
	switch w.IntN(12) {
	case 0, 1, 2:
		m = make2(URL(site, host, w.path(), w.pick("", "q", "q=1")))
	case 3:
		m = make2(Path(site, host, w.path()))
	case 4, 5:
		m = make2(Prefix(site, host, w.path()))
	case 6, 7:
		m = make2(Tag(site, w.pick("item", "item-1", "Item", "x", "y", "status=404", "type=image/png", "type=text/HTML")))
	case 8:
		m = make2(Host(site, w.pick("a.test", "x.a.test", "*.a.test", "*.x.a.test", "*.test")))
	case 9:
		m = make2(Class(site, w.pick("c1", "c2")))
	case 10:
		if w.IntN(4) > 0 {
			return w.entry()
		}
		m = make2(Site(site))
	default:
		if w.IntN(10) > 0 {
			return w.entry()
		}
		m = made{Entry: Everything()}
	}
	m.Soft = w.IntN(2) == 0
	return m.Entry
}

// TestMarksModel: an entry strikes what it covers and nothing else.
func TestMarksModel(t *testing.T) {
	t.Parallel()
	w := world{rand.New(rand.NewPCG(1, 2))}
	l := testLedger()
	hits := map[Kind]int{}
	for range 20000 {
		s, e := w.subject(), w.entry()
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		want := covers(e, s)
		if got := slices.Contains(l.Marks(s), l.MarkOf(e.Site, e.Kind, e.Value)); got != want {
			t.Fatalf("%s %q of %q strikes %+v: %v, want %v", e.Kind, e.Value, e.Site, s, got, want)
		}
		if want {
			hits[e.Kind]++
		}
	}
	for k := KindURL; k < kindEnd; k++ {
		if hits[k] < 10 {
			t.Errorf("only %d entries of kind %s covered anything", hits[k], k)
		}
	}
}
