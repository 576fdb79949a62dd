// Package origin gets a response from a site's upstreams, and gets it once for
// many.
//
// A [Pool] is the [Fetcher] of one site: connections, limits, time-outs, names and
// the words for what went wrong ([Error]). [Flights] lets the first of many callers
// fetch and the others wait. The package never decides whether a response may be
// stored or reused, keeps no bodies, and follows no redirect.
//
// Start reading at [Pool.Fetch] in fetch.go, the only file that looks at the clock.
package origin
