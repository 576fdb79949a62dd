package edge

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"perigee/httpcache"
)

// Rule is one of a site's rules: what it applies to, and what it changes there.
// Later rules win over earlier ones. A rule never changes once its site is served.
type Rule struct {
	Words string // the rule as the operator wrote it, for perigee explain
	Match Match

	TTL                  *time.Duration // the lifetime, of errors only if Match names their status; nil = not changed, and so below
	StaleWhileRevalidate *time.Duration
	StaleIfError         *time.Duration
	SetCookie            *httpcache.SetCookie
	DeceptionArmor       *bool
	OverridePrivate      bool // the origin's private counts for nothing
	OverrideNoStore      bool
	Bypass               bool // the cache is not asked and stores nothing
	Live                 bool // live streaming: see liveNegativeTTL and blockingPlaylist
	Key                  KeyChange
	Request, Response    FieldEdits
}

// Match says which requests and responses a rule applies to: each list that is not
// empty must hold something that fits. Fields, cookies and query parameters may be
// asked for in several lists, of which each must. The zero value matches everything.
type Match struct {
	Paths, Hosts            []httpcache.Glob
	Methods                 []string
	Fields, Cookies, Params [][]Named
	Status                  []StatusRange
	MediaTypes              []httpcache.Glob // in lower case, without parameters
}

// Named is a field, a cookie or a query parameter that is there, with a value that
// fits where one is asked for.
type Named struct {
	Name  string // of a field in canonical form, of a parameter decoded
	Value *httpcache.Glob
}

// StatusRange is a range of status codes, both ends included.
type StatusRange struct{ First, Last int }

// ofResponse tells whether the response has to be known.
func (m *Match) ofResponse() bool { return len(m.Status) > 0 || len(m.MediaTypes) > 0 }

// request tells whether the request is one that m is about.
func (m *Match) request(path, host string, r *http.Request) bool {
	return anyGlob(m.Paths, path) && anyGlob(m.Hosts, host) && anyOf(m.Methods, r.Method) &&
		m.fields(r.Header) && m.cookies(r.Header["Cookie"]) && m.params(r.URL.RawQuery)
}

// response tells whether the response is one that m is about.
func (m *Match) response(status int, mediaType string) bool {
	if len(m.Status) > 0 {
		within := false
		for _, each := range m.Status {
			within = within || each.First <= status && status <= each.Last
		}
		if !within {
			return false
		}
	}
	return anyGlob(m.MediaTypes, mediaType)
}

func (m *Match) fields(h http.Header) bool {
	return all(m.Fields, func(name string) (string, bool) {
		values, found := h[name]
		return strings.Join(values, ", "), found
	})
}

func (m *Match) cookies(lines []string) bool {
	return all(m.Cookies, func(name string) (string, bool) { return cookie(lines, name) })
}

func (m *Match) params(query string) bool {
	return all(m.Params, func(name string) (string, bool) { return param(query, name) })
}

// all tells whether each list has one that fits what find knows of its name.
func all(lists [][]Named, find func(name string) (string, bool)) bool {
	for _, list := range lists {
		fits := false
		for i := 0; i < len(list) && !fits; i++ {
			value, found := find(list[i].Name)
			fits = found && list[i].fits(value)
		}
		if !fits {
			return false
		}
	}
	return true
}

func (n *Named) fits(value string) bool { return n.Value == nil || n.Value.Match(value) }

func anyGlob(globs []httpcache.Glob, s string) bool {
	for i := range globs {
		if globs[i].Match(s) {
			return true
		}
	}
	return len(globs) == 0
}

func anyOf(list []string, s string) bool {
	for _, each := range list {
		if each == s {
			return true
		}
	}
	return len(list) == 0
}

// cookie is the value of the first cookie of that name (RFC 6265 §4.2.1).
func cookie(lines []string, name string) (string, bool) {
	for _, line := range lines {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if key, value, ok := strings.Cut(strings.TrimLeft(pair, " \t"), "="); ok && key == name {
				return strings.TrimRight(value, " \t"), true
			}
		}
	}
	return "", false
}

// param is the decoded value of the first query parameter whose decoded name is
// this.
func param(query, name string) (string, bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if key, value, _ := strings.Cut(pair, "="); decoded(key) == name {
			return decoded(value), true
		}
	}
	return "", false
}

// decoded is a part of a query without its encoding; one that is malformed stays.
func decoded(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}
