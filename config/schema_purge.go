package config

func apiKey() *key {
	return &key{
		name: "api",
		doc: "The public door of the purge API, over TLS only. Without it, purges go to the operator's listener, and with the " +
			"method `PURGE` to the sites themselves.",
		keys: []*key{
			{
				name: "hosts", item: &key{kind: kindHost}, isRequired: true, unique: true, example: "[purge.example.net]",
				doc: "Host names of the API; none of them may be a site's.",
			},
			certificateKey("Where the certificate of these hosts comes from: `auto` is ACME where the node has it, else self-signed "+
				"with a warning; a block names PEM files.", append(words("auto"), notYet("internal")...)),
		},
	}
}

func purgeLogKey() *key {
	ca := &key{name: "tls", doc: "How the log's servers are checked.", keys: []*key{
		{name: "ca", kind: kindPath, example: "nats-ca.pem", doc: "PEM roots."},
	}}
	log := &key{name: "log", doc: "The log that several nodes share. Without it, the node purges alone.", keys: []*key{
		{
			name: "nats", item: &key{kind: kindURL, schemes: []string{"nats", "tls", "ws", "wss"}}, deflt: "[]",
			example: `["tls://log.example.net:4222"]`, doc: "Servers of an external NATS JetStream.",
		},
		{name: "credentials_file", kind: kindSecret, deflt: `""`, example: "purge.creds", doc: "NATS credentials."},
		ca,
		{name: "serve", kind: kindAddress, example: `":4222"`, doc: "Serve the log from this node, at this address."},
		{name: "peers", item: &key{kind: kindPeer}, deflt: "[]", example: `["10.0.0.8:4222"]`, doc: "Other nodes that serve it."},
	}}
	return &key{name: "purge", later: true, doc: "How purges reach this node.", keys: []*key{log}}
}

func sitePurgeKey() *key {
	return &key{name: "purge", doc: "Purging this site.", keys: []*key{
		{
			name: "ids", item: &key{kind: kindName}, deflt: "[]", unique: true, example: "[www]",
			doc: "Further names of the site in the purge API, as the service or zone that a CMS is set up with. No other site's name.",
		},
		{
			name: "tokens", deflt: "[]", item: &key{keys: tokenKeys()},
			example: "[{name: cms, scopes: [url, tag], secret_file: cms.token}]",
			doc:     "Who may purge the site. Without any, only the operator may.",
		},
		{
			name: "lost_log", later: true, words: words("revalidate"), deflt: "revalidate", example: "{serve: 60s}",
			doc: "What hits do while the shared log cannot be reached.",
			keys: []*key{
				{name: "serve", kind: kindDuration, isRequired: true, example: "60s", doc: "Serve them for so long, then revalidate."},
			},
		},
	}}
}

func tokenKeys() []*key {
	return []*key{
		{
			name: "name", kind: kindName, isRequired: true, example: "cms",
			doc: "The holder's name, as the history shows it. Two tokens may share one while the old one is replaced.",
		},
		{
			name: "scopes", item: &key{words: words("url", "prefix", "tag", "host", "site", "all", "soft-only")}, isRequired: true, unique: true,
			example: "[url, tag]",
			doc: "What it may purge: single URLs, paths with all below them, tags, a host of the site, the site at once, or all of these. " +
				"`soft-only` beside them: it may mark stale and not remove.",
		},
		{
			name: "secret_file", kind: kindSecret, example: "cms.token",
			doc: "File with the token, at least 16 bytes in one line, which no other token has. It, or `secret`, must be given.",
		},
		{
			name: "secret", kind: kindVariable, example: `"${CMS_TOKEN}"`,
			doc: "Variable that holds the token. The token itself is not written here.",
		},
		{
			name: "networks", item: &key{kind: kindCIDR}, filled: true, example: "[192.0.2.0/24]",
			doc: "Where the token may be used from. Without it, from everywhere.",
		},
		{
			name: "expires", kind: kindInstant, deflt: `""`, example: "2027-01-31",
			doc: "When the token ends; a date is its beginning in UTC. Without it, never.",
		},
		{
			name: "rate", kind: kindRate, least: "1/h", deflt: "100/s", example: "20/s",
			doc: "Items that it may purge; up to 500 of them at once after a rest.",
		},
	}
}
