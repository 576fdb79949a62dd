package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one text file of the tree.
type source struct {
	path  string // from the top, with slashes
	text  string
	file  *ast.File // nil for what is not Go
	fset  *token.FileSet
	lines int
}

// finding is one breach of a rule.
type finding struct {
	path string
	line int // 0 = the file as a whole
	what string
}

func (f finding) String() string {
	if f.line == 0 {
		return f.path + ": " + f.what
	}
	return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.what)
}

func newSource(name, text string) (*source, error) {
	s := &source{path: name, text: text, fset: token.NewFileSet(), lines: strings.Count(text, "\n")}
	if !strings.HasSuffix(name, ".go") {
		return s, nil
	}
	var err error
	s.file, err = parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return s, err
}

// loadTree reads every text file of the tree, what git ignores aside.
func loadTree(t *testing.T) []*source {
	t.Helper()
	top := filepath.Join("..", "..")
	var all []*source
	err := filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() && (rel == ".git" || rel == "dist") {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return nil // a binary
		}
		s, err := newSource(rel, string(text))
		if err != nil && !strings.Contains(rel, "testdata/") {
			return err
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// dir is the folder of a source, which is its package; "." at the top.
func (s *source) dir() string { return path.Dir(s.path) }

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// production reports whether s is Go code that is part of a package of ours.
func (s *source) production() bool {
	return s.file != nil && !s.test() && !strings.Contains("/"+s.path, "/testdata/")
}

func (s *source) generated() bool { return ast.IsGenerated(s.file) }

func (s *source) find(n ast.Node, format string, args ...any) finding {
	return finding{s.path, s.fset.Position(n.Pos()).Line, fmt.Sprintf(format, args...)}
}

// imports lists what s imports.
func (s *source) imports() map[string]*ast.ImportSpec {
	all := map[string]*ast.ImportSpec{}
	for _, spec := range s.file.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			all[name] = spec
		}
	}
	return all
}

// uses lists where s mentions one of names of an imported package, called or not.
func (s *source) uses(pkg string, names ...string) []finding {
	spec := s.imports()[pkg]
	if spec == nil {
		return nil
	}
	local := path.Base(pkg)
	if spec.Name != nil {
		local = spec.Name.Name
	}
	if local == "." {
		return []finding{s.find(spec, "imports %s with a dot, which hides what is used", pkg)}
	}
	var all []finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, selector.Sel.Name) {
			all = append(all, s.find(selector, "%s.%s", pkg, selector.Sel.Name))
		}
		return true
	})
	return all
}

// under reports whether name is one of list, or below one that ends in "/".
func under(name string, list []string) bool {
	return slices.ContainsFunc(list, func(each string) bool {
		return name == each || strings.HasSuffix(each, "/") && strings.HasPrefix(name+"/", each)
	})
}
