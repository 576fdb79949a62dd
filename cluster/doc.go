// Package cluster will own which node of a PoP owns a key, who is alive, and how a
// peer is asked for what it has. To the rest of the house a peer is one more
// upstream behind origin.Fetcher.
//
// It will never decide what may be stored or served, and never pass a request on
// more than once. Nothing is built yet: a configuration that asks for it is refused
// with "not available in this version".
package cluster
