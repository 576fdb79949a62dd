package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"perigee/admin"
)

// cacheStatsText is what a node says of its store, for people.
func cacheStatsText(s *cacheStats) []byte {
	p := new(page)
	p.memory(s.Store)
	if s.Disk == nil {
		p.section("Disk")
		p.line("none", "this node keeps nothing on disk (store.disk)")
	} else {
		p.disk(s.Disk, s.Store)
		p.folders(s.Disk.Folders)
	}
	return bytes.TrimPrefix(p.Bytes(), []byte("\n"))
}

func (p *page) memory(s *admin.StoreStats) {
	p.section("Memory")
	p.line("objects", "%d, %d of them in part", s.Objects, s.Partial)
	p.line("bytes", "%s", filled(s.UsedBytes, s.LimitBytes))
	p.line("arriving", "%d, %d of them only passed on", s.Fills, s.Windows)
	p.line("arrived", "%d stored, %d refused, %d too large, %d failed, %d corrupt", s.Stored, s.Refused, s.TooLarge, s.Failed, s.Corrupt)
	p.line("left", "%d to make room, %d replaced, %d removed", s.Evicted, s.Replaced, s.Removed)
}

func (p *page) disk(d *admin.DiskStats, s *admin.StoreStats) {
	p.section("Disk")
	loading := ""
	if d.Loading {
		loading = "; the index is still being loaded"
	}
	p.line("objects", "%d, %d of them found after the start%s", d.Objects, d.Loaded, loading)
	p.line("bytes", "%s", filled(d.UsedBytes, d.LimitBytes))
	p.line("index", "%s of memory", roughly(d.IndexBytes))
	p.line("recalled", "%d, %d of them brought up into memory; %d gave up waiting", s.Recalled, s.Promoted, d.Late)
	p.line("arrived", "%d stored, %d refused; %d large ones written while they arrived, %d of them given up",
		s.DiskStored, s.DiskRefused, s.Spilled, s.Unspilled)
	p.line("left", "%d to make room; %d written again, because they are asked for", d.Evicted, d.Readmitted)
	p.line("dropped", "%s", dropped(d.Drops))
	p.line("damage met", "by %s", howMany(s.Damaged, "reader"))
	p.line("queue", "%s; %d refused because it was full", filled(d.QueueBytes, d.QueueLimitBytes), d.QueueFull)
	p.line("written", "%s, %s of it new; write amplification %s", roughly(d.WrittenBytes), roughly(d.NewBytes), ratio(d.WriteAmplification))
	p.line("read", "%s", roughly(d.ReadBytes))
	p.line("errors", "%d of the file system, %s not written down", d.Errors, howMany(d.RemovalsLost, "removal"))
}

func (p *page) folders(folders []admin.FolderStats) {
	p.section("Folders")
	for _, f := range folders {
		p.line(plain(f.Path), "%s, %s in %s", plain(f.State), filled(f.UsedBytes, f.LimitBytes), howMany(int64(f.Segments), "segment"))
	}
}

// dropped lists what was lost to damage, by reason, the words in order.
func dropped(drops map[string]int64) string {
	var parts []string
	for reason, n := range drops {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", plain(reason), n))
		}
	}
	if parts == nil {
		return "nothing"
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// filled says how much of limit is used.
func filled(used, limit int64) string {
	text := roughly(used) + " of " + roughly(limit)
	if limit > 0 {
		text += fmt.Sprintf(" (%.0f %%)", 100*float64(used)/float64(limit))
	}
	return text
}

func ratio(r *float64) string {
	if r == nil {
		return "not known yet"
	}
	return fmt.Sprintf("%.2f", *r)
}

// roughly is a number of bytes to three digits or so.
func roughly(n int64) string {
	value, units := float64(n), []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; value >= 1024 && i < len(units)-1; i++ {
		value /= 1024
	}
	switch {
	case n == 1:
		return "1 byte"
	case i == 0 || value >= 100 || value == float64(int64(value)):
		return fmt.Sprintf("%.0f %s", value, units[i])
	}
	return fmt.Sprintf("%.1f %s", value, units[i])
}

// verificationText says what a look at the disk found.
func verificationText(v *admin.Verification) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "read %s in %s, %s\n", howMany(v.Records, "record"), howMany(int64(v.Segments), "segment"), roughly(v.Bytes))
	if v.Damaged == 0 {
		fmt.Fprintln(&b, "nothing was damaged")
	} else {
		fmt.Fprintf(&b, "%s damaged; %s dropped for it\n", howMany(v.Damaged, "record"), howMany(v.Dropped, "stored response"))
	}
	if v.Skipped > 0 {
		fmt.Fprintf(&b, "%s not read: let go meanwhile, or not readable\n", howMany(int64(v.Skipped), "segment"))
	}
	if v.Loading {
		fmt.Fprintln(&b, "the index was still being loaded: what had not been found yet was not read")
	}
	return b.Bytes()
}
