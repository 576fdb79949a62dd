package config

import (
	"math"
	"strings"
	"time"
)

// maxDuration bounds what a duration may say, far from where sums of durations and instants overflow.
const maxDuration = 100 * 365 * 24 * time.Hour

// parseDuration reads "10s", "5m", "30d", "1h30m": whole numbers, each with a unit, the larger unit first.
func parseDuration(s string) (any, *fault) {
	if s == "0" {
		return time.Duration(0), nil
	}
	var total, last time.Duration
	for rest := s; rest != ""; {
		n, unit, tail := numberAndUnit(rest)
		size := durationUnit(unit)
		if n < 0 || size == 0 || last != 0 && size >= last || time.Duration(n) > maxDuration/size {
			return nil, badDuration(s)
		}
		total += time.Duration(n) * size
		last, rest = size, tail
	}
	if s == "" || total > maxDuration {
		return nil, badDuration(s)
	}
	return total, nil
}

func durationUnit(unit string) time.Duration {
	switch unit {
	case "ms":
		return time.Millisecond
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return 24 * time.Hour
	}
	return 0
}

// numberAndUnit cuts "30m15s" into 30, "m" and "15s". The number is -1 where there is none that could be meant.
func numberAndUnit(s string) (n int64, unit, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	j := i
	for j < len(s) && (s[j] < '0' || s[j] > '9') {
		j++
	}
	n = -1
	if i > 0 && i <= 15 {
		n = 0
		for _, c := range []byte(s[:i]) {
			n = n*10 + int64(c-'0')
		}
	}
	return n, s[i:j], s[j:]
}

// nominal is a duration of one number and unit without regard to maxDuration, 0 where there is none.
func nominal(s string) float64 {
	n, unit, _ := numberAndUnit(s)
	return float64(n) * float64(durationUnit(unit))
}

// badDuration guesses what was meant.
func badDuration(s string) *fault {
	hint := "write durations as 500ms, 10s, 5m, 1h30m or 30d"
	n, unit, rest := numberAndUnit(strings.ReplaceAll(s, " ", ""))
	unit = strings.ToLower(unit)
	switch {
	case nominal(s) > float64(maxDuration):
		hint = "the longest duration is 36500d"
	case strings.Contains(s, "."):
		hint = "write whole numbers, as in 1h30m"
	case n < 0 || rest != "":
	case unit == "":
		hint = didYouMean(s + "s")
	case unit == "msec", unit == "millis", unit == "milliseconds":
		hint = didYouMean(cutUnit(s) + "ms")
	case unit == "w" || strings.HasPrefix(unit, "week"):
		hint = "weeks are written in days: 1 week is 7d"
	case strings.HasPrefix(unit, "mo"), strings.HasPrefix(unit, "y"):
		hint = "months and years are written in days: 30d, 365d"
	case strings.ContainsAny(unit[:1], "smhd"):
		hint = didYouMean(cutUnit(s) + unit[:1])
	}
	return faultf(hint, "%s is not a duration", quote(s))
}

// cutUnit is the number at the beginning of s, as it was written.
func cutUnit(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

// parseSize reads "512MB" (10^6) and "64MiB" (2^20); zero needs no unit, every other number does.
func parseSize(s string) (any, *fault) {
	if s == "0" {
		return int64(0), nil
	}
	n, unit, rest := numberAndUnit(s)
	factor := sizeUnit(unit)
	if n < 0 || rest != "" || factor == 0 || n > math.MaxInt64/factor {
		return nil, badSize(s)
	}
	return n * factor, nil
}

func sizeUnit(unit string) int64 {
	prefix, ok := strings.CutSuffix(unit, "B")
	if !ok {
		return 0
	}
	base := int64(1000)
	if p, binary := strings.CutSuffix(prefix, "i"); binary && p != "" {
		prefix, base = p, 1024
	}
	return power(prefix, base)
}

// power is base to the power that a metric prefix stands for, 0 for what is no prefix.
func power(prefix string, base int64) int64 {
	switch prefix {
	case "":
		return 1
	case "K":
		return base
	case "M":
		return base * base
	case "G":
		return base * base * base
	case "T":
		return base * base * base * base
	}
	return 0
}

func badSize(s string) *fault {
	hint := "write sizes as 10KiB, 512MB or 64GiB"
	n, unit, rest := numberAndUnit(strings.ReplaceAll(s, " ", ""))
	unit = strings.ToUpper(strings.TrimSuffix(strings.ToLower(unit), "b"))
	binary := strings.TrimSuffix(unit, "I")
	switch {
	case n < 0 || rest != "" || len(binary) > 1 || unit == "I" || power(binary, 1000) == 0:
	case unit == "":
		hint = "a size needs a unit; " + didYouMean(cutUnit(s)+"MiB")
	case unit != binary:
		hint = didYouMean(cutUnit(s) + binary + "iB")
	default:
		hint = "did you mean " + cutUnit(s) + binary + "B or " + cutUnit(s) + binary + "iB?"
	}
	return faultf(hint, "%s is not a size", quote(s))
}

// rate is a number of events in a time.
type rate struct {
	n   int64
	per time.Duration
}

// parseRate reads "100/s", "50/m", "10/h".
func parseRate(s string) (any, *fault) {
	number, unit, _ := strings.Cut(s, "/")
	n, ok := digits(number)
	per := durationUnit(unit)
	if ok && (unit == "s" || unit == "m" || unit == "h") {
		return rate{n, per}, nil
	}
	hint := "write rates as 100/s, 50/m or 10/h"
	if ok && unit == "" {
		hint = didYouMean(number + "/s")
	}
	return nil, faultf(hint, "%s is not a rate", quote(s))
}

func parseByteRate(s string) (any, *fault) {
	size, ok := strings.CutSuffix(s, "/s")
	if n, bad := parseSize(size); ok && bad == nil {
		return n, nil
	}
	return nil, faultf("write it as 1KiB/s", "%s is not a size per second", quote(s))
}

func parseBandwidth(s string) (any, *fault) {
	n, unit, rest := numberAndUnit(s)
	prefix, ok := strings.CutSuffix(unit, "bit")
	factor := power(prefix, 1000)
	if n < 0 || rest != "" || !ok || factor == 0 || n > math.MaxInt64/factor {
		return nil, faultf("write bandwidths as 100Mbit or 10Gbit", "%s is not a bandwidth", quote(s))
	}
	return n * factor, nil
}

// firstYear keeps slips in a year from being taken for one; the zero time is none in particular.
const firstYear = 2000

// parseInstant reads a date, which is its beginning in UTC, or a date with a time and its zone (RFC 3339 §5.6).
func parseInstant(s string) (any, *fault) {
	at, ok := instant(s)
	if !ok {
		hint := "for example: 2027-01-31 or 2027-01-31T18:00:00Z"
		for _, near := range []string{s + "Z", strings.Replace(s, " ", "T", 1), strings.Replace(s, " ", "T", 1) + "Z", strings.ToUpper(s)} {
			if _, ok := instant(near); ok {
				hint = didYouMean(near)
				break
			}
		}
		return nil, faultf(hint, "%s is not a date or an instant", quote(s))
	}
	if at.Year() < firstYear {
		return nil, faultf("look at the year", "%s is before %d", quote(s), firstYear)
	}
	return at, nil
}

func instant(s string) (time.Time, bool) {
	at, err := time.Parse(time.DateOnly, s)
	if err != nil {
		at, err = time.Parse(time.RFC3339, s)
	}
	return at.UTC(), err == nil
}
