package admin

import (
	"errors"
	"net/http"

	"perigee/purge"
)

// maxOrderBytes is the longest body of a purge order; the service has the same bound.
const maxOrderBytes = 1 << 20

// operatorName is what the history of purges shows for whoever may do everything.
const operatorName = "operator"

// purgeRoutes are what the purge service answers. Its own table says which paths
// there are below these, and which of them take what.
func (s *Server) purgeRoutes() []route {
	answer := s.options.Purges.Admin().ServeHTTP
	return []route{
		{method: http.MethodPost, path: "/v1/sites/", serve: answer, purges: true},
		{method: http.MethodGet, path: "/v1/purges", serve: answer, purges: true},
		{method: http.MethodGet, path: "/v1/purges/", serve: answer, purges: true},
	}
}

// checkPurge judges a request for a purge route, where a token that is not the
// admin's may be a site's: then the request goes on in the name of that token, and
// the service holds it to its site and scopes. Whoever shows no token is judged as
// everywhere. It returns the request to go on with.
func (s *Server) checkPurge(r *http.Request) (*http.Request, denial) {
	caller := purge.Operator(operatorName)
	if known, sent := s.gate.bearer(r); sent && !known {
		shown, err := s.options.Purges.Authenticate(r)
		if err != nil {
			return r, denyPurge(err)
		}
		caller = shown
		if s.gate.crossSite(r) {
			return r, denyCrossSite()
		}
	} else if no := s.gate.check(r, false); no.status != 0 {
		return r, no
	}
	return r.WithContext(purge.WithCaller(r.Context(), caller)), denial{}
}

// denyPurge turns the service's refusal of a token into one of ours.
func denyPurge(err error) denial {
	var refusal *purge.Refusal
	if errors.As(err, &refusal) {
		return denial{refusal.Status, refusal.Reason}
	}
	return denial{http.StatusUnauthorized, err.Error()}
}
