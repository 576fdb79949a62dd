package disk

// A place is the right to have one file open. There are as many as f.most, and count
// says how many are taken. A place that is left while a reader waits for one is his
// before anybody who comes later can take it.

// hold returns an open file, which is not closed before letGo.
func (f *files) hold(segment uint32) (*segmentFile, File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		e := f.segments[segment]
		switch {
		case e == nil:
			return nil, nil, errGoneSegment
		case e.open != nil:
			e.busy++
			f.recent.MoveToBack(e.place)
			return e, e.open, nil
		case e.opening:
			f.opened.Wait()
		default:
			if err := f.openFile(e); err != nil {
				return nil, nil, err
			}
			e.busy++ // even if it has been removed meanwhile: this read came before
			return e, e.open, nil
		}
	}
}

// letGo ends what hold began.
func (f *files) letGo(e *segmentFile) {
	f.mu.Lock()
	e.busy--
	var file File
	if e.busy == 0 && (e.removed || f.waiting > f.granted) {
		file = f.uninstall(e)
	}
	f.mu.Unlock()
	f.shut(file)
}

// openFile opens the file of e. f.mu is held before and afterwards, but not while it
// waits. Only one goroutine at a time does this for e.
func (f *files) openFile(e *segmentFile) error {
	e.opening = true
	defer func() {
		e.opening = false
		f.opened.Broadcast()
		if e.open == nil {
			f.leavePlace()
		}
	}()
	file, err := f.openUnlocked(f.takePlace(), e.path)
	switch {
	case err == nil:
		f.install(e, file)
		return nil
	case e.removed:
		return errGoneSegment // and unlinked, most likely
	}
	return err
}

// openUnlocked is the part of openFile that goes without the lock.
func (f *files) openUnlocked(victim File, path string) (File, error) {
	f.mu.Unlock()
	defer f.mu.Lock()
	closeFile(victim)
	return f.fs.Open(path, false)
}

// takePlace waits for a place. If it is that of another file, which is to be closed
// first, the file is returned.
func (f *files) takePlace() File {
	if f.count < f.most {
		f.count++
		return nil
	}
	if victim := f.idlest(); victim != nil {
		return f.uninstall(victim)
	}
	f.waiting++
	for f.granted == 0 {
		f.room.Wait()
	}
	f.granted--
	f.waiting--
	return nil
}

// leavePlace hands a place on to who waits, or to nobody.
func (f *files) leavePlace() {
	if f.waiting > f.granted {
		f.granted++
		f.room.Signal()
		return
	}
	f.count--
}

// adopt installs a file that was opened elsewhere, as far as there is a place for it
// without waiting, and returns what is to be closed, if anything: that file or another.
func (f *files) adopt(e *segmentFile, file File) File {
	if f.count < f.most {
		f.count++
		f.install(e, file)
		return nil
	}
	victim := f.idlest()
	if victim == nil {
		return file
	}
	old := f.uninstall(victim)
	f.install(e, file)
	return old
}

// retire takes e, which may be nil, out of use and returns its file if nobody reads it;
// the place is still taken.
func (f *files) retire(e *segmentFile) File {
	if e == nil {
		return nil
	}
	e.removed = true
	if e.open == nil || e.busy > 0 {
		return nil
	}
	return f.uninstall(e)
}

func (f *files) install(e *segmentFile, file File) {
	e.open, e.place = file, f.recent.PushBack(e)
}

// uninstall returns the file of e, which is to be closed and still has its place.
func (f *files) uninstall(e *segmentFile) File {
	file := e.open
	f.recent.Remove(e.place)
	e.open, e.place = nil, nil
	return file
}

// idlest is the open file that nobody reads and nobody has read for longest, or nil.
func (f *files) idlest() *segmentFile {
	for at := f.recent.Front(); at != nil; at = at.Next() {
		if e := at.Value.(*segmentFile); e.busy == 0 {
			return e
		}
	}
	return nil
}

// shut closes a file, if it is one, and leaves its place.
func (f *files) shut(file File) {
	if file == nil {
		return
	}
	closeFile(file)
	f.mu.Lock()
	f.leavePlace()
	f.mu.Unlock()
}

// closeFile closes what was only read from, so that nothing hangs on the outcome.
func closeFile(file File) {
	if file != nil {
		_ = file.Close()
	}
}
