// Command perigee is a caching edge: it answers HTTP and TLS for its sites from
// memory where HTTP lets it, and asks their origins where it must.
//
// This package is the command line and the wiring: it alone reads the
// configuration and knows every other package. Start reading at [start] in node.go.
package main
