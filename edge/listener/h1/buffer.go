package h1

import "sync"

// buffer holds what has been read and not yet passed on, and the head in it. A
// connection has one only while there is something to hold.
type buffer struct {
	b    []byte // what has been read
	head Head
}

const (
	bufferBytes = 4 << 10  // at first, and of most requests ever
	pooledBytes = 16 << 10 // larger ones are not kept
)

// buffers are shared by all connections of the process. What one had is overwritten
// before it is read again: only b[:len(b)] is ever looked at.
var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, bufferBytes)} }}

func takeBuffer() *buffer { return buffers.Get().(*buffer) }

// give gives b back.
func (b *buffer) give() {
	if cap(b.b) > pooledBytes {
		return
	}
	b.b = b.b[:0]
	b.head.reset()
	b.head.raw = nil
	buffers.Put(b)
}

// room makes room for at least one octet more, b[:from] being no longer needed. It
// says how far what is needed has moved.
func (b *buffer) room(from int) (moved int) {
	if from > 0 {
		n := copy(b.b, b.b[from:])
		b.b = b.b[:n]
	}
	if len(b.b) == cap(b.b) {
		b.b = append(make([]byte, 0, 2*cap(b.b)), b.b...)
	}
	return from
}
