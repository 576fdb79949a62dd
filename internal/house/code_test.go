package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"strconv"
	"strings"
)

const (
	maxFileLines = 600
	maxFuncLines = 80
)

func checkClock(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if !s.production() || doors[s.path] != "" || under(s.dir(), equipment) {
			continue
		}
		found = append(found, s.uses("time", "Now", "Since", "Until")...)
	}
	return found
}

func checkSleep(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if s.file == nil || s.test() && s.imports()["testing/synctest"] != nil {
			continue
		}
		found = append(found, s.uses("time", "Sleep")...)
	}
	return found
}

func checkCacheControl(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if !s.production() || under(s.dir(), append([]string{"httpcache"}, equipment...)) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			name, _, _ := strings.Cut(text, ":")
			if err == nil && strings.EqualFold(strings.TrimSpace(name), "Cache-Control") {
				found = append(found, s.find(literal, "%s", literal.Value))
			}
			return true
		})
	}
	return found
}

func checkPackageComments(tree []*source) []finding {
	said := map[string]bool{}
	for _, s := range tree {
		if !s.production() {
			continue
		}
		inPlace := strings.HasSuffix(s.path, "/doc.go") || s.file.Name.Name == "main"
		said[s.dir()] = said[s.dir()] || inPlace && s.file.Doc != nil
	}
	var found []finding
	for dir, is := range said {
		if !is {
			found = append(found, finding{dir, 0, "has no package comment in doc.go"})
		}
	}
	return found
}

func checkSizes(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if !s.production() || s.generated() {
			continue
		}
		if s.lines > maxFileLines {
			found = append(found, finding{s.path, 0, fmt.Sprintf("%d lines, %d are the limit", s.lines, maxFileLines)})
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.FuncDecl, *ast.FuncLit:
				lines := s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
				if lines > maxFuncLines {
					found = append(found, s.find(n, "function of %d lines, %d are the limit", lines, maxFuncLines))
				}
			}
			return true
		})
	}
	return found
}

func checkInit(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if !s.production() || under(s.path, initialisers) {
			continue
		}
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				found = append(found, s.find(f, "func init"))
			}
		}
	}
	return found
}

func checkPrint(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if !s.production() || under(s.dir(), printers) {
			continue
		}
		found = append(found, s.uses("fmt", "Print", "Printf", "Println")...)
		found = append(found, s.uses("log", "Print", "Printf", "Println", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln")...)
		found = append(found, s.uses("log/slog", "Debug", "Info", "Warn", "Error", "Log", "Default", "SetDefault")...)
		found = append(found, s.uses("os", "Exit", "Stdout", "Stderr")...)
		found = append(found, s.calls("print")...)
		found = append(found, s.calls("println")...)
	}
	return found
}

func checkPanic(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if !s.production() || panics[s.path] != "" || under(s.dir(), equipment) {
			continue
		}
		found = append(found, s.calls("panic")...)
	}
	return found
}

// calls lists where s calls a built-in function.
func (s *source) calls(name string) []finding {
	var all []finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == name {
				all = append(all, s.find(call, "%s(…)", name))
			}
		}
		return true
	})
	return all
}
