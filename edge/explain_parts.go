package edge

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"perigee/cachestore"
	"perigee/httpcache"
)

// explainKey says what the key is and what it is made of.
func (x *explainer) explainKey() {
	k := &ExplainedKey{Key: x.key.String()}
	for _, each := range x.facets {
		k.Facets = append(k.Facets, ExplainedFacet{Name: each.name, Value: facetWords(each)})
	}
	if rule := x.h.searchRule(x.target); rule != nil && x.key != x.plainKey {
		k.NoVarySearch, k.ReducedQuery = clip(rule.rule.String()), rule.rule.Reduce(x.target.Query)
		k.PlainKey = x.plainKey.String()
	}
	x.Key = k
	if last, ok := x.h.unshareable.get(x.key); ok && x.now.Before(last.until) {
		x.Unshared = &ExplainedUnshare{Until: last.until.UTC(), Reason: last.reason}
	}
}

// facetWords is a facet's value as it may be shown.
func facetWords(f facet) string {
	kind, name, _ := strings.Cut(f.name, " ")
	if kind == "cookie" || kind == "header" && secretField(name) {
		return veiled(f.value)
	}
	return clip(f.value)
}

// explainVariants shows everything that is stored under the request's names, also what
// was invalidated.
func (x *explainer) explainVariants() {
	all := x.h.store.Peek(x.key, nil)
	if x.key != x.plainKey {
		all = x.h.store.Peek(x.plainKey, all)
	}
	for _, o := range all {
		if !x.invalid(o) {
			x.valid = append(x.valid, o)
		}
	}
	x.VariantsLeftOut = max(0, len(all)-maxExplained)
	for _, o := range all[:min(len(all), maxExplained)] {
		x.add(o)
	}
}

// invalid tells whether a look-up would leave o out.
func (x *explainer) invalid(o *cachestore.Object) bool {
	return x.h.verdict(o) == cachestore.Gone || x.h.outOfBounds(x.site, o)
}

func (x *explainer) add(o *cachestore.Object) {
	x.objects = append(x.objects, o)
	x.Variants = append(x.Variants, x.variant(o))
}

// variant describes one stored response.
func (x *explainer) variant(o *cachestore.Object) ExplainedVariant {
	s := o.Stored()
	_, matches := httpcache.Select(httpcache.NewRequest(x.r), []*cachestore.Object{o})
	_, passing := o.Passing()
	v := ExplainedVariant{
		URL: clip(o.Label().URL), Selecting: x.selecting(s), Matches: matches, Status: s.Status(),
		Invalidated: x.invalid(o),
		ContentType: clip(s.Header().Get(httpcache.ContentTypeField)), Complete: !o.Partial(),
		Filling: o.Filling(), Passing: passing, Tier: tierOf(o),
		ETag: clip(s.ETag()), LastModified: clip(s.LastModified()), Tags: few(slices.Clone(s.Tags())), Groups: few(slices.Clone(s.Groups())),
		EarlyHints: len(s.Early()),
	}
	if size, known := o.Size(); known {
		v.Size = &size
	}
	for _, part := range o.Extents() {
		v.Parts = append(v.Parts, strconv.FormatInt(part.First, 10)+"-"+strconv.FormatInt(part.Last, 10))
	}
	v.Parts = few(v.Parts)
	if x.key != x.plainKey {
		v.Key = o.Key().String()
	}
	v.Encodings = x.codings(o)
	x.explainAge(&v, o)
	return v
}

// codings lists the content codings in which o is stored too.
func (x *explainer) codings(o *cachestore.Object) (tokens []string) {
	if x.site.Compress == nil || o.Representation() == 0 {
		return nil
	}
	for _, coding := range x.site.Compress.Encodings {
		if len(x.h.store.Peek(x.h.coders.key(o, coding), nil)) > 0 {
			tokens = append(tokens, coding.String())
		}
	}
	return tokens
}

// explainAge says how old a stored response is, and how long it is good for.
func (x *explainer) explainAge(v *ExplainedVariant, o *cachestore.Object) {
	s := o.Stored()
	age, why := s.Age(x.now), s.Reckoning()
	v.Date, v.Received = s.Date().UTC(), s.ResponseTime().UTC()
	v.Age, v.Lifetime, v.TTL = Seconds(age), Seconds(why.Lifetime), Seconds(why.Lifetime-age)
	v.NoCache, v.MustRevalidate, v.StaleForbidden = why.NoCache, why.MustRevalidate, s.Strict()
	whileRevalidate, ifError := s.StaleWindows(x.rulesFor(o))
	v.StaleWhileRevalidate, v.StaleIfError = Seconds(whileRevalidate), Seconds(ifError)
	v.Reckoning = ExplainedReckoning{
		Source: why.Source.String(), Directive: clip(why.Directive), Fields: few(s.FreshnessFields()),
		InitialAge: Seconds(why.InitialAge), InitialAgeFrom: ageSource(&why), ApparentAge: Seconds(why.ApparentAge),
		AgeField: Seconds(why.AgeValue), ResponseDelay: Seconds(why.ResponseDelay),
	}
}

