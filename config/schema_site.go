package config

// siteSchema describes the site file.
func siteSchema() *key {
	return &key{keys: []*key{
		{
			name: "site", kind: kindHost, words: words("*"), isRequired: true, example: "www.example.com",
			doc: "The site's host name. `\"*\"` is the catch-all for hosts that no other site names.",
		},
		aliasesKey(),
		certificateKey("Where the site's certificate comes from: `auto` is ACME where the node has it, else self-signed with a "+
			"warning; `off` serves the site in clear only; a block names PEM files.",
			append(append(words("auto"), notYet("internal")...), words("off")...)),
		originKey(), cacheKey(), compressKey(), headersKey(),
		{
			name: "redirect_to_https", words: words("auto", "true", "false"), deflt: "auto", example: "true",
			doc: "Whether requests in clear are sent to https. `auto` = only where the certificate came from ACME.",
		},
		sitePurgeKey(), siteRouterKey(),
	}}
}

func aliasesKey() *key {
	return &key{
		name: "aliases", item: &key{kind: kindHost}, deflt: "[]", example: "[example.com]",
		doc: "Further host names of the site. A plain list shares the site's objects.",
		keys: []*key{
			{name: "names", item: &key{kind: kindHost}, isRequired: true, example: "[example.com]", doc: "The host names."},
			{
				name: "mode", words: append(words("share"), notYet("separate", "redirect")...), deflt: "share", example: "share",
				doc: "`share`: one set of objects; `separate`: objects of their own; `redirect`: sent to the site's name.",
			},
		},
	}
}

// certificateKey is the tls key of sites and of the API, with its words.
func certificateKey(doc string, modes []word) *key {
	return &key{
		name: "tls", deflt: "auto", example: "{cert: www.pem, key: www.key}", doc: doc, words: modes,
		keys: []*key{
			{name: "cert", kind: kindPath, isRequired: true, example: "www.pem", doc: "PEM file with the certificate and its chain."},
			{name: "key", kind: kindPath, isRequired: true, example: "www.key", doc: "PEM file with the private key."},
		},
	}
}

func originKey() *key {
	return &key{
		name: "origin", isRequired: true, item: upstreamURL(""), itemsNow: 1, example: "https://origin.example.com",
		doc: "Where responses come from: a URL, a list of URLs, or a block.",
		keys: []*key{
			{
				name: "upstreams", isRequired: true, itemsNow: 1, example: `[{url: "https://a.example.com"}]`,
				item: &key{keys: upstreamKeys()}, doc: "The servers behind the site. One in this version; more are not available in this version.",
			},
			{
				name: "host", kind: kindHost, words: words("upstream", "site", "client"), deflt: "upstream", example: "site",
				doc: "The Host and SNI sent to the upstream: `upstream` (the authority of its URL), `site` (the site's name), " +
					"`client` (the host that the client asked for) or a name.",
			},
			{
				name: "balance", later: true, words: words("round_robin", "least_connections", "random_two", "hash", "sticky"),
				deflt: "round_robin", example: "least_connections", doc: "How requests are spread over the upstreams.",
			},
			healthKey(), timeoutsKey(),
			{name: "retries", later: true, kind: kindInt, least: "0", most: "10", deflt: "2", example: "1", doc: "How often a failed request is tried again."},
			{
				name: "connections", kind: kindInt, least: "1", deflt: "256", example: "64",
				doc: "Connections per upstream; a bounded queue stands behind them.",
			},
			{
				name: "budget", later: true, kind: kindRate, deflt: "0/s", example: "100/s",
				doc: "Requests that a purge or a stampede may cost the origin; 0 = no limit.",
			},
			upstreamShieldKey(), signKey(),
		},
	}
}

func upstreamURL(name string) *key {
	return &key{name: name, kind: kindURL, schemes: []string{"http", "https"}}
}

func upstreamKeys() []*key {
	url := upstreamURL("url")
	url.isRequired, url.example, url.doc = true, "https://a.example.com", "Its URL; a path is put before the request's."
	return []*key{
		url,
		{name: "weight", kind: kindInt, least: "1", most: "1000", deflt: "1", example: "2", doc: "Its share of the requests."},
		{name: "backup", later: true, kind: kindBool, deflt: "false", example: "true", doc: "Asked only when no other upstream is healthy."},
	}
}

