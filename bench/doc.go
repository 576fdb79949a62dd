// Package bench measures perigee: Go benchmarks of a request's whole way through
// edge, store and origin, and beside them scripts that run the built program with
// real input, real peers and bounded memory.
//
// It is no part of perigee; of it the tests of cmd/perigee import bench/crash/trial and nothing else does. Figures of two runs are not
// comparable, only ratios within one: docs/performance.md says how to read them.
// Start reading at edge_test.go; each folder with a script has a README.
package bench
