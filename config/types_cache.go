package config

import "time"

// Cache is a site's say in what is stored and for how long, beside what the responses themselves say.
type Cache struct {
	DefaultTTL           time.Duration         // where a storable response names no lifetime; 0 = only what the origin allows
	TTLByStatus          map[int]time.Duration // the same for single status codes; nil = none
	StaleWhileRevalidate time.Duration         // how long past its lifetime a response is served while it is refreshed; 0 = never
	StaleIfError         time.Duration         // how long past its lifetime a response may stand in for an error; 0 = never
	ServeStaleOn         StaleOn               // which errors those are
	RequestDirectives    RequestDirectives
	SetCookie            SetCookie
	DeceptionArmor       bool   // a response is not stored when its media type contradicts the ending of its path
	MaxObjectSize        int64  // bytes; larger bodies are passed on and not stored
	Key                  Key    // what tells two stored responses apart, beside scheme, host and path
	Rules                []Rule // in order: every rule that matches applies, and the later wins
}

// StaleOn says which trouble of the origin a stale response may stand in for. The zero value is none.
type StaleOn struct {
	Error     bool // it could not be reached, or broke off
	Timeout   bool // it did not answer in time
	Status5xx bool // it answered with such a status
}

// Key says what of a request is part of its cache key, beside scheme, host and path.
type Key struct {
	Query   Query
	Headers []string // canonical field names, each once
	Cookies []string // cookie names, each once
	Country bool     // of the client, by Node.Geo
	Device  bool     // the class of the client's device
}

// Query says which parameters of a query are part of the key. The zero value is the query as it came.
type Query struct {
	Include []string // globs of names: only these are part of it; nil = all
	Exclude []string // globs of names that are left out, of those that Include leaves
	Sort    bool     // the order of the parameters does not count
	Ignore  bool     // the query is no part of the key; the others are zero then
}

// Rule changes how some of a site's requests are cached. A nil pointer leaves what stands before it as it is.
type Rule struct {
	Words                string // the rule as the file says it, in one line of YAML; variables are not replaced in it
	Match                Match
	TTL                  *time.Duration // the lifetime, whatever the response says of it; it makes nothing storable
	StaleWhileRevalidate *time.Duration
	StaleIfError         *time.Duration
	SetCookie            *SetCookie
	DeceptionArmor       *bool
	Bypass               bool // the request is passed and its response not stored
	OverridePrivate      bool // "private" of the origin does not keep a response from being stored
	OverrideNoStore      bool // the same for "no-store"
	Live                 bool // a 404 or 410 is stored for 1 s at most; blocking playlist requests (_HLS_msn) share one fetch
	Key                  *KeyChange
	Request              FieldRules // on the way to the upstream, after those of the site
	Response             FieldRules // on the way to the client, after those of the site
}

// Match says which requests a rule applies to: each list that is not empty must hold something that fits; of Named items with
// values, each name must. At least one list is not empty. In globs "*" stands for any characters, "/" among them, and nothing else has a meaning.
type Match struct {
	Path        []string // globs of the normalised path, each beginning with "/" or "*"
	Host        []string // globs in lower case
	Method      []string // as it was sent; methods are case-sensitive (RFC 9110 §9.1)
	Header      []Named  // request fields; Name is canonical
	Cookie      []Named  // cookies of the request
	Query       []Named  // parameters of the query
	Status      []StatusRange
	ContentType []string // globs in lower case of the response's media type, without parameters
}

// OnResponse reports whether a response is needed to tell if m applies.
func (m Match) OnResponse() bool { return len(m.Status) > 0 || len(m.ContentType) > 0 }

// Named is one field, cookie or parameter that a request must have.
type Named struct {
	Name     string
	Value    string // glob that its value must fit; "" without HasValue
	HasValue bool   // false: it need only be there
}

// StatusRange is the status codes from First to Last, both included.
type StatusRange struct{ First, Last int }

// KeyChange is what a rule changes of the key. A block that it names takes the place of the site's; nil leaves that.
type KeyChange struct {
	Query   *Query
	Headers *[]string
	Cookies *[]string
	Country *bool
	Device  *bool
}

// Compress says which responses are compressed on their way to the client.
type Compress struct {
	Off       bool       // nothing is compressed
	Types     []string   // globs in lower case of media types; nil = none
	Min       int64      // bytes; smaller responses are left alone
	Encodings []Encoding // the most preferred first, each once; nil = none
}
