// Package purge owns what is no longer valid: the ledger that every stored response is
// judged by, its durable log, the tokens that allow a purge, and the API that takes one
// and hands back a receipt.
//
// It never removes a byte from a store, and never looks for what a purge covers: each
// response bears marks ([Ledger.Marks]) and the moment its fetch began ([Ledger.Now]),
// and is judged when it is met ([Ledger.Judge]). So a purge costs the same whatever it
// covers, and a fetch that began before it cannot bring anything back. Errors go one
// way: what is struck beside what was meant is fetched again, and nothing that was
// meant is missed.
//
// What is purged goes to a [Log] first and is acknowledged when that is durable; the
// ledger follows the log ([Ledger.Follow]). The log of a lone node is the [Journal], or
// [Memory] where nothing outlives the process.
//
// Start reading at [Entry], then [Ledger], then [Journal].
package purge
