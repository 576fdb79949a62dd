package purge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
)

// ID names one [Log.Append]. Whoever repeats an append repeats its ID.
type ID [16]byte

// NewID returns an ID that nobody else has.
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// ParseID reads what [ID.String] writes.
func ParseID(text string) (id ID, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(id) {
		return ID{}, fmt.Errorf("%.50q is no id of a purge", text)
	}
	return ID(raw), nil
}

// String is 32 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Errors of a [Log]. Nothing was acknowledged where one is returned, and the same
// append, with the same ID, may be tried again.
var (
	ErrBusy   = errors.New("purge log busy")
	ErrClosed = errors.New("purge log closed")
	ErrTooBig = errors.New("purge too big")
	// ErrLocked is that of another process, or another journal, in the same folder.
	ErrLocked = errors.New("purge log in use by another process")
)

// MaxBatch is how many entries one append may bring.
const MaxBatch = 1000

// numberBits: the first number of a log is the Unix time in milliseconds shifted by
// them, so that a log that was wiped begins above all that it ever gave.
const numberBits = 20

// Log is the ordered, durable row of all purges. Its methods may be called
// concurrently. Numbers rise, though not always by one: what does not count any more
// is left out.
type Log interface {
	// Append adds entries, all or none, and returns the number of the last when they
	// are as durable as the log makes them. Their Seq and ID are the log's to give,
	// their At as well where it is zero. An ID that the log still remembers adds
	// nothing and gives the same answer again. If ctx ends first the outcome is
	// unknown: ask again with the same ID.
	Append(ctx context.Context, id ID, entries []Entry) (last int64, err error)
	// Follow calls fn for each durable entry whose number is from or above it, in
	// order, and then for those that come, until ctx ends, fn fails or the log cannot
	// be read; it returns that error. 0 = from the beginning.
	Follow(ctx context.Context, from int64, fn func(Entry) error) error
	// State returns the numbers of the first and the last entry; first is above last
	// where there is none, and last is then below all that will come.
	State(ctx context.Context) (first, last int64, err error)
}
