// Package faultfs is a file system in memory for tests of what must survive a disk: any
// operation can fail, fall short, lie or hang, and a crash can be had at any moment, be
// it a killed process ([FS.Snapshot]) or a power cut ([FS.PowerCut]).
//
// It does not model permissions, links or the offsets of open files, and knows
// nothing of what is stored in it. The same calls in the same order do the same thing
// every time; what is random comes from the caller's generator.
//
// Start reading at [FS], then [Rule]. Pages that nobody wrote take no memory, so a
// preallocated file of 512 MiB costs nothing.
package faultfs
