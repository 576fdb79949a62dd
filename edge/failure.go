package edge

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"perigee/httpcache"
	"perigee/origin"
)

// failure is an answer that we give because there is no other.
type failure struct {
	status     int
	reason     string // for the log and Cache-Status
	text       string // for a person
	forward    httpcache.Forward
	retryAfter string // seconds, "" for none
	proxyError string // RFC 9209 §2.3; "" = what goes with the status
}

// proxyErrors are the error types (RFC 9209 §2.3) of the statuses that we make up.
var proxyErrors = map[int]string{
	http.StatusBadRequest:                  "http_request_error",
	http.StatusRequestTimeout:              "http_request_error",
	http.StatusRequestEntityTooLarge:       "http_request_error",
	http.StatusRequestURITooLong:           "http_request_error",
	http.StatusRequestHeaderFieldsTooLarge: "http_request_error",
	http.StatusMisdirectedRequest:          "destination_not_found",
	http.StatusInternalServerError:         "proxy_internal_error",
	http.StatusServiceUnavailable:          "connection_limit_reached",
}

// proxyStatus is what Proxy-Status says of a failure. The upstream is not named: who
// it is is none of a client's business.
func (f *failure) proxyStatus(name string) string {
	kind := f.proxyError
	if kind == "" {
		kind = proxyErrors[f.status]
	}
	if kind == "" {
		kind = "proxy_internal_response"
	}
	return string(httpcache.ProxyStatus{Error: kind}.Append(nil, name))
}

// internalFault answers for a panic.
var internalFault = failure{
	status: http.StatusInternalServerError, reason: "panic",
	text: "perigee met a fault of its own; the operator's log has it.",
}

// fail sends a failure. It is never stored by those behind us.
func (x *exchange) fail(f failure) {
	x.record.Cache, x.record.Reason = ResultError, f.reason
	x.clearHeader()
	h := x.w.Header()
	h[httpcache.CacheControlField] = noStore
	if f.retryAfter != "" {
		h["Retry-After"] = []string{f.retryAfter}
	}
	h[httpcache.ProxyStatusField] = []string{f.proxyStatus(x.h.name)}
	x.markResponse(h, ResultError, httpcache.CacheStatus{Fwd: f.forward, Detail: f.reason})
	switch f.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestTimeout:
		// What follows on this connection may not be what we think it is.
		h["Connection"] = closing
	}
	x.plainText(f.status, itoa(int64(f.status))+" "+http.StatusText(f.status)+"\n"+f.text+"\n")
}

var noStore = []string{"no-store"}

// upstreamFailed answers for an upstream that gave no response.
func (x *exchange) upstreamFailed(e *errand, trouble *origin.Error) {
	if x.ctx.Err() != nil || trouble.Kind == origin.ErrCanceled {
		x.clientLeft()
		return
	}
	x.record.UpstreamError, x.record.Upstream = trouble.Kind.String(), trouble.Upstream
	x.h.complaints.about(func(unsaid int64) {
		x.h.log.Warn("the upstream gave no response", "site", x.site.Name, "url", e.url(),
			"kind", trouble.Kind.String(), "error", trouble.Error(), "unsaid", unsaid)
	})
	f := failure{
		status: trouble.Status(), reason: trouble.Kind.String(), forward: e.forward, proxyError: trouble.Kind.String(),
		text: "The server behind this one gave no usable answer (" + trouble.Kind.String() + ").",
	}
	if f.status == http.StatusServiceUnavailable {
		f.retryAfter = "1"
	}
	x.fail(f)
}

// complaints keeps an upstream's trouble from filling the node's own log: the
// first ten are said, then one a second. The access log has them all.
type complaints struct {
	once   sync.Once
	some   rate.Sometimes
	unsaid atomic.Int64 // since the last one
}

func (c *complaints) about(say func(unsaid int64)) {
	c.once.Do(func() { c.some = rate.Sometimes{First: 10, Interval: time.Second} })
	c.unsaid.Add(1)
	c.some.Do(func() { say(c.unsaid.Swap(0) - 1) })
}
