package config

// cacheKey describes a site's say in what is stored.
func cacheKey() *key {
	return &key{name: "cache", doc: "What is stored, and for how long, beside what the responses themselves say.", keys: []*key{
		{
			name: "default_ttl", kind: kindDuration, deflt: "0s", example: "10m",
			doc: "Lifetime of a storable response that names none. 0s = only what the origin's fields allow.",
		},
		{
			name: "ttl_by_status", named: &key{kind: kindDuration}, nameKind: kindStatus, deflt: "{}", example: "{404: 10s}",
			doc: "The same for single status codes.",
		},
		{
			name: "stale_while_revalidate", kind: kindDuration, deflt: "0s", example: "30s",
			doc: "How long past its lifetime a response is still served while it is refreshed, where the origin says nothing. Never " +
				"against `must-revalidate`, `proxy-revalidate`, `no-cache` or `s-maxage`.",
		},
		{
			name: "stale_if_error", kind: kindDuration, deflt: "0s", example: "1h",
			doc: "How long past its lifetime a response may stand in for an origin in trouble, where the origin says nothing. Never " +
				"against `must-revalidate`, `proxy-revalidate`, `no-cache` or `s-maxage`.",
		},
		{
			name: "serve_stale_on", item: &key{words: words("error", "timeout", "5xx")}, deflt: "[error, timeout, 5xx]", unique: true,
			example: "[error, timeout]",
			doc: "Which trouble that is: `error` (no connection, or a broken one), `timeout` (no answer in time), `5xx` (an answer " +
				"with such a status). `[]` = none: a stale response never stands in.",
		},
		{
			name: "request_directives", words: words("ignore", "honour"), deflt: "ignore", example: "honour",
			doc: "Whether the caching directives of clients are obeyed.",
		},
		setCookieKey("pass"),
		deceptionArmorKey("true"),
		{name: "max_object_size", kind: kindSize, least: "1B", deflt: "50GiB", example: "1GiB", doc: "Larger bodies are passed on and not stored."},
		{name: "min_uses", later: true, kind: kindInt, least: "1", deflt: "1", example: "2", doc: "Requests before a response goes to disk."},
		{name: "slice_from", later: true, kind: kindSize, deflt: "16MiB", example: "64MiB", doc: "Larger bodies are fetched and kept in slices."},
		{name: "replicas", later: true, kind: kindInt, least: "1", deflt: "2", example: "3", doc: "Nodes of the cluster that keep a hot object."},
		{name: "quota", later: true, doc: "The site's part of the store.", keys: []*key{
			{name: "min", kind: kindSize, deflt: "0", example: "1GiB", doc: "What others cannot take from it."},
			{name: "max", kind: kindSize, deflt: "0", example: "10GiB", doc: "What it may take; 0 = no limit."},
		}},
		storeKeyKey(), rulesKey(),
	}}
}

// setCookieKey and deceptionArmorKey stand in the cache block, with a default, and in its rules, where "" leaves it be.
func setCookieKey(deflt string) *key {
	return &key{
		name: "set_cookie", words: words("pass", "strip", "store"), deflt: deflt, example: "strip",
		doc: "A response that sets a cookie: `pass` does not store it, `strip` stores it without the field, `store` as it is.",
	}
}

func deceptionArmorKey(deflt string) *key {
	return &key{
		name: "deception_armor", kind: kindBool, deflt: deflt, example: "false",
		doc: "Do not store a response whose media type contradicts the ending of its path, such as a page below `/account/x.css`: " +
			"it may be somebody's own, asked for by a path that was made up to get it stored.",
	}
}

// Bounds of what one site may say, since all of it is looked at for each request.
const (
	maxRules    = 64
	maxMatches  = 64 // in one list of a match
	maxKeyGlobs = 64 // in one list of key.query
	maxKeyParts = 16 // fields and cookies in one key
)

func storeKeyKey() *key {
	return &key{name: "key", doc: "What tells two stored responses apart, beside scheme, host and path.", keys: keyParts("[]", "false")}
}

// keyParts are the parts of a key with the defaults of those that are not the query, "" where a rule leaves them be.
func keyParts(list, boolean string) []*key {
	return []*key{
		queryKey(),
		{
			name: "headers", item: &key{kind: kindKeyField}, deflt: list, example: "[X-Tenant]", unique: true,
			doc: "Request fields whose values are part of the key. At most 16 with the cookies. Responses name them in `Vary`.",
		},
		{
			name: "cookies", item: &key{kind: kindCookie}, deflt: list, example: "[currency]", unique: true,
			doc: "Cookies whose values are part of the key. Responses name `Cookie` in `Vary`.",
		},
		{name: "country", kind: kindBool, deflt: boolean, example: "true", doc: "The client's country, by the node's `geo.databases`. The origin finds it in `X-Perigee-Country`; no `Vary` can tell a " +
			"cache behind perigee of it."},
		{name: "device", kind: kindBool, deflt: boolean, example: "true", doc: "The class of the client's device: mobile, tablet, desktop or bot. The origin finds it in `X-Perigee-Device`, and should " +
			"choose by that alone: by `User-Agent` it might tell apart what the key does not."},
	}
}

