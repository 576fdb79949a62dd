// Package geo owns where a client is: what the geo databases say of its address. It
// will own which PoP serves it too, and the two faces of that choice, DNS and
// redirect; those are not built yet, and a configuration that asks for them is
// refused with "not available in this version".
//
// It never speaks to an origin, looks into a cache or reads a clock, and imports
// nothing of the house. Start reading at [Countries].
package geo
