// Package need finds the programs that a test wants and that a machine may lack. A
// test that lacks one is skipped, so that the tests run with nothing but Go; under
// CI, which installs them all, it fails, so that no test is skipped for ever.
//
// It is imported by tests only. There is one function: [Command].
package need
