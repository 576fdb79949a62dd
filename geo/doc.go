// Package geo will own where a client is and which PoP serves it: the places that
// the geo databases and the network map name, the plan that turns a place and the
// health of PoPs into a choice, and the two faces of that choice, DNS and redirect.
//
// It will never speak to an origin, look into a cache or read a clock; it imports
// nothing of the house. Nothing is built yet: a configuration that asks for it is
// refused with "not available in this version".
package geo
