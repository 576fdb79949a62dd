package purge

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// States of an order.
const (
	StateComplete = "complete" // no edge serves what was purged any more
	StatePartial  = "partial"  // some edges do not answer, and serve nothing unasked either
	StatePending  = "pending"  // it is in the log
	StateDryRun   = "dry_run"  // nothing was purged
)

// Ack is an edge that has applied an order.
type Ack struct {
	Name    string `json:"name"`
	AckedMS *int64 `json:"acked_ms"` // from the order's arrival; nil = not known any more
}

// Receipt is what an order came to.
type Receipt struct {
	ID      string   // empty for a dry run
	State   string   // one of the states above
	Edges   []Ack    // that have applied it
	Missing []string // edges that have not
	Count   *int     // of stored responses, for a dry run
	AtLeast bool     // counting stopped before the end
}

// MarshalJSON shows lists as lists, also empty ones, and of a dry run only what it
// has.
func (r Receipt) MarshalJSON() ([]byte, error) {
	if r.State == StateDryRun {
		return json.Marshal(struct {
			State   string `json:"state"`
			Count   *int   `json:"count"`
			AtLeast bool   `json:"at_least"`
		}{r.State, r.Count, r.AtLeast})
	}
	return json.Marshal(struct {
		ID      string   `json:"id"`
		State   string   `json:"state"`
		Edges   []Ack    `json:"edges"`
		Missing []string `json:"missing"`
	}{r.ID, r.State, append([]Ack{}, r.Edges...), append([]string{}, r.Missing...)})
}

// status is how HTTP says it.
func (r Receipt) status() int {
	if r.State == StateComplete || r.State == StateDryRun {
		return http.StatusOK
	}
	return http.StatusAccepted
}

const (
	// repeatFor is how long an order is known by its key.
	repeatFor = 24 * time.Hour
	// maxRepeats is how many orders are; the oldest are forgotten first.
	maxRepeats = 10_000
)

// repeats knows orders by their idempotency keys.
type repeats struct {
	most int

	mu    sync.Mutex // guards what follows
	byKey map[repeatKey]*repeat
	order ring[repeatKey] // oldest first
}

// repeatKey is under what an order is known: keys of different holders and sites have
// nothing to do with each other.
type repeatKey struct{ site, who, key string }

// repeat is an order that may come again.
type repeat struct {
	id      ID // stays the same when the log failed, so that a repetition purges once
	content [sha256.Size]byte
	at      time.Time
	turn    chan struct{} // holds a value while nobody is carrying it out
	receipt *Receipt      // nil until it is done; whoever has the turn may touch it
}

func newRepeats(most int) *repeats {
	return &repeats{most: most, byKey: make(map[repeatKey]*repeat)}
}

// find returns the order known by a key, or makes this one known.
func (r *repeats) find(key repeatKey, content [sha256.Size]byte, now time.Time) *repeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.order.len() > 0 && now.Sub(r.byKey[r.order.first()].at) >= repeatFor {
		r.forgetOldest()
	}
	if known := r.byKey[key]; known != nil {
		return known
	}
	if r.order.len() == r.most {
		r.forgetOldest()
	}
	made := &repeat{id: NewID(), content: content, at: now, turn: make(chan struct{}, 1)}
	made.turn <- struct{}{}
	r.byKey[key] = made
	r.order.add(key)
	return made
}

func (r *repeats) forgetOldest() {
	delete(r.byKey, r.order.first())
	r.order.drop()
}

// onceOnly carries an order out that has a key, unless it was already.
func (s *Service) onceOnly(ctx context.Context, caller Caller, o *Order, entries []Entry) (Receipt, *Refusal) {
	content := contentOf(o)
	known := s.once.find(repeatKey{site: o.Site, who: caller.Name, key: o.Key}, content, s.options.Now())
	if known.content != content {
		return Receipt{}, refuse(http.StatusConflict, "another order has this Idempotency-Key; nothing was purged")
	}
	select {
	case <-known.turn:
		defer func() { known.turn <- struct{}{} }()
	case <-ctx.Done():
		return Receipt{}, refuse(http.StatusServiceUnavailable, "the same order is under way")
	}
	if known.receipt != nil {
		return *known.receipt, nil
	}
	receipt, refusal := s.carryOut(ctx, o, entries, known.id)
	if refusal == nil {
		known.receipt = &receipt
	}
	return receipt, refusal
}

// contentOf is a digest of what is purged, and how, as it was ordered: what that comes
// to may differ by the time the order is repeated.
func contentOf(o *Order) (sum [sha256.Size]byte) {
	h := sha256.New()
	text := func(s string) {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	for _, list := range [][]string{o.URLs, o.Prefixes, o.Tags, o.Hosts} {
		h.Write(binary.AppendUvarint(nil, uint64(len(list))))
		for _, item := range list {
			text(item)
		}
	}
	for _, is := range []bool{o.IgnoreQuery, o.Everything, o.Soft, o.target != nil} {
		text(strconv.FormatBool(is))
	}
	if o.target != nil {
		text(o.target.host)
		text(o.target.path)
		text(o.target.query)
	}
	h.Sum(sum[:0])
	return sum
}

// ring is a queue whose memory is used again.
type ring[T any] struct {
	items []T
	head  int
	n     int
}

func (r *ring[T]) len() int { return r.n }

func (r *ring[T]) first() T { return r.items[r.head] }

// at returns the i-th from the oldest.
func (r *ring[T]) at(i int) T { return r.items[(r.head+i)%len(r.items)] }

func (r *ring[T]) add(item T) {
	if r.n == len(r.items) {
		grown := make([]T, max(16, 2*r.n))
		for i := range r.n {
			grown[i] = r.at(i)
		}
		r.items, r.head = grown, 0
	}
	r.items[(r.head+r.n)%len(r.items)] = item
	r.n++
}

func (r *ring[T]) drop() {
	var none T
	r.items[r.head] = none
	r.head = (r.head + 1) % len(r.items)
	r.n--
}
