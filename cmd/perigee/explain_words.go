package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"perigee/edge"
)

// page is text for people: sections of lines, each of a name and what there is to say.
type page struct{ bytes.Buffer }

// section begins a section.
func (p *page) section(title string) { fmt.Fprintf(p, "\n%s\n", title) }

// line says something, unless there is nothing to say.
func (p *page) line(name, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != "" {
		fmt.Fprintln(p, strings.TrimRight(fmt.Sprintf("  %-18s %s", name, text), " "))
	}
}

// explained is an explanation for people.
func explained(e *edge.Explanation) []byte {
	p := new(page)
	fmt.Fprintln(p, e.Summary)
	p.decision(e)
	p.request(e)
	if e.Site != nil {
		p.rules(e)
	}
	if e.Key != nil {
		p.key(e)
		p.variants(e)
	}
	return p.Bytes()
}

func (p *page) decision(e *edge.Explanation) {
	d := &e.Decision
	p.section("Now")
	p.line("action", "%s", d.Action)
	p.line("reason", "%s", d.Reason)
	if d.Status != 0 {
		p.line("status", "%d", d.Status)
	}
	p.line("encoding", "%s", d.Encoding)
	p.line("X-Cache", "%s", d.XCache)
	more := ""
	if d.Origin != nil && !d.Refresh {
		more = ", and more when the origin has answered"
	}
	if d.CacheStatus != "" {
		p.line("Cache-Status", "%s%s", d.CacheStatus, more)
	}
	p.line("Location", "%s", d.Location)
	if o := d.Origin; o != nil {
		p.line("origin is asked", "%s %s%s", o.Method, o.Target, kindWords(o, d.Refresh))
		for _, name := range sortedKeys(o.Fields) {
			p.line("", "%s: %s", name, o.Fields[name])
		}
	}
	if len(d.StaleOn) > 0 {
		p.line("if it fails", "the stored response stands in, on %s", strings.Join(d.StaleOn, ", "))
	}
	if e.Waiting > 0 {
		p.line("waiting", "%s for the same now", howMany(int64(e.Waiting), "request"))
	}
	if u := e.Unshared; u != nil {
		why := u.Reason
		if why == "" {
			why = "its last response could not be shared"
		}
		p.line("not shared", "until %s: %s", u.Until.Format(time.RFC3339), why)
	}
}

func kindWords(o *edge.ExplainedOrigin, background bool) string {
	words := map[string]string{
		edge.AskWhole: ", for the whole", edge.AskRange: ", for a part", edge.AskValidate: ", whether it is still current",
		edge.AskAsSent: ", as the client asks",
	}[o.Kind]
	switch {
	case background:
		return words + ", in the background"
	case o.Shared:
		return words + ", once for all who wait"
	}
	return words + ", for this request alone"
}

func (p *page) request(e *edge.Explanation) {
	r := &e.Request
	p.section("Request")
	target := r.Scheme + "://" + r.Host + r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	if r.Host == "" {
		target = ""
	}
	p.line("as it is keyed", "%s", strings.TrimSpace(r.Method+" "+target))
	p.line("left out", "%s", strings.Join(r.LeftOut, " "))
	p.line("client", "%s", r.Client)
	p.line("country", "%s", r.Country)
	if e.Site != nil {
		p.line("site", "%s, by its %s", e.Site.Name, e.Site.MatchedBy)
	}
}

// rules says which rules there are, and what they and the site come to.
func (p *page) rules(e *edge.Explanation) {
	p.section("Rules")
	for _, rule := range e.Rules {
		outcome := rule.Outcome
		if outcome == edge.RuleWithResponse {
			outcome += ": " + variantWords(rule.Variants, len(e.Variants))
		}
		p.line(strconv.Itoa(rule.Number), "%s", rule.Words)
		p.line("", "%s", outcome)
	}
	if len(e.Rules) == 0 {
		p.line("none", "%s", "the site's own settings alone")
	}
	if e.Policy == nil {
		return
	}
	p.line("together", "%s", policyWords(e.Policy))
	p.line("request fields", "%s", strings.Join(e.Policy.RequestFields, ", "))
	p.line("response fields", "%s", strings.Join(e.Policy.ResponseFields, ", "))
}

func variantWords(matching []int, all int) string {
	if all == 0 {
		return "none is stored"
	}
	var numbers []string
	for _, n := range matching {
		numbers = append(numbers, strconv.Itoa(n))
	}
	if numbers == nil {
		return "matches no variant"
	}
	return "matches variant " + strings.Join(numbers, ", ")
}

