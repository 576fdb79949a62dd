package config

// nodeSchema describes the node file.
func nodeSchema() *key {
	return &key{keys: []*key{
		nodeKey(), listenKey(), limitsKey(), logKey(), acmeKey(), storeKey(), geoKey(), apiKey(), purgeLogKey(), shieldKey(),
		clusterKey(), routerKey(), sitesKey(),
	}}
}

func nodeKey() *key {
	return &key{name: "node", doc: "Who this node is.", keys: []*key{
		{
			name: "name", kind: kindName, example: "fra-1",
			doc: "The node's name in `Cache-Status`, logs and metrics. Without it, `Cache-Status` says `perigee`.",
		},
		{name: "pop", later: true, kind: kindName, example: "fra", doc: "The point of presence that the node belongs to."},
		{
			name: "state", kind: kindPath, deflt: `""`, example: "/var/lib/perigee",
			doc: "Folder for what must outlive the process: the journal of purges. It is made where there is none. Not named, it is the " +
				"folder of the first disk; without a disk, a purge is forgotten with the process, as everything that was stored is.",
		},
	}}
}

func listenKey() *key {
	return &key{
		name: "listen",
		doc: "The sockets that the node opens. Without this block the defaults are opened; with it, only what it names, but " +
			"`admin` keeps its default.",
		keys: []*key{
			{
				name: "http", item: &key{kind: kindAddress}, deflt: `":80"`, example: `[":80", "[::1]:8080"]`,
				doc: "Addresses for HTTP in clear.",
			},
			{name: "https", item: &key{kind: kindAddress}, deflt: `":443"`, example: `":8443"`, doc: "Addresses for TLS."},
			{
				name: "admin", kind: kindAddress, words: words("off"), deflt: `"127.0.0.1:9180"`, example: `"127.0.0.1:9181"`,
				doc: "Address of the operator's listener (health, metrics, reload). `off` closes it. Off loopback it needs " +
					"`admin_token_file`.",
			},
			{
				name: "admin_token_file", kind: kindSecret, deflt: `""`, example: "admin.token",
				doc: "File with the token that the operator's listener asks for.",
			},
			{
				name: "proxy_protocol_from", later: true, item: &key{kind: kindCIDR}, deflt: "[]", example: "[10.0.0.0/8]",
				doc: "Networks whose connections begin with a PROXY protocol header.",
			},
			{
				name: "trusted_proxies", item: &key{kind: kindCIDR}, deflt: "[]", example: "[10.0.0.0/8]",
				doc: "Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.",
			},
			{name: "h3", later: true, kind: kindBool, deflt: "true", example: "false", doc: "HTTP/3 beside every `https` address."},
		},
	}
}

func limitsKey() *key {
	return &key{name: "limits", doc: "What the node takes on before it refuses.", keys: []*key{
		{name: "connections", kind: kindInt, least: "1", deflt: "20000", example: "50000", doc: "Open client connections."},
		{
			name: "connections_per_ip", kind: kindInt, least: "1", deflt: "512", example: "64",
			doc: "Open connections of one client address.",
		},
		{
			name: "requests", kind: kindInt, least: "1", deflt: "10000", example: "5000",
			doc: "Requests in flight; beyond it hits are still served and misses get 503 with `Retry-After`.",
		},
		{name: "fields", kind: kindInt, least: "1", most: "10000", deflt: "128", example: "100", doc: "Field lines in one request."},
		{
			name: "field_bytes", kind: kindSize, least: "1KiB", most: "16MiB", deflt: "64KiB", example: "32KiB",
			doc: "All field lines of one request together.",
		},
		{
			name: "target", kind: kindSize, least: "256B", most: "1MiB", deflt: "16KiB", example: "8KiB",
			doc: "The request target (path and query).",
		},
		{name: "body", kind: kindSize, deflt: "0", example: "100MB", doc: "The content of one request; 0 = no limit."},
		{
			name: "header_time", kind: kindDuration, least: "1ms", deflt: "15s", example: "10s",
			doc: "How long a client may take to send a request's fields.",
		},
		{
			name: "idle", kind: kindDuration, least: "1ms", deflt: "75s", example: "30s",
			doc: "How long a connection may wait for its next request.",
		},
		{
			name: "min_rate", kind: kindByteRate, deflt: "1KiB/s", example: "4KiB/s",
			doc: "The slowest client that is still served: counted while it is the client that perigee waits for. 0 = any.",
		},
	}}
}

func logKey() *key {
	return &key{name: "log", doc: "What is written about requests and about the node.", keys: []*key{
		{
			name: "access", kind: kindPath, words: words("stdout", "off"), deflt: "stdout", example: "/var/log/perigee/access.log",
			doc: "Where the access log goes. A file is reopened on SIGHUP.",
		},
		{name: "format", words: words("json", "combined"), deflt: "json", example: "combined", doc: "The form of an access log line."},
		{
			name: "level", words: words("debug", "info", "warn", "error"), deflt: "info", example: "warn",
			doc: "The lowest level of the node's own messages.",
		},
	}}
}

