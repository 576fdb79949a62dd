package purge

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Scope is what a token allows to purge.
type Scope uint8

const (
	ScopeNone   Scope = iota
	ScopeURL          // single URLs, with or without regard to the query
	ScopePrefix       // paths and all below them
	ScopeTag          // tags
	ScopeHost         // hosts of the site
	ScopeSite         // the whole site at once
	ScopeAll          // each of the above
)

var scopeWords = [...]string{"none", "url", "prefix", "tag", "host", "site", "all"}

// String is the scope's word in the configuration, the answers and the log.
func (s Scope) String() string {
	if int(s) < len(scopeWords) {
		return scopeWords[s]
	}
	return scopeWords[ScopeNone]
}

// ParseScope reads a scope's word.
func ParseScope(word string) (Scope, error) {
	if i := slices.Index(scopeWords[1:], word); i >= 0 {
		return Scope(i + 1), nil
	}
	return ScopeNone, fmt.Errorf("scope %q is none of %s", word, strings.Join(scopeWords[1:], ", "))
}

const (
	// DefaultRate is how many items a token may purge in a second, where it does not
	// say.
	DefaultRate = 100
	// rateBurst is how many items a token may purge at once after a rest. The largest
	// order fits in it.
	rateBurst = MaxItems
	// maxSecretBytes is the longest token that is looked at.
	maxSecretBytes = 4 << 10
)

// Token is a permission to purge one site. Several tokens of a site are valid side
// by side, so that one can be replaced without a gap.
type Token struct {
	Name     string // the holder's name, as the history and the audit log show it
	Secret   string // what is sent; empty = the token is never valid
	Scopes   []Scope
	SoftOnly bool           // only soft purges
	Networks []netip.Prefix // where it may be used from; empty = everywhere
	Expires  time.Time      // when it ends; zero = never
	Rate     float64        // items a second; 0 = DefaultRate, negative = no limit
}

// credential is a token as the service keeps it: without the secret.
type credential struct {
	site     string
	name     string
	scopes   uint16 // bit 1<<Scope
	softOnly bool
	networks []netip.Prefix
	expires  time.Time
	bucket   *bucket // nil = no limit
}

func (c *credential) allows(scope Scope) bool {
	return c.scopes&(1<<scope|1<<ScopeAll) != 0
}

func (c *credential) expired(now time.Time) bool {
	return !c.expires.IsZero() && !now.Before(c.expires)
}

// from tells whether the token may be used from addr. An address that is unknown is
// in no network.
func (c *credential) from(addr netip.Addr) bool {
	if len(c.networks) == 0 {
		return true
	}
	addr = addr.Unmap().WithZone("")
	for _, network := range c.networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// digest is what a secret is known by.
type digest [sha256.Size]byte

// keyring finds what a secret opens. It is immutable. A secret is looked up by its
// digest under a key that nobody outside knows, so the time that takes tells nothing
// of the secrets that there are.
type keyring struct {
	salt     []byte
	byDigest map[digest][]*credential // one secret may open several sites
}

func (k *keyring) digest(secret string) (d digest) {
	mac := hmac.New(sha256.New, k.salt)
	mac.Write([]byte(secret))
	mac.Sum(d[:0])
	return d
}

// add puts the tokens of a site in. A token that was in old goes on with its bucket,
// so that a reload hands out nothing anew. It returns how many there are.
func (k *keyring) add(site string, tokens []Token, old *keyring) (added int) {
	for _, t := range tokens {
		if t.Secret == "" || len(t.Secret) > maxSecretBytes {
			continue
		}
		d := k.digest(t.Secret)
		c := &credential{
			site: site, name: t.Name, softOnly: t.SoftOnly,
			networks: slices.Clone(t.Networks), expires: t.Expires, bucket: newBucket(t.Rate, rateBurst),
		}
		for i, network := range c.networks {
			c.networks[i] = canonicalPrefix(network)
		}
		for _, scope := range t.Scopes {
			c.scopes |= 1 << scope
		}
		if old != nil {
			c.bucket.inherit(old.find(d, site, t.Name))
		}
		k.byDigest[d] = append(k.byDigest[d], c)
		added++
	}
	return added
}

// canonicalPrefix turns a network of IPv4 addresses in IPv6 form into one of IPv4,
// as the addresses that it is compared with are.
func canonicalPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
	}
	return p.Masked()
}

func (k *keyring) find(d digest, site, name string) *credential {
	for _, c := range k.byDigest[d] {
		if c.site == site && c.name == name {
			return c
		}
	}
	return nil
}

// open returns what a secret opens, nil for nothing.
func (k *keyring) open(secret string) []*credential {
	if secret == "" || len(secret) > maxSecretBytes {
		return nil
	}
	return k.byDigest[k.digest(secret)]
}