func policyWords(p *edge.ExplainedPolicy) string {
	var words []string
	add := func(on bool, format string, args ...any) {
		if on {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(p.Bypass, "bypass")
	add(p.Live, "live")
	if p.TTL != nil {
		add(true, "ttl %s", *p.TTL)
	}
	add(p.DefaultTTL > 0, "default ttl %s", p.DefaultTTL)
	for _, status := range sortedKeys(p.TTLByStatus) {
		add(true, "ttl %s for %s", p.TTLByStatus[status], status)
	}
	add(p.NegativeTTL > 0, "404 and 410 for %s at most", p.NegativeTTL)
	add(p.StaleWhileRevalidate > 0, "stale-while-revalidate %s", p.StaleWhileRevalidate)
	add(p.StaleIfError > 0, "stale-if-error %s", p.StaleIfError)
	add(true, "stale on %s", orNothing(p.ServeStaleOn))
	add(true, "set-cookie %s", p.SetCookie)
	add(!p.DeceptionArmor, "no deception armor")
	add(len(p.Override) > 0, "override %s", strings.Join(p.Override, ", "))
	add(true, "clients' directives %s", map[string]string{"honour": "honoured", "ignore": "ignored"}[p.RequestDirectives])
	return strings.Join(words, "; ")
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

func (p *page) key(e *edge.Explanation) {
	k := e.Key
	p.section("Key")
	p.line("key", "%s", k.Key)
	query := "no query"
	if e.Request.Query != "" {
		query = "query " + e.Request.Query
	}
	p.line("made of", "%s, %s, %s, %s", e.Request.Scheme, e.Request.Host, e.Request.Path, query)
	for _, facet := range k.Facets {
		value := facet.Value
		if value == "" {
			value = "(none)"
		}
		p.line("", "%s: %s", facet.Name, value)
	}
	if k.NoVarySearch != "" {
		p.line("No-Vary-Search", "%s", k.NoVarySearch)
		p.line("reduced query", "%s", k.ReducedQuery)
		p.line("without that", "%s", k.PlainKey)
	}
}

func (p *page) variants(e *edge.Explanation) {
	p.section("Stored")
	if len(e.Variants) == 0 {
		p.line("nothing", "%s", "under this key")
	}
	for i := range e.Variants {
		if i > 0 {
			fmt.Fprintln(p)
		}
		p.variant(i, &e.Variants[i])
	}
	if e.VariantsLeftOut > 0 {
		p.line("and more", "%d", e.VariantsLeftOut)
	}
}

// variant says what one stored response is, and for how long it is good.
func (p *page) variant(i int, v *edge.ExplainedVariant) {
	var marks []string
	for _, mark := range []struct {
		on    bool
		words string
	}{
		{v.Chosen, "chosen"},
		{v.Matches && !v.Chosen, "matches"},
		{!v.Matches, "for other requests"},
		{v.Invalidated, "invalidated"},
	} {
		if mark.on {
			marks = append(marks, mark.words)
		}
	}
	p.line("variant "+strconv.Itoa(i), "%s", strings.Join(marks, ", "))
	for _, each := range v.Selecting {
		p.line("  "+each.Name, "%s; the request has %s", selectingWords(each.Stored), selectingWords(each.Request))
	}
	p.line("  response", "%s", responseWords(v))
	p.line("  fetched for", "%s", v.URL)
	p.line("  under key", "%s", v.Key)
	p.line("  validators", "%s", validatorWords(v))
	p.line("  tags", "%s", strings.Join(v.Tags, " "))
	p.line("  groups", "%s", strings.Join(v.Groups, " "))
	p.line("  also as", "%s", strings.Join(v.Encodings, ", "))
	if v.EarlyHints > 0 {
		p.line("  early hints", "%s", howMany(int64(v.EarlyHints), "link"))
	}
	p.line("  age", "%s: %s on arrival%s, at %s", v.Age, v.Reckoning.InitialAge, ageWords(&v.Reckoning), v.Received.Format(time.RFC3339))
	left := v.TTL.String() + " left"
	if v.TTL <= 0 {
		left = "past it for " + (-v.TTL).String()
	}
	p.line("  lifetime", "%s by %s; %s", v.Lifetime, sourceWords(&v.Reckoning), left)
	for _, field := range v.Reckoning.Fields {
		p.line("", "%s", field)
	}
	p.line("  stale use", "%s", staleUse(v))
}

func selectingWords(value *string) string {
	if value == nil {
		return "no such field"
	}
	return strconv.Quote(*value)
}

func responseWords(v *edge.ExplainedVariant) string {
	words := strconv.Itoa(v.Status)
	if v.ContentType != "" {
		words += ", " + v.ContentType
	}
	if v.Size != nil {
		words += ", " + howMany(*v.Size, "byte")
	}
	switch {
	case !v.Complete:
		words += ", of which there are " + strings.Join(v.Parts, ", ")
	case v.Passing:
		words += ", only passed on"
	case v.Filling:
		words += ", still arriving"
	}
	return words + ", in " + v.Tier
}

func validatorWords(v *edge.ExplainedVariant) string {
	switch {
	case v.ETag != "" && v.LastModified != "":
		return v.ETag + ", " + v.LastModified
	case v.ETag+v.LastModified == "":
		return "none"
	}
	return v.ETag + v.LastModified
}

// ageWords says where the initial age is from (RFC 9111 §4.2.3).
func ageWords(r *edge.ExplainedReckoning) string {
	switch r.InitialAgeFrom {
	case "date":
		return " by its Date"
	case "age":
		return " by its Age of " + r.AgeField.String() + " and the delay of " + r.ResponseDelay.String()
	case "delay":
		return " by the origin's delay"
	}
	return ""
}

func sourceWords(r *edge.ExplainedReckoning) string {
	if r.Directive == "" || r.Directive == r.Source {
		return r.Source
	}
	return r.Source + ", " + r.Directive
}

func staleUse(v *edge.ExplainedVariant) string {
	switch {
	case v.NoCache:
		return "none: no-cache wants it validated each time"
	case v.StaleForbidden:
		return "none: a directive forbids it"
	case v.StaleWhileRevalidate <= 0 && v.StaleIfError <= 0:
		return "none"
	}
	var words []string
	if v.StaleWhileRevalidate > 0 {
		words = append(words, "while it is refreshed for "+v.StaleWhileRevalidate.String())
	}
	if v.StaleIfError > 0 {
		words = append(words, "if the origin fails for "+v.StaleIfError.String())
	}
	return strings.Join(words, ", ")
}

func howMany(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatInt(n, 10) + " " + noun + "s"
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
