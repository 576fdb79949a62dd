package edge

import (
	"net/http"

	"perigee/httpcache"
)

const (
	// loopID is what every perigee is called in CDN-Loop (RFC 8586); a parameter tells
	// one process from another, so that edges may stand behind each other.
	loopID = "perigee"
	// maxLayers is how many perigees a request may have passed.
	maxLayers = 8
)

// loops refuses a request that has been here before, or has been through so many of
// our kind that it goes round somewhere.
func (x *exchange) loops() *failure {
	lines := x.r.Header[httpcache.CDNLoopField]
	if len(lines) == 0 {
		return nil
	}
	own, layers := httpcache.CDNLoop(lines, loopID, x.h.node)
	if own == 0 && layers < maxLayers {
		return nil
	}
	return &failure{
		status: http.StatusLoopDetected, reason: "loop", proxyError: "proxy_loop_detected",
		text: "This request has been here before. (Operator: the origin of a site leads back to perigee.)",
	}
}
