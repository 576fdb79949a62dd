package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const docsFile = "../docs/configuration.md"

// TestDocs: docs/configuration.md says what the schema says.
func TestDocs(t *testing.T) {
	t.Parallel()
	golden(t, docsFile, []byte(markdown()))
}

// TestDocsSnippets: every YAML in the documentation loads.
func TestDocsSnippets(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, match := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		count++
		dir := t.TempDir()
		node, site := "sites: [sites/*.yaml]\n", match[1]
		if !strings.Contains("\n"+match[1], "\nsite:") {
			node, site = match[1], twoLines
		}
		if err := os.Mkdir(filepath.Join(dir, "sites"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "perigee.yaml"), node)
		write(t, filepath.Join(dir, "sites", "www.yaml"), site)
		if _, err := Load(filepath.Join(dir, "perigee.yaml"), fixtureEnv); err != nil {
			t.Errorf("%s\n%s", err, match[1])
		}
	}
	if count < 3 {
		t.Errorf("%d snippets, want at least 3", count)
	}
}

const docsHead = `# Configuration

<!-- Made from the schema in config/ by "go test ./config -update". Do not edit. -->

perigee reads two kinds of YAML files.

The **node file** says what one machine does: which sockets it opens, what it takes on, how much it keeps. It names the site
files. The whole of a small one:

` + "```yaml" + `
listen: {http: ":8080", admin: "127.0.0.1:9180"}
store: {ram: 512MiB}
sites: [sites/*.yaml]
` + "```" + `

A **site file** says what is served for one host name, and belongs to whoever owns that site. Two lines serve a site:

` + "```yaml" + `
site: www.example.com
origin: https://origin.example.com
` + "```" + `

and a few more say how:

` + "```yaml" + `
site: www.example.com
aliases: [example.com]
origin:
  upstreams: [{url: "https://origin.example.com"}]
  timeouts: {header: 10s}
cache:
  default_ttl: 10m
  ttl_by_status: {404: 10s}
  stale_if_error: 1h
headers:
  response: {remove: [X-Powered-By]}
` + "```" + `

Check both with ` + "`perigee validate --config perigee.yaml`" + `, which names every mistake at once, each with its file, line and
column. ` + "`perigee schema`" + ` prints a JSON Schema of either file, with which most editors complete and check while one types.
A mistake never takes a running node down: a reload that finds one leaves the old configuration serving.

## How values are written

- A list of one may be written without the list: ` + "`http: \":80\"` is `http: [\":80\"]`" + `.
- **Durations** are whole numbers with units, the larger first: ` + "`500ms`, `10s`, `5m`, `1h30m`, `30d`" + ` (a day is 24 hours).
- **Sizes** have a unit: ` + "`10KiB`, `64GiB` (powers of 1024), `512MB`" + ` (powers of 1000). Only 0 needs none.
- **Rates** are ` + "`100/s`, `50/m`, `10/h`; bandwidths are `10Gbit`" + `.
- **Host names** may be written in any case and any script; they are compared in lower case, in their ` + "`xn--`" + ` form and without a
  dot at the end.
- **Paths** are relative to the file that names them.
- **Secrets** are read from the files that keys ending in ` + "`_file`" + ` name, or come from the environment: ` + "`${NAME}`" + ` in any value is
  replaced by the variable of that name, and one that is not set is a mistake. ` + "`$${`" + ` stands for ` + "`${`" + ` itself.
- Anchors, aliases and ` + "`<<`" + ` work within one file; tags (` + "`!!str`" + `) are not used. A file holds one document of at most 4 MiB.
- An unknown key is a mistake, and so is a key that stands twice.
- A key marked *not available in this version* is understood, but may only say its default.
`

// markdown is the whole of docs/configuration.md.
func markdown() string {
	var b strings.Builder
	b.WriteString(docsHead)
	b.WriteString("\n## The node file\n")
	section(&b, "", nodeSchema(), false)
	b.WriteString("\n## The site file\n")
	section(&b, "", siteSchema(), false)
	return b.String()
}

// section writes the table of one block's keys, and then the sections of the blocks in it.
func section(b *strings.Builder, path string, block *key, later bool) {
	b.WriteString("\n| Key | Value | Default | Example | Meaning |\n|---|---|---|---|---|\n")
	for _, k := range block.keys {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", k.name, valueCell(k), defaultCell(k), code(k.example), docCell(k, later))
	}
	for _, k := range block.keys {
		for _, below := range []struct {
			key    *key
			suffix string
		}{{k, ""}, {k.item, "[]"}, {k.named, ".NAME"}} {
			if below.key == nil || below.key.keys == nil {
				continue
			}
			at := join(path, k.name+below.suffix)
			fmt.Fprintf(b, "\n### %s\n\n%s%s\n", "`"+at+"`", k.doc, laterText(later || k.later))
			section(b, at, below.key, later || k.later)
		}
	}
}

func laterText(later bool) string {
	if later {
		return " *" + strings.ToUpper(NotAvailable[:1]) + NotAvailable[1:] + ".*"
	}
	return ""
}

func docCell(k *key, later bool) string {
	doc := k.doc
	if k.least != "" {
		doc += " At least " + k.least + "."
	}
	if k.most != "" {
		doc += " At most " + k.most + "."
	}
	var comesLater []string
	for _, w := range k.words {
		if w.later {
			comesLater = append(comesLater, "`"+w.text+"`")
		}
	}
	if comesLater != nil {
		doc += " *Not available in this version: " + strings.Join(comesLater, ", ") + ".*"
	}
	if k.isRequired {
		doc = "**Required.** " + doc
	}
	return cell(doc + laterText(k.later || later))
}

// valueCell says what may stand at a key.
func valueCell(k *key) string {
	var forms []string
	for _, w := range k.words {
		forms = append(forms, "`"+w.text+"`")
	}
	if k.kind != kindNone {
		forms = append(forms, formCell(k))
	}
	if k.item != nil && k.item.isScalar() {
		forms = append(forms, "list of: "+valueCell(k.item))
	}
	if k.item != nil && k.item.isBlock() {
		forms = append(forms, "list of blocks, see below")
	}
	if k.named != nil {
		of := "block"
		if k.named.isScalar() {
			of = valueCell(k.named)
		}
		forms = append(forms, "block of "+k.nameKind.info().form+": "+of)
	}
	if k.keys != nil {
		forms = append(forms, "block, see below")
	}
	return cell(enumerate(forms, "or"))
}

func formCell(k *key) string {
	form := k.kind.info().form
	if k.kind == kindURL {
		form += ": `" + strings.Join(withSlashes(k.schemes), " ") + "`"
	}
	return form
}

func defaultCell(k *key) string {
	if k.deflt == "" || k.deflt == `""` {
		return "–"
	}
	return code(k.deflt)
}

func code(text string) string {
	if text == "" {
		return "–"
	}
	return "`" + cell(text) + "`"
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
