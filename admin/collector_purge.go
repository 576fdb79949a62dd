package admin

// purgeCollector reads what the ledger of purges and its journal count.
type purgeCollector struct {
	entries, bytes               reading
	applied, invalidated         reading
	folded, forgotten            reading
	journalBytes, journalEntries reading
	segments, queued, failing    reading
	appends, syncs, failures     reading
}

func newPurgeCollector(gauge, counter func(name, help string, labels ...string) reading) *purgeCollector {
	return &purgeCollector{
		entries: gauge("perigee_purge_entries",
			"Purges that are told apart: those of the log, and what origins' answers made invalid (RFC 9111 §4.4).", "from"),
		bytes:       gauge("perigee_purge_bytes", "Memory of the tables of purges."),
		applied:     counter("perigee_purge_applied_total", "Entries of the log that were applied."),
		invalidated: counter("perigee_purge_invalidated_total", "Invalidations that origins' answers brought about."),
		folded:      counter("perigee_purge_folded_total", "Entries folded into the floor because there were too many: more was purged than named."),
		forgotten:   counter("perigee_purge_forgotten_total", "Entries dropped because they could strike nothing any more."),

		journalBytes:   gauge("perigee_purge_journal_bytes", "Size of the files of the purge journal."),
		journalEntries: gauge("perigee_purge_journal_entries", "Entries in the files of the purge journal, also those that no longer count."),
		segments:       gauge("perigee_purge_journal_segments", "Files of the purge journal."),
		queued:         gauge("perigee_purge_journal_queued", "Orders that wait to be written."),
		failing:        gauge("perigee_purge_journal_failing", "1 if the disk failed the last time that the journal was written, which refuses purges."),
		appends:        counter("perigee_purge_journal_appends_total", "Orders that were written and acknowledged."),
		syncs:          counter("perigee_purge_journal_syncs_total", "Times that the journal was flushed to disk for them."),
		failures:       counter("perigee_purge_journal_failures_total", "Failures of the disk under the purge journal."),
	}
}

func (p *purgeCollector) all() []reading {
	return []reading{
		p.entries, p.bytes, p.applied, p.invalidated, p.folded, p.forgotten,
		p.journalBytes, p.journalEntries, p.segments, p.queued, p.failing, p.appends, p.syncs, p.failures,
	}
}

func (p *purgeCollector) collect(send func(reading, float64, ...string), o *Options) {
	s, j := o.PurgeStats()
	send(p.entries, float64(s.Entries), "log")
	send(p.entries, float64(s.LocalEntries), "origin")
	send(p.bytes, float64(s.Bytes))
	send(p.applied, float64(s.Applied))
	send(p.invalidated, float64(s.Invalidated))
	send(p.folded, float64(s.Folded))
	send(p.forgotten, float64(s.Forgotten))
	if j == nil {
		return
	}
	failing := 0.0
	if j.Failing != nil {
		failing = 1
	}
	send(p.journalBytes, float64(j.Bytes))
	send(p.journalEntries, float64(j.Entries))
	send(p.segments, float64(j.Segments))
	send(p.queued, float64(j.Queued))
	send(p.failing, failing)
	send(p.appends, float64(j.Appends))
	send(p.syncs, float64(j.Syncs))
	send(p.failures, float64(j.Failures))
}
