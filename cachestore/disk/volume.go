package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	lockName  = "lock"
	mainName  = "perigee-store"
	mainMagic = 0x31524f5453475250 // "PRGSTOR1"
	mainBytes = 128
)

// volume is one folder: the files in it, and the goroutine that writes them.
type volume struct {
	depot        *Depot
	path         string
	limit        int64 // bytes of the medium
	segmentBytes int64 // of each segment while it is written
	id           uint64
	lock         io.Closer
	health       health
	queue        *queue
	blocks       *blocks      // of its own, so that a folder that hangs keeps no place of the others
	syncs        atomic.Int32 // files on their way to the medium
	others       atomic.Int64 // bytes of all other files, those of segments that have not been loaded among them

	mu       sync.Mutex           // guards all that follows
	segments [logKinds][]*segment // of each log, the oldest first; the one that is being written is the last
	held     [logKinds]int64      // bytes of these
	dying    []*segment           // let go of but still being read
	bytes    int64                // of the files of both, the one that is being written with its full length
	unread   []uint64             // segments that have yet to be loaded, the newest first

	w writer // of the volume's goroutine alone
}

// newVolume is a volume that may keep memory for reads as of right.
func newVolume(d *Depot, f Folder, memory int64) (*volume, error) {
	blocks, err := newBlocks(blocksOptions{Limit: memory, Reserve: d.reserve, Release: d.budget.Release})
	if err != nil {
		return nil, err
	}
	v := &volume{blocks: blocks, depot: d, path: f.Path, limit: f.Size, segmentBytes: segmentBytes(f.Size)}
	v.queue = newQueue(d)
	v.w.volume = v
	for k := range logKinds {
		v.w.logs[k].writer, v.w.logs[k].kind = &v.w, k
	}
	return v, nil
}

// open takes hold of the folder and reads or makes what names it.
func (v *volume) open() error {
	fs := v.depot.fs
	if err := fs.MakeFolder(v.path); err != nil {
		return err
	}
	lock, err := fs.Lock(filepath.Join(v.path, lockName))
	if err != nil {
		return err
	}
	v.lock = lock
	return v.identify()
}

func (v *volume) unlock() {
	if v.lock != nil {
		_ = v.lock.Close()
		v.lock = nil
	}
}

