package main

import (
	"perigee/config"
	"perigee/edge"
	"perigee/httpcache"
)

// This file says a site's caching in the words of httpcache and edge.

var setCookies = map[config.SetCookie]httpcache.SetCookie{
	config.SetCookiePass:  httpcache.SetCookiePass,
	config.SetCookieStrip: httpcache.SetCookieStrip,
	config.SetCookieStore: httpcache.SetCookieStore,
}

func cacheRules(c *config.Cache) *httpcache.Rules {
	rules := &httpcache.Rules{
		DefaultTTL: c.DefaultTTL, TTLByStatus: c.TTLByStatus,
		HonourRequest:        c.RequestDirectives == config.DirectivesHonour,
		SetCookie:            setCookies[c.SetCookie],
		StaleWhileRevalidate: c.StaleWhileRevalidate,
		StaleIfError:         c.StaleIfError,
		DeceptionArmor:       c.DeceptionArmor,
	}
	for _, each := range []struct {
		on   bool
		what httpcache.Trouble
	}{
		{c.ServeStaleOn.Error, httpcache.TroubleError},
		{c.ServeStaleOn.Timeout, httpcache.TroubleTimeout},
		{c.ServeStaleOn.Status5xx, httpcache.TroubleStatus5xx},
		{c.ServeStaleOn == config.StaleOn{}, httpcache.TroubleNone},
	} {
		if each.on {
			rules.StaleOn |= each.what
		}
	}
	return rules
}

func keySpec(k *config.Key) edge.KeySpec {
	return edge.KeySpec{
		Query: *queryRule(&k.Query), Headers: k.Headers, Cookies: k.Cookies, Country: k.Country, Device: k.Device,
	}
}

func queryRule(q *config.Query) *httpcache.QueryRule {
	return &httpcache.QueryRule{Include: globs(q.Include), Exclude: globs(q.Exclude), Sort: q.Sort, Ignore: q.Ignore}
}

func globs(patterns []string) []httpcache.Glob {
	all := make([]httpcache.Glob, len(patterns))
	for i, each := range patterns {
		all[i] = httpcache.NewGlob(each)
	}
	return all
}

var codings = map[config.Encoding]edge.Coding{
	config.EncodingBrotli: edge.Brotli,
	config.EncodingZstd:   edge.Zstd,
	config.EncodingGzip:   edge.Gzip,
}

// compression is nil where nothing is to be compressed.
func compression(c *config.Compress) *edge.Compression {
	if c.Off || len(c.Encodings) == 0 || len(c.Types) == 0 {
		return nil
	}
	out := &edge.Compression{Types: globs(c.Types), MinBytes: c.Min}
	for _, each := range c.Encodings {
		out.Encodings = append(out.Encodings, codings[each])
	}
	return out
}

func ruleSet(rules []config.Rule) []edge.Rule {
	all := make([]edge.Rule, len(rules))
	for i := range rules {
		all[i] = edgeRule(&rules[i])
	}
	return all
}

func edgeRule(r *config.Rule) edge.Rule {
	rule := edge.Rule{
		Words: r.Words, Match: match(&r.Match),
		TTL: r.TTL, StaleWhileRevalidate: r.StaleWhileRevalidate, StaleIfError: r.StaleIfError,
		DeceptionArmor: r.DeceptionArmor, OverridePrivate: r.OverridePrivate, OverrideNoStore: r.OverrideNoStore,
		Bypass: r.Bypass, Live: r.Live, Request: edits(r.Request), Response: edits(r.Response),
	}
	if r.SetCookie != nil {
		what := setCookies[*r.SetCookie]
		rule.SetCookie = &what
	}
	if r.Key != nil {
		rule.Key = edge.KeyChange{Headers: r.Key.Headers, Cookies: r.Key.Cookies, Country: r.Key.Country, Device: r.Key.Device}
		if r.Key.Query != nil {
			rule.Key.Query = queryRule(r.Key.Query)
		}
	}
	return rule
}

func match(m *config.Match) edge.Match {
	out := edge.Match{
		Paths: globs(m.Path), Hosts: globs(m.Host), Methods: m.Method, MediaTypes: globs(m.ContentType),
		Fields: named(m.Header), Cookies: named(m.Cookie), Params: named(m.Query),
	}
	for _, each := range m.Status {
		out.Status = append(out.Status, edge.StatusRange(each))
	}
	return out
}

// named groups what is asked for: of those that need only be there one is enough, of
// values of one name too, and all names that are asked for values must be there.
func named(all []config.Named) [][]edge.Named {
	var groups [][]edge.Named
	at := make(map[string]int) // the group of each name, "" of those without a value
	for _, each := range all {
		one, group := edge.Named{Name: each.Name}, ""
		if each.HasValue {
			value := httpcache.NewGlob(each.Value)
			one.Value, group = &value, each.Name
		}
		i, known := at[group]
		if !known {
			i = len(groups)
			at[group], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], one)
	}
	return groups
}
