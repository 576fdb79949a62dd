package purge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"perigee/httpcache"
)

// Kind says what the value of an entry names.
type Kind uint8

const (
	KindNone       Kind = iota // no entry
	KindURL                    // one URL with its query, in both schemes
	KindPath                   // one URL, whatever its query
	KindPrefix                 // a path and what is below it
	KindTag                    // a tag, exactly
	KindHost                   // a host, or those below a name
	KindSite                   // all of a site
	KindEverything             // all of all sites
	KindClass                  // the URLs that No-Vary-Search makes equal

	kindEnd // of what an entry may be; below are marks of other sources

	kindGroup // a cache group (RFC 9875)
	kindDeep  // what is deeper than maxPrefixes below a prefix
)

var kindNames = [kindEnd]string{"none", "url", "path", "prefix", "tag", "host", "site", "everything", "class"}

func (k Kind) String() string {
	if k < kindEnd {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Limits of an entry; beyond them it is refused.
const (
	MaxValueBytes = 32 << 10
	maxNameBytes  = 255 // of Site, Who and From
)

// anyHost stands for the host in a URL, path or prefix of the site "*", which alone
// serves hosts that nobody can list.
const (
	catchAll = "*"
	anyHost  = "*"
)

// Entry is a purge: everything that its value names and whose fetch began before it
// was applied is invalid. How the value is spelled:
//
//	url         host/path?query   as they are keyed; without "?" where the query is empty
//	path        host/path
//	prefix      host/path         covers host/path and host/path/…; slashes at the end do not count
//	tag         the tag           exact and case-sensitive; status=404 and type=text/html
//	                              also name every response of that status and media type
//	host        host or *.domain  the latter covers all hosts below the domain, not itself
//	site        (empty)
//	everything  (empty)           Site is empty too
//	class       the text          as in [cachestore.Subject]
//
// Hosts are canonical ([httpcache.CanonicalHost]); in the site "*" the host of url,
// path and prefix may be "*", any host. Make entries with the functions named like
// their kinds, which refuse what is spelled otherwise.
type Entry struct {
	Seq  int64 // its number in the log; 0 = it has none yet
	ID   ID    // of the [Log.Append] that brought it
	Site string
	Kind Kind
	// Value is spelled as its kind asks.
	Value string
	// Soft leaves what is struck usable as stale and as a validator.
	Soft bool
	// Who purged, and from what address; both may be empty.
	Who, From string
	// At is when, in whole milliseconds UTC. Nothing is decided by it.
	At time.Time
}

// URL is the purge of one URL in both schemes, with this query only.
func URL(site, host, path, query string) (Entry, error) {
	if query != "" {
		query = "?" + query
	}
	return urlEntry(site, KindURL, host, path, query)
}

// Path is the purge of one URL with any query or none.
func Path(site, host, path string) (Entry, error) { return urlEntry(site, KindPath, host, path, "") }

// Prefix is the purge of a path and of all below it.
func Prefix(site, host, path string) (Entry, error) {
	return urlEntry(site, KindPrefix, host, trimPrefix(path), "")
}

// urlEntry refuses what would be another value once its parts are joined.
func urlEntry(site string, kind Kind, host, path, query string) (Entry, error) {
	if strings.ContainsAny(host, "/?") || strings.Contains(path, "?") {
		return Entry{}, fmt.Errorf("purge %s %.100q: host or path is not in its normal form", kind, host+path)
	}
	return entry(site, kind, host+path+query)
}

// Tag is the purge of what bears the tag.
func Tag(site, tag string) (Entry, error) { return entry(site, KindTag, tag) }

// Host is the purge of a host, or of all below example.com where it is
// *.example.com.
func Host(site, host string) (Entry, error) { return entry(site, KindHost, host) }

// Class is the purge of a class of URLs.
func Class(site, class string) (Entry, error) { return entry(site, KindClass, class) }

// Site is the purge of all of a site.
func Site(site string) (Entry, error) { return entry(site, KindSite, "") }

// Everything is the purge of all sites.
func Everything() Entry { return Entry{Kind: KindEverything} }

func entry(site string, kind Kind, value string) (Entry, error) {
	e := Entry{Site: site, Kind: kind, Value: value}
	if err := e.Validate(); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// Validate tells what is wrong with e's kind, site or value, or that something is too
// long. The error is fit for who asked for the purge.
func (e *Entry) Validate() error {
	if err := e.validValue(); err != nil {
		return fmt.Errorf("purge %s %.100q: %w", e.Kind, e.Value, err)
	}
	return nil
}

func (e *Entry) validValue() error {
	switch {
	case e.Kind == KindNone || e.Kind >= kindEnd:
		return errors.New("no such kind")
	case len(e.Value) > MaxValueBytes:
		return fmt.Errorf("longer than %d bytes", MaxValueBytes)
	case max(len(e.Site), len(e.Who), len(e.From)) > maxNameBytes:
		return fmt.Errorf("site, who or from is longer than %d bytes", maxNameBytes)
	case (e.Site == "") != (e.Kind == KindEverything):
		return errors.New("every purge but that of everything names its site")
	}
	switch e.Kind {
	case KindURL, KindPath, KindPrefix:
		return e.validURL()
	case KindTag:
		return validTag(e.Value)
	case KindHost:
		if !canonicalHost(strings.TrimPrefix(e.Value, "*.")) {
			return errors.New("not a host")
		}
	case KindClass:
		if e.Value == "" {
			return errors.New("empty")
		}
	case KindSite, KindEverything:
		if e.Value != "" {
			return errors.New("takes no value")
		}
	}
	return nil
}

func (e *Entry) validURL() error {
	host, path, query, asked := splitURL(e.Value)
	switch normal, ok := httpcache.NormalPath(path); {
	case !canonicalHost(host) && (host != anyHost || e.Site != catchAll):
		return errors.New("not a host")
	case !ok || normal != path:
		return errors.New("the path is not in its normal form")
	case asked && (e.Kind != KindURL || query == ""):
		return errors.New("has a query")
	}
	if normal, ok := httpcache.NormalQuery(query); !ok || normal != query {
		return errors.New("the query is not in its normal form")
	}
	return nil
}

// splitURL takes the value of a url, path or prefix apart.
func splitURL(value string) (host, path, query string, asked bool) {
	value, query, asked = strings.Cut(value, "?")
	if i := strings.IndexByte(value, '/'); i >= 0 {
		return value[:i], value[i:], query, asked
	}
	return value, "", query, asked
}

func canonicalHost(host string) bool {
	canonical, ok := httpcache.CanonicalHost(host)
	return ok && canonical == host
}

func validTag(tag string) error {
	if tag == "" || strings.TrimSpace(tag) != tag {
		return errors.New("empty, or with spaces around it")
	}
	for i := range len(tag) {
		if tag[i] < ' ' || tag[i] == 0x7f {
			return errors.New("has a control character")
		}
	}
	return nil
}

// trimPrefix is the path of a prefix without the slashes at its end; the root keeps
// its only one.
func trimPrefix(path string) string {
	trimmed := strings.TrimRight(path, "/")
	if trimmed == "" && path != "" {
		return "/"
	}
	return trimmed
}
