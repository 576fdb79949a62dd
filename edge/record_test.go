package edge

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The names of results are in logs, metrics and X-Cache: they do not change.
func TestResultNames(t *testing.T) {
	t.Parallel()
	var got []string
	for _, result := range append(Results(), results) {
		got = append(got, result.String())
	}
	want := []string{"NONE", "HIT", "MISS", "STALE", "REVALIDATED", "BYPASS", "ERROR", "NONE"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names of the results and of one beyond them (-want +got):\n%s", diff)
	}
}

// recorderFunc is a Recorder that is a function.
type recorderFunc func(*Record)

func (f recorderFunc) Record(r *Record) { f(r) }

func TestRecordersInOrder(t *testing.T) {
	t.Parallel()
	var got []string
	note := func(name string) Recorder {
		return recorderFunc(func(r *Record) { got = append(got, name+" "+r.Path) })
	}
	Recorders{note("first"), note("second")}.Record(&Record{Path: "/a"})
	if diff := cmp.Diff([]string{"first /a", "second /a"}, got); diff != "" {
		t.Errorf("who was told what (-want +got):\n%s", diff)
	}
}
