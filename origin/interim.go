package origin

import (
	"fmt"
	"net/http"
	"net/textproto"
	"sync"
)

// Bounds on the interim responses to one request, all of its tries together.
// net/http bounds the sum of interim and final heads by MaxResponseHeaderBytes
// where nobody looks at the interim ones; where somebody does it bounds each head
// alone, and their number not at all: that is left to who looks.
const (
	maxInterimTold  = 8            // told to the caller; the others are dropped
	maxInterim      = 64           // received
	maxInterimBytes = maxHeadBytes // of their fields, names and values
)

// interim hands interim responses to the caller until the exchange has its answer.
type interim struct {
	// mu guards what follows. It is held while tell runs, which must return at once:
	// so end waits for a call under way, and there is none after it.
	mu    sync.Mutex
	tell  func(status int, header http.Header) // nil = nobody is told any more
	told  int
	muted bool // another try has begun since some were told
	seen  int  // 100 included
	bytes int
}

func (i *interim) wanted() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.tell != nil
}

// again says that the request goes out on a connection, not always the first.
func (i *interim) again() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.muted = i.told > 0
}

func (i *interim) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tell = nil
}

// gotInterim is called by the transport for each interim response but 101. An error
// ends the exchange, by its context too: not every transport passes it on as it is.
func (x *exchange) gotInterim(status int, fields textproto.MIMEHeader) error {
	if err := x.tellInterim(status, http.Header(fields)); err != nil {
		x.cancel(err)
		return err
	}
	return nil
}

func (x *exchange) tellInterim(status int, header http.Header) *Error {
	i := &x.interim
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen++
	for name, values := range header {
		for _, value := range values {
			i.bytes += len(name) + len(value)
		}
	}
	if i.seen > maxInterim {
		return x.error(ErrMalformed, fmt.Errorf("more than %d interim responses", maxInterim))
	}
	if i.bytes > maxInterimBytes {
		return x.error(ErrMalformed, fmt.Errorf("interim responses of more than %d bytes", maxInterimBytes))
	}
	if err := x.checkFields(header); err != nil {
		return err
	}
	if status == http.StatusContinue || i.muted || i.tell == nil || i.told == maxInterimTold {
		return nil
	}
	i.told++
	i.tell(status, header.Clone())
	return nil
}
