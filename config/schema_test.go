package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// leaf is one place of a file that takes a value.
type leaf struct {
	key  *key
	path []string // names of the blocks and of the key; "*" = an item of a list
	now  bool     // available in this version, with all that it stands in
}

func (l leaf) String() string { return strings.Join(l.path, ".") }

// leaves lists every place of a file, blocks apart.
func leaves(k *key, path []string, now bool) []leaf {
	var out []leaf
	if len(k.keys) == 0 && (k.isScalar() || k.item != nil && k.item.isScalar() || k.named != nil && k.named.isScalar()) || len(k.words) > 1 {
		out = append(out, leaf{k, path, now})
	}
	for _, c := range k.keys {
		out = append(out, leaves(c, append(slices.Clone(path), c.name), now && !c.later)...)
	}
	if k.item != nil && k.item.isBlock() {
		out = append(out, leaves(k.item, append(slices.Clone(path), "*"), now)...)
	}
	if k.named != nil && k.named.isBlock() {
		out = append(out, leaves(k.named, append(slices.Clone(path), "NAME"), now)...)
	}
	return out
}

// TestSchemaIsWhole holds every key against what the documentation and the messages need of it.
func TestSchemaIsWhole(t *testing.T) {
	t.Parallel()
	for _, root := range []*key{nodeSchema(), siteSchema()} {
		walk(root, "", func(k *key, path string) {
			switch {
			case k.doc == "":
				t.Errorf("%s has no doc", path)
			case !strings.HasSuffix(k.doc, "."):
				t.Errorf("%s: the doc is no sentence: %q", path, k.doc)
			case k.example == "" && !k.isBlock():
				t.Errorf("%s has no example", path)
			case k.kind == kindURL && len(k.schemes) == 0:
				t.Errorf("%s is a URL without schemes", path)
			}
			for _, text := range []string{k.deflt, k.example} {
				if text != "" {
					checkValue(t, k, path, text)
				}
			}
		})
	}
}

func walk(k *key, path string, visit func(*key, string)) {
	for _, c := range k.keys {
		at := join(path, c.name)
		visit(c, at)
		walk(c, at, visit)
		for _, below := range []*key{c.item, c.named} {
			if below != nil {
				walk(below, at, visit)
			}
		}
	}
}

// checkValue reports what is wrong with a default or an example.
func checkValue(t *testing.T, k *key, path, text string) {
	t.Helper()
	s := &source{report: &report{}}
	tree := s.parseTree("v: " + text)
	(&checker{source: s, root: &key{}, later: 1}).check(k, tree.entries[0].value, path)
	for _, p := range s.report.problems {
		t.Errorf("%s: %s: %s", path, text, p)
	}
}

// trial loads one value at one place, in files that otherwise say little.
type trial struct {
	t   *testing.T
	dir string
}

