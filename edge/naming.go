package edge

import (
	"net/http"
	"net/url"
	"strconv"

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
	// mark names the target alone, class all targets that the rule takes for equal;
	// they are what an invalidation strikes. class is mark where there is no rule.
	mark, class httpcache.Key
}

// learned is a No-Vary-Search rule as a path's responses gave it.
type learned struct {
	rule *httpcache.NoVarySearch
	// generation keeps the keys made under one rule apart from those under another,
	// also when the first comes back: what was invalidated in between is unknown there.
	generation int64
}

// name finds the names of a target whose query is whole.
func (x *exchange) name(target httpcache.Target) {
	x.facets = x.policy.key.facets(x.r.Header, x.country())
	x.set(x.h, target, x.policy.key)
}

// country is where the client is, as far as the key wants to know.
func (x *exchange) country() string {
	if !x.policy.key.Country {
		return ""
	}
	return x.h.sites.Load().countryOf(x.record.Client)
}

// names finds the names of a target that has no facets.
func (h *Handler) names(target httpcache.Target, key *KeySpec) (n naming) {
	n.set(h, target, key)
	return n
}

// set finds the names of a target whose query is whole; the facets are there.
func (n *naming) set(h *Handler, target httpcache.Target, key *KeySpec) {
	n.target, n.query = target, target.Query
	n.target.Query = key.Query.Reduce(target.Query)
	n.mark = n.target.Key()
	n.rename(h.searchRule(n.target))
}

// rename makes the keys anew, under a learned rule or none.
func (n *naming) rename(rule *learned) {
	n.plainKey, n.class = n.mark, n.mark
	if len(n.facets) > 0 {
		faceted := n.target
		faceted.Facets = facetText(n.facets, "")
		n.plainKey = faceted.Key()
	}
	if n.key = n.plainKey; rule == nil {
		return
	}
	generation := "search " + strconv.FormatInt(rule.generation, 36)
	reduced := n.target
	reduced.Query, reduced.Facets = rule.rule.Reduce(n.target.Query), facetText(nil, generation)
	n.class = reduced.Key()
	reduced.Facets = facetText(n.facets, generation)
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
// the field is stored for its own query only.
func (e *errand) learn(response http.Header) {
	rule, ok := httpcache.ParseNoVarySearch(response[httpcache.NoVarySearchField])
	if !ok {
		e.rename(nil)
		return
	}
	at := pathKey(e.target)
	known, ok := e.h.searches.get(at)
	if !ok || known.rule.String() != rule.String() {
		known = learned{rule: rule, generation: e.h.generations.Add(1)}
		e.h.searches.set(at, known)
		e.h.searched.Store(true)
	}
	e.rename(&known)
}

// marks are the names under which what the errand brings can be invalidated.
func (e *errand) marks(stored *httpcache.Stored) []httpcache.Key {
	marks := append(make([]httpcache.Key, 0, 2+len(stored.Groups())), e.mark)
	if e.class != e.mark {
		marks = append(marks, e.class)
	}
	for _, group := range stored.Groups() {
		marks = append(marks, httpcache.GroupKey(e.target.Scheme, e.target.Host, group))
	}
	return marks
}

// forget makes what is stored for a target invalid, in clear and over TLS, whatever
// else its keys hold. What is being fetched at this moment will not be stored either.
func (x *exchange) forget(site *Site, target httpcache.Target) {
	get := *x.r
	get.Method, get.URL = http.MethodGet, &url.URL{RawQuery: target.Query}
	key := site.policies.forRequest(target.Path, x.host, &get).key
	for _, target.Scheme = range []string{"http", "https"} {
		n := x.h.names(target, key)
		x.h.invalidations.strike(n.mark, n.class)
		x.h.store.Remove(n.mark)
	}
}
