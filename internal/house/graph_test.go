package house

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

const module = "perigee"

func checkFolders(tree []*source) []finding {
	var found []finding
	seen := map[string]bool{}
	for _, s := range tree {
		top, _, below := strings.Cut(s.path, "/")
		if below && !seen[top] && !slices.Contains(folders, top) {
			seen[top] = true
			found = append(found, finding{top, 0, "is not one of the folders at the top"})
		}
	}
	return found
}

// floor is the entry of floors for a package.
func floor(pkg string) ([]string, bool) {
	if allowed, ok := floors[pkg]; ok {
		return allowed, true
	}
	for name, allowed := range floors {
		if strings.HasSuffix(name, "/") && strings.HasPrefix(pkg+"/", name) {
			return allowed, true
		}
	}
	return nil, false
}

func checkFloors(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if !s.production() {
			continue
		}
		allowed, known := floor(s.dir())
		if !known {
			found = append(found, finding{s.path, 0, "package " + s.dir() + " has no floor in floors"})
			continue
		}
		for name, spec := range s.imports() {
			ours, isOurs := strings.CutPrefix(name, module+"/")
			if isOurs && !under(ours, allowed) {
				found = append(found, s.find(spec, "%s imports %s", s.dir(), ours))
			}
		}
	}
	return found
}

// moduleOf is the module in a list that an import path belongs to, "" if in none.
func moduleOf(name string, list []string) string {
	for _, each := range list {
		if name == each || strings.HasPrefix(name, each+"/") {
			return each
		}
	}
	return ""
}

func checkModules(tree []*source) []finding {
	var found []finding
	owners := map[string]map[string]bool{} // module → packages that import it
	owned := slices.Collect(maps.Keys(modules))
	for _, s := range tree {
		if s.file == nil {
			continue
		}
		for name, spec := range s.imports() {
			first, _, _ := strings.Cut(name, "/")
			if !strings.Contains(first, ".") || moduleOf(name, freeModules) != "" {
				continue // the standard library, ours, or anyone's
			}
			if moduleOf(name, testModules) != "" {
				if !s.test() {
					found = append(found, s.find(spec, "%s is for tests only", name))
				}
				continue
			}
			mod := moduleOf(name, owned)
			switch {
			case mod == "":
				found = append(found, s.find(spec, "%s is of no module in modules", name))
			case !under(s.dir(), []string{modules[mod]}):
				found = append(found, s.find(spec, "%s belongs to %s", name, modules[mod]))
			default:
				if owners[mod] == nil {
					owners[mod] = map[string]bool{}
				}
				owners[mod][s.dir()] = true
			}
		}
	}
	for mod, packages := range owners {
		if len(packages) > 1 {
			names := slices.Sorted(maps.Keys(packages))
			found = append(found, finding{names[0], 0, mod + " is imported by " + strings.Join(names, " and ")})
		}
	}
	return found
}

// TestGraphHasNoCycle checks floors itself: a package may import only what stands
// lower, whatever the compiler would bear.
func TestGraphHasNoCycle(t *testing.T) {
	t.Parallel()
	var visit func(pkg string, way []string)
	visit = func(pkg string, way []string) {
		if slices.Contains(way, pkg) {
			t.Fatalf("floors has a cycle: %v", append(way, pkg))
		}
		for _, below := range floors[pkg] {
			if below != pkg { // internal/ may import internal/
				visit(below, append(slices.Clone(way), pkg))
			}
		}
	}
	for pkg := range floors {
		visit(pkg, nil)
	}
}

// TestOnlyCmdKnowsConfig says in one line what floors says in many.
func TestOnlyCmdKnowsConfig(t *testing.T) {
	t.Parallel()
	for pkg, allowed := range floors {
		if slices.Contains(allowed, "config") && pkg != "cmd/perigee" {
			t.Errorf("%s may import config, which only cmd/perigee turns into what the packages ask for", pkg)
		}
	}
}

func TestOneDoorAPackage(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for door := range doors {
		pkg := door[:strings.LastIndex(door, "/")]
		if other := seen[pkg]; other != "" {
			t.Errorf("%s and %s both read the clock: one door a package", door, other)
		}
		seen[pkg] = door
	}
}

// TestAllowedIsNeeded finds exceptions that nothing needs any more.
func TestAllowedIsNeeded(t *testing.T) {
	t.Parallel()
	needed := map[string]bool{}
	for _, s := range loadTree(t) {
		if s.production() {
			needed["clock "+s.path] = len(s.uses("time", "Now", "Since", "Until")) > 0
			needed["panic "+s.path] = len(s.calls("panic")) > 0
		}
	}
	for kind, list := range map[string]map[string]string{"clock": doors, "panic": panics} {
		for name := range list {
			if !needed[kind+" "+name] {
				t.Errorf("%s may do what it does not: take it from the list (%s)", name, kind)
			}
		}
	}
}
