package config

// TLSMode says where a site's certificate comes from.
type TLSMode uint8

const (
	TLSAuto  TLSMode = iota // ACME where the node can, else self-signed
	TLSOff                  // the site is not served over TLS
	TLSFiles                // from TLS.Cert and TLS.Key
)

func (m TLSMode) String() string { return nameOf(m, "auto", "off", "files") }

// HostMode says which name an upstream is asked for, in Host and in SNI.
type HostMode uint8

const (
	HostUpstream HostMode = iota // the authority of the upstream's URL
	HostSite                     // the site's canonical host
	HostClient                   // the host that the client asked for
	HostName                     // Origin.HostName
)

func (m HostMode) String() string { return nameOf(m, "upstream", "site", "client", "name") }

// RequestDirectives says whether a client's own caching directives count.
type RequestDirectives uint8

const (
	DirectivesIgnore RequestDirectives = iota
	DirectivesHonour
)

func (d RequestDirectives) String() string { return nameOf(d, "ignore", "honour") }

// SetCookie says what becomes of a response that sets a cookie.
type SetCookie uint8

const (
	SetCookiePass  SetCookie = iota // it is passed on and not stored
	SetCookieStrip                  // it is stored and sent without the field
	SetCookieStore                  // it is stored as it is
)

func (s SetCookie) String() string { return nameOf(s, "pass", "strip", "store") }

// Encoding is a content coding that perigee makes.
type Encoding uint8

const (
	EncodingNone Encoding = iota // in no list
	EncodingBrotli
	EncodingZstd
	EncodingGzip
)

func (e Encoding) String() string { return nameOf(e, "none", "br", "zstd", "gzip") }

// Redirect says when a request in clear is sent to https.
type Redirect uint8

const (
	RedirectAuto   Redirect = iota // where the certificate came from ACME
	RedirectAlways                 // true
	RedirectNever                  // false
)

func (r Redirect) String() string { return nameOf(r, "auto", "true", "false") }

// LogFormat is the form of an access log line.
type LogFormat uint8

const (
	LogJSON LogFormat = iota
	LogCombined
)

func (f LogFormat) String() string { return nameOf(f, "json", "combined") }

// nameOf names v by its place among words, which are those of the YAML.
func nameOf[T ~uint8](v T, words ...string) string {
	if int(v) >= len(words) {
		return "unknown"
	}
	return words[v]
}

// pick is nameOf's inverse: the value whose word is s, zero (the safe case) for any other.
func pick[T ~uint8](s string, words ...string) T {
	for i, w := range words {
		if w == s {
			return T(i)
		}
	}
	return 0
}

// Scope is what a token may purge.
type Scope uint8

const (
	ScopeNone   Scope = iota // in no list
	ScopeURL                 // single URLs
	ScopePrefix              // paths and all below them
	ScopeTag                 // tags
	ScopeHost                // hosts of the site
	ScopeSite                // the whole site at once
	ScopeAll                 // each of the above
)

func (s Scope) String() string {
	return nameOf(s, "none", "url", "prefix", "tag", "host", "site", "all")
}
