package edge

import (
	"net/http"
	"strconv"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

// naming is the names of a target: what it is stored, found and invalidated under.
type naming struct {
	target httpcache.Target // as it is keyed and labelled: its query without what the key leaves out
	query  string           // as the client sent it, normalised
	facets []facet          // what the key holds beside the target

	// plainKey is made of the target and the facets. key is the same but for a
	// No-Vary-Search rule that was learned for the path: then the query counts in its
	// reduced form only.
	plainKey, key httpcache.Key
	// classText names all targets that the rule takes for equal, "" where there is none.
	classText string
}

// learned is a No-Vary-Search rule as a path's responses gave it.
type learned struct {
	rule *httpcache.NoVarySearch
	// generation keeps the keys made under one rule apart from those under another,
	// also when the first comes back: what was invalidated in between is unknown there.
	generation int64
	seen       time.Time // when a response had it last
}

// ruleRest is how long a path keeps a No-Vary-Search rule that no response has borne
// any more before another takes its place. Pages of one path that contradict each
// other would else change all keys with each answer.
const ruleRest = 10 * time.Minute

// name finds the names of a target whose query is whole.
func (x *exchange) name(target httpcache.Target) {
	x.facets = x.site.facets(x.policy, x.open, x.r.Header, x.countryFor(x.policy))
	x.set(x.h, target, &x.policy.key.Query)
}

// facets is what a key holds beside the target under a policy.
func (s *Site) facets(p *policy, open uint64, h http.Header, country string) []facet {
	all := p.key.facets(h, country)
	if rules := s.policies.facet(p, open); rules != "" {
		all = append(all, facet{"rules", rules})
	}
	return all
}

// countryFor is where the client is, as far as the key wants to know.
func (x *exchange) countryFor(p *policy) string {
	if !p.key.Country {
		return ""
	}
	return x.h.sites.Load().countryOf(x.record.Client)
}

// set finds the names of a target whose query is whole; the facets are there.
func (n *naming) set(h *Handler, target httpcache.Target, query *httpcache.QueryRule) {
	n.target, n.query = target, target.Query
	n.target.Query = query.Reduce(target.Query)
	n.rename(h.searchRule(n.target))
}

// rename makes the keys anew, under a learned rule or none.
func (n *naming) rename(rule *learned) {
	plain := n.target
	plain.Facets = facetText(n.facets, "")
	n.plainKey, n.classText = plain.Key(), ""
	if n.key = n.plainKey; rule == nil {
		return
	}
	generation := "search " + strconv.FormatInt(rule.generation, 36)
	reduced := n.target
	reduced.Query, reduced.Facets = rule.rule.Reduce(n.target.Query), facetText(n.facets, generation)
	n.classText = generation + " " + reduced.Host + reduced.Path + "?" + reduced.Query
	n.key = reduced.Key()
}

// searchRule is the No-Vary-Search rule learned for the path of a target, nil for
// none.
func (h *Handler) searchRule(target httpcache.Target) *learned {
	if !h.searched.Load() {
		return nil
	}
	rule, ok := h.searches.get(pathKey(target))
	if !ok {
		return nil
	}
	return &rule
}

// pathKey names the path of a target, with any query.
func pathKey(target httpcache.Target) httpcache.Key {
	target.Query, target.Facets = "", "path"
	return target.Key()
}

// learn takes note of a response's No-Vary-Search, if it has one, and renames the
// errand's target accordingly: this response itself is to be found by it. One without
// the field is stored for its own query only; so is one that is no success, for what
// an error page says is not said of the others.
func (e *errand) learn(response *httpcache.Stored) {
	rule, ok := httpcache.ParseNoVarySearch(response.Header()[httpcache.NoVarySearchField])
	if !ok || response.Status() < 200 || response.Status() > 299 {
		e.rename(nil)
		return
	}
	at := pathKey(e.target)
	known, found := e.h.searches.get(at)
	same := found && known.rule.String() == rule.String()
	switch {
	case same && response.ResponseTime().Sub(known.seen) < ruleRest/10:
	case same:
		known.seen = response.ResponseTime()
		e.h.searches.set(at, known)
	case found && response.ResponseTime().Sub(known.seen) < ruleRest,
		e.h.struckSince(e.asked, e.h.pathMark(e.site, e.target)):
		// Another rule is in force; or something of the path was made invalid while this
		// response was on its way, and by which rule it would be meant nobody knew.
		e.rename(nil)
		return
	default:
		known = learned{rule: rule, generation: e.h.generations.Add(1), seen: response.ResponseTime()}
		e.h.searches.set(at, known)
		e.h.searched.Store(true)
	}
	e.rename(&known)
}

// marks are the names by which what the errand brings can be purged.
func (e *errand) marks(stored *httpcache.Stored, rules *httpcache.Rules) []cachestore.Mark {
	h := stored.Header()
	marks := e.h.ledger.Marks(cachestore.Subject{
		Site: e.site.Name, Scheme: e.target.Scheme, Host: e.target.Host, Path: e.target.Path, Query: e.target.Query,
		Class: e.classText, Tags: stored.Tags(), Groups: stored.Groups(), Status: stored.Status(), MediaType: h.Get(httpcache.ContentTypeField),
	})
	if e.query != e.target.Query {
		whole := e.target
		whole.Query = e.query
		marks = append(marks, e.h.urlMark(e.site, whole))
	}
	if e.classText != "" && e.site.Name == CatchAll {
		marks = append(marks, e.h.ledger.ClassMark(CatchAll, anyHostClass(e.target.Path)))
	}
	if rules.OverridePrivate || rules.OverrideNoStore || rules.SetCookie == httpcache.SetCookieStore {
		any, now := e.h.permissionMarks(e.site)
		marks = append(marks, any, now)
	}
	return marks
}

// targetMarks are those of them that an unsafe request strikes (RFC 9111 §4.4).
func (n *naming) targetMarks(h *Handler, site *Site) []cachestore.Mark {
	marks := append(make([]cachestore.Mark, 0, 4), h.urlMark(site, n.target))
	if n.query != n.target.Query {
		whole := n.target
		whole.Query = n.query
		marks = append(marks, h.urlMark(site, whole))
	}
	if n.classText != "" {
		marks = append(marks, h.ledger.ClassMark(site.Name, n.classText))
	}
	return marks
}

// forget makes what is stored for a target invalid, in clear and over TLS, whatever
// else its keys hold and in whatever form they hold its query. What is being fetched
// at this moment will not be stored either. It returns how many marks it struck.
func (x *exchange) forget(site *Site, target httpcache.Target) (struck int64) {
	for _, query := range site.policies.queries {
		var n naming
		n.set(x.h, target, query)
		marks := append(n.targetMarks(x.h, site), x.h.pathMark(site, target))
		x.h.ledger.Invalidate(marks...)
		struck += int64(len(marks))
		for _, n.target.Scheme = range []string{"http", "https"} {
			x.h.store.Remove(n.target.Key())
		}
	}
	return struck
}
