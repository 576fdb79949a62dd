package edge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// AccessLogFormat is how a record becomes a line.
type AccessLogFormat uint8

// The formats of the access log.
const (
	AccessLogJSON     AccessLogFormat = iota // one JSON object a line
	AccessLogCombined                        // NCSA combined, as web log analysers read it
)

const (
	accessLogBytes      = 1 << 20                // lines that may wait for the writer; beyond it they are dropped
	accessLogFlushBytes = 64 << 10               // so many waiting bytes wake the writer
	accessLogFlushEvery = 200 * time.Millisecond // no line waits longer for a writer that is idle
	accessLogLineBytes  = 16 << 10               // line buffers that grew beyond it are not kept
)

// AccessLogOptions say where an access log goes and how it reads.
type AccessLogOptions struct {
	Path    string          // file to append to, made with mode 0640 if absent; "" = Writer
	Writer  io.Writer       // used when Path is "", never closed; nil then is an error
	Format  AccessLogFormat // zero value: JSON lines
	OnError func(error)     // told of the first failed write, and again only after one has succeeded; nil = nobody
}

// AccessLog writes a line for each record. It never makes a request wait for the
// disk or the pipe behind it: lines collect in memory up to a bound, one goroutine
// writes them out, and what does not fit is dropped and counted.
//
// All methods may be called from any goroutine.
type AccessLog struct {
	path    string
	format  AccessLogFormat
	onError func(error)
	lines   sync.Pool // *[]byte: where a line is made before it takes the mutex

	enough chan struct{}      // holds one: the active buffer is worth writing
	swap   chan accessLogSwap // new files, from Reopen to the writer
	stop   chan struct{}      // closed by Close
	done   chan struct{}      // closed by the writer as it leaves
	once   sync.Once          // guards stop
	failed atomic.Uint64      // writes that failed
	lost   atomic.Uint64      // lines dropped
	sink   accessLogSink      // the writer goroutine's own
	spare  []byte             // the writer goroutine's own: the buffer that is not active

	// mu guards active and closed. It is held for a copy of one line at most.
	mu     sync.Mutex
	active []byte // lines for the writer to take; its capacity never changes
	closed bool
}

// accessLogSwap asks the writer to go on with another file.
type accessLogSwap struct {
	file *os.File
	done chan struct{}
}

// accessLogSink is where bytes go. torn tells that the last write ended within a
// line, failing that writes fail now.
type accessLogSink struct {
	w       io.Writer
	file    *os.File // w, if it is ours to close
	torn    bool
	failing bool
}

// NewAccessLog opens the log and starts its writer, which lives until Close.
func NewAccessLog(o AccessLogOptions) (*AccessLog, error) {
	l := &AccessLog{
		path:    o.Path,
		format:  o.Format,
		onError: o.OnError,
		lines:   sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }},
		enough:  make(chan struct{}, 1),
		swap:    make(chan accessLogSwap),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		active:  make([]byte, 0, accessLogBytes),
		spare:   make([]byte, 0, accessLogBytes),
	}
	if l.onError == nil {
		l.onError = func(error) {}
	}
	switch {
	case o.Path != "":
		file, err := openAccessLog(o.Path)
		if err != nil {
			return nil, err
		}
		l.sink = accessLogSink{w: file, file: file}
	case o.Writer != nil:
		l.sink = accessLogSink{w: o.Writer}
	default:
		return nil, errors.New("access log: neither a path nor a writer")
	}
	go l.run()
	return l, nil
}

func openAccessLog(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	return file, nil
}

// Record implements [Recorder]. After Close it drops.
func (l *AccessLog) Record(r *Record) {
	scratch := l.lines.Get().(*[]byte)
	line := l.append((*scratch)[:0], r)

	l.mu.Lock()
	fits := !l.closed && len(l.active)+len(line) <= accessLogBytes
	if fits {
		l.active = append(l.active, line...)
	}
	waiting := len(l.active)
	l.mu.Unlock()

	if !fits {
		l.lost.Add(1)
	}
	if waiting >= accessLogFlushBytes {
		select {
		case l.enough <- struct{}{}:
		default: // the writer has been told
		}
	}
	if cap(line) <= accessLogLineBytes {
		*scratch = line
		l.lines.Put(scratch)
	}
}

func (l *AccessLog) append(dst []byte, r *Record) []byte {
	if l.format == AccessLogCombined {
		return appendCombined(dst, r)
	}
	return appendJSON(dst, r)
}

// Dropped counts the lines that were never written: there was no room, the write
// failed, or the log was closed.
func (l *AccessLog) Dropped() uint64 { return l.lost.Load() }

// WriteErrors counts the writes that failed.
func (l *AccessLog) WriteErrors() uint64 { return l.failed.Load() }

// Reopen opens the path again, so that a file moved away by log rotation is let
// go, and returns when lines go to the new one. If that cannot be opened, the old
// file stays in use. Without a path it does nothing.
func (l *AccessLog) Reopen() error {
	if l.path == "" {
		return nil
	}
	file, err := openAccessLog(l.path)
	if err != nil {
		return err
	}
	request := accessLogSwap{file: file, done: make(chan struct{})}
	select {
	case l.swap <- request:
		<-request.done
		return nil
	case <-l.done:
		file.Close()
		return fmt.Errorf("access log: reopen %s: %w", l.path, os.ErrClosed)
	}
}

// Close writes what waits, closes the file if the log opened it, and returns when
// the writer is gone. Further calls wait for the first.
func (l *AccessLog) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.once.Do(func() { close(l.stop) })
	<-l.done
	return nil
}

// run is the writer.
func (l *AccessLog) run() {
	defer close(l.done)
	tick := time.NewTicker(accessLogFlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.flush()
		case <-l.enough:
			l.flush()
		case request := <-l.swap:
			l.flush() // what was logged before belongs to the old file
			l.sink.close(l)
			l.sink = accessLogSink{w: request.file, file: request.file, failing: l.sink.failing}
			close(request.done)
		case <-l.stop:
			l.flush()
			l.sink.close(l)
			return
		}
	}
}

// flush writes the active buffer out while the other one takes new lines.
func (l *AccessLog) flush() {
	l.mu.Lock()
	batch := l.active
	l.active = l.spare[:0]
	l.mu.Unlock()
	l.spare = batch
	if len(batch) > 0 {
		l.sink.write(l, batch)
	}
}

// write writes a batch of whole lines, counting in l what is lost.
func (s *accessLogSink) write(l *AccessLog, batch []byte) {
	if s.torn {
		// A full disk cut the last line. It ends here, so that the cut costs
		// one line and not the next one too.
		if _, err := s.w.Write([]byte{'\n'}); err != nil {
			s.fail(l, err, batch)
			return
		}
		s.torn = false
	}
	n, err := s.w.Write(batch)
	n = min(max(n, 0), len(batch))
	if err == nil && n < len(batch) {
		err = io.ErrShortWrite
	}
	if err == nil {
		s.failing = false
		return
	}
	s.torn = n > 0 && batch[n-1] != '\n'
	s.fail(l, err, batch[n:])
}

func (s *accessLogSink) fail(l *AccessLog, err error, lost []byte) {
	l.failed.Add(1)
	l.lost.Add(uint64(bytes.Count(lost, []byte{'\n'})))
	if !s.failing {
		s.failing = true
		l.onError(fmt.Errorf("access log: %w", err))
	}
}

func (s *accessLogSink) close(l *AccessLog) {
	if s.file == nil {
		return
	}
	if err := s.file.Close(); err != nil {
		s.fail(l, err, nil)
	}
}
