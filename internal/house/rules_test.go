package house

import (
	"strings"
	"testing"
)

// rule is something that holds for the whole tree.
type rule struct {
	name  string
	why   string
	check func([]*source) []finding
	bad   []sample // each breaks the rule
	good  []sample // none does
}

// sample is a small tree: path → text.
type sample map[string]string

var rules = []rule{
	{
		name:  "folders",
		why:   "a folder at the top is a room of the house: add one with a paragraph in docs/decisions.md, or find the room it belongs to",
		check: checkFolders,
		bad:   []sample{{"util/strings.go": "package util\n"}, {".github/x.yml": "a: 1\n"}},
		good:  []sample{{"edge/handler.go": "package edge\n", "README.md": "perigee\n"}},
	},
	{
		name:  "imports go down",
		why:   "the import graph is the design: what a package cannot import it cannot come to depend on, and it can be tested alone",
		check: checkFloors,
		bad: []sample{
			{"httpcache/a.go": "package httpcache\nimport _ \"perigee/origin\"\n"},
			{"cachestore/a.go": "package cachestore\nimport _ \"perigee/cachestore/ram\"\n"},
			{"edge/a.go": "package edge\nimport _ \"perigee/edge/listener\"\n"},
			{"edge/listener/a.go": "package listener\nimport _ \"perigee/edge\"\n"},
			{"edge/listener/h2/a.go": "package h2\nimport _ \"perigee/httpcache\"\n"},
			{"admin/a.go": "package admin\nimport _ \"perigee/config\"\n"},
			{"bench/load/main.go": "package main\nimport _ \"perigee/config\"\n"},
			{"edge/a.go": "package edge\nimport _ \"perigee/internal/testorigin\"\n"},
			{"newroom/a.go": "package newroom\n"},
		},
		good: []sample{
			{"cmd/perigee/main.go": "package main\nimport _ \"perigee/config\"\n"},
			{"edge/a.go": "package edge\nimport (\n_ \"perigee/httpcache\"\n_ \"net/http\"\n)\n"},
			{"edge/a_test.go": "package edge\nimport _ \"perigee/internal/testorigin\"\n"},
			{"edge/listener/a.go": "package listener\nimport _ \"perigee/edge/listener/h2\"\n"},
			{"internal/testorigin/a.go": "package testorigin\nimport _ \"perigee/internal/memnet\"\n"},
		},
	},
	{
		name:  "a module has one owner",
		why:   "a module that one package imports can be left by changing one package; a new one needs a paragraph in docs/decisions.md",
		check: checkModules,
		bad: []sample{
			{"edge/a.go": "package edge\nimport _ \"github.com/prometheus/client_golang/prometheus\"\n"},
			{"edge/a.go": "package edge\nimport _ \"github.com/unknown/thing\"\n"},
			{"edge/a.go": "package edge\nimport _ \"github.com/google/go-cmp/cmp\"\n"},
			{"edge/a_test.go": "package edge\nimport _ \"github.com/stretchr/testify/require\"\n"},
			{
				"edge/listener/h3/a.go": "package h3\nimport _ \"github.com/quic-go/quic-go\"\n",
				"edge/listener/a.go":    "package listener\nimport _ \"github.com/quic-go/quic-go/http3\"\n",
			},
		},
		good: []sample{
			{"admin/a.go": "package admin\nimport _ \"github.com/prometheus/client_golang/prometheus\"\n"},
			{"edge/a.go": "package edge\nimport _ \"golang.org/x/net/http/httpguts\"\n"},
			{"edge/a_test.go": "package edge\nimport _ \"github.com/google/go-cmp/cmp\"\n"},
			{"edge/listener/h3/a.go": "package h3\nimport _ \"github.com/quic-go/quic-go\"\n"},
		},
	},
	{
		name:  "the clock has few doors",
		why:   "now is an argument: whoever reads the clock cannot be tested at another time, and two readings in one request disagree; a new door needs a line in doors",
		check: checkClock,
		bad: []sample{
			{"httpcache/a.go": "package httpcache\nimport \"time\"\nvar x = time.Now()\n"},
			{"edge/a.go": "package edge\nimport \"time\"\nvar clock = time.Now\n"},
			{"edge/a.go": "package edge\nimport t \"time\"\nvar x = t.Since(t.Time{})\n"},
			{"edge/a.go": "package edge\nimport . \"time\"\nvar x = Now()\n"},
			{"edge/a.go": "package edge\nimport \"time\"\nvar x = time.Until(time.Time{})\n"},
		},
		good: []sample{
			{"edge/handler.go": "package edge\nimport \"time\"\nvar x = time.Now()\n"},
			{"edge/a_test.go": "package edge\nimport \"time\"\nvar x = time.Now()\n"},
			{"edge/a.go": "package edge\nimport \"time\"\nvar x = time.Second // not time.Now\n"},
		},
	},
	{
		name:  "nothing sleeps",
		why:   "code that sleeps is late or wrong, and tests that sleep are slow and still fail on a busy machine; in a synctest bubble the clock is ours",
		check: checkSleep,
		bad: []sample{
			{"edge/a.go": "package edge\nimport \"time\"\nfunc f() { time.Sleep(1) }\n"},
			{"edge/a_test.go": "package edge\nimport \"time\"\nfunc f() { time.Sleep(1) }\n"},
		},
		good: []sample{
			{"edge/a_test.go": "package edge\nimport (\n\"time\"\n_ \"testing/synctest\"\n)\nfunc f() { time.Sleep(1) }\n"},
			{"edge/a.go": "package edge\nimport \"time\"\nvar x = time.NewTimer(1)\n"},
		},
	},
	{
		name:  "caching is decided in httpcache",
		why:   "the field that decides about caching is read and written in one package; elsewhere ask httpcache, or a second law grows beside the first",
		check: checkCacheControl,
		bad: []sample{
			{"edge/a.go": "package edge\nvar x = \"Cache-Control\"\n"},
			{"admin/a.go": "package admin\nvar x = `cache-control: no-store`\n"},
		},
		good: []sample{
			{"httpcache/a.go": "package httpcache\nvar x = \"Cache-Control\"\n"},
			{"edge/a_test.go": "package edge\nvar x = \"Cache-Control\"\n"},
			{"config/a.go": "package config\n// Cache-Control\nvar doc = \"Obey the Cache-Control of clients.\"\n"},
		},
	},
	{
		name:  "packages say what they are",
		why:   "whoever opens a package reads first what it owns, what it never does and where to start; that stands in its doc.go",
		check: checkPackageComments,
		bad: []sample{
			{"edge/handler.go": "package edge\n"},
			{"edge/doc.go": "package edge\n", "edge/handler.go": "// Package edge is elsewhere.\npackage edge\n"},
			{"cmd/perigee/main.go": "package main\n"},
		},
		good: []sample{
			{"edge/doc.go": "// Package edge is here.\npackage edge\n", "edge/handler.go": "package edge\n"},
			{"cmd/perigee/main.go": "// Perigee is a CDN.\npackage main\n"},
		},
	},
	{
		name:  "files and functions have an end",
		why:   "a file over 600 lines is more than one concept, a function over 80 more than one thought",
		check: checkSizes,
		bad: []sample{
			{"edge/a.go": "package edge\n" + strings.Repeat("//\n", 600)},
			{"edge/a.go": "package edge\nfunc f() {\n" + strings.Repeat("_ = 1\n", 79) + "}\n"},
			{"edge/a.go": "package edge\nvar f = func() {\n" + strings.Repeat("_ = 1\n", 79) + "}\n"},
		},
		good: []sample{
			{"edge/a.go": "package edge\n" + strings.Repeat("//\n", 599)},
			{"edge/a.go": "package edge\nfunc f() {\n" + strings.Repeat("_ = 1\n", 78) + "}\n"},
			{"edge/a_test.go": "package edge\n" + strings.Repeat("//\n", 900)},
			{"edge/a.go": "// Code generated by x. DO NOT EDIT.\n\npackage edge\n" + strings.Repeat("//\n", 900)},
		},
	},
	{
		name:  "nothing happens on import",
		why:   "init runs in every test and every tool that imports the package; two servers have to fit in one process",
		check: checkInit,
		bad:   []sample{{"edge/a.go": "package edge\nfunc init() {}\n"}},
		good:  []sample{{"edge/a.go": "package edge\ntype t int\nfunc (t) init() {}\nfunc initial() {}\n"}},
	},
	{
		name:  "only cmd speaks",
		why:   "packages return errors and counts; what is printed, where and in which format is for cmd to say",
		check: checkPrint,
		bad: []sample{
			{"edge/a.go": "package edge\nimport \"log\"\nfunc f() { log.Printf(\"x\") }\n"},
			{"edge/a.go": "package edge\nimport \"fmt\"\nfunc f() { fmt.Println(\"x\") }\n"},
			{"edge/a.go": "package edge\nfunc f() { println(\"x\") }\n"},
			{"edge/a.go": "package edge\nimport \"os\"\nfunc f() { os.Exit(1) }\n"},
			{"edge/a.go": "package edge\nimport \"log/slog\"\nfunc f() { slog.Info(\"x\") }\n"},
		},
		good: []sample{
			{"cmd/perigee/a.go": "package main\nimport \"fmt\"\nfunc f() { fmt.Println(\"x\") }\n"},
			{"edge/a.go": "package edge\nimport \"fmt\"\nvar x = fmt.Sprintf(\"x\")\n"},
			{"edge/a_test.go": "package edge\nimport \"fmt\"\nfunc f() { fmt.Println(\"x\") }\n"},
		},
	},
	{
		name:  "panic is for broken invariants",
		why:   "trouble is an error and costs one request; a panic is for what cannot be, and stands in panics with its reason",
		check: checkPanic,
		bad: []sample{
			{"edge/a.go": "package edge\nfunc f() { panic(\"x\") }\n"},
			{"httpcache/a.go": "package httpcache\nfunc f() { defer func() { panic(1) }() }\n"},
		},
		good: []sample{
			{"edge/handler.go": "package edge\nfunc f() { panic(\"x\") }\n"},
			{"edge/a_test.go": "package edge\nfunc f() { panic(\"x\") }\n"},
			{"edge/a.go": "package edge\nfunc f() { _ = recover() } // panic(\n"},
		},
	},
	{
		name:  "no machine is special",
		why:   "a path of one machine or the address of one registry works there and nowhere else; temporary files go to ${TMPDIR}, modules come by the user's settings",
		check: checkMachine,
		bad: []sample{
			{"edge/a.go": "package edge\nvar x = \"/ro" + "ot/go/bin\"\n"},
			{"README.md": "cd /wo" + "rk/main\n"},
			{"bench/run": "out=/tmp/out.txt\n"},
			{".ci/run": "export GOPROXY=https://proxy." + "golang.org\n"},
		},
		good: []sample{
			{"edge/a_test.go": "package edge\nvar x = \"/tmp/x\"\n"},
			{"bench/run": "out=${TMPDIR:-/tmp}\n"},
			{"README.md": "see https://example.com/work/1 and curl -o /tmp/page\n"},
		},
	},
	{
		name:  "CI runs what the README says",
		why:   "the README promises a command that passes the tests; CI proves that one, not another",
		check: checkTestCommand,
		bad: []sample{
			{".ci/run": "go test -race ./...\n", "README.md": "```sh\ngo test ./edge\n```\n"},
			{".ci/run": "go vet ./...\n", "README.md": "```sh\ngo test ./...\n```\n"},
			{".ci/run": "go test -race ./...\n", "README.md": "go test ./...\n"},
			{".ci/run": "# go test -race ./...\n", "README.md": "```sh\ngo test ./...\n```\n"},
		},
		good: []sample{
			{".ci/run": "go test -race ./...\n", "README.md": "```sh\ngo test ./...\n```\n"},
			{".ci/run": "  go test -race ./...\n", "README.md": "```console\n$ go test -race ./...   # all tests\n```\n"},
		},
	},
	{
		name:  "documented configurations load",
		why:   "people copy what the documentation shows; a block that is none of ours is marked with <!-- not a configuration --> above it",
		check: checkSnippets,
		bad: []sample{
			{"README.md": "```yaml\nsite: www.example.com\norigin: https://origin.example.com\nunknown: 1\n```\n"},
			{"docs/a.md": "```yaml\nlisten: {http: [}\n```\n"},
			{"docs/a.md": "```yaml\ncache: {default_ttl: soon}\n```\n"},
			{"docs/a.md": "1. thus:\n   ```yaml\n   cache: {no_such_key: 1}\n   ```\n"},
			{"docs/sub/a.md": "<!-- some comment -->\n```yaml\nnonsense: 1\n```\n"},
		},
		good: []sample{
			{"README.md": "```yaml\nsite: www.example.com\norigin: https://origin.example.com\n```\n"},
			{"README.md": "```yaml\nlisten: {http: \":8080\"}\nsites: [sites/*.yaml]\n```\n"},
			{"docs/a.md": "```yaml\ncache: {default_ttl: 30s}\n```\n"},
			{"docs/a.md": "```yaml\ntls: {cert: /etc/perigee/www.pem, key: www.key}\n```\n"},
			{"docs/a.md": "```yaml\ncompress: {min: 2KiB}\n```\n"}, // not built yet
			{"docs/a.md": "<!-- not a configuration -->\n```yaml\nservices: {perigee: {}}\n```\n"},
			{"docs/a.md": "```json\n{\n```\n"},
		},
	},
}

func TestHouse(t *testing.T) {
	t.Parallel()
	tree := loadTree(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, f := range r.check(tree) {
				t.Errorf("%s\n\tbecause %s", f, r.why)
			}
		})
	}
}

// TestRules tests the rules: one that finds nothing in what breaks it is no rule.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, each := range r.bad {
				if len(r.check(each.sources(t))) == 0 {
					t.Errorf("not found in %v", each)
				}
			}
			for _, each := range r.good {
				for _, f := range r.check(each.sources(t)) {
					t.Errorf("found where it is not: %s\nin %v", f, each)
				}
			}
		})
	}
}

func (s sample) sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	for name, text := range s {
		parsed, err := newSource(name, text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parsed)
	}
	return all
}
