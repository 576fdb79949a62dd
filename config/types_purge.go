package config

import (
	"net/netip"
	"time"
)

// API is the public door of the purge API. The zero value is none.
type API struct {
	Hosts []string // canonical hosts, none of them a site's; nil = the operator's listener alone takes API requests
	TLS   TLS      // where their certificate comes from; never TLSOff
}

// Purge says who may purge a site, and by what names.
type Purge struct {
	IDs    []string     // names of the site in the purge API beside its own, no other site's name or id; nil = none
	Tokens []PurgeToken // in the order of the file; nil = no one but the operator purges the site
}

// PurgeToken is a permission to purge one site. Several may bear one name, so that a secret can be replaced without a gap.
type PurgeToken struct {
	Name       string         // the holder's name, as the history and the audit log show it
	Secret     string         // 16 to 4096 bytes of printable ASCII without spaces, no other token's and not the operator's
	SecretFile string         // path of the file that Secret was read from; "" = it came from the environment
	Scopes     []Scope        // each once; at least one
	SoftOnly   bool           // it may mark stale and not remove
	Networks   []netip.Prefix // where it may be used from; nil = everywhere
	Expires    time.Time      // when it ends, in UTC; zero = never
	Rate       float64        // items it may purge a second; above 0
}