func healthKey() *key {
	return &key{name: "health", later: true, doc: "Asks the upstreams how they are. Without a path, nothing is asked.", keys: []*key{
		{name: "path", kind: kindURLPath, example: "/healthz", doc: "What is asked for."},
		{name: "interval", kind: kindDuration, least: "100ms", deflt: "5s", example: "10s", doc: "How often."},
		{name: "timeout", kind: kindDuration, least: "1ms", deflt: "2s", example: "1s", doc: "When an answer counts as missing."},
		{name: "unhealthy", kind: kindInt, least: "1", deflt: "3", example: "2", doc: "Failures in a row that take an upstream out."},
		{name: "healthy", kind: kindInt, least: "1", deflt: "2", example: "3", doc: "Successes in a row that bring it back."},
		{name: "status", item: &key{kind: kindStatusRange}, deflt: "[200-399]", example: "[200, 204]", doc: "Status codes that count as success."},
	}}
}

func timeoutsKey() *key {
	return &key{name: "timeouts", doc: "How long each step of a request to the upstream may take.", keys: []*key{
		{name: "connect", kind: kindDuration, least: "1ms", deflt: "3s", example: "1s", doc: "Opening a connection."},
		{name: "tls", kind: kindDuration, least: "1ms", deflt: "5s", example: "2s", doc: "The TLS handshake."},
		{name: "header", kind: kindDuration, least: "1ms", deflt: "30s", example: "10s", doc: "Until the response's fields have come."},
		{name: "idle", kind: kindDuration, least: "1ms", deflt: "60s", example: "20s", doc: "Between two pieces of the content; also how long an unused connection is kept."},
		{name: "total", kind: kindDuration, deflt: "0s", example: "5m", doc: "The whole exchange; 0s = no limit."},
	}}
}

func upstreamShieldKey() *key {
	return &key{
		name: "shield", later: true, kind: kindURL, schemes: []string{"http", "https"}, deflt: `""`, example: "https://shield.example.net",
		doc: "URL of another perigee between this node and the origin.",
	}
}

func signKey() *key {
	s3 := &key{name: "s3", doc: "AWS Signature Version 4.", keys: []*key{
		{name: "region", kind: kindText, example: "eu-central-1", doc: "The bucket's region."},
		{name: "access_key", kind: kindText, example: `"${S3_KEY}"`, doc: "The access key's identifier."},
		{name: "secret_file", kind: kindSecret, example: "s3.secret", doc: "File with the secret key."},
	}}
	return &key{name: "sign", later: true, doc: "Signs requests to the upstream.", keys: []*key{s3}}
}

func compressKey() *key {
	return &key{
		name: "compress", words: words("off"), example: "{encodings: [br, gzip]}",
		doc: "Compression of responses on their way to the client. On where nothing is said; `off` compresses nothing.",
		keys: []*key{
			{
				name: "types", item: &key{kind: kindMediaGlob}, deflt: "[text/*, application/javascript, application/json, image/svg+xml]",
				example: "[text/*]", filled: true, mostItems: maxMatches, doc: "Media types that are compressed.",
			},
			{name: "min", kind: kindSize, deflt: "1KiB", example: "4KiB", doc: "Smaller responses are left alone."},
			{
				name: "encodings", item: &key{words: words("br", "zstd", "gzip")}, deflt: "[br, zstd, gzip]", example: "[gzip]",
				filled: true, unique: true,
				doc: "In order of preference, among those that the client takes.",
			},
		},
	}
}

func headersKey() *key {
	side := func(name, doc string) *key {
		return &key{name: name, doc: doc, keys: []*key{
			{
				name: "set", named: &key{kind: kindFieldValue}, nameKind: kindFieldName, deflt: "{}", example: "{X-Served-By: perigee}",
				doc: "Fields that replace any of the same name.",
			},
			{name: "remove", item: &key{kind: kindFieldName}, deflt: "[]", example: "[X-Powered-By]", doc: "Fields that are taken out, before others are set."},
		}}
	}
	return &key{name: "headers", doc: "Fields changed on the way.", keys: []*key{
		side("request", "On the way to the upstream."), side("response", "On the way to the client."),
	}}
}

func siteRouterKey() *key {
	return &key{name: "router", later: true, doc: "How routers see the site.", keys: []*key{
		{name: "label", kind: kindLabel, example: "www", doc: "The site's label below a PoP's host; by default its name with dots as `--`."},
		{name: "pops", item: &key{kind: kindName}, deflt: "[]", example: "[fra]", doc: "The only PoPs that serve it; empty = all."},
		{name: "redirect", kind: kindBool, deflt: "false", example: "true", doc: "Send clients to the nearest PoP by redirect."},
	}}
}
