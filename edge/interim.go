package edge

import (
	"context"
	"net/http"
	"sync"
	"time"

	"perigee/httpcache"
)

// maxInterim is how many interim responses may wait for a client that takes them
// slowly; further ones are dropped.
const maxInterim = 4

// interim passes the upstream's interim responses (RFC 9110 §15.2) on to the client
// whose request led. They go out from a goroutine of their own, so that a client
// which does not read holds up nobody else who waits for the same fetch.
type interim struct {
	w http.ResponseWriter

	mu      sync.Mutex // guards what follows
	stopped bool
	queue   chan interimHead
	done    chan struct{} // closed by the goroutine; nil until there is one
}

type interimHead struct {
	status int
	header http.Header
}

// tell has one interim response sent, if there is room and it is not too late.
func (i *interim) tell(status int, header http.Header) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stopped {
		return
	}
	if i.done == nil {
		i.queue, i.done = make(chan interimHead, maxInterim), make(chan struct{})
		go i.run()
	}
	select {
	case i.queue <- interimHead{status, header}:
	default:
	}
}

func (i *interim) run() {
	defer close(i.done)
	w, can := i.w.(deadliner)
	for head := range i.queue {
		if can {
			_ = w.SetWriteDeadline(clock().Add(clientPatience))
		}
		sendInterim(i.w, head.status, head.header)
	}
	if can {
		_ = w.SetWriteDeadline(time.Time{})
	}
}

// stop returns when the last interim response is out, and tells whether there was
// one. The response's fields are the caller's again. Whoever tells meanwhile is not
// held up.
func (i *interim) stop(ctx context.Context) (sent bool) {
	i.mu.Lock()
	i.stopped = true
	done := i.done
	if done != nil {
		close(i.queue)
	}
	i.mu.Unlock()
	if done == nil {
		return false
	}
	if w, ok := i.w.(deadliner); ok && ctx.Err() != nil {
		_ = w.SetWriteDeadline(clock()) // nobody reads any more
	}
	<-done
	return true
}

// sendInterim sends one interim response. net/http takes its fields from those of
// the final one, so they are put there for the moment.
func sendInterim(w http.ResponseWriter, status int, header http.Header) {
	h := w.Header()
	kept := h.Clone()
	clear(h)
	copyFields(h, header)
	w.WriteHeader(status)
	clear(h)
	copyFields(h, kept)
}

// listen has interim responses to the errand's request sent to this exchange's
// client. HTTP/1.0 knows none (RFC 9110 §15.2).
func (x *exchange) listen(e *errand) {
	if x.hush(); x.r.ProtoAtLeast(1, 1) {
		x.interim = &interim{w: x.w}
		e.tell = x.interim.tell
	}
}

// hush returns when no interim response is under way any more.
func (x *exchange) hush() {
	if x.interim != nil {
		x.hinted = x.interim.stop(x.ctx) || x.hinted
		x.interim = nil
	}
}

// heard takes note of an interim response. Links of Early Hints (RFC 8297) are
// remembered with the response that follows.
func (e *errand) heard(status int, header http.Header) {
	fields := httpcache.ResponseHeader(header)
	e.policy.removeFrom(fields)
	if status == http.StatusEarlyHints {
		e.hints = append(e.hints, fields[httpcache.LinkField]...)
	}
	if e.tell != nil {
		e.tell(status, fields)
	}
}

// hint sends the Early Hints that came before a stored response to a client that
// gets it from the store.
func (x *exchange) hint(links []string) {
	if len(links) == 0 || x.hinted || x.r.Method != http.MethodGet || !x.r.ProtoAtLeast(1, 1) {
		return
	}
	fields := http.Header{httpcache.LinkField: links}
	if x.final.removeFrom(fields); len(fields) == 0 {
		return
	}
	x.hinted = true
	x.pace(unpacedBytes)
	sendInterim(x.w, http.StatusEarlyHints, fields)
}
