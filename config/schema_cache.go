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
			name: "stale_while_revalidate", later: true, kind: kindDuration, deflt: "0s", example: "30s",
			doc: "How long past its lifetime a response is still served while it is refreshed, where the origin says nothing.",
		},
		{
			name: "stale_if_error", kind: kindDuration, deflt: "0s", example: "1h",
			doc: "How long past its lifetime a response may stand in for an origin in trouble, where the origin says nothing.",
		},
		{
			name: "serve_stale_on", later: true, item: &key{words: words("error", "timeout", "5xx")}, deflt: "[error, timeout, 5xx]",
			example: "[error, timeout]", doc: "Which trouble that is.",
		},
		{
			name: "request_directives", words: words("ignore", "honour"), deflt: "ignore", example: "honour",
			doc: "Whether the caching directives of clients are obeyed.",
		},
		{
			name: "set_cookie", words: words("pass", "strip", "store"), deflt: "pass", example: "strip",
			doc: "A response that sets a cookie: `pass` does not store it, `strip` stores it without the field, `store` as it is.",
		},
		{
			name: "deception_armor", later: true, kind: kindBool, deflt: "true", example: "false",
			doc: "Do not store what a path's ending says is something else.",
		},
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

func storeKeyKey() *key {
	query := &key{name: "query", doc: "The query.", keys: []*key{
		{name: "exclude", item: &key{kind: kindGlob}, deflt: "[]", example: "[utm_*, fbclid]", doc: "Parameters left out, towards the origin too."},
		{name: "sort", kind: kindBool, deflt: "false", example: "true", doc: "Whether the order of parameters is of no matter."},
	}}
	return &key{name: "key", later: true, doc: "What tells two objects apart, beside host and path.", keys: []*key{
		query,
		{name: "headers", item: &key{kind: kindFieldName}, deflt: "[]", example: "[X-Tenant]", doc: "Request fields."},
		{name: "cookies", item: &key{kind: kindText}, deflt: "[]", example: "[currency]", doc: "Cookies."},
		{name: "country", kind: kindBool, deflt: "false", example: "true", doc: "The client's country."},
		{name: "device", kind: kindBool, deflt: "false", example: "true", doc: "The kind of the client's device."},
	}}
}

func rulesKey() *key {
	match := &key{name: "match", isRequired: true, doc: "Which requests it applies to: all that is named must match.", keys: []*key{
		{name: "path", kind: kindGlob, example: "/static/*", doc: "Pattern of the path."},
		{name: "cookie", kind: kindText, example: "session", doc: "A cookie that the request has."},
	}}
	return &key{
		name: "rules", later: true, deflt: "[]", example: "[{match: {path: /static/*}, ttl: 30d}]",
		doc: "In order; every match applies, the later wins.",
		item: &key{keys: []*key{
			match,
			{name: "ttl", kind: kindDuration, example: "30d", doc: "The lifetime."},
			{name: "bypass", kind: kindBool, deflt: "false", example: "true", doc: "Pass the request and store nothing."},
			{
				name: "override", item: &key{words: words("private", "no-store")}, deflt: "[]", example: "[private]",
				doc: "Directives of the origin that the rule stands above.",
			},
		}},
	}
}
