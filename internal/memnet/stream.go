package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// bufferBytes is what one direction of a connection holds; a writer beyond it
// waits, as with a full socket buffer.
const bufferBytes = 64 << 10

// stream is one direction of a connection.
type stream struct {
	mu    sync.Mutex // guards what follows
	moved sync.Cond  // bytes came or went, an end closed, a deadline passed

	buf   []byte // bytes on the way, buf[off:]
	off   int
	ended bool // the writer will write no more: EOF after the last byte
	left  bool // the reader will read no more: writes give EPIPE
	reset bool // both ends: ECONNRESET, bytes on the way are lost

	readerGone, writerGone bool // this end called Close: its own calls give net.ErrClosed
	readUntil, writeUntil  deadline
}

func newStream() *stream {
	s := &stream{}
	s.moved.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readerGone:
			return 0, net.ErrClosed
		case s.readUntil.passed:
			return 0, os.ErrDeadlineExceeded
		case s.reset:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case len(p) == 0:
			return 0, nil
		case s.off < len(s.buf):
			return s.takeLocked(p), nil
		case s.ended:
			return 0, io.EOF
		}
		s.moved.Wait()
	}
}

func (s *stream) takeLocked(p []byte) int {
	n := copy(p, s.buf[s.off:])
	s.off += n
	if s.off == len(s.buf) {
		s.buf, s.off = s.buf[:0], 0
	}
	s.moved.Broadcast()
	return n
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writerGone:
			return n, net.ErrClosed
		case s.writeUntil.passed:
			return n, os.ErrDeadlineExceeded
		case s.reset:
			return n, os.NewSyscallError("write", syscall.ECONNRESET)
		case s.ended, s.left:
			return n, os.NewSyscallError("write", syscall.EPIPE)
		}
		if len(p) == 0 {
			return n, nil
		}
		if room := bufferBytes - (len(s.buf) - s.off); room > 0 {
			k := min(room, len(p))
			s.putLocked(p[:k])
			n, p = n+k, p[k:]
			continue
		}
		s.moved.Wait()
	}
}

func (s *stream) putLocked(p []byte) {
	if s.off > 0 && len(s.buf)+len(p) > cap(s.buf) {
		s.buf = s.buf[:copy(s.buf, s.buf[s.off:])]
		s.off = 0
	}
	s.buf = append(s.buf, p...)
	s.moved.Broadcast()
}

// change alters the state under the lock and wakes whoever waits for it.
func (s *stream) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.moved.Broadcast()
}

// deadline is one side's deadline on a stream; the stream's lock guards it.
type deadline struct {
	passed bool
	timer  *time.Timer
	turn   int // which setting of the deadline is in force
}

// setDeadline sets d, one of s's deadlines. A zero t takes it away.
func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.change(func() {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
		d.turn++
		d.passed = false
		if t.IsZero() {
			return
		}
		wait := time.Until(t)
		if wait <= 0 {
			d.passed = true
			return
		}
		turn := d.turn
		d.timer = time.AfterFunc(wait, func() {
			s.change(func() {
				if d.turn == turn {
					d.passed = true
				}
			})
		})
	})
}
