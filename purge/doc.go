// Package purge will own what is no longer valid: the ledger that every stored
// response is checked against, its durable log, the tokens that allow a purge, and
// the API that takes one and hands back a receipt.
//
// It will never remove a byte from a store: it gives a verdict, and the store acts
// on it. Nothing is built yet: a configuration that asks for it is refused with
// "not available in this version".
package purge
