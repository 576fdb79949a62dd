// Package memnet is a network in memory for tests: hosts with names and
// addresses, listeners, and connections that behave as TCP's do where HTTP and TLS
// can tell (bounded buffers, deadlines, half close, reset, refusal).
//
// It makes no system call and starts no goroutine. Whoever waits in it waits on a
// channel or a [sync.Cond], which testing/synctest counts as durably blocked: so a
// client, a server and an hour of their time fit in one bubble. It models neither
// loss nor latency; a test that wants delay asks its origin for it.
//
// Start reading at [Network].
package memnet
