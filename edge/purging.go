package edge

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

// methodPurge is the method by which a site's own URLs are purged.
const methodPurge = "PURGE"

// Purger takes what is ordered over the sites' own listeners.
type Purger interface {
	// Public answers requests to the hosts of the purge API.
	Public() http.Handler
	// Method answers a PURGE of a URL of a site, whose parts are normalised.
	Method(w http.ResponseWriter, r *http.Request, site, host, path, query string)
}

// Target gives the host, path and query under which the response to a GET of a URL is
// stored: a purge of the URL strikes that. It implements purge.Names.
func (h *Handler) Target(site, scheme, host, path, query string) (host2, path2, query2 string, err error) {
	n, err := h.nameOf(site, scheme, host, path, query)
	return n.target.Host, n.target.Path, n.target.Query, err
}

// Forms gives every form of a URL's query under which its response may be stored, and
// every class of URLs that No-Vary-Search makes equal to it. It implements
// purge.Forms.
func (h *Handler) Forms(name, scheme, host, path, query string) (queries, classes []string) {
	site := h.sites.Load().named(name)
	path, fine := httpcache.NormalPath(path)
	query, good := httpcache.NormalQuery(query)
	if site == nil || !fine || !good {
		return nil, nil
	}
	if host == CatchAll {
		classes = append(classes, anyHostClass(path))
	}
	for _, rule := range append([]*httpcache.QueryRule{nil}, site.policies.queries...) {
		for _, scheme := range [...]string{"http", "https"} {
			var n naming
			n.set(h, httpcache.Target{Scheme: scheme, Host: site.keyHost(host), Path: path, Query: query}, rule)
			if !slices.Contains(queries, n.target.Query) {
				queries = append(queries, n.target.Query)
			}
			class := n.classText
			if class == "" {
				// Nobody knows of one by now; what is on its way may teach it: see learn.
				class = touchedText(n.target)
			}
			if !slices.Contains(classes, class) {
				classes = append(classes, class)
			}
		}
	}
	return queries, classes
}

// anyHostClass names, for the site of all hosts, what No-Vary-Search makes equal at a
// path on any of them.
func anyHostClass(path string) string { return "any host " + path }

// nameOf is the names of a URL as a GET without any fields has them.
func (h *Handler) nameOf(name, scheme, host, path, query string) (n naming, err error) {
	site := h.sites.Load().named(name)
	if site == nil {
		return n, errors.New("no such site")
	}
	path, ok := httpcache.NormalPath(path)
	if !ok {
		return n, errors.New("the path is malformed")
	}
	if query, ok = httpcache.NormalQuery(query); !ok {
		return n, errors.New("the query is malformed")
	}
	get := &http.Request{Method: http.MethodGet, URL: &url.URL{RawQuery: query}, Header: http.Header{}}
	policy, _ := site.policies.forRequest(&asking{path: path, host: host, r: get})
	n.set(h, httpcache.Target{Scheme: scheme, Host: site.keyHost(host), Path: path, Query: query}, &policy.key.Query)
	return n, nil
}

// Count counts the stored responses of a site that bear one of the marks, until stop;
// atLeast says that it ended before all were looked at, or that what a disk kept has yet
// to be found. It implements purge.Count.
func (h *Handler) Count(site string, marks []cachestore.Mark, stop time.Time) (n int, atLeast bool) {
	const lookEvery = 256
	_, found := h.store.Oldest()
	seen, wanted := 0, make(map[cachestore.Mark]bool, len(marks))
	for _, m := range marks {
		wanted[m] = true
	}
	for o := range h.store.All() {
		if seen++; seen%lookEvery == 0 && clock().After(stop) {
			return n, true
		}
		if o.Label().Site == site && slices.ContainsFunc(o.Marks(), func(m cachestore.Mark) bool { return wanted[m] }) &&
			h.verdict(o) != cachestore.Gone {
			n++
		}
	}
	return n, !found
}

// orderPurge hands a PURGE over.
func (x *exchange) orderPurge() {
	x.record.Reason = "purge"
	if x.site.RedirectToHTTPS && x.target.Scheme == "http" {
		x.fail(failure{status: http.StatusMisdirectedRequest, reason: "not-in-clear", text: "This site takes PURGE over TLS only: it carries a secret."})
		return
	}
	x.hand(func(w http.ResponseWriter, r *http.Request) {
		x.h.purger.Method(w, r, x.site.Name, x.host, x.target.Path, x.query)
	})
}

// answerAPI hands a request to a host of the purge API over. It takes requests over
// TLS only: they carry secrets.
func (x *exchange) answerAPI() {
	x.record.Path, x.record.Reason = x.r.URL.Path, "purge-api"
	if x.r.TLS == nil {
		x.fail(failure{status: http.StatusMisdirectedRequest, reason: "not-in-clear", text: "The purge API is served over TLS only."})
		return
	}
	x.hand(x.h.purger.Public().ServeHTTP)
}

// orderTime is how long a client may take to send an order.
const orderTime = 30 * time.Second

// hand has another package answer, which sees the client that we believe in.
func (x *exchange) hand(to http.HandlerFunc) {
	if w, ok := x.w.(deadliner); ok {
		_ = w.SetReadDeadline(clock().Add(orderTime))
		defer func() { _ = w.SetReadDeadline(time.Time{}) }()
	}
	r := *x.r
	if x.record.Client.IsValid() {
		r.RemoteAddr = netip.AddrPortFrom(x.record.Client, 0).String()
	}
	x.w.Header()[httpcache.CacheControlField] = noStore
	to(&noting{ResponseWriter: x.w, x: x}, &r)
}

// noting is a response that another package writes; the record notes its status and
// length.
type noting struct {
	http.ResponseWriter
	x *exchange
}

// WriteHeader implements [http.ResponseWriter].
func (w *noting) WriteHeader(status int) {
	if !w.x.headSent && status >= http.StatusOK {
		w.x.sent(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *noting) Write(p []byte) (int, error) {
	if !w.x.headSent {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.x.record.BodyBytes += int64(n)
	return n, err
}
