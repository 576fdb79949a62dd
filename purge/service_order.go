package purge

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"perigee/httpcache"
)

// Bounds of an order.
const (
	MaxItems = 500 // items of all kinds together
	MaxWait  = time.Minute

	maxURLBytes  = 16 << 10
	maxTagBytes  = 1 << 10
	maxHostBytes = 255
	maxKeyBytes  = 255
	// maxForms is how many queries and classes of one URL are told apart; of what has
	// more the whole path is purged.
	maxForms = 64
)

// Order is what somebody wants purged, all or nothing, of one site.
type Order struct {
	Site string // its name as configured, or one of its ids
	// URLs are absolute or paths of the site, with their queries. IgnoreQuery purges
	// them whatever their query, and takes none that has one.
	URLs        []string
	IgnoreQuery bool
	Prefixes    []string // paths (/a/b) or host and path (example.com/a/b)
	Tags        []string
	Hosts       []string // hosts of the site, or *.example.com for those below
	Everything  bool     // all of the site; nothing else may be ordered beside it

	Soft   bool          // leave it usable as stale
	DryRun bool          // purge nothing, count what would be
	Wait   time.Duration // how long to wait for every edge; at most MaxWait
	// Key makes a repeated order the same order for a day; empty = none.
	Key  string
	Who  string // name of whoever orders
	From string // address that the order came from

	// target is a URL that is in parts already: that of a PURGE on the site, which
	// was found by its host.
	target *target
}

// target is a URL whose parts are split, but not yet normalised.
type target struct{ host, path, query string }

// items is how many things the order names.
func (o *Order) items() int {
	n := o.urls() + len(o.Prefixes) + len(o.Tags) + len(o.Hosts)
	if o.Everything {
		n++
	}
	return n
}

func (o *Order) urls() int {
	if o.target != nil {
		return len(o.URLs) + 1
	}
	return len(o.URLs)
}

// needs lists the scopes that the order takes.
func (o *Order) needs() []Scope {
	var all []Scope
	for _, each := range []struct {
		needed bool
		scope  Scope
	}{
		{o.urls() > 0, ScopeURL},
		{len(o.Prefixes) > 0, ScopePrefix},
		{len(o.Tags) > 0, ScopeTag},
		{len(o.Hosts) > 0, ScopeHost},
		{o.Everything, ScopeSite},
	} {
		if each.needed {
			all = append(all, each.scope)
		}
	}
	return all
}

// compiler turns an order into entries and notes what is wrong with it.
type compiler struct {
	state    *snapshot
	site     *siteState
	names    Names
	seen     map[Entry]bool
	entries  []Entry
	problems []string
	left     int // problems that were not noted
}

// compile turns an order into entries. Either all of it is right, or nothing is
// returned but what is wrong.
func (s *Service) compile(state *snapshot, site *siteState, o *Order) ([]Entry, *Refusal) {
	switch n := o.items(); {
	case n == 0:
		return nil, refuse(http.StatusBadRequest, "the order names nothing to purge")
	case n > MaxItems:
		return nil, refuse(http.StatusBadRequest, "the order has %d items, %d are the most; send several orders", n, MaxItems)
	case o.Everything && n > 1:
		return nil, refuse(http.StatusBadRequest, "everything stands alone: it covers all other items")
	case o.Wait < 0 || o.Wait > MaxWait:
		return nil, refuse(http.StatusBadRequest, "wait is from 0s to %s", MaxWait)
	}
	c := &compiler{state: state, site: site, names: s.options.Names, seen: make(map[Entry]bool)}
	c.checkKey(o.Key)
	if o.Everything {
		c.add("everything")(Site(site.name))
	}
	if o.target != nil {
		c.url("url", *o.target, []string{o.target.host}, o.IgnoreQuery)
	}
	each(o.URLs, "urls", func(at, text string) { c.urlText(at, text, o.IgnoreQuery) })
	each(o.Prefixes, "prefixes", c.prefix)
	each(o.Tags, "tags", c.tag)
	each(o.Hosts, "hosts", c.host)
	switch {
	case c.left > 0:
		c.problems = append(c.problems, fmt.Sprintf("and %d more", c.left))
		fallthrough
	case len(c.problems) > 0:
		return nil, faulty(c.problems)
	case len(c.entries) > MaxBatch:
		return nil, refuse(http.StatusBadRequest, "the order comes to %d names, %d are the most; send several orders", len(c.entries), MaxBatch)
	}
	for i := range c.entries {
		c.entries[i].Soft, c.entries[i].Who, c.entries[i].From = o.Soft, o.Who, o.From
	}
	return c.entries, nil
}

