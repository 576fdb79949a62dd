package purge

import (
	"context"
	"strings"
	"sync"
	"time"
)

const (
	// maxHistory is how many orders are remembered; the oldest are forgotten first.
	maxHistory = 10_000
	// maxSamples is how many values of an order are, each cut at maxSampleBytes.
	maxSamples     = 3
	maxSampleBytes = 100
)

// Record is an order as the history shows it.
type Record struct {
	ID     string         `json:"id"`
	Site   string         `json:"site"` // empty for what struck all sites
	Who    string         `json:"who"`
	From   string         `json:"from"`
	At     time.Time      `json:"at"`
	Soft   bool           `json:"soft"`
	Items  map[string]int `json:"items"`  // how many of which kind
	Values []string       `json:"values"` // the first few, shortened

	State   string   `json:"state"`
	Edges   []Ack    `json:"edges"`
	Missing []string `json:"missing"`
}

// pastOrder is a record as it is kept.
type pastOrder struct {
	id      ID
	first   Entry // but for its value
	kinds   [kindEnd]uint16
	samples []string
	whole   bool    // no further entries of it are to be counted
	receipt Receipt // its ID is empty if only the log tells of the order
}

func (m *pastOrder) count(e Entry) {
	if e.Kind >= kindEnd {
		return
	}
	if e.Kind == KindClass {
		return // stands beside its URL
	}
	m.kinds[e.Kind]++
	if e.Value != "" && len(m.samples) < maxSamples {
		sample := e.Value
		if len(sample) > maxSampleBytes {
			sample = strings.ToValidUTF8(sample[:maxSampleBytes], "") + "…"
		}
		m.samples = append(m.samples, strings.Clone(sample))
	}
}

// history remembers the last orders: those made here, and those that the log tells of.
type history struct {
	most int
	edge string

	mu    sync.Mutex // guards what follows
	byID  map[ID]*pastOrder
	order ring[*pastOrder] // oldest first
	seq   int64            // of the newest entry that the log told of
}

func newHistory(most int, edge string) *history {
	return &history{most: most, edge: edge, byID: make(map[ID]*pastOrder)}
}

// ordered takes down an order that was carried out here.
func (h *history) ordered(id ID, entries []Entry, receipt Receipt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.of(id, entries[0])
	m.kinds, m.samples = [kindEnd]uint16{}, nil
	for _, e := range entries {
		m.count(e)
	}
	m.whole, m.receipt = true, receipt
}

// logged takes down an entry of the log.
func (h *history) logged(e Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq = max(h.seq, e.Seq)
	if e.ID == (ID{}) { // stands for what was left out of the log: nobody ordered it
		return nil
	}
	if m := h.of(e.ID, e); !m.whole {
		m.count(e)
	}
	return nil
}

// of returns the record of an order, made of its first entry if need be. The caller
// holds mu.
func (h *history) of(id ID, first Entry) *pastOrder {
	if m := h.byID[id]; m != nil {
		return m
	}
	if h.order.len() == h.most {
		delete(h.byID, h.order.first().id)
		h.order.drop()
	}
	first.Value = ""
	m := &pastOrder{id: id, first: first}
	h.byID[id] = m
	h.order.add(m)
	return m
}

// Run takes the orders of the log into the history, those of before first, until ctx
// ends or the log cannot be read; it returns that error, and may be called again.
// What the log has left out because it strikes nothing more is not shown.
func (s *Service) Run(ctx context.Context) error {
	s.history.mu.Lock()
	from := s.history.seq + 1
	s.history.mu.Unlock()
	return s.options.Log.Follow(ctx, from, s.history.logged)
}

// show makes a record for others. The caller holds mu.
func (h *history) show(m *pastOrder) Record {
	r := Record{
		ID: m.id.String(), Site: m.first.Site, Who: m.first.Who, From: m.first.From, At: m.first.At, Soft: m.first.Soft,
		Items: make(map[string]int), Values: append([]string{}, m.samples...),
		State: m.receipt.State, Edges: append([]Ack{}, m.receipt.Edges...), Missing: append([]string{}, m.receipt.Missing...),
	}
	for kind, n := range m.kinds {
		if n > 0 {
			r.Items[Kind(kind).String()] = int(n)
		}
	}
	if r.State == "" { // it is in the log, so it was applied before anything was served
		r.State, r.Edges = StateComplete, []Ack{{Name: h.edge}}
	}
	return r
}

// Bounds of a page of the history.
const (
	defaultPage = 50
	maxPage     = 1000
)

// page lists the orders that sees approves of, newest first, those older than before
// if that is not zero. known is false if before is none of them.
func (h *history) page(sees func(site string) bool, before ID, limit int) (page []Record, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known = before == ID{}
	page = []Record{}
	for i := h.order.len() - 1; i >= 0 && len(page) < limit; i-- {
		m := h.order.at(i)
		switch {
		case !sees(m.first.Site):
		case known:
			page = append(page, h.show(m))
		case m.id == before:
			known = true
		}
	}
	return page, known
}

// find returns the record of an order.
func (h *history) find(id ID) (Record, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.byID[id]
	if m == nil {
		return Record{}, false
	}
	return h.show(m), true
}