// identify reads the folder's id. A folder whose id is damaged gets that of its segments:
// they are whole without it.
func (v *volume) identify() error {
	id, err := v.readMain()
	switch {
	case err == nil:
		v.id = id
		return nil
	case errors.Is(err, errVersion):
		return err
	case errors.Is(err, errDamaged):
		v.depot.counts.dropped(dropForeign)
		v.depot.log.Error("the file that names a store is damaged and is made anew", "file", filepath.Join(v.path, mainName))
		_ = v.depot.fs.Remove(filepath.Join(v.path, mainName))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if v.id = v.idOfSegments(); v.id == 0 {
		v.id = randomID()
	}
	return v.writeMain()
}

func randomID() uint64 {
	var p [8]byte
	_, _ = rand.Read(p[:]) // never fails
	return binary.LittleEndian.Uint64(p[:]) | 1
}

func (v *volume) readMain() (id uint64, err error) {
	file, err := v.depot.fs.Open(filepath.Join(v.path, mainName), false)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var p [mainBytes]byte
	if n, err := file.ReadAt(p[:], 0); n < len(p) {
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		return 0, errDamaged
	}
	switch {
	case binary.LittleEndian.Uint64(p[:]) != mainMagic || !sealed(p[:]):
		return 0, errDamaged
	case binary.LittleEndian.Uint32(p[8:]) != formatVersion:
		return 0, fmt.Errorf("version %d: %w", binary.LittleEndian.Uint32(p[8:]), errVersion)
	}
	return binary.LittleEndian.Uint64(p[16:]), nil
}

func (v *volume) writeMain() error {
	var p [mainBytes]byte
	binary.LittleEndian.PutUint64(p[:], mainMagic)
	binary.LittleEndian.PutUint32(p[8:], formatVersion)
	binary.LittleEndian.PutUint64(p[16:], v.id)
	seal(p[:])
	name := filepath.Join(v.path, mainName)
	made := name + ".new"
	_ = v.depot.fs.Remove(made) // of an earlier start that was cut short
	file, err := v.depot.fs.Create(made, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(p[:], 0)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = v.depot.fs.Rename(made, name)
	}
	return errors.Join(err, v.depot.fs.SyncFolder(v.path))
}

// idOfSegments is the volume's id as most of the segments say it that can be read, 0 if
// none can: one of another folder may be among them.
func (v *volume) idOfSegments() (id uint64) {
	votes := make(map[uint64]int)
	for _, first := range v.list() {
		h, err := v.readSegmentHead(filepath.Join(v.path, segmentName(first)))
		if err != nil || h.first != first {
			continue
		}
		if votes[h.volume]++; votes[h.volume] > votes[id] {
			id = h.volume
		}
	}
	return id
}

// list is the numbers of the segments in the folder, the newest first.
func (v *volume) list() (firsts []uint64) {
	files, err := v.depot.fs.List(v.path)
	if err != nil {
		v.failed("list", err)
		return nil
	}
	for _, file := range files {
		if first, ok := parseSegmentName(file); ok {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	slices.Reverse(firsts)
	return firsts
}

func (v *volume) readSegmentHead(path string) (h segmentHead, err error) {
	file, err := v.depot.fs.Open(path, false)
	if err != nil {
		return h, err
	}
	defer file.Close()
	return headOf(file)
}

func headOf(file File) (h segmentHead, err error) {
	var p [segmentHeadBytes]byte
	if n, err := file.ReadAt(p[:], 0); n < len(p) {
		if err != nil && !errors.Is(err, io.EOF) {
			return h, err
		}
		return h, errDamaged
	}
	if p == [segmentHeadBytes]byte{} {
		return h, errEmpty
	}
	if binary.LittleEndian.Uint64(p[:]) == letGoMagic {
		return h, errLetGo
	}
	return decodeSegmentHead(p[:])
}

// draw is the weight of the volume for a name, by rendezvous hashing.
func (v *volume) draw(n name) float64 {
	x := mix(v.id, int64(n.tag), int64(n.tag>>7))
	u := (float64(x>>11) + 0.5) / (1 << 53)
	return -float64(v.limit) / math.Log(u)
}

// admit makes s one that can be read; oldest tells that it goes before all others. False
// means that it cannot be told from another.
func (v *volume) admit(s *segment, oldest bool) bool {
	if !v.depot.segments.add(s) {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count(s, s.bytes.Load())
	if oldest {
		v.segments[s.log] = slices.Insert(v.segments[s.log], 0, s)
	} else {
		v.segments[s.log] = append(v.segments[s.log], s)
	}
	return true
}

// count adds bytes to those of s's log. The caller holds mu.
func (v *volume) count(s *segment, n int64) {
	v.bytes += n
	v.held[s.log] += n
}

// resize notes how long the file of a segment is now.
func (v *volume) resize(s *segment, n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !s.gone.Load() { // else what it took is given back already, or is about to be
		v.count(s, n-s.bytes.Swap(n))
	}
}

// smallShare is the part of a folder that the log of what is new may take, while the
// other has something to let go.
const smallShare = 10

// oldest is the segment to be let go next, nil if there is none: of what is new, if that
// takes more than its share.
func (v *volume) oldest() *segment {
	v.mu.Lock()
	defer v.mu.Unlock()
	first, second := v.eldest(logMain), v.eldest(logSmall)
	if v.held[logSmall] > v.limit/smallShare {
		first, second = second, first
	}
	if first == nil {
		return second
	}
	return first
}

// eldest is the oldest segment of a log that is not being written. The caller holds mu.
func (v *volume) eldest(kind logKind) *segment {
	if of := v.segments[kind]; len(of) > 0 && of[0] != v.w.logs[kind].segment {
		return of[0]
	}
	return nil
}

// logFor is the log that an object of the name is written to: that of what it takes the
// place of, so that one goes before the other, or the main one for what was let go of
// not long ago.
func (v *volume) logFor(n name) logKind {
	d := v.depot
	if f, ok := d.index.get(n); ok {
		if s := d.segments.at(f.at); s != nil {
			return s.log
		}
	}
	if d.ghosts.knows(n) {
		return logMain
	}
	return logSmall
}

// nextUnread takes the newest segment that has not been loaded yet.
func (v *volume) nextUnread() (first uint64, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.unread) == 0 {
		return 0, false
	}
	first = v.unread[0]
	v.unread = v.unread[1:]
	return first, true
}

// dropUnread removes the oldest segment, if it has not been loaded yet.
func (v *volume) dropUnread() bool {
	v.mu.Lock()
	if len(v.unread) == 0 {
		v.mu.Unlock()
		return false
	}
	first := v.unread[len(v.unread)-1]
	v.unread = v.unread[:len(v.unread)-1]
	v.mu.Unlock()
	path := filepath.Join(v.path, segmentName(first))
	n, known := v.sizeOf(path)
	if err := v.depot.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.failed("remove", err)
		known = false
	}
	v.depot.counts.segmentsFreed.Add(1)
	if known {
		v.forgetOther(n)
	} else {
		v.measure()
	}
	return true
}

// sizeOf is how long a file is. Looking at all of them for one that goes would take an
// hour where many go.
func (v *volume) sizeOf(path string) (n int64, ok bool) {
	file, err := v.depot.fs.Open(path, false)
	if err != nil {
		return 0, false
	}
	defer file.Close()
	n, err = file.Size()
	return n, err == nil
}

// forgetOther takes n bytes from those of other files.
func (v *volume) forgetOther(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.others.Store(max(v.others.Load()-n, 0))
}

// retire takes s out of what can be found. Its file goes with its last reader.
func (v *volume) retire(s *segment) {
	v.depot.segments.remove(s)
	v.blocks.forget(s.number)
	v.mu.Lock()
	of := v.segments[s.log]
	if i := slices.Index(of, s); i >= 0 {
		v.segments[s.log] = slices.Delete(of, i, i+1)
		v.dying = append(v.dying, s)
	}
	v.mu.Unlock()
	if s.doom() {
		v.letGo(s)
		return
	}
	v.disown(s)
}

// disown has the next start not take the file of a segment for one that counts, if this
// process does not live to remove it: what it has may be removed or purged from now on,
// and nobody writes that down. The records stay as they are for those who read them.
func (v *volume) disown(s *segment) {
	file, err := v.depot.fs.Open(s.path, true)
	if errors.Is(err, fs.ErrNotExist) {
		return // its last reader has just left
	}
	if err == nil {
		var head [segmentHeadBytes]byte
		binary.LittleEndian.PutUint64(head[:], letGoMagic)
		_, err = file.WriteAt(head[:], 0)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		v.failed("write", err)
	}
}

// letGo removes the file of a segment that was retired.
func (v *volume) letGo(s *segment) {
	if s.gone.Swap(true) {
		return
	}
	v.depot.files.remove(s.number)
	v.blocks.forget(s.number)
	if err := v.depot.fs.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.failed("remove", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := slices.Index(v.dying, s); i >= 0 {
		v.dying = slices.Delete(v.dying, i, i+1)
		v.count(s, -s.bytes.Load())
	}
}

// dyingShare is the part of a folder that may be kept only for those who still read
// what has been let go of. Beyond it the oldest of that goes under their feet.
const dyingShare = 8

// overrule lets go the oldest segment that is only kept for its readers, and tells
// whether there was one; unless must, only if there are too many.
func (v *volume) overrule(must bool) bool {
	v.mu.Lock()
	var held int64
	for _, s := range v.dying {
		held += s.bytes.Load()
	}
	if len(v.dying) == 0 || !must && held <= max(v.limit/dyingShare, 2*v.segmentBytes) {
		v.mu.Unlock()
		return false
	}
	s := v.dying[0]
	v.mu.Unlock()
	v.depot.counts.overruled.Add(1)
	v.letGo(s)
	return true
}

// room tells whether n new segments fit.
func (v *volume) room(n int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bytes+n*v.segmentBytes+v.others.Load()+v.slack() <= v.limit
}

// over tells that the folder takes more than it may.
func (v *volume) over() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bytes+v.others.Load() > v.limit
}

// slack is for what the medium takes beyond the lengths of files: their names, the
// rounding to its blocks.
func (v *volume) slack() int64 {
	return 256<<10 + 4096*int64(len(v.segments[logSmall])+len(v.segments[logMain])+len(v.dying)+1)
}
