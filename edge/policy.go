package edge

import (
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

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
	plain      *policy // no rule matches
	ofResponse uint64  // the rules that need the response
	known      atomic.Pointer[map[uint64]*policy]
}

func newPolicies(site *Site) *policies {
	p := &policies{site: site}
	for i := range site.ruleset() {
		if site.RuleSet[i].Match.ofResponse() {
			p.ofResponse |= 1 << i
		}
	}
	known := make(map[uint64]*policy)
	p.plain = p.make(0)
	known[0] = p.plain
	p.known.Store(&known)
	return p
}

// ruleset is the rules that count.
func (s *Site) ruleset() []Rule { return s.RuleSet[:min(len(s.RuleSet), maxRules)] }

// forRequest is the policy of a request whose response is not known yet.
func (p *policies) forRequest(path, host string, r *http.Request) *policy {
	if len(p.site.RuleSet) == 0 {
		return p.plain
	}
	var matched uint64
	for i := range p.site.ruleset() {
		if p.ofResponse&(1<<i) == 0 && p.site.RuleSet[i].Match.request(path, host, r) {
			matched |= 1 << i
		}
	}
	return p.of(matched)
}

// forResponse is the policy of the same request once the response is known.
func (p *policies) forResponse(before *policy, path, host string, r *http.Request, status int, contentType string) *policy {
	if p.ofResponse == 0 {
		return before
	}
	matched := before.matched
	kind := mediaType(contentType)
	for i := range p.site.ruleset() {
		m := &p.site.RuleSet[i].Match
		if p.ofResponse&(1<<i) != 0 && m.response(status, kind) && m.request(path, host, r) {
			matched |= 1 << i
		}
	}
	return p.of(matched)
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

// editResponse changes the fields of a response to the client.
func (p *policy) editResponse(h http.Header) {
	for _, each := range p.response {
		each.apply(h)
	}
}
