package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FileKind names one of the two files.
type FileKind string

const (
	NodeFile FileKind = "node"
	SiteFile FileKind = "site"
)

// maxSiteFiles bounds what the patterns under sites may match.
const maxSiteFiles = 50_000

// Load reads the node file at path and every site file that it names. env looks up ${NAME} in values; nil means that no
// variable is set. The error is a *Errors that lists everything found wrong, in all files.
func Load(path string, env func(string) (string, bool)) (*Node, error) {
	l := newLoader(env)
	n := l.loadNode(path)
	if err := l.err(); err != nil {
		return nil, err
	}
	return n, nil
}

// loader is one Load.
type loader struct {
	env        func(string) (string, bool)
	node, site *key
	report     *report
	files      []string         // in the order in which they are read
	hosts      map[string]named // every host that a site answers to

	apiHosts []claimed        // hosts of the purge API
	ids      []claimed        // further names of sites in it
	secrets  map[string]named // every token

	knowsPlaces bool // the node file names a database, or means to
}

// named is where a host was named first.
type named struct {
	file string
	at   pos
}

func newLoader(env func(string) (string, bool)) *loader {
	return &loader{
		env: env, node: nodeSchema(), site: siteSchema(), report: &report{},
		hosts: make(map[string]named), secrets: make(map[string]named),
	}
}

// err is the report as an error, nil when there is nothing to report.
func (l *loader) err() error {
	if l.report.count() == 0 {
		return nil
	}
	order := make(map[string]int, len(l.files))
	for i, f := range l.files {
		order[f] = i
	}
	problems := l.report.problems
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if d := order[a.File] - order[b.File]; d != 0 {
			return d
		}
		if d := a.Line - b.Line; d != 0 {
			return d
		}
		return a.Col - b.Col
	})
	return &Errors{Problems: problems, More: l.report.more}
}

// open reads a file and holds it against the schema of its kind; nil when it cannot be read as one.
func (l *loader) open(path string, kind FileKind) *value {
	l.files = append(l.files, path)
	if kind == SiteFile && !l.regular(path) {
		return nil
	}
	s, text, ok := readSource(path, l.report)
	if !ok {
		if kind == NodeFile && s.lines == nil {
			l.report.hint("perigee proxy --to URL needs no file")
		}
		return nil
	}
	tree := s.parseTree(text)
	if tree == nil || s.isOther(tree, kind) {
		return nil
	}
	schema := l.node
	if kind == SiteFile {
		schema = l.site
	}
	if tree.form != formBlock {
		s.fault(tree.at, "", "the file holds "+tree.form.String()+", not a block of keys", "begin with "+schema.required().exampleText())
		return nil
	}
	c := checker{source: s, env: l.env, root: schema}
	v := c.check(schema, tree, "")
	v.source = s
	return v
}

// regular reports a site file that is none; the node file alone may come through a pipe.
func (l *loader) regular(path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Mode().IsRegular() || info.IsDir() {
		return true // whatever is wrong comes out when it is read
	}
	l.report.add(Problem{File: path, Message: errIrregular.Error()})
	return false
}

// required is the first key that a file cannot do without.
func (k *key) required() *key {
	for _, c := range k.keys {
		if c.isRequired {
			return c
		}
	}
	return k
}

// hint adds a suggestion to the last problem.
func (r *report) hint(text string) {
	if len(r.problems) > 0 {
		r.problems[len(r.problems)-1].Suggestion = text
	}
}

// isOther reports a file of the other kind, by the keys that only the other kind has.
func (s *source) isOther(tree *node, kind FileKind) bool {
	has := func(names ...string) bool {
		return slices.ContainsFunc(tree.entries, func(e entry) bool { return slices.Contains(names, e.name) })
	}
	isSite := has("site", "origin") && !has("sites", "listen", "store")
	isNode := has("sites", "listen", "store") && !has("site", "origin")
	if kind == NodeFile && isSite {
		s.fault(tree.at, "", "this is a site file, where a node file is wanted", "name it under sites: in a node file, and load that one")
	}
	if kind == SiteFile && isNode {
		s.fault(tree.at, "", "this is a node file, where a site file is wanted", "name only site files under sites: in the node file")
	}
	return kind == NodeFile && isSite || kind == SiteFile && isNode
}

