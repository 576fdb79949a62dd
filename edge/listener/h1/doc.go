// Package h1 is a byte-level reader of HTTP/1.1 that stands between an accepted
// connection and net/http's server. It owns what a request's framing may look like:
// a head reaches the server only when it has arrived whole and been found good, and
// the body is followed byte by byte, so it is always known where the next head
// begins. What is not understood is refused here, answered and its connection closed.
//
// It never changes a byte that it passes on (empty lines before a request line it
// drops), decides nothing about what a request
// means, and knows neither sites nor caches. HTTP/2 does not come through here, but
// is checked by the same rules of targets and hosts.
//
// Stricter than RFC 9112 asks, on purpose: repeated Content-Length even if equal, no
// whitespace in chunk extensions, no minor version but 0 and 1, no bare LF.
// HTTP/1.0 may lack a Host (RFC 9112 §3.2 asks it of 1.1 alone); what that means is
// for whoever answers to decide.
//
// Start reading at [Conn.Read]; head.go has the law of heads, chunked.go that of
// bodies. What is to look at a request before net/http does goes into (*Conn).accept,
// where the parsed [Head] is at hand.
package h1
