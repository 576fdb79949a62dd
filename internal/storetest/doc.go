// Package storetest is what tests of the store and its tiers share: metadata of a
// response that may be stored, bodies that can be told apart, and reading to the end.
package storetest