// ageSource says which reckoning gave the initial age (RFC 9111 §4.2.3).
func ageSource(why *httpcache.Reckoning) string {
	switch {
	case why.InitialAge <= 0:
		return "none"
	case why.ApparentAge > why.AgeValue+why.ResponseDelay:
		return "date"
	case why.AgeValue > 0:
		return "age"
	}
	return "delay"
}

// selecting compares the selecting fields of a stored response with the request's.
func (x *explainer) selecting(s *httpcache.Stored) []ExplainedSelecting {
	var all []ExplainedSelecting
	asked := httpcache.SelectingOf(s.Vary(), httpcache.NewRequest(x.r))
	for i, each := range s.Selecting() {
		all = append(all, ExplainedSelecting{Name: clip(each.Name), Stored: selectingWords(each), Request: selectingWords(asked[i])})
	}
	return all
}

func selectingWords(s httpcache.Selecting) *string {
	text := clip(s.Value)
	switch {
	case !s.Present:
		return nil
	case secretField(s.Name):
		text = veiled(s.Value)
	case text == "" && strings.EqualFold(s.Name, httpcache.AcceptEncodingField):
		text = "identity"
	}
	return &text
}

// explainRules says which of the site's rules apply.
func (x *explainer) explainRules() {
	for i := range x.site.ruleset() {
		rule := &x.site.RuleSet[i]
		told := ExplainedRule{Number: i + 1, Words: clip(rule.Words), Outcome: RuleDoesNot}
		switch {
		case x.policy.matched&(1<<i) != 0:
			told.Outcome = RuleMatches
		case x.open&(1<<i) != 0:
			told.Outcome = RuleWithResponse
			for n, o := range x.objects {
				if x.answerPolicy(o.Stored().Status(), o.Stored().Header()).matched&(1<<i) != 0 {
					told.Variants = append(told.Variants, n)
				}
			}
		}
		x.Rules = append(x.Rules, told)
	}
}

// explainPolicy says what the rules come to.
func (x *explainer) explainPolicy() {
	p := x.policy
	if v := x.Decision.Variant; v != nil {
		s := x.objects[*v].Stored()
		p = x.answerPolicy(s.Status(), s.Header())
	}
	r := p.rules
	told := &ExplainedPolicy{
		WithResponse: x.Decision.Variant != nil, Bypass: p.bypass, Live: p.live,
		DefaultTTL: Seconds(r.DefaultTTL), NegativeTTL: Seconds(r.NegativeTTL),
		StaleWhileRevalidate: Seconds(r.StaleWhileRevalidate), StaleIfError: Seconds(r.StaleIfError),
		SetCookie: r.SetCookie.String(), DeceptionArmor: r.DeceptionArmor, RequestDirectives: "ignore",
		ServeStaleOn: []string{}, Override: []string{},
		RequestFields: editWords(p.request), ResponseFields: editWords(p.response),
	}
	if r.HasTTL {
		told.TTL = seconds(r.TTL)
	}
	if len(r.TTLByStatus) > 0 {
		told.TTLByStatus = make(map[string]Seconds, len(r.TTLByStatus))
		for status, ttl := range r.TTLByStatus {
			told.TTLByStatus[strconv.Itoa(status)] = Seconds(ttl)
		}
	}
	for kind, name := range troubleNames {
		if r.StaleOnTrouble(kind) {
			told.ServeStaleOn = append(told.ServeStaleOn, name)
		}
	}
	slices.Sort(told.ServeStaleOn)
	if r.OverridePrivate {
		told.Override = append(told.Override, "private")
	}
	if r.OverrideNoStore {
		told.Override = append(told.Override, "no-store")
	}
	if r.HonourRequest {
		told.RequestDirectives = "honour"
	}
	x.Policy = told
}

// editWords lists which fields are changed. What they are set to may be a secret.
func editWords(edits []FieldEdits) []string {
	var words []string
	for _, each := range edits {
		for _, name := range each.Remove {
			words = append(words, name+" removed")
		}
		set := len(words)
		for name := range each.Set {
			words = append(words, name+" set")
		}
		slices.Sort(words[set:])
	}
	return few(words)
}

// secretField tells whether the values of a field are credentials, or as good as.
func secretField(name string) bool {
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization", "cookie":
		return true
	}
	return false
}

// veiled says of a secret how long it is, and by a digest whether it is the same as
// another.
func veiled(secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(secret))
	return strconv.Itoa(len(secret)) + " bytes, sha256 " + hex.EncodeToString(sum[:4]) + "…"
}

// clip shortens a text that others made.
func clip(text string) string {
	if len(text) <= maxExplainedText {
		return text
	}
	return strings.ToValidUTF8(text[:maxExplainedText], "") + "…"
}

// few shortens a list that others made.
func few(list []string) []string {
	for i := range list {
		list[i] = clip(list[i])
	}
	if len(list) <= maxExplainedList {
		return list
	}
	return append(list[:maxExplainedList:maxExplainedList], "… and "+strconv.Itoa(len(list)-maxExplainedList)+" more")
}