// loadNode reads the node file and then its sites; nil when there is no sense in going on.
func (l *loader) loadNode(path string) *Node {
	v := l.open(path, NodeFile)
	if v == nil {
		return nil
	}
	n := l.buildNode(v)
	n.File = path
	for _, file := range l.siteFiles(v) {
		site := l.open(file, SiteFile)
		if site == nil {
			continue
		}
		l.claim(site)
		n.Sites = append(n.Sites, l.buildSite(site))
	}
	l.checkNames()
	return n
}

// siteFiles are the files that the patterns under sites match, each once: in the order of the patterns, and for one pattern
// by name.
func (l *loader) siteFiles(v *value) []string {
	sites := v.get("sites")
	if sites == nil {
		return nil
	}
	seen := make(map[string]bool)
	var out []string
	for _, item := range sites.items {
		pattern, _ := item.scalar.(string)
		for _, file := range l.match(v.source, item, pattern) {
			if seen[file] {
				continue
			}
			if len(out) == maxSiteFiles {
				v.source.fault(item.at, item.path, fmt.Sprintf("more than %d site files", maxSiteFiles), "")
				return out
			}
			seen[file] = true
			out = append(out, file)
		}
	}
	return out
}

// match lists the files of one pattern. A pattern's "*" at the beginning of a name does not stand for a dot, as in a shell, so
// that editors' own files beside the sites are left alone.
func (l *loader) match(s *source, item *value, pattern string) []string {
	if !strings.ContainsAny(pattern, patternSigns) {
		return l.plainFile(s, item, beside(s.dir, pattern))
	}
	full := beside(escapePattern(s.dir), pattern)
	found, err := filepath.Glob(full)
	if err != nil {
		s.fault(item.at, item.path, "not a pattern", `close every "[" with "]"`)
		return nil
	}
	hidden := strings.HasPrefix(filepath.Base(pattern), ".")
	found = slices.DeleteFunc(found, func(f string) bool { return !hidden && strings.HasPrefix(filepath.Base(f), ".") })
	if len(found) == 0 {
		s.fault(item.at, item.path, "matches no file", "looked for "+full)
	}
	return found
}

// patternSigns are the characters that mean something in a pattern.
const patternSigns = `*?[\`

// escapePattern makes a folder's name mean itself in a pattern.
func escapePattern(dir string) string {
	var b strings.Builder
	for _, c := range dir {
		if strings.ContainsRune(patternSigns, c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// beside is a path as it is meant in a file of the folder dir.
func beside(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// plainFile is the file of a path that is no pattern.
func (l *loader) plainFile(s *source, item *value, path string) []string {
	info, err := os.Stat(path)
	hint := "looked for " + path
	switch {
	case err != nil:
		if errors.Is(err, fs.ErrNotExist) && !s.report.full() {
			if near := nearFile(path); near != "" {
				hint = didYouMean(s.relative(near))
			}
		}
		s.fault(item.at, item.path, reason(err), hint)
		return nil
	case info.IsDir():
		s.fault(item.at, item.path, "it is a folder, not a file", didYouMean(s.relative(filepath.Join(path, "*.yaml"))))
		return nil
	}
	return []string{path}
}

// relative is a path as the file would name it.
func (s *source) relative(path string) string {
	if rel, err := filepath.Rel(s.dir, path); err == nil {
		return rel
	}
	return path
}

// maxNearFiles bounds the search for a misspelt file.
const maxNearFiles = 1000

// nearFile is the file beside path whose name is nearest to it.
func nearFile(path string) string {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return ""
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxNearFiles)
	slices.Sort(names)
	if near := nearest(filepath.Base(path), names); near != "" {
		return filepath.Join(filepath.Dir(path), near)
	}
	return ""
}

// claim reports the hosts of a site that another place has named already.
func (l *loader) claim(v *value) {
	one := func(h *value) {
		host, ok := h.scalar.(string)
		if !ok {
			return
		}
		if first, taken := l.hosts[host]; taken {
			v.source.fault(h.at, h.path, fmt.Sprintf("the host %s is named in %s:%d:%d already", host, first.file, first.at.line, first.at.col),
				"every host belongs to one site, as its name or as an alias")
			return
		}
		l.hosts[host] = named{v.source.file, h.at}
	}
	if name := v.get("site"); name != nil {
		one(name)
	}
	for _, alias := range aliases(v) {
		one(alias)
	}
}

// aliases are the values of a site's alias names, in either form.
func aliases(site *value) []*value {
	v := site.get("aliases")
	if names := v.get("names"); names != nil {
		v = names
	}
	if v == nil {
		return nil
	}
	return v.items
}
