// Package disk is the disk tier of the store: the format of its segments, the index in
// memory, the instant at which a record becomes real, eviction and recovery.
//
// What is stored is appended to a log of segment files, two logs for each folder, by one
// goroutine, and found through an index of 24 bytes an object. Nothing is ever
// overwritten; room is made by removing whole segments, the oldest first, after what is
// asked for of them has been written again. docs/store.md has the format.
//
// It never hands out a byte that it has not checked in the memory that it hands out, and
// never fails a request: damage is a miss with a reason, and so is a disk that is full,
// slow or gone.
//
// Start reading at [Depot.Put], then writer.write, and at [Depot.Recall].
package disk