func each(items []string, field string, do func(at, text string)) {
	for i, item := range items {
		do(fmt.Sprintf("%s[%d]", field, i), item)
	}
}

func (c *compiler) problem(at, format string, args ...any) {
	if len(c.problems) == maxProblems {
		c.left++
		return
	}
	c.problems = append(c.problems, at+": "+fmt.Sprintf(format, args...))
}

// add returns a function that takes an entry in, once, or notes the error.
func (c *compiler) add(at string) func(Entry, error) {
	return func(e Entry, err error) {
		switch {
		case err != nil:
			c.problem(at, "%v", err)
		case !c.seen[e]:
			c.seen[e] = true
			c.entries = append(c.entries, e)
		}
	}
}

func (c *compiler) checkKey(key string) {
	if len(key) > maxKeyBytes || !printable(key) {
		c.problem("Idempotency-Key", "at most %d printable characters of ASCII", maxKeyBytes)
	}
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

func (c *compiler) urlText(at, text string, ignoreQuery bool) {
	if len(text) > maxURLBytes {
		c.problem(at, "longer than %d bytes", maxURLBytes)
		return
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		c.problem(at, "%s has a space or control character at byte %d", clip(text), i)
		return
	}
	t, ok := splitTarget(text)
	if !ok {
		c.problem(at, "%s is neither an http(s) URL nor a path that begins with \"/\"", clip(text))
		return
	}
	if hosts, ok := c.hostsOf(at, t.host); ok {
		c.url(at, t, hosts, ignoreQuery)
	}
}

// splitTarget takes an absolute URL, or a path with its query, apart. A fragment is
// never sent in a request (RFC 9110 §7.1), so it is left out.
func splitTarget(text string) (t target, ok bool) {
	text, _, _ = strings.Cut(text, "#")
	rest := text
	if scheme, after, found := strings.Cut(text, "://"); found && !strings.HasPrefix(text, "/") {
		if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return target{}, false
		}
		end := strings.IndexAny(after, "/?")
		if end < 0 {
			end = len(after)
		}
		if t.host, rest = after[:end], after[end:]; t.host == "" {
			return target{}, false
		}
	} else if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") {
		return target{}, false
	}
	t.path, t.query, _ = strings.Cut(rest, "?")
	if t.path == "" {
		t.path = "/"
	}
	return t, true
}

// url purges a target on hosts.
func (c *compiler) url(at string, t target, hosts []string, ignoreQuery bool) {
	if ignoreQuery && t.query != "" {
		c.problem(at, "has a query, which ignore_query does without")
		return
	}
	for _, host := range hosts {
		c.named(at, []string{host}, t, func(scheme, keyed, path, query string) {
			queries, classes := []string{query}, []string(nil)
			if forms, ok := c.names.(Forms); ok {
				others, all := forms.Forms(c.site.name, scheme, host, t.path, t.query)
				queries, classes = append(queries, others...), all
			}
			// The path covers all queries, and all classes, since those are of one path.
			if ignoreQuery || len(queries)+len(classes) > maxForms {
				c.add(at)(Path(c.site.name, keyed, path))
				queries = nil
			}
			for _, each := range queries {
				c.add(at)(URL(c.site.name, keyed, path, each))
			}
			for _, class := range classes[:min(len(classes), maxForms)] {
				if class != "" {
					c.add(at)(Class(c.site.name, class))
				}
			}
		})
	}
}

