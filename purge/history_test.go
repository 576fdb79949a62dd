package purge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
)

// page asks for a page of the history and returns the first value of each order, with
// its site.
func page(t *testing.T, s *Service, token, query string) (status int, values []string, next string) {
	t.Helper()
	status, answer, _ := send(t, s.Public(), request{method: http.MethodGet, target: "/v1/purges" + query, token: token})
	purges, _ := answer["purges"].([]any)
	for _, each := range purges {
		record := each.(map[string]any)
		values = append(values, fmt.Sprint(record["site"], " ", record["values"].([]any)[0]))
	}
	next, _ = answer["next"].(string)
	return status, values, next
}

func TestHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var ids []string
	for i, site := range []string{siteWWW, siteOther, siteWWW, siteNone, siteOther, siteWWW} {
		receipt, err := r.Purge(t.Context(), Order{Site: site, Tags: []string{fmt.Sprint("t", i)}, Who: "cms"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, receipt.ID)
	}
	www, other := []string{siteWWW + " t5", siteWWW + " t2", siteWWW + " t0"}, []string{siteOther + " t4", siteOther + " t1"}
	for _, c := range []struct {
		token, query string
		status       int
		want         []string
		next         string
	}{
		{secretAll, "", 200, www, ""},
		{secretOther, "", 200, other, ""},
		{secretBoth, "", 200, []string{siteWWW + " t5", siteOther + " t4", siteWWW + " t2", siteOther + " t1", siteWWW + " t0"}, ""},
		{secretBoth, "?site=" + siteOther, 200, other, ""},
		{secretAll, "?site=" + serviceID, 200, www, ""},
		{secretAll, "?limit=2", 200, www[:2], ids[2]},
		{secretAll, "?limit=2&before=" + ids[2], 200, www[2:], ""},
		{secretAll, "?site=" + siteOther, 403, nil, ""},
		{secretAll, "?site=nowhere", 403, nil, ""},
		{secretAll, "?before=" + ids[1], 400, nil, ""},
		{secretAll, "?before=x", 400, nil, ""},
		{secretAll, "?limit=0", 400, nil, ""},
		{secretAll, "?limit=1001", 400, nil, ""},
		{secretAll, "?limit=1&limit=2", 400, nil, ""},
		{secretAll, "?since=x", 400, nil, ""},
		{secretAll, "?%zz", 400, nil, ""},
		{"", "", 401, nil, ""},
	} {
		status, got, next := page(t, r.Service, c.token, c.query)
		if diff := cmp.Diff(c.want, got); status != c.status || diff != "" || next != c.next {
			t.Errorf("GET /v1/purges%s: status %d, next %q; want %d, %q; purges (-want +got)\n%s", c.query, status, next, c.status, c.next, diff)
		}
	}
	for _, c := range []struct {
		token, id string
		status    int
	}{{secretAll, ids[0], 200}, {secretAll, ids[1], 404}, {secretAll, strings.Repeat("0", 32), 404}, {secretAll, "x", 404}, {"", ids[0], 401}} {
		if status, answer, _ := send(t, r.Public(), request{method: http.MethodGet, target: "/v1/purges/" + c.id, token: c.token}); status != c.status {
			t.Errorf("GET /v1/purges/%s: status %d, want %d; answer %v", c.id, status, c.status, answer)
		}
	}
}

// TestHistoryAfterRestart: another process reads the same orders from the log; only
// the time that the edges took is gone.
func TestHistoryAfterRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	long := "/" + strings.Repeat("ä", 200)
	_, answer, _ := send(t, r.Public(), request{
		target: "/v1/sites/" + siteWWW + "/purge", token: secretAll, body: `{"urls":["/a","/b","` + long + `","/d"],"tags":["t"],"soft":true}`,
	})
	later := r.service(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- later.Run(ctx) }()
	id, _ := ParseID(answer["id"].(string))
	before, _ := r.history.find(id)
	waitFor(t, func() bool { record, ok := later.history.find(id); return ok && record.Items["tag"] == 1 })
	after, _ := later.history.find(id)
	want := Record{
		ID: id.String(), Site: siteWWW, Who: "cms", From: "192.0.2.7", At: rigStart, Soft: true,
		Items: map[string]int{"url": 4, "tag": 1}, Values: []string{siteWWW + "/a", siteWWW + "/b", (siteWWW + "/" + strings.Repeat("%C3%A4", 200))[:maxSampleBytes] + "…"},
		State: StateComplete, Edges: []Ack{{Name: "fra-1"}}, Missing: []string{},
	}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("the order as the log tells it (-want +got)\n%s", diff)
	}
	zero := int64(0)
	want.Edges[0].AckedMS = &zero
	if diff := cmp.Diff(want, before); diff != "" {
		t.Errorf("the order as it was made (-want +got)\n%s", diff)
	}
	if text, err := json.Marshal(after); err != nil || !strings.Contains(string(text), `"edges":[{"name":"fra-1","acked_ms":null}]`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}

// TestOverTheJournal: an order that the journal holds strikes in the next process, and
// its history is there.
func TestOverTheJournal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dir := t.TempDir()
	start := func() (s *Service, ledger *Ledger, end func()) {
		journal, damage, err := OpenJournal(JournalOptions{Dir: dir, Now: r.now})
		if err != nil || damage != nil {
			t.Fatal(err, damage)
		}
		ledger = New(Options{})
		s = NewService(ServiceOptions{Log: journal, Ledger: ledger, Names: testNames{}, Edge: "fra-1", Now: r.now})
		s.Swap(rigSites())
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { _ = ledger.Follow(ctx, journal) })
		running.Go(func() { _ = s.Run(ctx) })
		return s, ledger, func() {
			cancel()
			running.Wait()
			if err := journal.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	s, _, end := start()
	receipt, err := s.Purge(t.Context(), Order{Site: siteWWW, Tags: []string{"t"}, URLs: []string{"/a"}, Who: "cms"})
	if err != nil {
		t.Fatal(err)
	}
	end()
	s, ledger, end := start()
	defer end()
	id, _ := ParseID(receipt.ID)
	waitFor(t, func() bool {
		record, ok := s.history.find(id)
		return ok && record.Items["tag"] == 1 && record.Items["url"] == 1
	})
	tagged := cachestore.Subject{Site: siteWWW, Scheme: "https", Host: siteWWW, Path: "/x", Tags: []string{"t"}}
	waitFor(t, func() bool {
		var checked atomic.Uint64
		return ledger.Judge(cachestore.Birth{}, ledger.Marks(tagged), &checked) == cachestore.Gone
	})
	if _, err := s.Purge(t.Context(), Order{Site: siteWWW, Everything: true}); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

// waitFor returns when something has become true, which it does soon or never.
func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for !is() {
		runtime.Gosched()
		select {
		case <-t.Context().Done():
			t.Fatal("it never became true")
		default:
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	h := newHistory(3, "fra-1")
	for i := range 10 {
		if err := h.logged(Entry{Seq: int64(i + 1), ID: ID{byte(i)}, Site: siteWWW, Kind: KindTag, Value: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.byID) != 3 || h.order.len() != 3 {
		t.Errorf("%d orders are remembered, %d in order; want 3", len(h.byID), h.order.len())
	}
	all, _ := h.page(func(string) bool { return true }, ID{}, 10)
	if len(all) != 3 || all[0].ID != (ID{9}).String() || all[2].ID != (ID{7}).String() {
		t.Errorf("page %+v, want the last three, the newest first", all)
	}
}
