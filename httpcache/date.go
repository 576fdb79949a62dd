package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// parseDate reads an HTTP-date in any of its three forms (RFC 9110 §5.6.7).
// received resolves the two-digit year of the RFC 850 form: a date that seems
// more than 50 years ahead of it is of the century before.
func parseDate(s string, received time.Time) (time.Time, bool) {
	if len(s) < len(time.ANSIC) || len(s) > maxDateBytes {
		return time.Time{}, false
	}
	if s[len(s)-1] >= 'A' && !strings.HasSuffix(s, " GMT") {
		// time.Parse would take any letters for a zone of offset zero.
		return time.Time{}, false
	}
	t, err := http.ParseTime(s)
	if err != nil {
		return time.Time{}, false
	}
	if len(s) > 12 && strings.IndexByte(s, '-') > 0 {
		t = rfc850Century(t, received)
	}
	return t.UTC(), true
}

// maxDateBytes is longer than any HTTP-date.
const maxDateBytes = 40

func rfc850Century(t, received time.Time) time.Time {
	year := received.Year()/100*100 + t.Year()%100
	t = t.AddDate(year-t.Year(), 0, 0)
	if t.After(received.AddDate(50, 0, 0)) {
		return t.AddDate(-100, 0, 0)
	}
	if t.Before(received.AddDate(-50, 0, 0)) {
		return t.AddDate(100, 0, 0)
	}
	return t
}

// singleDate reads a field that holds one date. Several lines are no date.
func singleDate(lines []string, received time.Time) (time.Time, bool) {
	if len(lines) != 1 {
		return time.Time{}, false
	}
	return parseDate(lines[0], received)
}

// parseAge reads Age (RFC 9111 §5.1): the first member where there are several,
// and nothing where it is no number.
func parseAge(lines []string) time.Duration {
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	seconds, ok := parseDelta(trimOWS(first))
	if !ok {
		return 0
	}
	return seconds.duration()
}
