// Package listener owns the way from a socket to a request: bound addresses,
// connection limits, TLS termination, the HTTP/1.1 and HTTP/2 engines, and the
// orderly end of all of them. It asks one thing of an edge, an [Answerer].
//
// It never looks into a request beyond what the protocol needs, knows no site,
// cache or configuration file, and imports nothing else of this module.
//
// Both engines are net/http's server. An accepted connection becomes a served one
// in a single place, (*engine).serve: that of HTTP/1.1 is read through package h1,
// which lets nothing by that is malformed; a request over HTTP/2 is judged by the
// same law in check.go. A PROXY protocol header would go before either.
//
// Start reading at [Open] and [Set.Serve], then door.go (accepting) and engine.go
// (serving and draining).
package listener
