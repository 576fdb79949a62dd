package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"perigee/cachestore/disk"
)

// VerifyRate is how many bytes a second a look at the disk reads unless it is told.
const VerifyRate = 64 << 20

// Verification is the JSON of the answer to POST /v1/cache/verify.
type Verification struct {
	disk.Report
	Loading bool   `json:"loading"`         // what the index did not have yet was not looked at
	Error   string `json:"error,omitempty"` // why it ended early; the report is of what was read until then
}

// verify answers POST /v1/cache/verify?rate=SIZE, when all that is on disk has been read
// or whoever asked has left. One look at a time: the second gets 409.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	if s.options.Verify == nil {
		writeJSON(w, http.StatusNotFound, problem{Error: "this node keeps nothing on disk (store.disk)"})
		return
	}
	rate, err := verifyRate(r.URL.RawQuery)
	if err == nil {
		// A client that leaves is noticed only when its body has been read.
		_, err = io.Copy(io.Discard, r.Body)
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, problem{Error: err.Error()})
		return
	}
	if !s.verifying.TryLock() {
		writeJSON(w, http.StatusConflict, problem{Error: "what is on disk is being verified already"})
		return
	}
	defer s.verifying.Unlock()
	// It takes as long as it takes. In tests without a connection there is none to be had.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	v := Verification{Loading: s.options.Disk != nil && s.options.Disk().Loading}
	v.Report, err = s.options.Verify(ctx, rate)
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, v)
	case r.Context().Err() != nil:
		// Whoever asked has left.
	case errors.Is(err, context.Canceled):
		v.Error = "the node is about to stop"
		writeJSON(w, http.StatusServiceUnavailable, v)
	default:
		v.Error = err.Error()
		writeJSON(w, http.StatusInternalServerError, v)
	}
}

// untilStop is a context that ends with ctx, or when the server is to stop.
func (s *Server) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// verifyRate reads the parameters.
func verifyRate(query string) (int64, error) {
	params, err := url.ParseQuery(query)
	if err != nil {
		return 0, fmt.Errorf("the query is malformed: %w", err)
	}
	for name, values := range params {
		switch {
		case name != "rate":
			return 0, fmt.Errorf("there is no parameter %.40q: rate", name)
		case len(values) > 1:
			return 0, fmt.Errorf("%s stands there twice", name)
		}
	}
	if !params.Has("rate") {
		return VerifyRate, nil
	}
	rate, err := ParseRate(params.Get("rate"))
	if err != nil {
		return 0, fmt.Errorf("rate: %w", err)
	}
	return rate, nil
}

// ParseRate reads how many bytes a second may be read, in the words that sizes have in a
// configuration: 64MiB, 500KB, 0 for no bound.
func ParseRate(text string) (int64, error) {
	if text == "0" {
		return 0, nil
	}
	digits := text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
	factor := unitBytes(text[len(digits):])
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || factor == 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%.40q is not a size; write 64MiB, or 0 for no bound", text)
	}
	return n * factor, nil
}

// unitBytes is a unit of sizes in bytes, 0 for what is none.
func unitBytes(unit string) int64 {
	decimal, binary := int64(1), int64(1)
	for _, prefix := range []string{"", "K", "M", "G", "T"} {
		switch {
		case unit == prefix+"B":
			return decimal
		case prefix != "" && unit == prefix+"iB":
			return binary
		}
		decimal, binary = decimal*1000, binary*1024
	}
	return 0
}
