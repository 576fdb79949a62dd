package testorigin

import (
	"net/http"
	"slices"
	"sync"
)

// The bounds of what is remembered. Beyond maxRecorded the oldest request is
// forgotten; beyond maxCounted further paths and URIs count in the total alone.
const (
	maxRecorded = 1024
	maxCounted  = 65536
)

// Received is a request as the origin got it.
type Received struct {
	Method     string
	URI        string // as sent
	Path       string
	Proto      string
	Host       string
	Header     http.Header
	Length     int64 // Content-Length, -1 if unknown
	RemoteAddr string
	TLS        bool
	SNI        string
}

// Origin is a scripted origin. Create it with [New] or [Start]; its methods may be
// called by many goroutines at once, while it serves.
type Origin struct {
	URL string // where it serves, set by Start and StartTLS

	mu          sync.Mutex // guards what follows
	scripts     map[string]Answer
	paths, uris map[string]int
	unmodified  map[string]int // 304 answers by path
	total       int
	total304    int
	now, most   int // requests in hand
	requests    []Received
	holds       map[string]*hold
}

// hold keeps the answers of one path back.
type hold struct {
	released chan struct{}
	waiting  int
}

// New makes an origin without scripts.
func New() *Origin {
	o := &Origin{}
	o.Reset()
	return o
}

// Reset forgets counters, records and scripts, and releases what is held.
func (o *Origin) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.holds {
		close(h.released)
	}
	o.scripts = make(map[string]Answer)
	o.paths = make(map[string]int)
	o.uris = make(map[string]int)
	o.unmodified = make(map[string]int)
	o.holds = make(map[string]*hold)
	o.total, o.total304, o.most = 0, 0, 0
	o.requests = nil
}

// Script makes path answer with a from now on; requests in hand keep what they had.
func (o *Origin) Script(path string, a Answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.scripts[path] = a
}

// Unscript gives path back to its query.
func (o *Origin) Unscript(path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.scripts, path)
}

// Hits is how often path was asked for, with any query and method.
func (o *Origin) Hits(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.paths[path]
}

// HitsURI is how often path and query were asked for exactly as given.
func (o *Origin) HitsURI(uri string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.uris[uri]
}

// NotModified is how often path was answered with 304.
func (o *Origin) NotModified(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unmodified[path]
}

// Total is how many requests came.
func (o *Origin) Total() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// Most is the largest number of requests that were in hand at once.
func (o *Origin) Most() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.most
}

// Requests is the last 1,024 requests, oldest first.
func (o *Origin) Requests() []Received {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.requests)
}

// Last is the last request for path; ok is false if none is remembered.
func (o *Origin) Last(path string) (r Received, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := len(o.requests) - 1; i >= 0; i-- {
		if o.requests[i].Path == path {
			return o.requests[i], true
		}
	}
	return Received{}, false
}

// Hold keeps back the answers for path until release is called; it may be called
// again. Holding a path that is held already joins that hold.
func (o *Origin) Hold(path string) (release func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.holds[path]
	if h == nil {
		h = &hold{released: make(chan struct{})}
		o.holds[path] = h
	}
	return func() { o.release(path, h) }
}

// release lets go what h holds; nil is whatever holds path.
func (o *Origin) release(path string, h *hold) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := o.holds[path]
	if at == nil || h != nil && h != at {
		return
	}
	delete(o.holds, path)
	close(at.released)
}

// Waiting is how many requests for path are held.
func (o *Origin) Waiting(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h := o.holds[path]; h != nil {
		return h.waiting
	}
	return 0
}

// enter counts and records the request and finds its script.
func (o *Origin) enter(r *http.Request) (a Answer, scripted bool) {
	got := received(r)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total++
	o.now++
	o.most = max(o.most, o.now)
	count(o.paths, got.Path)
	count(o.uris, got.URI)
	if len(o.requests) == maxRecorded {
		o.requests = o.requests[1:]
	}
	o.requests = append(o.requests, got)
	a, scripted = o.scripts[got.Path]
	return a, scripted
}

func (o *Origin) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now--
}

func count(m map[string]int, key string) {
	if _, has := m[key]; has || len(m) < maxCounted {
		m[key]++
	}
}

func (o *Origin) countNotModified(path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total304++
	count(o.unmodified, path)
}

// held waits while the path is held; false means that the client left first.
func (o *Origin) held(r *http.Request) bool {
	o.mu.Lock()
	h := o.holds[r.URL.Path]
	if h == nil {
		o.mu.Unlock()
		return true
	}
	h.waiting++
	o.mu.Unlock()

	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		h.waiting--
	}()
	select {
	case <-h.released:
		return true
	case <-r.Context().Done():
		return false
	}
}

func received(r *http.Request) Received {
	got := Received{
		Method:     r.Method,
		URI:        r.RequestURI,
		Path:       r.URL.Path,
		Proto:      r.Proto,
		Host:       r.Host,
		Header:     r.Header.Clone(),
		Length:     r.ContentLength,
		RemoteAddr: r.RemoteAddr,
		TLS:        r.TLS != nil,
	}
	if r.TLS != nil {
		got.SNI = r.TLS.ServerName
	}
	return got
}