// hostsOf returns the hosts under which a target may be stored: that which it names,
// or all of the site.
func (c *compiler) hostsOf(at, host string) (hosts []string, ok bool) {
	if host == "" {
		return c.site.hosts, true
	}
	canonical, ok := httpcache.CanonicalHost(host)
	switch {
	case !ok:
		c.problem(at, "%s is not a host", clip(host))
		return nil, false
	case !c.state.serves(c.site, canonical):
		c.problem(at, "the host %s is not of this site", clip(canonical))
		return nil, false
	}
	return []string{canonical}, true
}

// named calls do with the names of a target on each host, in both schemes, each once.
func (c *compiler) named(at string, hosts []string, t target, do func(scheme, host, path, query string)) {
	for _, host := range hosts {
		for _, scheme := range []string{"https", "http"} {
			asked := host
			if host == anyHost { // of the site "*": as any of its hosts would be named
				asked = exampleHost
			}
			keyed, path, query, err := c.names.Target(c.site.name, scheme, asked, t.path, t.query)
			if err != nil {
				c.problem(at, "%v", err)
				return
			}
			if host == anyHost {
				keyed = anyHost
			}
			do(scheme, keyed, path, query)
		}
	}
}

// exampleHost stands for any host where only the path is to be normalised
// (RFC 2606 §2).
const exampleHost = "host.invalid"

func (c *compiler) prefix(at, text string) {
	if len(text) > maxURLBytes {
		c.problem(at, "longer than %d bytes", maxURLBytes)
		return
	}
	if strings.ContainsAny(text, "?#*") || strings.Contains(text, "://") {
		c.problem(at, "%s: a prefix is a path (/a/b) or host and path (example.com/a/b), without scheme, query and \"*\"", clip(text))
		return
	}
	host, path, _, _ := splitURL(text)
	if path == "" {
		if host == "" {
			c.problem(at, "is empty")
			return
		}
		path = "/"
	}
	hosts, ok := c.hostsOf(at, host)
	if !ok {
		return
	}
	c.named(at, hosts, target{path: path}, func(_, host, path, _ string) {
		c.add(at)(Prefix(c.site.name, host, path))
	})
}

func (c *compiler) tag(at, text string) {
	switch {
	case len(text) > maxTagBytes:
		c.problem(at, "longer than %d bytes", maxTagBytes)
	case strings.Contains(text, ","):
		c.problem(at, "%s has a comma, which separates tags", clip(text))
	default:
		c.add(at)(Tag(c.site.name, text))
	}
}

func (c *compiler) host(at, text string) {
	below, wild := strings.CutPrefix(text, "*.")
	canonical, ok := httpcache.CanonicalHost(below)
	if len(text) > maxHostBytes || !ok || strings.Contains(below, ":") && !strings.HasPrefix(below, "[") {
		c.problem(at, "%s is not a host", clip(text))
		return
	}
	if !wild {
		if hosts, ok := c.hostsOf(at, canonical); ok {
			c.keyedHosts(at, hosts)
		}
		return
	}
	if c.site.name == catchAll {
		c.add(at)(Host(c.site.name, "*."+canonical))
		return
	}
	hosts := slices.DeleteFunc(slices.Clone(c.site.hosts), func(host string) bool { return !strings.HasSuffix(host, "."+canonical) })
	if len(hosts) == 0 {
		c.problem(at, "no host of this site is below %s", clip(canonical))
		return
	}
	c.keyedHosts(at, hosts)
}

// keyedHosts purges the hosts under which what is asked for at these ones is stored.
func (c *compiler) keyedHosts(at string, hosts []string) {
	c.named(at, hosts, target{path: "/"}, func(_, host, _, _ string) {
		c.add(at)(Host(c.site.name, host))
	})
}
