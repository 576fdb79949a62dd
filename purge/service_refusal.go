package purge

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// maxProblems is how many problems of one order are named.
const maxProblems = 100

// Refusal is why an order, or a question, was not taken: nothing was purged. Its text
// is for whoever asked.
type Refusal struct {
	Status     int // of HTTP
	Reason     string
	Problems   []string // what is wrong with which item, "urls[3]: …"
	RetryAfter time.Duration
}

// Error is the reason.
func (r *Refusal) Error() string { return r.Reason }

func refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Reason: fmt.Sprintf(format, args...)}
}

// faulty refuses an order for what is wrong with its items.
func faulty(problems []string) *Refusal {
	r := refuse(http.StatusBadRequest, "the order is not valid; nothing was purged")
	r.Problems = problems
	return r
}

// clip quotes what a client sent: safe to print, and short.
func clip(text string) string {
	const most = 80
	if len(text) <= most {
		return strconv.QuoteToASCII(text)
	}
	return strconv.QuoteToASCII(text[:most]) + "…"
}
