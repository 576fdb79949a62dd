package edge

import (
	"net/netip"
	"time"

	"perigee/httpcache"
)

// Result is what the cache did for a request, in the words of X-Cache.
type Result uint8

// The results. The zero value is a request that never came so far as a cache
// decision: no such site, a refused target.
const (
	ResultNone        Result = iota
	ResultHit                // a fresh stored response
	ResultMiss               // the upstream was asked for the whole
	ResultStale              // a stored response past its lifetime
	ResultRevalidated        // a stored response that the upstream confirmed
	ResultBypass             // the cache was not asked: method, upgrade, uncacheable
	ResultError              // an answer made here because there was no other
	results
)

var resultNames = [results]string{"NONE", "HIT", "MISS", "STALE", "REVALIDATED", "BYPASS", "ERROR"}

// String is the result as X-Cache spells it; the access log and the metrics write
// it in lower case.
func (r Result) String() string {
	if r >= results {
		return "NONE"
	}
	return resultNames[r]
}

// Results lists every result, for those who count by it.
func Results() []Result {
	all := make([]Result, results)
	for i := range all {
		all[i] = Result(i)
	}
	return all
}

// Record is what is known of one request once its response has ended. The edge
// writes one for each request, errors included; nobody changes it afterwards.
type Record struct {
	Time      time.Time     // when the request reached the handler
	Duration  time.Duration // until the last byte was handed to the connection
	FirstByte time.Duration // until the response head was handed to the connection

	Site   string     // name of the site as configured, "" if none matched
	Client netip.Addr // the connection's peer, or whom a trusted proxy speaks for
	Method string
	Scheme string // http or https
	Host   string // canonical host asked for
	Path   string // as it was keyed
	Query  string // as it was keyed, without "?"
	Proto  string // HTTP/1.1, HTTP/2.0
	TLS    string // TLS 1.3, "" in clear

	Status    int
	BodyBytes int64 // bytes of response body handed to the connection
	Aborted   bool  // the response was cut: the client left, or the body could not be had whole

	Cache     Result
	Reason    string // name of the decision's reason, or of the refusal to store
	Encoding  string // the content coding that was made here, "" for none
	Tier      string // where the body came from: ram, fill, origin, "" for none
	Key       httpcache.Key
	Collapsed bool // waited for another request's fetch, or read from its fill
	Stored    bool // this request's fetch was stored

	Upstream       string        // URL of the upstream that was asked, "" if none was
	UpstreamStatus int           // its status, 0 if it gave none
	UpstreamTime   time.Duration // from asking it to its response head
	UpstreamError  string        // kind of trouble with it, "" for none

	UserAgent string
	Referer   string
	RequestID string
}

// Recorder takes the record of each request as its response ends. It is called
// by many goroutines at once, must not keep the record and must not block.
type Recorder interface {
	Record(r *Record)
}

// Recorders hands each record to all of several recorders, in order.
type Recorders []Recorder

// Record implements [Recorder].
func (rs Recorders) Record(r *Record) {
	for _, each := range rs {
		each.Record(r)
	}
}
