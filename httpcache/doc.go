// Package httpcache is the law of HTTP caching for a shared cache: what may be
// stored, for how long it is fresh, which stored response answers a request,
// and what a 304, a range or a precondition makes of it (RFC 9111, RFC 9110
// §8 and §12-15, RFC 5861, RFC 8586, RFC 9209, RFC 9211, RFC 9213, RFC
// 9530, RFC 9875, No-Vary-Search).
//
// Everything here is a pure function of its arguments. The package never reads
// a clock, starts a goroutine, does I/O or holds state: an instant is always an
// argument, and a site's policy comes in as Rules. It is the only place that
// knows the Cache-Control field.
//
// Start with Decide in decide.go, which says what to do with a request and a
// stored response, then NewStored in storing.go, which says what may be stored.
// Every answer has a name: Refusal (why not stored) and Reason (why so
// decided) are the words of the log, of Cache-Status and of the tests.
package httpcache
