package purge

import (
	"net/http"
	"slices"
	"strings"
)

// methodAllow is what a site without tokens takes, for the Allow field of the answer
// to a PURGE (RFC 9110 §10.2.1).
const methodAllow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// methodTags are the fields in which a PURGE names tags, with what separates them.
var methodTags = [...]struct{ name, separators string }{
	{"Surrogate-Key", " \t,"}, {"Xkey", " \t,"}, {"Cache-Tag", ","},
}

// Method answers a request with the method PURGE that was sent to the site of that
// name. It names its own URL, whose parts are given as they were sent or normalised,
// or tags in its fields; then the URL does not count. Where the site has no tokens
// there is no such method.
func (s *Service) Method(w http.ResponseWriter, r *http.Request, site, host, path, query string) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	c := &call{
		w: w, r: r, state: s.current.Load(),
		route: &route{dialect: dialect{tokenField: fastlyField, refuse: refuseNative}},
	}
	if at := c.state.sites[site]; at == nil || at.tokens == 0 {
		w.Header().Set("Allow", methodAllow)
		c.refuse(refuse(http.StatusMethodNotAllowed, "this site takes no PURGE"))
		return
	}
	var refusal *Refusal
	if c.caller, refusal = s.authenticate(r, fastlyField); refusal != nil {
		c.refuse(refusal)
		return
	}
	o := c.order(site)
	o.Soft, o.Tags = soft(r.Header), tagsOf(r.Header)
	if len(o.Tags) == 0 {
		o.target = &target{host: host, path: path, query: query}
	}
	receipt, refusal := s.purge(r.Context(), c.caller, o)
	if refusal != nil {
		c.refuse(refusal)
		return
	}
	c.reply(receipt.status(), receipt)
}

// tagsOf lists the tags that a PURGE names.
func tagsOf(h http.Header) (tags []string) {
	for _, field := range methodTags {
		for _, line := range h[field.name] {
			tags = slices.AppendSeq(tags, func(yield func(string) bool) {
				for tag := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(field.separators, r) }) {
					if tag = strings.Trim(tag, " \t"); tag != "" && !yield(tag) {
						return
					}
				}
			})
		}
	}
	return tags
}
