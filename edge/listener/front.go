package listener

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"net/http"
	"sync/atomic"
)

// front stands between the engines and the Answerer: it knows how many requests are
// running, so that Shutdown can wait for them.
type front struct {
	answerer Answerer
	running  atomic.Int64
	waited   atomic.Bool
	idle     chan struct{} // one token: running may have come to 0 while waited
}

func newFront(a Answerer) *front {
	return &front{answerer: a, idle: make(chan struct{}, 1)}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.running.Add(1)
	defer f.done()
	f.answerer.ServeHTTP(w, r)
}

func (f *front) done() {
	if f.running.Add(-1) == 0 && f.waited.Load() {
		select {
		case f.idle <- struct{}{}:
		default:
		}
	}
}

// wait returns when nothing runs or ctx ends, with the number that still run.
func (f *front) wait(ctx context.Context) int64 {
	f.waited.Store(true)
	for {
		n := f.running.Load()
		if n == 0 {
			return 0
		}
		select {
		case <-f.idle:
		case <-ctx.Done():
			return n
		}
	}
}

// serverLog turns the lines of net/http's server into records: panics are errors,
// everything else is what clients do and of interest only when debugging.
func serverLog(l *slog.Logger) *log.Logger {
	return log.New(serverLines{l}, "", 0)
}

type serverLines struct{ log *slog.Logger }

func (s serverLines) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.Contains(line, []byte("panic serving")) {
		level = slog.LevelError
	}
	s.log.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
