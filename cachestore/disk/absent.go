package disk

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// A folder that is taken out, or was not there at a start, misses what is stored and
// removed meanwhile: the others do that without it. So they note that it was absent, and
// when it is back it begins anew.

// absentName is the file by which other folders note that v was absent.
func (v *volume) absentName() string {
	return fmt.Sprintf("absent-%016x", xxhash.Sum64String(filepath.Clean(v.path)))
}

// noteAbsence notes in all folders that work that v does not.
func (d *Depot) noteAbsence(v *volume) {
	for _, other := range d.volumes {
		if other == v || other.State() == Out {
			continue
		}
		if file, err := d.fs.Create(filepath.Join(other.path, v.absentName()), 0); err == nil {
			_ = file.Close()
			_ = d.fs.SyncFolder(other.path)
		}
	}
}

// dropAbsent removes what is in folders that were absent, before anything of it is read.
func (d *Depot) dropAbsent() {
	for _, v := range d.volumes {
		if v.State() == Out {
			d.noteAbsence(v)
			continue
		}
		for _, other := range d.volumes {
			if other != v && other.State() != Out && d.wasAbsent(v, other) {
				v.beginAnew()
				_ = d.fs.Remove(filepath.Join(other.path, v.absentName()))
			}
		}
	}
}

// wasAbsent tells whether the other folder has noted that v was absent.
func (d *Depot) wasAbsent(v, other *volume) bool {
	files, err := d.fs.List(other.path)
	return err == nil && slices.Contains(files, v.absentName())
}

// beginAnew removes all segments of a folder.
func (v *volume) beginAnew() {
	firsts := v.list()
	if len(firsts) == 0 {
		return
	}
	v.depot.log.Warn("a disk was away while the others went on; it begins anew, since what it has may be out of date", "folder", v.path)
	for _, first := range firsts {
		v.depot.counts.dropped(dropTakenOut)
		if err := v.depot.fs.Remove(filepath.Join(v.path, segmentName(first))); err != nil {
			v.failed("remove", err)
		}
	}
}
