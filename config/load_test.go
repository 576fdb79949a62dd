package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func problems(t *testing.T, err error) []Problem {
	t.Helper()
	var all *Errors
	if !errors.As(err, &all) {
		t.Fatalf("error %v, want *Errors", err)
	}
	return all.Problems
}

// loadTexts loads a node file and one site file made of texts.
func loadTexts(t *testing.T, node, site string) (*Node, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "node.yaml"), node)
	write(t, filepath.Join(dir, "site.yaml"), site)
	return Load(filepath.Join(dir, "node.yaml"), fixtureEnv)
}

const twoLines = "site: www.example.com\norigin: https://origin.example.com\n"

func TestFileTooLarge(t *testing.T) {
	t.Parallel()
	comment := "# " + strings.Repeat("x", 100) + "\n"
	_, err := loadTexts(t, "sites: site.yaml\n", twoLines+strings.Repeat(comment, maxFileBytes/len(comment)+1))
	got := problems(t, err)
	if len(got) != 1 || got[0].Message != "the file is larger than 4MiB" {
		t.Errorf("problems %v, want the file's size only", got)
	}
	if _, err := loadTexts(t, "sites: site.yaml\n", twoLines+strings.Repeat(comment, maxFileBytes/len(comment)-1)); err != nil {
		t.Errorf("a file below the limit: %v", err)
	}
}

// TestIrregularFiles: a reload never waits on a pipe.
func TestIrregularFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Skip(err)
	}
	write(t, filepath.Join(dir, "node.yaml"), "listen: {http: ':80', admin_token_file: pipe.yaml}\nsites: pipe.yaml\n")
	_, err := Load(filepath.Join(dir, "node.yaml"), nil)
	got := problems(t, err)
	if len(got) != 2 {
		t.Fatalf("problems %v, want two", got)
	}
	for _, p := range got {
		if !strings.Contains(p.Message, "not a regular file") {
			t.Errorf("%s", p)
		}
	}
}

// TestProblemsAreBounded: a file full of mistakes makes a report that can still be read.
func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 2 * maxProblems {
		fmt.Fprintf(&b, "wrong%d: 1\n", i)
	}
	_, err := loadTexts(t, "sites: site.yaml\n", twoLines+b.String())
	var all *Errors
	if !errors.As(err, &all) || len(all.Problems) != maxProblems || all.More != maxProblems {
		t.Fatalf("%d problems and %d more, want %d of each", len(all.Problems), all.More, maxProblems)
	}
	if !strings.HasSuffix(err.Error(), "and 500 more problems") {
		t.Errorf("the report ends %q", err.Error()[len(err.Error())-40:])
	}
}

// TestProblemOrder: the node file first, then the sites in their order, each from top to bottom.
func TestProblemOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "z.yaml"), "limits: {idle: x}\nsites: [b.yaml, a.yaml]\nlog: {level: x}\n")
	write(t, filepath.Join(dir, "b.yaml"), twoLines+"x: 1\n")
	write(t, filepath.Join(dir, "a.yaml"), "x: 1\n"+twoLines)
	_, err := Load(filepath.Join(dir, "z.yaml"), nil)
	var got []string
	for _, p := range problems(t, err) {
		got = append(got, fmt.Sprintf("%s:%d", filepath.Base(p.File), p.Line))
	}
	want := []string{"z.yaml:1", "z.yaml:3", "b.yaml:3", "a.yaml:1", "a.yaml:2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order of problems (-want +got):\n%s", diff)
	}
}

func TestErrorsJSON(t *testing.T) {
	t.Parallel()
	_, err := loadTexts(t, "sites: site.yaml\n", twoLines+"cach: {}\n")
	problems(t, err)
	data, jsonErr := json.Marshal(err)
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	var got struct {
		Problems []map[string]any
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Problems) != 1 {
		t.Fatalf("%s: want one problem", data)
	}
	got.Problems[0]["file"] = filepath.Base(got.Problems[0]["file"].(string))
	want := map[string]any{
		"file": "site.yaml", "line": 3.0, "col": 1.0, "path": "cach", "message": "unknown key", "suggestion": "did you mean cache?",
		"snippet": "    3 | cach: {}\n      | ^",
	}
	if diff := cmp.Diff(want, got.Problems[0]); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	empty, err := json.Marshal(&Errors{})
	if err != nil || string(empty) != `{"problems":[]}` {
		t.Errorf("no problems in JSON: %s, %v", empty, err)
	}
}

