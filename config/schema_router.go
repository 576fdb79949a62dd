package config

// routerKey describes the node's part in sending clients to the nearest edge.
func routerKey() *key {
	return &key{name: "router", later: true, doc: "Sends each client to the nearest healthy edge.", keys: []*key{
		dnsKey(),
		{name: "redirect", doc: "Routing by HTTP redirect, on the node's own listeners.", keys: []*key{
			{name: "hosts", item: &key{kind: kindHost}, deflt: "[]", example: "[go.example.net]", doc: "Host names that redirect."},
		}},
		{name: "latency_file", kind: kindPath, deflt: `""`, example: "latency.csv", doc: "Measured distances that go before the map."},
		{name: "pops", named: popKey(), nameKind: kindName, deflt: "{}", doc: "The points of presence, by name."},
	}}
}

func dnsKey() *key {
	return &key{name: "dns", doc: "Routing by authoritative DNS.", keys: []*key{
		{name: "listen", item: &key{kind: kindAddress}, deflt: `":53"`, example: `"192.0.2.1:53"`, doc: "Addresses, UDP and TCP."},
		{name: "zone", kind: kindHost, example: "cdn.example.net", doc: "The zone that is answered for."},
		{name: "nameservers", item: &key{kind: kindHost}, deflt: "[]", example: "[ns1.example.net]", doc: "The zone's NS records."},
		{name: "ttl", kind: kindDuration, deflt: "30s", example: "60s", doc: "Lifetime of an answer."},
		{name: "nsid", kind: kindText, deflt: `""`, example: "fra-1", doc: "Name that this server gives itself (NSID)."},
		{name: "dnssec", doc: "Signed answers.", keys: []*key{
			{name: "keys", kind: kindPath, example: "keys", doc: "Folder with the zone's keys."},
		}},
		{
			name: "records", item: &key{kind: kindText}, deflt: "[]", example: `["@ 300 IN TXT \"hello\""]`,
			doc: "Further records of the zone, as in a zone file.",
		},
	}}
}

func popKey() *key {
	return &key{keys: []*key{
		{name: "at", item: &key{kind: kindFloat, least: "-180", most: "180"}, exact: 2, example: "[50.11, 8.68]", doc: "Latitude and longitude."},
		{name: "host", kind: kindHost, example: "fra.cdn.example.net", doc: "Host name of the whole point of presence."},
		{name: "weight", kind: kindInt, least: "0", deflt: "1", example: "2", doc: "Its share where distances are equal."},
		{name: "capacity", kind: kindBandwidth, example: "10Gbit", doc: "What it can carry."},
		{name: "edges", named: edgeKey(), nameKind: kindName, deflt: "{}", doc: "Its edges, by name."},
	}}
}

func edgeKey() *key {
	return &key{keys: []*key{
		{name: "addresses", item: &key{kind: kindIP}, isRequired: true, example: `[192.0.2.10, "2001:db8::10"]`, doc: "Addresses given to clients."},
		{
			name: "probe", kind: kindURL, schemes: []string{"http", "https"}, example: "http://192.0.2.10/.perigee/health",
			doc: "URL that says whether it is healthy.",
		},
	}}
}
