// Package admin is the operator's listener: is the node alive and ready, what does
// it do (metrics, statistics, profiles), and the few things that may be asked of it,
// such as a reload or a purge.
//
// It decides nothing and keeps nothing but its counters: what it shows comes from
// functions that it is given, and what it is asked for is done by others. It never
// reads a configuration or the clock, and it answers nobody whom [Options] does not
// let in: see access.go.
//
// Start reading at [New]; the table of what is answered is in routes.go, the metrics
// are in metrics.go (counted per request) and collector.go (read when asked).
package admin
