// Package house tests the house like code: who may import whom, who may read the
// clock, how long a function may be, and that what the documentation shows can be
// loaded. A rule that only stands in a document is broken within a month.
//
// It has nothing but tests and is imported by nobody. Start reading at rules_test.go,
// the list of rules, each with its reason and with samples that break it; the lists of
// what is allowed where stand in allowed_test.go.
package house