func newTrial(t *testing.T) trial {
	t.Helper()
	dir := t.TempDir()
	for from, to := range map[string]string{"pair/cert.pem": "www.pem", "pair/key.pem": "www.key"} {
		data, err := os.ReadFile(filepath.Join(fixtures, from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, to), string(data))
	}
	write(t, filepath.Join(dir, "admin.token"), "secret")
	write(t, filepath.Join(dir, "cms.token"), "a-secret-of-the-cms")
	write(t, filepath.Join(dir, "other.token"), "a-secret-of-another")
	write(t, filepath.Join(dir, "GeoLite2-City.mmdb"), "places")
	return trial{t, dir}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load returns the typed result of a node and a site that say the given value at the place ("" = none), and what stands beside
// it anyway.
func (tr trial) load(root *key, l leaf, text string) (string, error) {
	tr.t.Helper()
	node := map[string]any{
		"sites":  "[site.yaml]",
		"listen": map[string]any{"http": `":80"`, "https": `":443"`},
	}
	site := map[string]any{
		"site":   "base.example.com",
		"origin": map[string]any{"upstreams": map[string]any{"*": map[string]any{"url": "https://base"}}},
	}
	tree := site
	if root.child("sites") != nil {
		tree = node
	}
	neighbours(l.path, node, site)
	if text != "" {
		put(root, tree, l.path, text)
	}
	write(tr.t, filepath.Join(tr.dir, "node.yaml"), flow(node))
	write(tr.t, filepath.Join(tr.dir, "site.yaml"), flow(site))
	n, err := Load(filepath.Join(tr.dir, "node.yaml"), fixtureEnv)
	if err != nil {
		return "", err
	}
	for i := range n.Sites[0].Cache.Rules {
		n.Sites[0].Cache.Rules[i].Words = "" // which would make any word count
	}
	return dump(n), nil
}

// neighbours puts what a place needs: a rule with something to do, a database for countries, a token with a secret.
func neighbours(path []string, node, site map[string]any) {
	if path[0] == "api" {
		node["api"] = map[string]any{"hosts": "api.base.example.com"}
	}
	if slices.Contains(path, "tokens") {
		token := map[string]any{"name": "base", "scopes": "[host]", "secret_file": "other.token"}
		if path[len(path)-1] == "secret" {
			delete(token, "secret_file")
			token["secret"] = `"${OTHER_TOKEN}"`
		}
		site["purge"] = map[string]any{"tokens": map[string]any{"*": token}}
	}
	if slices.Contains(path, "country") {
		node["geo"] = map[string]any{"databases": "GeoLite2-City.mmdb"}
	}
	if slices.Contains(path, "rules") {
		rule := map[string]any{"match": map[string]any{"path": "/x"}}
		if slices.Contains(path, "bypass") { // which nothing that is about storing may stand beside
			rule["headers"] = map[string]any{"response": map[string]any{"remove": "X-B"}}
		} else {
			rule["ttl"] = "1s"
		}
		if slices.Contains(path, "query") && slices.Contains(path, "key") { // naming the block is a change already
			rule["key"] = map[string]any{"query": map[string]any{}}
		}
		site["cache"] = map[string]any{"rules": map[string]any{"*": rule}}
	}
}

// put sets the value at a path of a tree, and the required neighbours that are not there.
func put(k *key, tree map[string]any, path []string, text string) {
	next := k.child(path[0])
	if path[0] == "*" {
		next = k.item
	}
	if len(path) == 1 {
		tree[path[0]] = text
		return
	}
	below, ok := tree[path[0]].(map[string]any)
	if !ok {
		below = map[string]any{}
		tree[path[0]] = below
	}
	for _, c := range next.keys {
		if _, there := below[c.name]; c.isRequired && !there {
			below[c.name] = c.example
		}
	}
	put(next, below, path[1:], text)
}

// flow writes a tree as YAML; a block whose only key is "*" is a list.
func flow(tree any) string {
	block, ok := tree.(map[string]any)
	if !ok {
		return fmt.Sprint(tree)
	}
	if item, list := block["*"]; list {
		return "[" + flow(item) + "]"
	}
	var parts []string
	for name, value := range block {
		parts = append(parts, name+": "+flow(value))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ", ") + "}"
}

// TestEveryKeyCounts: a key that is available changes the result, and one that says its default does not. So no key is
// understood and then forgotten, and the defaults of the schema are those of defaults.go.
func TestEveryKeyCounts(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	for _, root := range []*key{nodeSchema(), siteSchema()} {
		for _, l := range leaves(root, nil, true) {
			if !l.now || l.String() == "sites" {
				continue
			}
			base, err := tr.load(root, l, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range others(l.key) {
				got, err := tr.load(root, l, text)
				if err != nil {
					t.Errorf("%s: %s: %v", l, text, err)
				} else if got == base {
					t.Errorf("%s: %s changes nothing", l, text)
				}
			}
			if l.key.deflt == "" || l.String() == "aliases.mode" { // which cannot stand without names
				continue
			}
			got, err := tr.load(root, l, l.key.deflt)
			if err != nil {
				t.Errorf("%s: %s: %v", l, l.key.deflt, err)
			} else if got != base {
				t.Errorf("%s: its default %s changes the result (-base +got):\n%s", l, l.key.deflt, cmp.Diff(base, got))
			}
		}
	}
}

// others are values of a key beside its default: the example and every word that is available.
func others(k *key) []string {
	var out []string
	for _, text := range append(k.availableWords(), k.example) {
		if text != "" && text != k.deflt && !(text == "*" || slices.Contains(out, text)) {
			out = append(out, text)
		}
	}
	return out
}

// TestNotAvailable: a key that is not available is refused with exactly those words, and its default is not.
func TestNotAvailable(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	count := 0
	for _, root := range []*key{nodeSchema(), siteSchema()} {
		for _, l := range leaves(root, nil, true) {
			if l.now || slices.Contains(l.path, "NAME") {
				continue
			}
			count++
			_, err := tr.load(root, l, l.key.example)
			var all *Errors
			if !errors.As(err, &all) {
				t.Errorf("%s: %s: error %v, want *Errors", l, l.key.example, err)
				continue
			}
			for _, p := range all.Problems {
				if p.Message != NotAvailable {
					t.Errorf("%s: %s: %s", l, l.key.example, p)
				}
			}
		}
	}
	if count < 54 {
		t.Errorf("only %d keys are not available; the walk lost some", count)
	}
}

// TestFlipOneBool: a key becomes available by its later bool alone.
func TestFlipOneBool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "node.yaml"), "sites: [site.yaml]\n")
	write(t, filepath.Join(dir, "site.yaml"), "site: a\norigin: https://a\nrouter: {redirect: true}\n")
	for _, later := range []bool{true, false} {
		l := newLoader(nil)
		l.site.child("router").later = later
		l.loadNode(filepath.Join(dir, "node.yaml"))
		if got := l.err() != nil; got != later {
			t.Errorf("later = %v: refused = %v (%v)", later, got, l.err())
		}
	}
}

// TestDefaultsAgree: two lines are the defaults, and writing every default down changes nothing.
func TestDefaultsAgree(t *testing.T) {
	t.Parallel()
	load := func(name string) *Node {
		n, err := Load(filepath.Join(fixtures, "good", name, "node.yaml"), nil)
		if err != nil {
			t.Fatal(err)
		}
		n.File = ""
		for _, s := range n.Sites {
			s.File, s.Name, s.Origin.Upstreams = "", "", nil
		}
		return n
	}
	want, site := defaultNode(), defaultSite()
	want.Sites = []*Site{&site}
	if diff := cmp.Diff(dump(want), dump(load("minimal"))); diff != "" {
		t.Errorf("minimal (-defaults.go +got):\n%s", diff)
	}
	if diff := cmp.Diff(dump(want), dump(load("defaults-said"))); diff != "" {
		t.Errorf("defaults-said (-defaults.go +got):\n%s", diff)
	}
}

// TestDesign: the whole shape, as it was designed, is understood; what is refused is only not available yet.
func TestDesign(t *testing.T) {
	t.Parallel()
	_, err := Load(filepath.Join(fixtures, "design", "node.yaml"), nil)
	var all *Errors
	if !errors.As(err, &all) {
		t.Fatalf("error %v, want *Errors", err)
	}
	for _, p := range all.Problems {
		if p.Message != NotAvailable {
			t.Errorf("%s", p)
		}
	}
	golden(t, filepath.Join(fixtures, "design", "want.txt"), []byte(err.Error()+"\n"))
}
