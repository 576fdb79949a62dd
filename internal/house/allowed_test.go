package house

// The lists of this file are the only place where an exception is made. An entry
// that nothing needs any more is taken out.

// folders are the folders at the top.
var folders = []string{
	".ci", ".git", "admin", "bench", "cachestore", "cluster", "cmd", "config", "deploy", "docs", "edge", "geo",
	"httpcache", "internal", "origin", "purge", "testdata",
}

// floors says for each package of the house which others its production code may
// import. A name that ends in "/" stands for all packages below it.
var floors = map[string][]string{
	"httpcache":       {},
	"geo":             {},
	"config":          {},
	"cachestore":      {"httpcache"},
	"origin":          {"httpcache"},
	"cachestore/ram":  {"cachestore", "httpcache"},
	"cachestore/disk": {"cachestore", "httpcache"},
	"purge":           {"cachestore", "httpcache"},
	"cluster":         {"origin", "httpcache"},
	"edge":            {"httpcache", "cachestore", "origin"},
	"edge/listener":   {"edge/listener/"},
	"edge/listener/":  {},
	"admin":           {"httpcache", "cachestore", "cachestore/disk", "origin", "purge", "cluster", "geo", "edge", "edge/listener"},
	"internal/":       {"internal/"},
	// Equipment of tests that speaks of the store.
	"internal/storetest": {"cachestore", "httpcache"},
	"bench/":             {"httpcache", "cachestore", "cachestore/ram", "cachestore/disk", "origin", "edge", "edge/listener", "internal/", "bench/"},
	"cmd/perigee": {
		"httpcache", "geo", "config", "cachestore", "cachestore/ram", "cachestore/disk", "origin", "purge", "cluster",
		"edge", "edge/listener", "admin",
	},
}

// modules says which package owns an external module; a name that ends in "/" stands
// for one of the packages below it. Modules of golang.org/x and those in freeModules
// have no owner.
var modules = map[string]string{
	"github.com/dunglas/httpsfv":                 "httpcache",
	"github.com/dgraph-io/ristretto/v2":          "cachestore/ram",
	"github.com/hashicorp/memberlist":            "cluster",
	"github.com/nats-io/nats-server/v2":          "purge",
	"github.com/nats-io/nats.go":                 "purge",
	"github.com/oschwald/geoip2-golang/v2":       "geo",
	"github.com/oschwald/maxminddb-golang/v2":    "geo",
	"github.com/miekg/dns":                       "geo",
	"github.com/maxmind/mmdbwriter":              "internal/testgeo",
	"github.com/klauspost/compress":              "edge",
	"github.com/andybalholm/brotli":              "edge",
	"github.com/corazawaf/coraza/v3":             "edge",
	"github.com/corazawaf/coraza-coreruleset/v4": "edge",
	"github.com/caddyserver/certmagic":           "edge/listener",
	"github.com/quic-go/quic-go":                 "edge/listener/",
	"github.com/goccy/go-yaml":                   "config",
	"github.com/prometheus/client_golang":        "admin",
	"github.com/spf13/cobra":                     "cmd/perigee",
}

// freeModules may be imported anywhere.
var freeModules = []string{"golang.org/x", "github.com/cespare/xxhash/v2"}

// testModules may be imported by tests only, whosever they are.
var testModules = []string{
	"github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "pgregory.net/rapid",
	"github.com/letsencrypt/pebble/v2",
}

// doors are the files that may read the clock, at most one a package.
var doors = map[string]string{
	"edge/handler.go":        "when a request arrived, and how long it took",
	"origin/fetch.go":        "request time and response time of a stored response (RFC 9111 §4.2.3)",
	"cmd/perigee/node.go":    "when the configuration in force was loaded",
	"edge/listener/meter.go": "how long ago an HTTP/2 connection was last credited for the time",
	"cachestore/window.go":   "how long a slow reader has held up a response that is only passed on",
}

// equipment is what runs in no server: measurements, and what only tests use. It may
// read the clock and may panic.
var equipment = []string{"bench/", "internal/"}

// panics are the files that may panic, with the invariant that they guard.
var panics = map[string]string{
	"cachestore/tails.go":  "a panic of ours goes on in who waits for it, as if it had happened there",
	"cachestore/budget.go": "bytes released that were never reserved: the budget would no longer be one",
	"config/jsonschema.go": "the schema is data of ours; that it is JSON is tested",
	"edge/handler.go":      "http.ErrAbortHandler is how net/http is told to cut a response",
}

// printers are the places that may write to standard output or a log.
var printers = []string{"cmd/", "bench/"}

// initialisers are the files that may have an init function.
var initialisers = []string{}
