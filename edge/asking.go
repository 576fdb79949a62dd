package edge

import (
	"net/http"
	"net/url"
	"strings"
)

// asking is what rules and keys look at in a request.
type asking struct {
	path, host string
	r          *http.Request
	params     []param // of the query; made when first asked for
	parsed     bool
}

// param is a query parameter, decoded.
type param struct{ name, value string }

// field tells whether a field of the name has a value that fits.
func (q *asking) field(n *Named) bool {
	lines, found := q.r.Header[n.Name]
	return found && n.fits(strings.Join(lines, ", "))
}

// cookie tells whether a cookie of the name has a value that fits.
func (q *asking) cookie(n *Named) bool {
	for _, value := range cookies(q.r.Header, n.Name) {
		if n.fits(value) {
			return true
		}
	}
	return false
}

// param tells whether a parameter of the name has a value that fits. A query is
// decoded once, however many rules look at it.
func (q *asking) param(n *Named) bool {
	if !q.parsed {
		q.params, q.parsed = params(q.r.URL.RawQuery), true
	}
	for i := range q.params {
		if q.params[i].name == n.Name && n.fits(q.params[i].value) {
			return true
		}
	}
	return false
}

// cookies are the values of all cookies of a name. Names are trimmed on both sides of
// what RFC 6265 allows, since applications do it too: what one of them would read must
// not go past the key.
func cookies(h http.Header, name string) (values []string) {
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if key, value, ok := strings.Cut(pair, "="); ok && strings.Trim(key, " \t") == name {
				values = append(values, strings.Trim(value, " \t"))
			}
		}
	}
	return values
}

// params takes a query apart.
func params(query string) (all []param) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		all = append(all, param{decoded(name), decoded(value)})
	}
	return all
}

// hasParam tells whether a query has a parameter of the name.
func hasParam(query, name string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if key, _, _ := strings.Cut(pair, "="); decoded(key) == name {
			return true
		}
	}
	return false
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
