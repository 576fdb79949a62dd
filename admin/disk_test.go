package admin

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"perigee/cachestore"
	"perigee/cachestore/disk"
)

// someDisk has another number in each place.
func someDisk() disk.Stats {
	return disk.Stats{
		Objects: 1, IndexBytes: 2, QueueBytes: 3, QueueLimit: 4, Loading: true, Stored: 5, Refused: 6, Full: 7, Freshened: 8,
		Recalled: 9, Late: 10, Evicted: 11, Kept: 12, Overruled: 13, Errors: 14, Lost: 15, Loaded: 16,
		StoredBytes: 20, WrittenBytes: 25, KeptBytes: 18, ReadBytes: 19,
		Drops: map[string]int64{"checksum": 21, "torn": 0},
		Folders: []disk.FolderStats{
			{Path: "/disk1", State: "working", LimitBytes: 100, UsedBytes: 60, Segments: 6},
			{Path: "/disk\xff2", State: "out", LimitBytes: 200, UsedBytes: 0, Segments: 0},
		},
	}
}

func someStore() cachestore.Stats {
	return cachestore.Stats{
		LimitBytes: 1000, UsedBytes: 500, Objects: 50, DepotStored: 31, DepotRefused: 32, Recalled: 33, Promoted: 34,
		Spilled: 35, Unspilled: 36, Damaged: 37,
	}
}

func TestMetricsOfDisk(t *testing.T) {
	t.Parallel()
	m := newServer(t, Options{Store: someStore, Disk: someDisk}).Metrics()
	compare(t, m, `
# HELP perigee_cache_bytes Bytes taken of the limit: in memory bodies, metadata, fills and what readers still hold, on disk segments.
# TYPE perigee_cache_bytes gauge
perigee_cache_bytes{tier="disk"} 60
perigee_cache_bytes{tier="ram"} 500
`, "perigee_cache_bytes")
	compare(t, m, `
# HELP perigee_cache_limit_bytes The most bytes that may be taken.
# TYPE perigee_cache_limit_bytes gauge
perigee_cache_limit_bytes{tier="disk"} 300
perigee_cache_limit_bytes{tier="ram"} 1000
`, "perigee_cache_limit_bytes")
	compare(t, m, `
# HELP perigee_cache_objects Stored responses that a look-up can find.
# TYPE perigee_cache_objects gauge
perigee_cache_objects{tier="disk"} 1
perigee_cache_objects{tier="ram"} 50
`, "perigee_cache_objects")
	compare(t, m, `
# HELP perigee_cache_drops_total Stored responses and files that were lost to damage, by reason.
# TYPE perigee_cache_drops_total counter
perigee_cache_drops_total{reason="checksum",tier="disk"} 21
perigee_cache_drops_total{reason="torn",tier="disk"} 0
`, "perigee_cache_drops_total")
	compare(t, m, `
# HELP perigee_cache_disk_folder_state 1 for the state that a folder is in, else 0: working, resting (reads only, for some seconds), out (until the next start).
# TYPE perigee_cache_disk_folder_state gauge
perigee_cache_disk_folder_state{folder="/disk1",state="out"} 0
perigee_cache_disk_folder_state{folder="/disk1",state="resting"} 0
perigee_cache_disk_folder_state{folder="/disk1",state="working"} 1
perigee_cache_disk_folder_state{folder="/disk�2",state="out"} 1
perigee_cache_disk_folder_state{folder="/disk�2",state="resting"} 0
perigee_cache_disk_folder_state{folder="/disk�2",state="working"} 0
`, "perigee_cache_disk_folder_state")
}

