package edge

import (
	"net/netip"
	"strings"
)

// believe finds out who the client is and how it came: by the connection, or by
// the word of a trusted proxy, and then by the word of the trusted proxies before
// it. What an untrusted client says of itself counts for nothing.
func (x *exchange) believe(sites *Sites) {
	peer := x.record.Client
	x.peer = peer
	if len(sites.trusted) == 0 || !sites.trusts(peer) {
		return
	}
	if x.chain = strings.Join(x.r.Header["X-Forwarded-For"], ", "); x.chain != "" {
		x.record.Client = clientOf(sites, peer, x.chain)
	}
	switch proto := lastMember(x.r.Header["X-Forwarded-Proto"]); proto {
	case "http", "https":
		x.record.Scheme = proto
	}
}

// forwardedFor is what the upstream is told of the way here.
func (x *exchange) forwardedFor() string {
	switch {
	case !x.peer.IsValid():
		return x.chain
	case x.chain == "":
		return x.peer.String()
	}
	return x.chain + ", " + x.peer.String()
}

// clientOf is the first address from the right of a chain that is not a trusted
// proxy's: what stands left of it was written by somebody who is not trusted.
func clientOf(sites *Sites, peer netip.Addr, chain string) netip.Addr {
	client := peer
	for chain != "" {
		i := strings.LastIndexByte(chain, ',')
		member := strings.TrimSpace(chain[i+1:])
		chain = chain[:max(i, 0)]
		if member == "" {
			continue // RFC 9110 §5.6.1.2
		}
		addr, ok := nodeAddr(member)
		if !ok {
			return client
		}
		if client = addr; !sites.trusts(client) {
			return client
		}
	}
	return client
}

// nodeAddr is the address in a member of X-Forwarded-For, which some proxies write
// with a port, or in brackets.
func nodeAddr(member string) (netip.Addr, bool) {
	if with, err := netip.ParseAddrPort(member); err == nil {
		return with.Addr().Unmap(), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(member, "["), "]"))
	return addr.Unmap(), err == nil
}

// lastMember is the last member of a list field, in lower case.
func lastMember(values []string) string {
	if len(values) == 0 {
		return ""
	}
	last := values[len(values)-1]
	return strings.ToLower(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]))
}
