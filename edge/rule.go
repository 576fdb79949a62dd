package edge

import (
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

// changesShared tells whether the rule changes what others get, or whether they get
// it, beside their keys: then its match has to be in the key, or who matches would
// choose for who does not.
func (r *Rule) changesShared() bool {
	return r.TTL != nil || r.SetCookie != nil || r.DeceptionArmor != nil || r.OverridePrivate || r.OverrideNoStore ||
		len(r.Request.Set)+len(r.Request.Remove) > 0
}

// permits tells whether the rule lets responses be stored that the origin did not
// allow.
func (r *Rule) permits() bool {
	return r.OverridePrivate || r.OverrideNoStore || r.SetCookie != nil && *r.SetCookie == httpcache.SetCookieStore
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

// keyless tells whether m looks at what a key need not hold. Methods do not count:
// no response to one is stored for another.
func (m *Match) keyless() bool {
	return len(m.Hosts)+len(m.Fields)+len(m.Cookies)+len(m.Params) > 0
}

// request tells whether the request is one that m is about.
func (m *Match) request(q *asking) bool {
	return anyGlob(m.Paths, q.path) && anyGlob(m.Hosts, q.host) && anyOf(m.Methods, q.r.Method) &&
		all(m.Fields, q.field) && all(m.Cookies, q.cookie) && all(m.Params, q.param)
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

// all tells whether each list has one that fits. has tells whether a request has
// something of a name with a value that fits.
func all(lists [][]Named, has func(n *Named) bool) bool {
	for _, list := range lists {
		found := false
		for i := 0; i < len(list) && !found; i++ {
			found = has(&list[i])
		}
		if !found {
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
