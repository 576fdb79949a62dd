package house

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// heldToCode are the pages that name functions and tests: they are only worth reading
// while those exist.
var heldToCode = map[string]bool{"docs/http-caching.md": true, "docs/life-of-a-request.md": true}

var (
	// `httpcache.Decide`, `edge.(*Handler).ServeHTTP`, `httpcache.Rules.TTL`.
	codeName = regexp.MustCompile("`(httpcache|cachestore|edge|origin|geo)\\.((?:\\(\\*[A-Za-z]\\w*\\)\\.)?[A-Za-z][\\w.]*)`")
	// `rfc9111/fresh-expires-*`, `behaviour/vary-any`, `script/a-hit`.
	caseName = regexp.MustCompile("`(rfc9111|behaviour|script)/([^`\\s]+)`")
	// `TestHit`, `FuzzRange`.
	testName = regexp.MustCompile("`(Test|Fuzz)(\\w+)`")
	// What stands at the beginning of a line that is a case, in each kind of table.
	lawCase   = regexp.MustCompile(`(?m)^([a-z0-9][\w-]*) \| `)
	storyCase = regexp.MustCompile(`(?m)^case (\S+)$`)
	quoted    = regexp.MustCompile("`([^`]+)`")
)

var docRules = []rule{
	{
		name:  "documents name code that exists",
		why:   "a page that says which function decides is believed; correct it with the code",
		check: checkCodeNames,
		bad: []sample{
			{"docs/http-caching.md": "`httpcache.Gone`\n", "httpcache/a.go": "package httpcache\nfunc Here() {}\n"},
			{"docs/http-caching.md": "`edge.(*Handler).Gone`\n", "edge/a.go": "package edge\ntype Handler struct{}\nfunc Gone() {}\n"},
			{"docs/life-of-a-request.md": "`httpcache.Rules.Gone`\n", "httpcache/a.go": "package httpcache\ntype Rules struct{ TTL int }\n"},
			{"docs/http-caching.md": "`edge.OnlyInTests`\n", "edge/a_test.go": "package edge\nfunc OnlyInTests() {}\n"},
		},
		good: []sample{
			{
				"docs/http-caching.md": "`httpcache.Here`, `httpcache.(*T).M`, `httpcache.T.M`, `httpcache.T.F`, `httpcache.i`, `httpcache.Const`, `cache.ttl`\n",
				"httpcache/a.go":       "package httpcache\nfunc Here() {}\ntype T struct{ F int }\nfunc (t *T) M() {}\ntype i interface{}\nconst Const = 1\n",
			},
			{"docs/operations.md": "`origin.connections`\n"},
		},
	},
	{
		name:  "documents name tests that exist",
		why:   "what a page says is shown by a test should be shown",
		check: checkCaseNames,
		bad: []sample{
			{"docs/http-caching.md": "`rfc9111/gone`\n", "testdata/rfc9111/a.txt": "here | RFC 9111 §3 | a | b\n"},
			{"docs/http-caching.md": "`rfc9111/her-*`\n", "testdata/rfc9111/a.txt": "here | RFC 9111 §3 | a | b\n"},
			{"docs/http-caching.md": "`behaviour/here`\n", "testdata/rfc9111/a.txt": "here | RFC 9111 §3 | a | b\n"},
			{"docs/http-caching.md": "`script/gone`\n", "testdata/script/here.txtar": "get\n"},
			{"docs/http-caching.md": "`TestGone`\n", "edge/a_test.go": "package edge\nfunc TestHere() {}\n"},
		},
		good: []sample{{
			"docs/http-caching.md":      "`rfc9111/here`, `rfc9111/he*`, `behaviour/a-*`, `script/s`, `TestHere`\n",
			"edge/a_test.go":            "package edge\nfunc TestHere() {}\n",
			"testdata/rfc9111/a.txt":    "# none | x | y | z\nhere | RFC 9111 §3 | a | b\n",
			"testdata/behaviour/b.txt":  "case a-{name}\npublic -\n",
			"testdata/script/s.txtar":   "get\n",
			"testdata/rfc9111/odd.poem": "",
		}},
	},
	{
		name:  "every detail is explained",
		why:   "detail= and cache_reason are what people look up; a word that stands in no table of docs/http-caching.md or docs/operations.md explains nothing",
		check: checkDetails,
		bad: []sample{
			{"httpcache/refusal.go": "package httpcache\nfunc (r Refusal) String() string { return []string{A: \"new-word\"}[r] }\n"},
			{"edge/a.go": "package edge\nvar x = failure{reason: \"new-word\"}\n", "docs/operations.md": "new-word\n"},
			{"edge/a.go": "package edge\nfunc f() { x.record.Reason = \"new-word\" }\n", "docs/http-caching.md": "`new-word` in prose\n"},
			{"edge/a.go": "package edge\nfunc f() { land.private, land.reason = r, \"new-word\" }\n", "docs/http-caching.md": "| b | `new-word` |\n"},
			{"edge/a.go": "package edge\nconst newReason = \"new-word\"\n"},
			{"origin/errors.go": "package origin\nvar kinds = []k{A: {\"new_word\", 502}}\n"},
		},
		good: []sample{
			{
				"httpcache/reason.go":  "package httpcache\nfunc (r Reason) String() string { return []string{Z: \"none\", A: \"a\"}[r] }\nfunc (a Action) String() string { return []string{A: \"b\"}[a] }\n",
				"edge/a.go":            "package edge\nvar x = failure{reason: \"c\", text: \"d\"}\n",
				"docs/http-caching.md": "| `a` | why |\n",
				"docs/operations.md":   "| 502 `detail=c` | why |\n",
			},
		},
	},
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	tree := loadTree(t)
	for _, r := range docRules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, f := range r.check(tree) {
				t.Errorf("%s\n\tbecause %s", f, r.why)
			}
			for _, each := range r.bad {
				if len(r.check(each.sources(t))) == 0 {
					t.Errorf("not found in %v", each)
				}
			}
			for _, each := range r.good {
				if found := r.check(each.sources(t)); len(found) > 0 {
					t.Errorf("found in %v: %v", each, found)
				}
			}
		})
	}
}

