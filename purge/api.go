package purge

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// dialect is whose API a request speaks: it decides where the token stands and how
// answers look.
type dialect struct {
	tokenField string // where a token may stand beside Authorization
	refuse     func(*call, *Refusal)
}

// route is one thing that the API answers. In its pattern {name} stands for a segment,
// {name...} for all that is left.
type route struct {
	pattern string
	methods []string
	dialect dialect
	serve   func(*Service, *call)
}

// nativeRoutes are those of this API itself, on the operator's listener and in public.
func nativeRoutes() []route {
	native := dialect{refuse: refuseNative}
	reading := []string{http.MethodGet, http.MethodHead}
	return []route{
		{"/v1/sites/{site}/purge", []string{http.MethodPost}, native, (*Service).nativePurge},
		{"/v1/purges", reading, native, (*Service).nativeHistory},
		{"/v1/purges/{id}", reading, native, (*Service).nativeStatus},
	}
}

// publicRoutes are all that the public door answers.
func publicRoutes() []route {
	fastly := dialect{tokenField: fastlyField, refuse: refuseFastly}
	cloudflare := dialect{tokenField: cloudflareField, refuse: refuseCloudflare}
	post := []string{http.MethodPost}
	// Older clients of the two speak these methods.
	postPut, postDelete := []string{http.MethodPost, http.MethodPut}, []string{http.MethodPost, http.MethodDelete}
	return append(
		nativeRoutes(),
		route{"/service/{id}/purge", post, fastly, (*Service).fastlyKeys},
		route{"/service/{id}/purge_all", postPut, fastly, (*Service).fastlyAll},
		route{"/service/{id}/purge/{key...}", post, fastly, (*Service).fastlyKey},
		route{"/purge/{url...}", post, fastly, (*Service).fastlyURL},
		route{"/zones/{id}/purge_cache", postDelete, cloudflare, (*Service).cloudflarePurge},
		route{"/client/v4/zones/{id}/purge_cache", postDelete, cloudflare, (*Service).cloudflarePurge},
	)
}

// call is a request on its way through the API.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	state  *snapshot
	route  *route
	args   []string // what the pattern's variables stand for
	caller Caller
}

// Admin returns the handler for /v1/sites/{site}/purge, /v1/purges and below on the
// operator's listener. Who asks is what [WithCaller] says; without it the request must
// show a site's token.
func (s *Service) Admin() http.Handler {
	routes := nativeRoutes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, known := r.Context().Value(callerKey).(Caller)
		if !known {
			s.answer(w, r, routes, nil)
			return
		}
		s.answer(w, r, routes, &caller)
	})
}

// Public returns the handler for the hosts of the public API. As long as no site has
// a token there is nothing at any path.
func (s *Service) Public() http.Handler {
	routes := publicRoutes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(s.current.Load().keys.byDigest) == 0 {
			s.answer(w, r, nil, nil)
			return
		}
		s.answer(w, r, routes, nil)
	})
}

// answer is the way of every request: what for, who, then the answer. A nil caller is
// still to show a token.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, routes []route, caller *Caller) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	c := &call{w: w, r: r, state: s.current.Load()}
	path := sentPath(r)
	for i := range routes {
		if args, ok := routes[i].match(path); ok {
			c.route, c.args = &routes[i], args
			break
		}
	}
	if c.route == nil {
		refuseNative(c, refuse(http.StatusNotFound, "no such path"))
		return
	}
	if !slices.Contains(c.route.methods, r.Method) {
		header.Set("Allow", strings.Join(c.route.methods, ", "))
		c.refuse(refuse(http.StatusMethodNotAllowed, "this takes %s", strings.Join(c.route.methods, ", ")))
		return
	}
	if caller == nil {
		shown, refusal := s.authenticate(r, c.route.dialect.tokenField)
		if refusal != nil {
			c.refuse(refusal)
			return
		}
		caller = &shown
	}
	c.caller = *caller
	c.route.serve(s, c)
}

// sentPath is the path of a request as the client spelled it, escaped or not: one that
// was spelled anew after decoding could name another URL than a request for it does.
func sentPath(r *http.Request) string {
	if r.RequestURI == "" { // no server has read it
		return r.URL.EscapedPath()
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if strings.HasPrefix(path, "/") {
		return path
	}
	_, path, _ = strings.Cut(path, "://") // the absolute form (RFC 9112 §3.2.2)
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[i:]
	}
	return "/"
}

// match tells whether a path, as it was sent, fits the pattern, and what its variables stand
// for, in order: a segment decoded, all that is left as it was sent. What cannot be
// decoded fits nothing.
func (t *route) match(path string) (args []string, ok bool) {
	pattern := t.pattern
	for {
		before, after, variable := strings.Cut(pattern, "{")
		rest, ok := strings.CutPrefix(path, before)
		if !ok {
			return nil, false
		}
		if !variable {
			return args, rest == ""
		}
		name, next, _ := strings.Cut(after, "}")
		if strings.HasSuffix(name, "...") {
			return append(args, rest), rest != ""
		}
		end := strings.IndexByte(rest, '/')
		if end < 0 {
			end = len(rest)
		}
		arg, err := url.PathUnescape(rest[:end])
		if err != nil || arg == "" {
			return nil, false
		}
		args, path, pattern = append(args, arg), rest[end:], next
	}
}

// refuse answers with a refusal in the words of the caller's API.
func (c *call) refuse(refusal *Refusal) {
	header := c.w.Header()
	if refusal.Status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", "Bearer")
	}
	if refusal.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(refusal.RetryAfter.Seconds()))))
	}
	c.route.dialect.refuse(c, refusal)
}

// order begins an order of the caller.
func (c *call) order(site string) Order {
	return Order{Site: site, Who: c.caller.Name, From: addrText(clientOf(c.r)), Key: idempotencyKey(c.r.Header)}
}

// idempotencyKey reads the field of that name; quotes around it do not count.
func idempotencyKey(h http.Header) string {
	key := strings.Trim(h.Get("Idempotency-Key"), " \t")
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	return key
}

// reply answers with JSON. What is answered concerns one moment and one caller: nobody
// stores it.
func (c *call) reply(status int, answer any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // no browser takes it for a page
	if err := encoder.Encode(answer); err != nil {
		status = http.StatusInternalServerError
		body.Reset()
		body.WriteString(`{"error":"the answer could not be written"}` + "\n")
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		c.w.Write(body.Bytes()) // the client has gone: nobody is left to tell
	}
}
