// Package testgeo makes small databases of places for tests, in the format and with
// the type of the published ones.
package testgeo
