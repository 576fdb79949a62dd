package purge

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Caller is who asks, and for which sites that is enough.
type Caller struct {
	Name  string // of the token, or of the operator's door
	Admin bool   // may see and purge every site; no scopes apply
	held  []*credential
}

// Operator is a caller who may do everything; name is what the history shows.
func Operator(name string) Caller { return Caller{Name: name, Admin: true} }

// Sites are the sites that the caller's token is of; none for an operator, who has
// all.
func (c Caller) Sites() []string {
	var all []string
	for _, each := range c.held {
		if !slices.Contains(all, each.site) {
			all = append(all, each.site)
		}
	}
	return all
}

// Sees tells whether the caller may know of a site's purges.
func (c Caller) Sees(site string) bool {
	return c.Admin || slices.ContainsFunc(c.held, func(each *credential) bool { return each.site == site })
}

type contextKey uint8

const (
	callerKey contextKey = iota
	clientKey
)

// WithCaller says who asks. The operator's listener, which knows its own tokens, sets
// it before it hands a request to [Service.Admin].
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey, c)
}

// WithClient says where a request came from, for those who know better than its
// RemoteAddr: behind a trusted proxy.
func WithClient(ctx context.Context, addr netip.Addr) context.Context {
	return context.WithValue(ctx, clientKey, addr)
}

// clientOf is where a request came from; the zero Addr if unknown.
func clientOf(r *http.Request) netip.Addr {
	if addr, ok := r.Context().Value(clientKey).(netip.Addr); ok {
		return addr.Unmap()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.ParseAddr(host)
	return addr.Unmap()
}

// Fields in which a token comes, beside Authorization.
const (
	fastlyField     = "Fastly-Key"
	cloudflareField = "X-Auth-Key"
)

// presented returns the token that a request shows. also is a further field that may
// have it, and goes before Authorization.
func presented(h http.Header, also string) (secret string, refusal *Refusal) {
	name, lines := also, h[also]
	if len(lines) == 0 {
		name, lines = "Authorization", h["Authorization"]
	}
	switch {
	case len(lines) == 0:
		return "", refuse(http.StatusUnauthorized, "a token is required: Authorization: Bearer TOKEN")
	case len(lines) > 1:
		return "", refuse(http.StatusUnauthorized, "more than one %s field", name)
	case name == also:
		return strings.Trim(lines[0], " \t"), nil
	}
	scheme, secret, _ := strings.Cut(strings.Trim(lines[0], " \t"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", refuse(http.StatusUnauthorized, "the token comes as Authorization: Bearer TOKEN")
	}
	return strings.Trim(secret, " \t"), nil
}

// Authenticate tells whose token a request shows. It is for listeners with tokens of
// their own: what they do not know may be a site's. The error is a *Refusal; what the
// caller may do is not judged yet.
func (s *Service) Authenticate(r *http.Request) (Caller, error) {
	caller, refusal := s.authenticate(r, "")
	if refusal != nil {
		return Caller{}, refusal
	}
	return caller, nil
}

func (s *Service) authenticate(r *http.Request, also string) (Caller, *Refusal) {
	now, from := s.options.Now(), clientOf(r)
	secret, refusal := presented(r.Header, also)
	if refusal != nil {
		return Caller{}, refusal
	}
	held := s.current.Load().keys.open(secret)
	if len(held) == 0 {
		refusal := refuse(http.StatusUnauthorized, "the token is not valid")
		s.audit.refused(now, from, Caller{}, "", refusal)
		return Caller{}, refusal
	}
	caller := Caller{Name: held[0].name}
	for _, each := range held {
		if refusal = each.usable(from, now); refusal == nil {
			caller.held = append(caller.held, each)
		}
	}
	if len(caller.held) > 0 {
		caller.Name = caller.held[0].name
		return caller, nil
	}
	s.audit.refused(now, from, caller, held[0].site, refusal)
	return Caller{}, refusal
}

// usable tells whether a token may be used now, from there.
func (c *credential) usable(from netip.Addr, now time.Time) *Refusal {
	switch {
	case c.expired(now):
		return refuse(http.StatusForbidden, "the token has expired")
	case !c.from(from):
		return refuse(http.StatusForbidden, "the token may not be used from this address")
	}
	return nil
}

// pick returns the token that allows the caller to make an order for a site; nil for
// an operator, who needs none.
func (c Caller) pick(site string, o *Order) (*credential, *Refusal) {
	if c.Admin {
		return nil, nil
	}
	refusal := refuse(http.StatusForbidden, "the token is not of this site")
	for _, each := range c.held {
		if each.site != site {
			continue
		}
		if refusal = each.covers(o); refusal == nil {
			return each, nil
		}
	}
	return nil, refusal
}

// take takes so many items from the rate of the token; a nil one has no bound.
func (c *credential) take(items int, now time.Time) *Refusal {
	if c == nil {
		return nil
	}
	wait, ok := c.bucket.take(items, now)
	if ok {
		return nil
	}
	refusal := refuse(http.StatusTooManyRequests, "the token's rate is used up; nothing was purged")
	refusal.RetryAfter = wait
	return refusal
}

// covers tells whether the token has the scopes that an order needs.
func (c *credential) covers(order *Order) *Refusal {
	for _, need := range order.needs() {
		if !c.allows(need) {
			return refuse(http.StatusForbidden, "the token lacks the scope %s", need)
		}
	}
	if c.softOnly && !order.Soft {
		return refuse(http.StatusForbidden, "the token allows soft purges only")
	}
	return nil
}