// TestDiffDisks: node.state is named only where it is what was changed, not where it follows the disk.
func TestDiffDisks(t *testing.T) {
	t.Parallel()
	node := func(state string, disks ...Disk) *Node {
		n := defaultNode()
		n.State, n.Store.Disks = state, disks
		return &n
	}
	a, larger, b := Disk{"/a", gib}, Disk{"/a", 2 * gib}, Disk{"/b", gib}
	cases := []struct {
		name     string
		old, new *Node
		want     []string
	}{
		{"the same", node("/a", a, b), node("/a", a, b), nil},
		{"the first", node(""), node("/a", a), []string{"store.disk"}},
		{"none left", node("/a", a), node(""), []string{"store.disk"}},
		{"larger", node("/a", a), node("/a", larger), []string{"store.disk"}},
		{"elsewhere", node("/a", a), node("/b", b), []string{"store.disk"}},
		{"a second", node("/a", a), node("/a", a, b), []string{"store.disks"}},
		{"another order", node("/s", a, b), node("/s", b, a), []string{"store.disks"}},
		{"a state", node("/a", a), node("/s", a), []string{"node.state"}},
		{"no state", node("/s", a), node("/a", a), []string{"node.state"}},
		{"a state and a disk", node(""), node("/s", a), []string{"node.state", "store.disk"}},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, Diff(c.old, c.new)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	base := defaultNode()
	cases := []struct {
		name   string
		change func(*Node)
		want   []string
	}{
		{"nothing", func(*Node) {}, nil},
		{"live keys", func(n *Node) {
			n.Listen.HTTP, n.Listen.HTTPS = []string{":8080"}, nil
			n.Limits.Connections, n.Limits.Idle, n.Log.Format = 1, time.Second, LogCombined
			n.Sites, n.Geo = []*Site{{Purge: Purge{IDs: []string{"a"}, Tokens: []PurgeToken{{}}}}}, Geo{Databases: []string{"places.mmdb"}}
			n.API = API{Hosts: []string{"purge.example.net"}, TLS: TLS{Mode: TLSFiles}}
		}, nil},
		{"admin", func(n *Node) { n.Listen.Admin = "" }, []string{"listen.admin"}},
		{"state", func(n *Node) { n.State = "/var/lib/perigee" }, []string{"node.state"}},
		{"all", func(n *Node) { n.Name, n.Listen.Admin, n.Store.RAM = "b", "", 1 }, []string{"listen.admin", "node.name", "store.ram"}},
	}
	for _, c := range cases {
		changed := base
		c.change(&changed)
		if diff := cmp.Diff(c.want, Diff(&base, &changed)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestEnums(t *testing.T) {
	t.Parallel()
	got := []fmt.Stringer{
		TLSAuto, TLSOff, TLSFiles, HostUpstream, HostSite, HostClient, HostName, DirectivesIgnore, DirectivesHonour,
		SetCookiePass, SetCookieStrip, SetCookieStore, EncodingNone, EncodingBrotli, EncodingZstd, EncodingGzip, RedirectAuto, RedirectAlways, RedirectNever, LogJSON, LogCombined, LogFormat(99),
		ScopeNone, ScopeURL, ScopePrefix, ScopeTag, ScopeHost, ScopeSite, ScopeAll,
	}
	want := []string{
		"auto", "off", "files", "upstream", "site", "client", "name", "ignore", "honour",
		"pass", "strip", "store", "none", "br", "zstd", "gzip", "auto", "true", "false", "json", "combined", "unknown",
		"none", "url", "prefix", "tag", "host", "site", "all",
	}
	for i, s := range got {
		if s.String() != want[i] {
			t.Errorf("%T %d = %q, want %q", s, i, s, want[i])
		}
	}
}

// TestNoEnvironment: without one, no variable is set.
func TestNoEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "node.yaml"), "node: {name: \"${HOME}\"}\nsites: site.yaml\n")
	write(t, filepath.Join(dir, "site.yaml"), twoLines)
	_, err := Load(filepath.Join(dir, "node.yaml"), nil)
	if got := problems(t, err); len(got) != 1 || got[0].Message != "the variable HOME is not set" {
		t.Errorf("problems %v", got)
	}
}

// TestManySites: a large installation loads, and every site is there.
func TestManySites(t *testing.T) {
	t.Parallel()
	const sites = 500
	dir := t.TempDir()
	write(t, filepath.Join(dir, "node.yaml"), "sites: '*.site.yaml'\n")
	for i := range sites {
		write(t, filepath.Join(dir, fmt.Sprintf("%04d.site.yaml", i)), fmt.Sprintf("site: s%d.example.com\norigin: https://o%d\n", i, i))
	}
	n, err := Load(filepath.Join(dir, "node.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Sites) != sites || n.Sites[sites-1].Name != fmt.Sprintf("s%d.example.com", sites-1) {
		t.Errorf("%d sites, want %d in order", len(n.Sites), sites)
	}
}

// FuzzLoad: whatever two files hold, Load returns a node or a report with places, and never panics.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"broken/*", "good/*", "design"} {
		dirs, err := filepath.Glob(filepath.Join(fixtures, pattern))
		if err != nil {
			f.Fatal(err)
		}
		for _, dir := range dirs {
			node, _ := os.ReadFile(filepath.Join(dir, "node.yaml"))
			sites, _ := filepath.Glob(filepath.Join(dir, "sites", "*.yaml"))
			site := []byte(twoLines)
			if len(sites) > 0 {
				site, _ = os.ReadFile(sites[0])
			}
			f.Add(node, site)
		}
	}
	f.Fuzz(func(t *testing.T, node, site []byte) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "node.yaml"), string(node))
		if err := os.Mkdir(filepath.Join(dir, "sites"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "sites", "www.yaml"), string(site))
		n, err := Load(filepath.Join(dir, "node.yaml"), fixtureEnv)
		if err == nil {
			if len(n.Sites) == 0 || n.Sites[0].Name == "" || len(n.Sites[0].Origin.Upstreams) == 0 {
				t.Errorf("an incomplete node: %s", dump(n))
			}
			return
		}
		for _, p := range problems(t, err) {
			if p.Message == "" || p.File == "" || p.Line > 0 && p.Col < 1 || slices.Contains([]string{p.String(), p.Snippet}, "") && p.Line > 0 {
				t.Errorf("a problem without a place: %+v", p)
			}
		}
	})
}