func queryKey() *key {
	return &key{
		name: "query", doc: "Which parameters of the query are part of the key. What is left out does not reach the origin either, " +
			"but for requests that are passed (other methods than GET and HEAD, `bypass`).",
		keys: []*key{
			{
				name: "include", item: &key{kind: kindParamGlob}, deflt: "[]", example: "[page, filter_*]", mostItems: maxKeyGlobs,
				doc: "The only parameters that are; `[]` = all. Names are compared decoded: `filter[*]` is `filter%5Bpage%5D` too.",
			},
			{
				name: "exclude", item: &key{kind: kindParamGlob}, deflt: "[]", example: "[utm_*, fbclid]", mostItems: maxKeyGlobs,
				doc: "Parameters left out, of those that `include` leaves.",
			},
			{name: "sort", kind: kindBool, deflt: "false", example: "true", doc: "Whether the order of parameters is of no matter."},
			{name: "ignore", kind: kindBool, deflt: "false", example: "true", doc: "Leave the whole query out. It stands alone."},
		},
	}
}

func rulesKey() *key {
	headers := headersKey()
	headers.doc = "Fields changed on the way, after those of the site. `request` only in rules that match by the request alone."
	return &key{
		name: "rules", deflt: "[]", example: "[{match: {path: /static/*}, ttl: 30d}]", mostItems: maxRules,
		doc: "What is different for some requests. In order: every rule that matches applies, and where two say the same key the " +
			"later wins.",
		item: &key{keys: []*key{
			matchKey(),
			{
				name: "ttl", kind: kindDuration, example: "30d",
				doc: "The lifetime, whatever the response says of it. It makes nothing storable that is not: see `override`. Errors (status " +
					"400 and above) have it only where the rule's `match` names their `status`.",
			},
			{
				name: "stale_while_revalidate", kind: kindDuration, example: "30s",
				doc: "As in `cache`, for these.",
			},
			{name: "stale_if_error", kind: kindDuration, example: "1h", doc: "As in `cache`, for these."},
			setCookieKey(""),
			deceptionArmorKey(""),
			{
				name: "override", item: &key{words: words("private", "no-store")}, deflt: "[]", example: "[private]", unique: true,
				doc: "Directives of the origin that do not keep these responses from being stored.",
			},
			{
				name: "bypass", kind: kindBool, deflt: "false", example: "true",
				doc: "Pass the request to the origin, and store nothing. Only in rules that match by the request alone.",
			},
			{
				name: "live", kind: kindBool, deflt: "false", example: "true",
				doc: "Live streaming below these paths: a 404 or 410 is stored for 1 s at most, and blocking playlist requests " +
					"(`_HLS_msn`) share one fetch. Only in rules that match by the request alone.",
			},
			{
				name: "key", keys: keyParts("", ""),
				doc: "Parts of the key that take the place of the site's; what is not named stays as it is. Only in rules that match by " +
					"the request alone.",
			},
			headers,
		}},
	}
}

// matchKey describes what a rule applies to. Where a field, cookie or parameter must have a value, it is a block.
func matchKey() *key {
	glob := func() *key { return &key{item: &key{kind: kindGlob}, filled: true, mostItems: maxMatches} }
	return &key{
		name: "match", isRequired: true, example: "{path: /static/*}",
		doc: "Which requests the rule applies to: everything that is named must match, of a list any item, of a block every name.",
		keys: []*key{
			{
				name: "path", item: &key{kind: kindPathGlob}, example: "/static/*", filled: true, mostItems: maxMatches,
				doc: "Patterns of the whole path, without the query. `\"*\"` is every request.",
			},
			{
				name: "host", item: &key{kind: kindHostGlob}, example: `"*.example.com"`, filled: true, mostItems: maxMatches,
				doc: "Patterns of the host that the client asked for.",
			},
			{name: "method", item: &key{kind: kindMethod}, example: "[GET, HEAD]", unique: true, filled: true, mostItems: maxMatches, doc: "Methods."},
			{
				name: "header", item: &key{kind: kindMatchField}, named: glob(), nameKind: kindMatchField, example: `{X-Plan: "pro*"}`,
				filled: true, mostItems: maxMatches,
				doc: "Request fields that are there, or, as a block, patterns of their values.",
			},
			{
				name: "cookie", item: &key{kind: kindCookie}, named: glob(), nameKind: kindCookie, example: "session",
				filled: true, mostItems: maxMatches,
				doc: "Cookies that the request has, or, as a block, patterns of their values.",
			},
			{
				name: "query", item: &key{kind: kindParam}, named: glob(), nameKind: kindParam, example: `{v: "2*"}`,
				filled: true, mostItems: maxMatches,
				doc: "Parameters that the query has, or, as a block, patterns of their values.",
			},
			{
				name: "status", item: &key{kind: kindStatusRange}, example: "[404, 500-599]", filled: true, mostItems: maxMatches,
				doc: "Status codes of the response.",
			},
			{
				name: "content_type", item: &key{kind: kindMediaGlob}, example: "text/*", filled: true, mostItems: maxMatches,
				doc: "Patterns of the response's media type, without its parameters.",
			},
		},
	}
}
