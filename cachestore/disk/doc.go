// Package disk will own the disk tier of the store: the format of its segments, the
// index in memory, the instant at which a record becomes real, eviction and
// recovery.
//
// It will never hand out a byte that it has not checked, and never fail a request:
// damage is a miss with a reason. Nothing is built yet: a configuration that asks
// for it is refused with "not available in this version".
package disk
