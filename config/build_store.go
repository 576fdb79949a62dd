package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxDisks bounds the folders of one node.
const maxDisks = 16

// folderHint is suggested where a folder is wanted and a file is named.
const folderHint = "name a folder; it is made where there is none"

func notFolder(path string) string { return path + " is a file, not a folder" }

// isFile reports whether path is there and no folder. One that cannot be looked at may become one.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// buildStore reads how much is kept and where.
func (s *source) buildStore(n *Node, v *value) {
	set(&n.Store.RAM, v, "ram")
	n.Store.Disks = s.buildDisks(v)
	if n.State == "" {
		n.State = n.Store.state()
	}
}

// buildDisks reads either form.
func (s *source) buildDisks(v *value) []Disk {
	var all []*value
	disk, disks := v.get("disk"), v.get("disks")
	if disk != nil {
		all = append(all, disk)
	}
	if disks != nil {
		all = append(all, disks.items...)
	}
	if disk != nil && disks != nil && (len(disks.items) > 0 || disks.isFlawed()) {
		s.fault(v.place("disks"), disks.path, "disk names a folder already", "put it into disks too, as one item more, and take out disk")
	}
	var out []Disk
	var before []folder
	for _, each := range all {
		var d Disk
		set(&d.Path, each, "path")
		set(&d.Size, each, "size")
		if d.Path == "" { // which is reported
			continue
		}
		d.Path = filepath.Clean(d.Path)
		out = append(out, d)
		before = append(before, s.checkFolder(before, each.get("path"), d.Path))
	}
	return out
}

// folder is a folder that a file names.
type folder struct {
	real string // where it is, symbolic links followed
	path *value
}

// checkFolder holds the folder of a disk against those before it. What cannot be written to is not asked for: that is for the
// node to say while it runs, and may be well again by then.
func (s *source) checkFolder(before []folder, v *value, path string) folder {
	this := folder{realPath(path), v}
	if isFile(path) {
		s.fault(v.at, v.path, notFolder(path), folderHint)
		return this
	}
	for _, other := range before {
		relation := ""
		switch {
		case this.real == other.real:
			relation = "is"
		case within(this.real, other.real):
			relation = "is inside"
		case within(other.real, this.real):
			relation = "holds"
		default:
			continue
		}
		s.fault(v.at, v.path, fmt.Sprintf("%s %s the folder of another disk: %d:%d", path, relation, other.path.at.line, other.path.at.col),
			"give each disk a folder of its own, none inside another")
		break
	}
	return this
}

// within reports whether a path is below a folder.
func within(path, dir string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// realPath is where a path leads, symbolic links followed as far as there is something.
func realPath(path string) string {
	path, err := filepath.Abs(path)
	if err != nil { // there is no working folder to start from
		return filepath.Clean(path)
	}
	rest := ""
	for at := path; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if at == filepath.Dir(at) {
			return path
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// state is the folder for what must outlive the process where none is named, "" without a disk. It has to be where what is
// stored is: responses that outlive the purges of them would come back.
func (s Store) state() string {
	if len(s.Disks) == 0 {
		return ""
	}
	return s.Disks[0].Path
}

// disksKey names the key that two lists of disks differ in.
func disksKey(old, new []Disk) string {
	if len(old) > 1 || len(new) > 1 {
		return "store.disks"
	}
	return "store.disk"
}
