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
		for _, name := range []string{"cms.token", "cms-2027.token", "deploy.token"} {
			write(t, filepath.Join(dir, "sites", name), "the-content-of-"+name)
		}
		write(t, filepath.Join(dir, "sites", "www.yaml"), site)
		if _, err := Load(filepath.Join(dir, "perigee.yaml"), fixtureEnv); err != nil {
			t.Errorf("%s\n%s", err, match[1])
		}
	}
	if count < 5 {
		t.Errorf("%d snippets, want at least 5", count)
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

With a disk, what is stored outlives the process, and so does the journal of purges, which is kept in the same folder unless
` + "`node.state`" + ` names another:

` + "```yaml" + `
store: {ram: 2GiB, disk: {path: /var/cache/perigee, size: 100GiB}}
sites: [sites/*.yaml]
` + "```" + `

Several disks are named one by one. The journal is better kept apart from them, where it stays when a disk is replaced:

` + "```yaml" + `
node: {state: /var/lib/perigee}
store:
  disks:
    - {path: /disk1/perigee, size: 2TiB}
    - {path: /disk2/perigee, size: 2TiB}
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

const docsCaching = `
## Caching, by examples

Every block below is a whole site file.

Parameters that only count visitors make a new stored response for each of them. Left out of the key, they are left out of what
the origin is asked as well:

` + "```yaml" + `
site: www.example.com
origin: https://origin.example.com
cache:
  key: {query: {exclude: [utm_*, fbclid, gclid], sort: true}}
` + "```" + `

An API whose answers depend on two parameters, a header and a cookie, and on nothing else:

` + "```yaml" + `
site: api.example.com
origin: https://origin.example.com
cache:
  key:
    query: {include: [page, "filter[*]"]}
    headers: [X-Tenant]
    cookies: [currency]
` + "```" + `

**Rules** change some of this for some requests. All that a rule's ` + "`match`" + ` names must fit, and of each list any item; ` + "`*`" + ` stands for any
characters, ` + "`/`" + ` among them. Every rule that fits applies, in the order of the file, and where two of them say the same key, the
later one wins:

` + "```yaml" + `
site: shop.example.com
origin: https://origin.example.com
cache:
  stale_while_revalidate: 30s
  rules:
    # Files with a version in their name, whatever the origin says of their lifetime.
    - {match: {path: /static/*}, ttl: 30d}
    # It wins over the line above, because it comes later.
    - {match: {path: /static/manifest.json}, ttl: 1m}
    # Whoever is logged in, and whoever looks at a draft, gets pages of their own.
    - {match: {cookie: session}, bypass: true}
    - {match: {query: {preview: "*"}}, bypass: true}
    # Two designs below the same path.
    - match: {path: [/, /products/*]}
      key: {cookies: [design]}
    # Pages that the origin marks private by habit, and that set a cookie which nobody needs.
    - match: {path: /help/*, method: [GET, HEAD]}
      ttl: 1h
      override: [private]
      set_cookie: strip
` + "```" + `

A rule that matches by ` + "`status` or `content_type`" + ` applies when there is a response, so it may say how that is stored and which fields it
is sent with, but not what the key is, what is asked for, or that nothing is to be stored:

` + "```yaml" + `
site: img.example.com
origin: https://origin.example.com
cache:
  rules:
    - {match: {status: [404, 410]}, ttl: 30s}
    - {match: {content_type: image/*}, ttl: 7d, headers: {response: {set: {X-Robots-Tag: noindex}}}}
` + "```" + `

Live streaming: a segment that is not there yet is asked for again within a second, and players that wait for the next state of
a playlist share one request to the origin:

` + "```yaml" + `
site: live.example.com
origin: https://origin.example.com
cache:
  rules:
    - {match: {path: /hls/*}, live: true}
` + "```" + `

An origin in trouble: stale responses stand in for an hour where it cannot be reached or does not answer, but what it answers
itself is passed on, errors too:

` + "```yaml" + `
site: news.example.com
origin: https://origin.example.com
cache:
  stale_if_error: 1h
  serve_stale_on: [error, timeout]
compress: {encodings: [br, gzip]}
` + "```" + `
`

const docsPurging = `
## Purging, by examples

A site without tokens is purged by the operator alone, on the operator's listener. The first three blocks are whole site files, the
last one is a node file.

A CMS that says which pages changed. Its token stands in a file, one line that ` + "`openssl rand -hex 32`" + ` makes:

` + "```yaml" + `
site: www.example.com
origin: https://origin.example.com
purge:
  tokens: [{name: cms, scopes: [url, tag], secret_file: cms.token}]
` + "```" + `

Three holders with rights of their own: the CMS, from its own network only and out of a variable; a deployment that may empty the
site, but seldom; an editors' tool that can only make what is stored stale, so that nothing is waited for. The CMS has been set up
with another name for the site than its host:

` + "```yaml" + `
site: shop.example.com
origin: https://origin.example.com
purge:
  ids: [shop]
  tokens:
    - {name: cms, scopes: [url, prefix, tag], secret: "${CMS_TOKEN}", networks: [192.0.2.0/24, "2001:db8::/48"]}
    - {name: deploy, scopes: site, secret_file: deploy.token, rate: 10/h}
    - {name: editors, scopes: [url, soft-only], secret: "${EDITORS_TOKEN}"}
` + "```" + `

Replacing a token without a gap: add the new one, reload, give it to its holder, and let the old one end by itself. They may bear
one name:

` + "```yaml" + `
site: news.example.com
origin: https://origin.example.com
purge:
  tokens:
    - {name: cms, scopes: all, secret_file: cms-2027.token}
    - {name: cms, scopes: all, secret_file: cms.token, expires: 2027-01-31}
` + "```" + `

Tokens are used with the method ` + "`PURGE`" + ` on the site itself, and on the public door of the API where there is one. It has a host of its
own and speaks TLS only. ` + "`state`" + ` keeps the journal of purges:

` + "```yaml" + `
node: {state: /var/lib/perigee}
listen: {http: ":80", https: ":443"}
api: {hosts: [purge.example.net]}
sites: [sites/*.yaml]
` + "```" + `
`

// markdown is the whole of docs/configuration.md.
func markdown() string {
	var b strings.Builder
	b.WriteString(docsHead)
	b.WriteString(docsCaching)
	b.WriteString(docsPurging)
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
		doc += " At least " + k.least
		if k.because != "" {
			doc += ": " + k.because
		}
		doc += "."
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
	if k.mostItems > 0 {
		doc += fmt.Sprintf(" At most %d.", k.mostItems)
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
		if k.named.isScalar() || k.named.item != nil && k.named.item.isScalar() {
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