// TestShapeIsBounded: files that are small enough to be read, but made to exhaust a parser, are refused by their shape.
func TestShapeIsBounded(t *testing.T) {
	t.Parallel()
	var keys strings.Builder
	for i := range maxKeys + 1 {
		fmt.Fprintf(&keys, "k%d: 1\n", i)
	}
	cases := []struct{ text, want string }{
		{keys.String(), "more than 20000 keys"},
		{"sites:\n" + strings.Repeat("- x\n", maxTokens/2+1), "more than 250000 words and signs"},
		{"sites: " + strings.Repeat("[", 100_000), "more than 64 levels"},
		{strings.Repeat("- ", 50_000), "more than 64 levels"},
		{strings.Repeat("&a ", 50_000), "more than 1000 anchors"},
	}
	for _, c := range cases {
		_, err := loadTexts(t, c.text, twoLines)
		if got := problems(t, err); len(got) != 1 || got[0].Message != c.want {
			t.Errorf("%.20q: %.200v, want %q", c.text, got, c.want)
		}
	}
	var deep strings.Builder
	for i := range 2 * maxDepth {
		deep.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	_, err := loadTexts(t, deep.String(), twoLines)
	if got := problems(t, err); got[0].Message != "more than 64 levels" {
		t.Errorf("deep blocks: %v", got)
	}
}

// TestSitePatterns: patterns are relative to the node file whatever its folder is called, or absolute, and each file counts once.
func TestSitePatterns(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `odd [name]* \ here`)
	if err := os.MkdirAll(filepath.Join(dir, "sites"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a", ".hidden"} {
		write(t, filepath.Join(dir, "sites", name+".yaml"), "site: "+strings.Trim(name, ".")+"\norigin: https://o\n")
	}
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "c.yaml"), "site: c\norigin: https://o\n")
	cases := []struct {
		sites string
		want  []string
	}{
		{"sites/*.yaml", []string{"a", "b"}},
		{"sites/b.yaml", []string{"b"}},
		{"[sites/b.yaml, sites/*.yaml, ./sites/a.yaml]", []string{"b", "a"}},
		{"sites/.*.yaml", []string{"hidden"}},
		{"[sites/[ab].yaml, " + elsewhere + "/*.yaml]", nil}, // "[" begins a list in YAML
		{"['sites/[ab].yaml', " + elsewhere + "/*.yaml]", []string{"a", "b", "c"}},
		{elsewhere + "/c.yaml", []string{"c"}},
	}
	for _, c := range cases {
		write(t, filepath.Join(dir, "node.yaml"), "sites: "+c.sites+"\n")
		n, err := Load(filepath.Join(dir, "node.yaml"), nil)
		if err != nil {
			if c.want != nil {
				t.Errorf("%s: %v", c.sites, err)
			}
			continue
		}
		var got []string
		for _, s := range n.Sites {
			got = append(got, s.Name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.sites, diff)
		}
	}
}

// TestSecretsAreNotShown: no problem repeats a secret, wherever it came from.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"purge-secrets", "purge-secret-literal", "purge-secret-twice"} {
		_, err := Load(filepath.Join(fixtures, "broken", name, "node.yaml"), fixtureEnv)
		data, jsonErr := json.Marshal(err)
		if jsonErr != nil || len(problems(t, err)) == 0 {
			t.Fatalf("%s: %v, %v", name, err, jsonErr)
		}
		for _, secret := range []string{"hunter2", "123456789012345", "letmein", "five", "from-the-environment", "from-a-file", "operators-own"} {
			if strings.Contains(string(data), secret) {
				t.Errorf("%s: %q is shown in %s", name, secret, data)
			}
		}
	}
}
