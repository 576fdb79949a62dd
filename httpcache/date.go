package httpcache

import (
	"strings"
	"time"
)

// parseDate reads an HTTP-date in any of its three forms (RFC 9110 §5.6.7), strictly
// but for the case of names: what deviates in a digit or a space is no date, and the
// only zone is GMT (RFC 9111 §4.2). The day of the week need not be right. received
// resolves the two-digit year of the RFC 850 form: a date that seems more than 50
// years ahead of it is of the century before.
func parseDate(s string, received time.Time) (time.Time, bool) {
	weekday, rest, ok := strings.Cut(s, " ")
	if !ok || len(s) > maxDateBytes {
		return time.Time{}, false
	}
	d := dateReader{rest: rest, ok: true}
	switch name, comma := strings.CutSuffix(weekday, ","); {
	case comma && d.isDay(name, 3):
		// Sun, 06 Nov 1994 08:49:37 GMT
		d.day = d.digits(2)
		d.skip(" ")
		d.readMonth()
		d.skip(" ")
		d.year = d.digits(4)
		d.skip(" ")
		d.readClock()
		d.skip(" GMT")
	case comma && d.isDay(name, 0):
		// Sunday, 06-Nov-94 08:49:37 GMT
		d.day = d.digits(2)
		d.skip("-")
		d.readMonth()
		d.skip("-")
		d.year = century(d.digits(2), received)
		d.skip(" ")
		d.readClock()
		d.skip(" GMT")
	case d.isDay(name, 3):
		// Sun Nov  6 08:49:37 1994
		d.readMonth()
		d.skip(" ")
		d.rest = strings.TrimPrefix(d.rest, " ")
		d.day = d.digits(2 - (len(rest) - len("Nov ") - len(d.rest)))
		d.skip(" ")
		d.readClock()
		d.skip(" ")
		d.year = d.digits(4)
	default:
		return time.Time{}, false
	}
	return d.date()
}

// maxDateBytes is longer than any HTTP-date.
const maxDateBytes = 40

// dateReader takes a date apart from the left. What does not fit makes ok false.
type dateReader struct {
	rest                    string
	ok                      bool
	year, day               int
	month                   time.Month
	hours, minutes, seconds int
}

// isDay tells whether name is that of a weekday, its first n letters, or all of it
// where n is 0.
func (d *dateReader) isDay(name string, n int) bool {
	for day := time.Sunday; day <= time.Saturday; day++ {
		full := day.String()
		if n > 0 {
			full = full[:n]
		}
		if strings.EqualFold(name, full) {
			return true
		}
	}
	return false
}

func (d *dateReader) skip(text string) {
	if len(d.rest) < len(text) || !strings.EqualFold(d.rest[:len(text)], text) {
		d.ok = false
		return
	}
	d.rest = d.rest[len(text):]
}

func (d *dateReader) digits(n int) (value int) {
	if n < 1 || len(d.rest) < n {
		d.ok = false
		return 0
	}
	for i := range n {
		if !isDigit(d.rest[i]) {
			d.ok = false
			return 0
		}
		value = value*10 + int(d.rest[i]-'0')
	}
	d.rest = d.rest[n:]
	return value
}

func (d *dateReader) readMonth() {
	for month := time.January; month <= time.December; month++ {
		if short := month.String()[:3]; len(d.rest) >= 3 && strings.EqualFold(d.rest[:3], short) {
			d.month, d.rest = month, d.rest[3:]
			return
		}
	}
	d.ok = false
}

func (d *dateReader) readClock() {
	d.hours = d.digits(2)
	d.skip(":")
	d.minutes = d.digits(2)
	d.skip(":")
	d.seconds = d.digits(2)
}

// date is the instant, if all of it was there and it exists. Leap seconds end days.
func (d *dateReader) date() (time.Time, bool) {
	if !d.ok || d.rest != "" || d.hours > 23 || d.minutes > 59 || d.day < 1 ||
		d.seconds > 59 && (d.seconds > 60 || d.hours != 23 || d.minutes != 59) {
		return time.Time{}, false
	}
	t := time.Date(d.year, d.month, d.day, d.hours, d.minutes, d.seconds, 0, time.UTC)
	if last := time.Date(d.year, d.month+1, 0, 0, 0, 0, 0, time.UTC).Day(); d.day > last {
		return time.Time{}, false
	}
	return t, true
}

// century makes a year of its last two digits.
func century(digits int, received time.Time) int {
	year := received.Year()/100*100 + digits
	switch {
	case year > received.Year()+50:
		return year - 100
	case year < received.Year()-50:
		return year + 100
	}
	return year
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