func checkCodeNames(tree []*source) []finding {
	declared := map[string]bool{}
	for _, s := range tree {
		if s.production() {
			for _, decl := range s.file.Decls {
				declare(declared, path.Base(s.dir()), decl)
			}
		}
	}
	return checkWords(tree, codeName, func(pkg, name string) bool {
		name = strings.NewReplacer("(*", "", ")", "").Replace(name)
		return declared[pkg+"."+name]
	})
}

// checkWords finds what a pattern of two parts finds on the pages held to the code and
// is not there.
func checkWords(tree []*source, pattern *regexp.Regexp, there func(kind, name string) bool) []finding {
	var found []finding
	for _, s := range tree {
		if !heldToCode[s.path] {
			continue
		}
		for i, line := range strings.Split(s.text, "\n") {
			for _, m := range pattern.FindAllStringSubmatch(line, -1) {
				if !there(m[1], m[2]) {
					found = append(found, finding{s.path, i + 1, m[0] + " does not exist"})
				}
			}
		}
	}
	return found
}

// declare notes the names that a declaration makes: pkg.Name, and pkg.Type.Name for
// methods and fields.
func declare(declared map[string]bool, pkg string, decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			name = receiver(d) + "." + name
		}
		declared[pkg+"."+name] = true
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					declared[pkg+"."+name.Name] = true
				}
			case *ast.TypeSpec:
				declared[pkg+"."+spec.Name.Name] = true
				for _, member := range members(spec.Type) {
					for _, name := range member.Names {
						declared[pkg+"."+spec.Name.Name+"."+name.Name] = true
					}
				}
			}
		}
	}
}

// members are the fields of a struct or the methods of an interface.
func members(t ast.Expr) []*ast.Field {
	switch t := t.(type) {
	case *ast.StructType:
		return t.Fields.List
	case *ast.InterfaceType:
		return t.Methods.List
	}
	return nil
}

