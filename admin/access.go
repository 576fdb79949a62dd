package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// gate decides who may ask. Three kinds of strangers are kept out: other machines
// (by the token), web pages that name this address in a form or a script (cross-site
// requests), and web pages whose own name was made to resolve to this address (DNS
// rebinding, told by the Host field). What the purge service answers is open to some
// more: see [Server.checkPurge].
type gate struct {
	host     string             // the admin address's own host, lower case, "" for all interfaces
	loopback bool               // only this machine reaches the address
	token    *[sha256.Size]byte // digest of the token, nil = there is none
	cross    *http.CrossOriginProtection
}

func newGate(address, token string) (gate, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return gate{}, fmt.Errorf("admin: address %q: %w", address, err)
	}
	g := gate{host: strings.ToLower(host), cross: http.NewCrossOriginProtection()}
	g.loopback = loopbackHost(g.host)
	if token != "" {
		digest := sha256.Sum256([]byte(token))
		g.token = &digest
	}
	if !g.loopback && g.token == nil {
		return gate{}, fmt.Errorf("admin: address %q is not on loopback, which needs a token (listen.admin_token_file)", address)
	}
	return g, nil
}

func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// denial is why a request is not answered; status 0 = it may pass.
type denial struct {
	status int
	reason string
}

// check judges a request. open says that what it asks for needs no token.
func (g *gate) check(r *http.Request, open bool) denial {
	known, sent := g.bearer(r)
	switch {
	case sent && !known && !open:
		return denial{http.StatusUnauthorized, "the token is not valid"}
	case !known && !g.hosts(r.Host):
		return denial{
			http.StatusMisdirectedRequest,
			fmt.Sprintf("host %q is not a name of the admin listener: address it by IP, as localhost or by its configured name", r.Host),
		}
	case !known && !open && !g.loopback:
		return denial{http.StatusUnauthorized, "a token is required: Authorization: Bearer TOKEN"}
	}
	if g.crossSite(r) {
		return denyCrossSite()
	}
	return denial{}
}

// crossSite reports whether a web page of another site had the request sent.
func (g *gate) crossSite(r *http.Request) bool { return g.cross.Check(r) != nil }

func denyCrossSite() denial {
	return denial{http.StatusForbidden, "requests from web pages of other sites are refused"}
}

// bearer reports whether the request shows a token, and whether that is the one.
func (g *gate) bearer(r *http.Request) (known, sent bool) {
	fields := r.Header.Values("Authorization")
	if len(fields) == 0 {
		return false, false
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	if len(fields) > 1 || !strings.EqualFold(scheme, "Bearer") || g.token == nil {
		return false, true
	}
	// Digests have one length, so that the comparison tells nothing of the token's.
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(digest[:], g.token[:]) == 1, true
}

// hosts reports whether a Host field names this listener in a way that no web page
// can have brought about. Browsers always send one, so an empty one passes.
func (g *gate) hosts(field string) bool {
	host := field
	if h, _, err := net.SplitHostPort(field); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if host == "" || host == "localhost" || host == g.host {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
