package admin

import (
	"strings"

	"perigee/cachestore"
	"perigee/cachestore/disk"
)

// tierDisk is the disk in the label tier, beside tierRAM.
const (
	tierRAM  = "ram"
	tierDisk = "disk"
)

// diskCollector reads what the disk tier and the ways to it count. What memory has
// too goes by memory's names, with another tier.
type diskCollector struct {
	drops                               reading
	recalled, promoted                  reading
	spilled, unspilled, damaged         reading
	indexBytes, loading, loaded         reading
	queueBytes, queueLimit, queueFull   reading
	stored, refused, freshened          reading
	reads, late, readmitted, overruled  reading
	errors, lost                        reading
	written, fresh, rewritten, readSize reading
	folderState, folderBytes            reading
	folderLimit, folderSegments         reading
}

func newDiskCollector(gauge, counter func(name, help string, labels ...string) reading) *diskCollector {
	return &diskCollector{
		drops:     counter("perigee_cache_drops_total", "Stored responses and files that were lost to damage, by reason.", "tier", "reason"),
		recalled:  counter("perigee_cache_recalled_total", "Stored responses that were found on disk and not in memory."),
		promoted:  counter("perigee_cache_promoted_total", "Of the recalled, those whose bytes were brought up into memory."),
		spilled:   counter("perigee_cache_spilled_total", "Bodies that were written to disk while they arrived."),
		unspilled: counter("perigee_cache_unspilled_total", "Of the spilled, those that the disk could not take to their end."),
		damaged:   counter("perigee_cache_damaged_reads_total", "Readers that met bytes on disk which were gone or damaged."),

		indexBytes: gauge("perigee_cache_disk_index_bytes", "Memory of the index of what is on disk."),
		loading:    gauge("perigee_cache_disk_loading", "1 while the index is still being loaded after a start."),
		loaded:     counter("perigee_cache_disk_loaded_total", "Stored responses that were found on disk after the start."),
		queueBytes: gauge("perigee_cache_disk_queue_bytes", "Bytes that wait to be written."),
		queueLimit: gauge("perigee_cache_disk_queue_limit_bytes", "The most bytes that may wait to be written; what comes beyond is not written."),
		queueFull:  counter("perigee_cache_disk_queue_full_total", "Times that something was not written because too much waited."),

		stored:     counter("perigee_cache_disk_stored_total", "Stored responses that were written."),
		refused:    counter("perigee_cache_disk_refused_total", "Stored responses that could not be kept."),
		freshened:  counter("perigee_cache_disk_freshened_total", "Stored responses that got new metadata, their bodies where they are."),
		reads:      counter("perigee_cache_disk_recalls_total", "Stored responses that were read for requests; those who want the same at once share one read."),
		late:       counter("perigee_cache_disk_late_total", "Look-ups that gave up waiting for the disk."),
		readmitted: counter("perigee_cache_disk_readmitted_total", "Stored responses written again instead of evicted, because they are asked for."),
		overruled:  counter("perigee_cache_disk_overruled_total", "Segments that were let go while they were being read."),
		errors:     counter("perigee_cache_disk_errors_total", "Errors of the file system."),
		lost:       counter("perigee_cache_disk_removals_lost_total", "Removals that could not be written down."),

		written:   counter("perigee_cache_disk_written_bytes_total", "Bytes written to the medium, all of them."),
		fresh:     counter("perigee_cache_disk_new_bytes_total", "Of the written, those of records that were new: all by these is the write amplification."),
		rewritten: counter("perigee_cache_disk_readmitted_bytes_total", "Of the written, those of records that were written again."),
		readSize:  counter("perigee_cache_disk_read_bytes_total", "Bytes read from the medium."),

		folderState:    gauge("perigee_cache_disk_folder_state", "1 for the state that a folder is in, else 0: working, resting (reads only, for some seconds), out (until the next start).", "folder", "state"),
		folderBytes:    gauge("perigee_cache_disk_folder_bytes", "Bytes of a folder's segments.", "folder"),
		folderLimit:    gauge("perigee_cache_disk_folder_limit_bytes", "The most bytes that a folder may take.", "folder"),
		folderSegments: gauge("perigee_cache_disk_folder_segments", "Segments of a folder.", "folder"),
	}
}

func (d *diskCollector) all() []reading {
	return []reading{
		d.drops, d.recalled, d.promoted, d.spilled, d.unspilled, d.damaged,
		d.indexBytes, d.loading, d.loaded, d.queueBytes, d.queueLimit, d.queueFull,
		d.stored, d.refused, d.freshened, d.reads, d.late, d.readmitted, d.overruled, d.errors, d.lost,
		d.written, d.fresh, d.rewritten, d.readSize,
		d.folderState, d.folderBytes, d.folderLimit, d.folderSegments,
	}
}

// collectStore sends what the store counts of the ways to the disk and back.
func (d *diskCollector) collectStore(send func(reading, float64, ...string), s *cachestore.Stats) {
	send(d.recalled, float64(s.Recalled))
	send(d.promoted, float64(s.Promoted))
	send(d.spilled, float64(s.Spilled))
	send(d.unspilled, float64(s.Unspilled))
	send(d.damaged, float64(s.Damaged))
}

// collect sends what the disk counts itself.
func (d *diskCollector) collect(send func(reading, float64, ...string), s *disk.Stats) {
	for reason, n := range s.Drops {
		send(d.drops, float64(n), tierDisk, reason)
	}
	send(d.indexBytes, float64(s.IndexBytes))
	send(d.loading, oneIf(s.Loading))
	send(d.loaded, float64(s.Loaded))
	send(d.queueBytes, float64(s.QueueBytes))
	send(d.queueLimit, float64(s.QueueLimit))
	send(d.queueFull, float64(s.Full))
	send(d.stored, float64(s.Stored))
	send(d.refused, float64(s.Refused))
	send(d.freshened, float64(s.Freshened))
	send(d.reads, float64(s.Recalled))
	send(d.late, float64(s.Late))
	send(d.readmitted, float64(s.Kept))
	send(d.overruled, float64(s.Overruled))
	send(d.errors, float64(s.Errors))
	send(d.lost, float64(s.Lost))
	send(d.written, float64(s.WrittenBytes))
	send(d.fresh, float64(s.StoredBytes))
	send(d.rewritten, float64(s.KeptBytes))
	send(d.readSize, float64(s.ReadBytes))
	for _, f := range s.Folders {
		d.collectFolder(send, &f)
	}
}

func (d *diskCollector) collectFolder(send func(reading, float64, ...string), f *disk.FolderStats) {
	path := strings.ToValidUTF8(f.Path, "\uFFFD") // a label must be UTF-8, a path need not
	for _, state := range []disk.State{disk.Working, disk.Resting, disk.Out} {
		send(d.folderState, oneIf(f.State == state.String()), path, state.String())
	}
	send(d.folderBytes, float64(f.UsedBytes), path)
	send(d.folderLimit, float64(f.LimitBytes), path)
	send(d.folderSegments, float64(f.Segments), path)
}

// diskSizes sums up what the folders take and may take.
func diskSizes(s *disk.Stats) (used, limit int64) {
	for _, f := range s.Folders {
		used += f.UsedBytes
		limit += f.LimitBytes
	}
	return used, limit
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