// receiver is the name of the type that a method is of.
func receiver(d *ast.FuncDecl) string {
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

func checkCaseNames(tree []*source) []finding {
	cases, tests := map[string][]string{}, map[string]bool{}
	for _, s := range tree {
		if s.file != nil && s.test() {
			for _, decl := range s.file.Decls {
				declare(tests, "", decl)
			}
		}
		dir, ok := strings.CutPrefix(s.dir(), "testdata/")
		switch {
		case !ok:
		case dir == "rfc9111":
			cases[dir] = append(cases[dir], submatches(lawCase, s.text)...)
		case dir == "behaviour":
			cases[dir] = append(cases[dir], submatches(storyCase, s.text)...)
		case dir == "script":
			cases[dir] = append(cases[dir], strings.TrimSuffix(path.Base(s.path), ".txtar"))
		}
	}
	found := checkWords(tree, testName, func(kind, name string) bool { return tests["."+kind+name] })
	return append(found, checkWords(tree, caseName, func(kind, pattern string) bool {
		for _, id := range cases[kind] {
			if ok, _ := path.Match(pattern, id); ok {
				return true
			}
		}
		return false
	})...)
}

func submatches(pattern *regexp.Regexp, text string) []string {
	var all []string
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// checkDetails finds the words of decisions, refusals and failures that no table
// explains.
func checkDetails(tree []*source) []finding {
	explained := map[string]bool{"none": true, "storable": true}
	for _, s := range tree {
		if s.path != "docs/http-caching.md" && s.path != "docs/operations.md" {
			continue
		}
		for line := range strings.Lines(s.text) {
			if cell, ok := firstCell(line); ok {
				for _, word := range submatches(quoted, cell) {
					explained[strings.TrimPrefix(word, "detail=")] = true
				}
			}
		}
	}
	var found []finding
	for _, s := range tree {
		if !s.production() {
			continue
		}
		for _, literal := range details(s) {
			if word, err := strconv.Unquote(literal.Value); err == nil && word != "" && !explained[word] {
				found = append(found, s.find(literal, "%q is explained nowhere", word))
			}
		}
	}
	return found
}

// firstCell is the first cell of a line of a table.
func firstCell(line string) (string, bool) {
	row, ok := strings.CutPrefix(line, "|")
	cell, _, more := strings.Cut(row, "|")
	return cell, ok && more
}

// details are the literals in s that become a detail.
func details(s *source) []*ast.BasicLit {
	var all []*ast.BasicLit
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if s.dir() == "httpcache" && n.Recv != nil && n.Name.Name == "String" && (receiver(n) == "Refusal" || receiver(n) == "Reason") {
				all = append(all, listed(n)...)
			}
		case *ast.ValueSpec:
			if s.dir() == "origin" && n.Names[0].Name == "kinds" && len(n.Values) == 1 {
				all = append(all, firsts(n.Values[0])...)
			}
			for i, value := range n.Values {
				if s.dir() == "edge" && i < len(n.Names) && strings.HasSuffix(n.Names[i].Name, "Reason") {
					all = append(all, text(value)...)
				}
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && s.dir() == "edge" && (key.Name == "reason" || key.Name == "Detail") {
				all = append(all, text(n.Value)...)
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				to, ok := left.(*ast.SelectorExpr)
				if ok && s.dir() == "edge" && len(n.Rhs) == len(n.Lhs) && strings.EqualFold(to.Sel.Name, "reason") {
					all = append(all, text(n.Rhs[i])...)
				}
			}
		}
		return true
	})
	return all
}

// listed are the texts that stand under a key in a function.
func listed(n ast.Node) []*ast.BasicLit {
	var all []*ast.BasicLit
	ast.Inspect(n, func(n ast.Node) bool {
		if pair, ok := n.(*ast.KeyValueExpr); ok {
			all = append(all, text(pair.Value)...)
		}
		return true
	})
	return all
}

// firsts are the texts that each element of a composite begins with.
func firsts(value ast.Expr) []*ast.BasicLit {
	var all []*ast.BasicLit
	ast.Inspect(value, func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		if element, ok := pair.Value.(*ast.CompositeLit); ok && len(element.Elts) > 0 {
			all = append(all, text(element.Elts[0])...)
		}
		return false
	})
	return all
}

// text is an expression that is a text literal, as a list of one or none.
func text(e ast.Expr) []*ast.BasicLit {
	if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
		return []*ast.BasicLit{literal}
	}
	return nil
}
