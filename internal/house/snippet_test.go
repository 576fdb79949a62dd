package house

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"perigee/config"
)

// How a snippet is loaded. What has a top-level `site:` is a site file. Anything else
// may be a node file or a part of either file, and passes if one reading of it loads:
//
//   - as a node file; a `sites:` of one site is added if it has none, and the files
//     that its own `sites:` names are made;
//   - as part of a site file, with `site:` and, if it has none, `origin:` above it.
//
// Files that a snippet names are made beside it, with a certificate and its key or a
// secret in them, and every ${VARIABLE} has a value: each secret its own, since two that
// are equal are refused. Problems that say that something is not available in this
// version are none: the documentation shows the whole shape.

const notConfiguration = "<!-- not a configuration -->"

var (
	topKey    = regexp.MustCompile(`(?m)^([a-z_]+):`)
	namedFile = regexp.MustCompile(`(?:\.{0,2}/)?(?:[\w.-]+/)*[\w-]+\.(?:pem|crt|key|token|secret|creds|csv|mmdb)\b`)
	siteFile  = regexp.MustCompile(`[\w./*-]+\.yaml\b`)
)

func checkSnippets(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if !strings.HasSuffix(s.path, ".md") || s.path != "README.md" && !strings.HasPrefix(s.path, "docs/") {
			continue
		}
		for _, block := range fences(s.text) {
			if block.language != "yaml" && block.language != "yml" || block.above == notConfiguration {
				continue
			}
			if err := loadSnippet(block.text); err != nil {
				found = append(found, finding{s.path, block.line, "this block does not load:\n" + err.Error()})
			}
		}
	}
	return found
}

// loadSnippet returns why no reading of a snippet loads.
func loadSnippet(text string) error {
	keys := map[string]bool{}
	for _, match := range topKey.FindAllStringSubmatch(text, -1) {
		keys[match[1]] = true
	}
	const node = "sites: [sites/www.yaml]\n"
	if keys["site"] {
		return loadFiles(node, map[string]string{"sites/www.yaml": text})
	}
	asNode := text
	if !keys["sites"] {
		asNode = node + text
	}
	sites := map[string]string{}
	for i, pattern := range siteFile.FindAllString(asNode, -1) {
		name := strings.ReplaceAll(strings.TrimLeft(pattern, "./"), "*", "www")
		sites[name] = fmt.Sprintf("site: www%d.example.com\norigin: https://origin.example.com\n", i)
	}
	errNode := loadFiles(asNode, sites)
	if errNode == nil {
		return nil
	}
	asSite := "site: www.example.com\n" + text
	if !keys["origin"] {
		asSite = "site: www.example.com\norigin: https://origin.example.com\n" + text
	}
	errSite := loadFiles(node, map[string]string{"sites/www.yaml": asSite})
	if errSite == nil {
		return nil
	}
	return fmt.Errorf("as a node file:\n%w\nas part of a site file:\n%w", errNode, errSite)
}

// loadFiles loads a node file with the site files beside it, from a folder of their
// own.
func loadFiles(node string, sites map[string]string) error {
	dir, err := os.MkdirTemp("", "perigee-snippet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files := map[string]string{}
	put := func(name, text string) {
		// Files named by an absolute path are made here too.
		text = namedFile.ReplaceAllStringFunc(text, func(named string) string {
			local := path.Base(named)
			files[path.Join(path.Dir(name), local)] = contents(local)
			return local
		})
		files[name] = text
	}
	put("perigee.yaml", node)
	for name, text := range sites {
		put(name, text)
	}
	for name, text := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			return err
		}
	}
	env := func(name string) (string, bool) { return "the-value-of-" + name, true }
	_, err = config.Load(filepath.Join(dir, "perigee.yaml"), env)
	return unexpected(err)
}

// contents is what a file that a snippet names holds: two names never the same secret.
func contents(name string) string {
	switch path.Ext(name) {
	case ".pem", ".crt", ".key":
		return pair()
	default:
		return "the-content-of-" + name + "\n"
	}
}

// pair is a certificate and its key in one PEM text. Whoever wants one of them skips
// the other.
var pair = sync.OnceValue(func() string {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err.Error()
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"www.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return err.Error()
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err.Error()
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
})

// unexpected leaves of a configuration's problems those that are not about what is
// not built yet.
func unexpected(err error) error {
	var all *config.Errors
	if !errors.As(err, &all) {
		return err
	}
	var rest []string
	for _, each := range all.Problems {
		if !strings.Contains(each.Message, config.NotAvailable) {
			rest = append(rest, each.String())
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return errors.New(strings.Join(rest, "\n"))
}
