package edge

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

const (
	// maxRules is how many rules of a site are looked at: one bit each.
	maxRules = 64
	// maxPolicies is how many outcomes of a site's rules are remembered. Which rules
	// match is up to clients; beyond the bound the outcome is made anew each time.
	maxPolicies = 1024
	// liveNegativeTTL is how long, at most, a live stream's missing segment is taken
	// for missing: it may be there a moment later.
	liveNegativeTTL = time.Second
)

// policy is what the rules that match come to. It never changes.
type policy struct {
	matched  uint64 // a bit for each rule
	rules    *httpcache.Rules
	key      *KeySpec
	bypass   bool
	live     bool
	request  []FieldEdits // in order
	response []FieldEdits
}

// policies are the outcomes of a site's rules.
type policies struct {
	site       *Site
	plain      *policy                // no rule matches
	ofResponse uint64                 // the rules that need the response
	keyed      uint64                 // the rules that a key has to hold
	varying    []varying              // what those that match by fields make responses vary by
	queries    []*httpcache.QueryRule // every form in which queries are keyed
	known      atomic.Pointer[map[uint64]*policy]
	permitted  atomic.Pointer[[2]cachestore.Mark] // see Handler.permissionMarks; nil = not asked for yet
}

func newPolicies(site *Site) *policies {
	p := &policies{site: site, queries: []*httpcache.QueryRule{&site.Key.Query}}
	for i := range site.ruleset() {
		rule := &site.RuleSet[i]
		if rule.Match.ofResponse() {
			p.ofResponse |= 1 << i
		}
		if rule.Match.keyless() && rule.changesShared() {
			p.keyed |= 1 << i
			p.varying = append(p.varying, variesBy(&rule.Match)...)
		}
		if rule.Key.Query != nil {
			p.queries = append(p.queries, rule.Key.Query)
		}
	}
	known := make(map[uint64]*policy)
	p.plain = p.make(0)
	known[0] = p.plain
	p.known.Store(&known)
	return p
}

// varying is a field by which responses at some paths differ.
type varying struct {
	paths []httpcache.Glob
	field string
}

func variesBy(m *Match) (fields []varying) {
	for _, list := range m.Fields {
		for _, each := range list {
			fields = append(fields, varying{m.Paths, each.Name})
		}
	}
	if len(m.Cookies) > 0 {
		fields = append(fields, varying{m.Paths, "Cookie"})
	}
	return fields
}

// markVaries names the fields in Vary by which the key of a response was chosen:
// caches behind us have no other way to know.
func (p *policies) markVaries(h http.Header, key *KeySpec, path string) {
	for _, name := range key.vary {
		addVary(h, name)
	}
	for i := range p.varying {
		if anyGlob(p.varying[i].paths, path) {
			addVary(h, p.varying[i].field)
		}
	}
}

// ruleset is the rules that count.
func (s *Site) ruleset() []Rule { return s.RuleSet[:min(len(s.RuleSet), maxRules)] }

// permissions is a text that differs where sites let different responses be stored
// that the origin did not allow.
func (s *Site) permissions() string {
	var text strings.Builder
	if s.Rules != nil && s.Rules.SetCookie == httpcache.SetCookieStore {
		text.WriteString("cookies\n")
	}
	for i := range s.ruleset() {
		switch rule := &s.RuleSet[i]; {
		case rule.SetCookie != nil: // one that forbids takes back what one before it permits
			fmt.Fprintf(&text, "%q %v %v %v\n", rule.Words, rule.OverridePrivate, rule.OverrideNoStore, *rule.SetCookie)
		case rule.permits():
			fmt.Fprintf(&text, "%q %v %v\n", rule.Words, rule.OverridePrivate, rule.OverrideNoStore)
		}
	}
	return text.String()
}

