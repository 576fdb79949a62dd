package disk

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"sync"

	"perigee/cachestore"
)

// errGoneSegment is returned for a segment that has been removed, or was never there.
var errGoneSegment = fmt.Errorf("segment is gone: %w", cachestore.ErrGone)

// files are the segments that are read from, and a bound on how many of them are open.
// All methods may be called concurrently.
//
// A file that is not open is opened when it is read from, in the place of the one that
// nobody has read from for longest. Where all are being read from, a reader waits.
type files struct {
	fs   FS
	most int

	// mu guards what follows, and the fields of files in segments. It is not held while
	// the file system does something.
	mu       sync.Mutex
	segments map[uint32]*segmentFile
	recent   *list.List // of open files, the latest read from at the end
	opened   sync.Cond  // something has been opened, or cannot be
	room     sync.Cond  // granted has risen
	count    int        // places taken: by files that are open, being opened or closed
	waiting  int        // readers that want a place
	granted  int        // of the places taken, those that a waiting reader may have
	closed   bool
}

// segmentFile is the file of one segment.
type segmentFile struct {
	path    string
	open    File          // nil while it is not
	place   *list.Element // in recent; nil while it is not open
	busy    int           // reads under way
	opening bool
	removed bool // to be closed when nobody reads
}

// newFiles returns files of which at most the given number are open, or one.
func newFiles(fs FS, most int) *files {
	f := &files{fs: fs, most: max(most, 1), segments: make(map[uint32]*segmentFile), recent: list.New()}
	f.opened.L, f.room.L = &f.mu, &f.mu
	return f
}

// add makes a segment readable, or puts another file in its place. open may be nil; if
// not, it belongs to f from now on, which closes it as it likes: who writes to the
// segment has a File of his own. That a file is not there comes out when it is read.
func (f *files) add(segment uint32, path string, open File) {
	f.mu.Lock()
	e := &segmentFile{path: path}
	var old File
	if !f.closed {
		old = f.retire(f.segments[segment])
		f.segments[segment] = e
		if open != nil {
			open = f.adopt(e, open)
		}
	}
	f.mu.Unlock()
	f.shut(old)
	closeFile(open)
}

// readAt fills p from a segment's file. The error is [io.ErrUnexpectedEOF] where the
// file ends before that, errGoneSegment, or that of the file system.
func (f *files) readAt(segment uint32, p []byte, off int64) error {
	e, file, err := f.hold(segment)
	if err != nil {
		return err
	}
	defer f.letGo(e)
	n, err := file.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// remove forgets a segment. Reads that are under way end as they would have; the file
// is closed after them. The caller unlinks it.
func (f *files) remove(segment uint32) {
	f.mu.Lock()
	file := f.retire(f.segments[segment])
	delete(f.segments, segment)
	f.mu.Unlock()
	f.shut(file)
}

// open is how many files are open, those being opened and closed included.
func (f *files) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// close removes all segments, and refuses those that are added afterwards by closing
// what is handed over. It does not wait for reads that are under way.
func (f *files) close() {
	f.mu.Lock()
	f.closed = true
	var idle []File
	for segment, e := range f.segments {
		if file := f.retire(e); file != nil {
			idle = append(idle, file)
		}
		delete(f.segments, segment)
	}
	f.mu.Unlock()
	for _, file := range idle {
		f.shut(file)
	}
}
