package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// Node is one node's configuration, in the words of its YAML: the node file and all the site files that it names.
// It is complete (defaults are filled in) and is not written again after Load or Proxy has returned it.
type Node struct {
	File   string  // path of the node file as Load was given it; "" when made by Proxy
	Name   string  // node.name; "" = none was given, and the host's name stands for it where one is needed
	State  string  // path of the folder for what must outlive the process, which need not be there yet; the first disk's where none is named; "" = nothing does
	Listen Listen  // sockets to open
	Limits Limits  // what the node takes on before it refuses
	Log    Log     // what is written about requests and about the node itself
	Store  Store   // how much may be kept
	Geo    Geo     // where clients are
	API    API     // the public door of the purge API
	Sites  []*Site // in the order of their files; at least one
}

// Listen says which sockets a node opens. An empty list opens none of that kind.
type Listen struct {
	HTTP           []string       // addresses for HTTP in clear, "host:port" or ":port"
	HTTPS          []string       // addresses for TLS
	Admin          string         // address of the operator's listener; "" = closed
	AdminTokenFile string         // path of the file that AdminToken was read from; "" = none
	TrustedProxies []netip.Prefix // whose X-Forwarded-For and X-Forwarded-Proto are believed
	AdminToken     string         // what an operator must present; "" = none, which only a loopback Admin may have
}

// Limits bounds what clients can cost a node. Zero means no limit where the field says so, and is refused elsewhere.
type Limits struct {
	Connections      int           // open client connections
	ConnectionsPerIP int           // open connections of one client address
	HeaderTime       time.Duration // from the first byte of a request to the end of its fields
	Idle             time.Duration // how long a connection may wait for its next request
	Requests         int           // in flight; beyond it what is not stored is refused
	MinRate          int64         // bytes per second of the slowest client; 0 = any
	Fields           int           // field lines in one request
	FieldBytes       int64         // bytes of all field lines of one request
	Target           int64         // bytes of the request target
	Body             int64         // bytes of a request's content; 0 = no limit
}

// Log says what is written where.
type Log struct {
	Access string     // "stdout", "off", or the path of a file that is reopened on SIGHUP
	Format LogFormat  // of the access log
	Level  slog.Level // the lowest level of the node's own messages
}

// Store says how much a node may keep, and where.
type Store struct {
	RAM   int64  // bytes, one budget for bodies and everything that is kept about them
	Disks []Disk // in the order of the file; nil = what is stored is in memory only
}

// Disk is one folder for what is stored. No two of a node are the same folder, and none is inside another.
type Disk struct {
	Path string // of the folder, clean; it need not be there yet, nor can it always be written to
	Size int64  // bytes that the folder may hold, at least 64 MiB
}

// Geo says from what a client's place is known.
type Geo struct {
	Databases []string // paths of MaxMind databases; each a file that can be read; nil = no place is known
}

// Site is one site file. Host names are canonical: lower case, ASCII (punycode), without a trailing dot.
type Site struct {
	File            string   // path of the site file; "" when made by Proxy
	Name            string   // canonical host, or "*": every host that no other site names
	Aliases         []string // canonical hosts that share the site's objects
	TLS             TLS
	Origin          Origin
	Cache           Cache
	Compress        Compress
	Headers         Headers
	RedirectToHTTPS Redirect
	Purge           Purge
}

// TLS says where a site's certificate comes from.
type TLS struct {
	Mode TLSMode
	Cert string // path of the PEM chain, with TLSFiles only
	Key  string // path of the PEM key, with TLSFiles only
}

// Origin says where a site's responses come from, and how they are asked for.
type Origin struct {
	Upstreams   []Upstream // at least one; exactly one in this version
	Host        HostMode   // the Host and SNI that an upstream is sent
	HostName    string     // canonical host, with HostName only
	Timeouts    Timeouts
	Connections int // per upstream; a bounded queue stands behind them
}

// Upstream is one server behind a site.
type Upstream struct {
	URL    string // scheme://authority, with a base path where one was given and no "/" at its end
	Weight int    // share of requests relative to the other upstreams
}

// Timeouts bounds the steps of one exchange with an upstream. Only Total may be zero, which means no bound.
type Timeouts struct {
	Connect time.Duration
	TLS     time.Duration // the handshake
	Header  time.Duration // from the request sent to the end of the response's fields
	Idle    time.Duration // between two reads of the content, and of an unused connection
	Total   time.Duration // the whole exchange
}

// Headers are fields changed on the way to the upstream and on the way back.
type Headers struct {
	Request  FieldRules
	Response FieldRules
}

// FieldRules removes fields first and sets others then.
type FieldRules struct {
	Set    []Field  // in the order of the file, each name once
	Remove []string // canonical field names
}

// Field is one field line. Name has the canonical form of net/http.
type Field struct{ Name, Value string }