func TestEveryFigureOfDiskIsAMetric(t *testing.T) {
	t.Parallel()
	m := newServer(t, Options{Store: someStore, Disk: someDisk}).Metrics()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"perigee_cache_evictions_total capacity disk":        11,
		"perigee_cache_fills_total stored disk":              31,
		"perigee_cache_fills_total refused disk":             32,
		"perigee_cache_recalled_total":                       33,
		"perigee_cache_promoted_total":                       34,
		"perigee_cache_spilled_total":                        35,
		"perigee_cache_unspilled_total":                      36,
		"perigee_cache_damaged_reads_total":                  37,
		"perigee_cache_disk_index_bytes":                     2,
		"perigee_cache_disk_queue_bytes":                     3,
		"perigee_cache_disk_queue_limit_bytes":               4,
		"perigee_cache_disk_loading":                         1,
		"perigee_cache_disk_stored_total":                    5,
		"perigee_cache_disk_refused_total":                   6,
		"perigee_cache_disk_queue_full_total":                7,
		"perigee_cache_disk_freshened_total":                 8,
		"perigee_cache_disk_recalls_total":                   9,
		"perigee_cache_disk_late_total":                      10,
		"perigee_cache_disk_readmitted_total":                12,
		"perigee_cache_disk_overruled_total":                 13,
		"perigee_cache_disk_errors_total":                    14,
		"perigee_cache_disk_removals_lost_total":             15,
		"perigee_cache_disk_loaded_total":                    16,
		"perigee_cache_disk_new_bytes_total":                 20,
		"perigee_cache_disk_written_bytes_total":             25,
		"perigee_cache_disk_readmitted_bytes_total":          18,
		"perigee_cache_disk_read_bytes_total":                19,
		"perigee_cache_disk_folder_bytes /disk1":             60,
		"perigee_cache_disk_folder_limit_bytes /disk\ufffd2": 200,
		"perigee_cache_disk_folder_segments /disk1":          6,
	}
	for name, value := range want {
		if n, ok := got[name]; !ok || n != value {
			t.Errorf("%s is %v (there: %v), want %v", name, n, ok, value)
		}
	}
}

func TestMetricsOfDiskLint(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{Store: someStore, Disk: someDisk})
	names := []string{}
	families, err := s.Metrics().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if len(family.GetName()) > 8 && family.GetName()[:8] == "perigee_" {
			names = append(names, family.GetName())
		}
	}
	problems, err := testutil.GatherAndLint(s.Metrics().registry, names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range problems {
		t.Errorf("%s: %s", each.Metric, each.Text)
	}
}

func TestNoDiskNoMetricsOfIt(t *testing.T) {
	t.Parallel()
	m := newServer(t, Options{Store: someStore}).Metrics()
	for _, prefix := range []string{"perigee_cache_disk_", "perigee_cache_drops_", "perigee_cache_recalled_"} {
		compare(t, m, "", prefix)
	}
}

func TestStatsOfDisk(t *testing.T) {
	t.Parallel()
	empty := someDisk()
	empty.StoredBytes, empty.Folders = 0, nil
	whole := `{"objects":1,"used_bytes":60,"limit_bytes":300,"index_bytes":2,"queue_bytes":3,"queue_limit_bytes":4,"loading":true,"loaded":16,` +
		`"stored":5,"refused":6,"queue_full":7,"freshened":8,"recalled":9,"late":10,"evicted":11,"readmitted":12,"overruled":13,"errors":14,"removals_lost":15,` +
		`"written_bytes":25,"new_bytes":20,"readmitted_bytes":18,"read_bytes":19,"write_amplification":1.25,"drops":{"checksum":21,"torn":0},` +
		`"folders":[{"path":"/disk1","state":"working","used_bytes":60,"limit_bytes":100,"segments":6},` +
		`{"path":"/disk�2","state":"out","used_bytes":0,"limit_bytes":200,"segments":0}]}`
	for _, c := range []struct {
		name string
		disk func() disk.Stats
		want map[string]string // of the object "disk", by field; nil = there is none
	}{
		{"without a disk", nil, nil},
		{"with one", someDisk, fieldsOf(t, []byte(whole))},
		{"nothing written", func() disk.Stats { return empty }, map[string]string{"write_amplification": "null", "folders": "[]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := ask(newServer(t, Options{Store: someStore, Disk: c.disk}), "GET", "/v1/stats")
			answer := fieldsOf(t, w.Body.Bytes())
			if c.want == nil {
				if answer["disk"] != "" {
					t.Errorf("disk is %s, want none", answer["disk"])
				}
				return
			}
			got := fieldsOf(t, []byte(answer["disk"]))
			for name := range got {
				if _, asked := c.want[name]; !asked && len(c.want) < 5 {
					delete(got, name)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("disk (-want +got):\n%s", diff)
			}
		})
	}
}

// fieldsOf are the fields of an object as compact JSON.
func fieldsOf(t *testing.T, text []byte) map[string]string {
	t.Helper()
	var raw map[string]any
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	fields := make(map[string]string)
	for name, value := range raw {
		out, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fields[name] = string(out)
	}
	return fields
}

// verifying is a server with a disk that a function verifies.
func verifying(t *testing.T, verify func(context.Context, int64) (disk.Report, error)) *Server {
	t.Helper()
	return newServer(t, Options{Token: "s3cret", Disk: someDisk, Verify: verify})
}