// forRequest is the policy of a request whose response is not known yet, and the
// rules that match if the response does.
func (p *policies) forRequest(q *asking) (found *policy, open uint64) {
	if len(p.site.RuleSet) == 0 {
		return p.plain, 0
	}
	var matched uint64
	for i := range p.site.ruleset() {
		if p.site.RuleSet[i].Match.request(q) {
			matched |= 1 << i
		}
	}
	return p.of(matched &^ p.ofResponse), matched & p.ofResponse
}

// forResponse is the policy of the same request once the response is known.
func (p *policies) forResponse(before *policy, open uint64, status int, contentType string) *policy {
	if open == 0 {
		return before
	}
	matched := before.matched
	kind := mediaType(contentType)
	for i := range p.site.ruleset() {
		if open&(1<<i) != 0 && p.site.RuleSet[i].Match.response(status, kind) {
			matched |= 1 << i
		}
	}
	return p.of(matched)
}

// facet is what a key holds of the rules, "" for nothing: those that match by what is
// not in the key and change what others get.
func (p *policies) facet(before *policy, open uint64) string {
	matched := (before.matched | open) & p.keyed
	if matched == 0 {
		return ""
	}
	var text strings.Builder
	for i := range p.site.ruleset() {
		if matched&(1<<i) != 0 {
			fmt.Fprintf(&text, "%d %s\n", i, p.site.RuleSet[i].Words)
		}
	}
	return text.String()
}

// mediaType is a Content-Type without its parameters, in lower case.
func mediaType(contentType string) string {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// of is the policy of a set of rules.
func (p *policies) of(matched uint64) *policy {
	for {
		known := p.known.Load()
		if found, ok := (*known)[matched]; ok {
			return found
		}
		made := p.make(matched)
		if len(*known) >= maxPolicies {
			return made
		}
		next := maps.Clone(*known)
		next[matched] = made
		if p.known.CompareAndSwap(known, &next) {
			return made
		}
	}
}

// make applies the rules of a set in order.
func (p *policies) make(matched uint64) *policy {
	var rules httpcache.Rules
	if p.site.Rules != nil {
		rules = *p.site.Rules
	}
	key := p.site.Key
	made := &policy{matched: matched, rules: &rules, key: &key}
	made.request, made.response = []FieldEdits{p.site.Request}, []FieldEdits{p.site.Response}
	for i := range p.site.ruleset() {
		if matched&(1<<i) != 0 {
			made.add(&p.site.RuleSet[i])
		}
	}
	made.key.settle()
	return made
}

// add lets one more rule have its say.
func (p *policy) add(rule *Rule) {
	r := p.rules
	if rule.TTL != nil {
		r.TTL, r.HasTTL, r.TTLOfErrors = *rule.TTL, true, len(rule.Match.Status) > 0
	}
	assign(&r.StaleWhileRevalidate, rule.StaleWhileRevalidate)
	assign(&r.StaleIfError, rule.StaleIfError)
	assign(&r.SetCookie, rule.SetCookie)
	assign(&r.DeceptionArmor, rule.DeceptionArmor)
	r.OverridePrivate = r.OverridePrivate || rule.OverridePrivate
	r.OverrideNoStore = r.OverrideNoStore || rule.OverrideNoStore
	p.bypass = p.bypass || rule.Bypass
	if rule.Live {
		p.live, r.NegativeTTL = true, liveNegativeTTL
	}
	rule.Key.apply(p.key)
	p.request = append(p.request, rule.Request)
	p.response = append(p.response, rule.Response)
}

func assign[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// editRequest changes the fields of a request to the upstream.
func (p *policy) editRequest(h http.Header) {
	for _, each := range p.request {
		each.apply(h)
	}
}

// removeFrom takes out of an interim response what clients are not to get.
func (p *policy) removeFrom(h http.Header) {
	for _, edits := range p.response {
		for _, name := range edits.Remove {
			delete(h, name)
		}
	}
}

// editResponse changes the fields of a response to the client.
func (p *policy) editResponse(h http.Header) {
	for _, each := range p.response {
		each.apply(h)
	}
}
