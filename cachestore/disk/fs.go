package disk

import "io"

// FS is the door to the file system: everything that this package does to files goes
// through it. All methods may be called concurrently. Paths are as for package os.
type FS interface {
	// MakeFolder makes a folder, and those above it, where it is not there.
	MakeFolder(path string) error
	// List returns the names of the files in a folder, in no order; folders are left out.
	List(path string) ([]string, error)
	// UsedBytes is what all files in a folder and below take of the medium.
	UsedBytes(path string) (int64, error)
	// Create makes a new file of n bytes that are taken from the medium at once, as far
	// as the medium can promise that; an error if there is a file of that name.
	Create(path string, n int64) (File, error)
	// Open opens a file for reading, or for writing too.
	Open(path string, write bool) (File, error)
	// Rename puts a file in the place of another, at once.
	Rename(from, to string) error
	Remove(path string) error
	// SyncFolder makes the names in a folder outlive a power cut.
	SyncFolder(path string) error
	// Lock makes this process the only one that has the file open by Lock, which is made
	// if need be; [ErrLocked] if another one has it. Closing gives it free.
	Lock(path string) (io.Closer, error)
}

// File is an open file. ReadAt and WriteAt are as in package io.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(n int64) error
	Sync() error
}