func acmeKey() *key {
	eab := &key{name: "eab", doc: "External account binding, where the authority asks for it.", keys: []*key{
		{name: "key_id", kind: kindText, example: "kid-1", doc: "The account's key identifier."},
		{name: "mac_key_file", kind: kindSecret, example: "eab.key", doc: "File with the account's MAC key."},
	}}
	acme := &key{name: "acme", doc: "Certificates from an ACME authority.", keys: []*key{
		{name: "email", kind: kindEmail, example: "ops@example.com", doc: "Contact that the authority is given."},
		{
			name: "ca", kind: kindURL, schemes: []string{"https"}, deflt: `""`, example: "https://acme.example.net/directory",
			doc: "Directory of the authority; empty = Let's Encrypt.",
		},
		{name: "ca_root", kind: kindPath, deflt: `""`, example: "acme-root.pem", doc: "PEM roots that the authority is checked against."},
		eab,
		{name: "check_interval", kind: kindDuration, least: "1s", deflt: "10m", example: "1h", doc: "How often renewals are looked for."},
	}}
	return &key{name: "tls", later: true, doc: "Certificates for all sites of the node.", keys: []*key{acme}}
}

func storeKey() *key {
	disk := []*key{
		{
			name: "path", kind: kindPath, isRequired: true, example: "/var/cache/perigee",
			doc: "The folder. It is made where there is none. One that cannot be made or written to is no mistake of this file: " +
				"the node runs without it and says so in its log.",
		},
		{
			name: "size", kind: kindSize, isRequired: true, example: "100GiB", doc: "How much of the disk all files in the folder may take together, also those of others, such as what `state` keeps there.",
			least: "64MiB", because: "a disk is cut into segments of at least 1 MiB, and with fewer than 64 of them it is of little use",
		},
	}
	return &key{name: "store", doc: "How much the node may keep, and where.", keys: []*key{
		{
			name: "ram", kind: kindSize, least: "1MiB", deflt: "1GiB", example: "512MiB",
			doc: "One budget for bodies in memory and everything that is kept about them.",
		},
		{
			name: "disk", keys: disk, example: "{path: /var/cache/perigee, size: 100GiB}",
			doc: "A folder for what is stored, which outlives the process there. Without one, what is stored is in memory only.",
		},
		{
			name: "disks", item: &key{keys: disk}, deflt: "[]", mostItems: maxDisks, fewer: "one folder for each disk is enough",
			example: "[{path: /disk1/perigee, size: 2TiB}, {path: /disk2/perigee, size: 2TiB}]",
			doc: "The same for several disks, in place of `disk`: each a folder of its own, none inside another. When one of them fails, " +
				"the others go on.",
		},
	}}
}

func geoKey() *key {
	return &key{name: "geo", doc: "Where clients are.", keys: []*key{
		{
			name: "databases", item: &key{kind: kindPath}, deflt: "[]", example: "[GeoLite2-City.mmdb]",
			doc: "MaxMind databases. `cache.key.country` of the sites needs one that knows countries.",
		},
		{
			name: "networks_file", later: true, kind: kindPath, deflt: `""`, example: "networks.csv",
			doc: "Networks with a place of their own.",
		},
	}}
}

func shieldKey() *key {
	return &key{name: "shield", later: true, doc: "Ties edges to the perigees between them and the origin.", keys: []*key{
		{name: "key_file", kind: kindSecret, isRequired: true, example: "shield.key", doc: "File with the key that they share."},
	}}
}

func clusterKey() *key {
	return &key{name: "cluster", later: true, doc: "The nodes of one point of presence that share their stores.", keys: []*key{
		{name: "name", kind: kindName, isRequired: true, example: "fra", doc: "The cluster's name."},
		{name: "gossip", kind: kindAddress, isRequired: true, example: `"10.0.0.7:7946"`, doc: "Address for membership."},
		{name: "peer", kind: kindAddress, isRequired: true, example: `"10.0.0.7:7947"`, doc: "Address for requests between nodes."},
		{name: "key_file", kind: kindSecret, isRequired: true, example: "gossip.key", doc: "File with the key that the nodes share."},
		{name: "join", item: &key{kind: kindPeer}, deflt: "[]", example: `[10.0.0.8, "10.0.0.9:7946"]`, doc: "Nodes to ask at the start."},
		{name: "weight", kind: kindInt, least: "1", deflt: "1", example: "2", doc: "This node's share of the keys."},
	}}
}

func sitesKey() *key {
	return &key{
		name: "sites", isRequired: true, item: &key{kind: kindFiles}, example: "[sites/*.yaml]",
		doc: "The site files: paths or patterns (`*`, `?`, `[a-z]`), relative to the node file.",
	}
}
