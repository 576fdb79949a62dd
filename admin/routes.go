package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
)

// route is one thing the server answers. A path that ends in "/" stands for all
// below it.
type route struct {
	method string
	path   string
	open   bool // needs no token, wherever the listener stands
	serve  http.HandlerFunc
	purges bool // a site's purge token opens it too
}

// table lists what this server answers.
func (s *Server) table() []route {
	routes := []route{
		{method: http.MethodGet, path: "/healthz", open: true, serve: s.health},
		{method: http.MethodGet, path: "/readyz", open: true, serve: s.ready},
		{method: http.MethodGet, path: "/metrics", serve: s.metrics.handler().ServeHTTP},
		{method: http.MethodGet, path: "/v1/stats", serve: s.stats},
		{method: http.MethodPost, path: "/v1/cache/verify", serve: s.verify},
		{method: http.MethodGet, path: "/debug/pprof", serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/debug/pprof/", http.StatusMovedPermanently)
		}},
		{method: http.MethodGet, path: "/debug/pprof/cmdline", serve: pprof.Cmdline},
		{method: http.MethodGet, path: "/debug/pprof/profile", serve: pprof.Profile},
		{method: http.MethodGet, path: "/debug/pprof/symbol", serve: pprof.Symbol},
		{method: http.MethodPost, path: "/debug/pprof/symbol", serve: pprof.Symbol},
		{method: http.MethodGet, path: "/debug/pprof/trace", serve: pprof.Trace},
		{method: http.MethodGet, path: "/debug/pprof/", serve: pprof.Index},
	}
	if s.options.Explain != nil {
		routes = append(routes, route{method: http.MethodGet, path: "/v1/explain", serve: s.explain})
	}
	if s.options.Reload != nil {
		routes = append(routes, route{method: http.MethodPost, path: "/v1/reload", serve: s.reload})
	}
	if s.options.Purges != nil {
		routes = append(routes, s.purgeRoutes()...)
	}
	return routes
}

// find returns the routes of a path, one for each method.
func (s *Server) find(path string) []route {
	var exact, below []route
	for _, each := range s.routes {
		switch {
		case each.path == path:
			exact = append(exact, each)
		case strings.HasSuffix(each.path, "/") && strings.HasPrefix(path, each.path):
			below = append(below, each)
		}
	}
	if exact != nil {
		return exact
	}
	return below
}

// answer is the way of every request: who asks, what for, then the answer.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	found := s.find(r.URL.Path)
	r, no := s.admit(w, r, found)
	if no.status != 0 {
		if no.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		writeJSON(w, no.status, problem{Error: no.reason})
		return
	}
	if len(found) == 0 {
		writeJSON(w, http.StatusNotFound, problem{Error: "no such path", Paths: s.paths()})
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, each := range found {
		if each.method == method {
			each.serve(w, r)
			return
		}
	}
	allow := methods(found)
	w.Header().Set("Allow", allow)
	writeJSON(w, http.StatusMethodNotAllowed, problem{Error: fmt.Sprintf("%s takes %s", r.URL.Path, allow)})
}

// admit bounds a request's body and judges who asks. It returns the request to go on
// with.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, found []route) (*http.Request, denial) {
	if len(found) > 0 && found[0].purges {
		r.Body = http.MaxBytesReader(w, r.Body, maxOrderBytes)
		return s.checkPurge(r)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
	return r, s.gate.check(r, len(found) > 0 && found[0].open)
}

// methods lists the methods of a path as the Allow field does (RFC 9110 §10.2.1).
func methods(found []route) string {
	var names []string
	for _, each := range found {
		names = append(names, each.method)
		if each.method == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	return strings.Join(names, ", ")
}

func (s *Server) paths() []string {
	var all []string
	for _, each := range s.routes {
		all = append(all, each.method+" "+each.path)
	}
	slices.Sort(all)
	return all
}

// problem is the JSON of an answer that is an error.
type problem struct {
	Error string   `json:"error"`
	Paths []string `json:"paths,omitempty"`
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // people read it too, and no browser takes it for a page
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body.Bytes()) // the client has gone: nobody is left to tell
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text + "\n"))
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "ok")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.options.Ready != nil {
		if err := s.options.Ready(); err != nil {
			writeText(w, http.StatusServiceUnavailable, err.Error())
			return
		}
	}
	writeText(w, http.StatusOK, "ready")
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	result, err := s.Reload(r.Context())
	status := http.StatusOK
	switch {
	case errors.Is(err, ErrReloading):
		status = http.StatusConflict
		result.Message = err.Error()
	case err != nil:
		status = http.StatusInternalServerError
		result.Message = err.Error()
	case !result.OK:
		status = http.StatusUnprocessableEntity
	}
	// A list is a list in JSON, also an empty one.
	result.Changed = append([]string{}, result.Changed...)
	result.Errors = append([]string{}, result.Errors...)
	writeJSON(w, status, result)
}
