package httpcache

import (
	"net/http"
	"strings"
)

// identityCoding is the name of no coding at all (RFC 9110 §12.5.3).
const identityCoding = "identity"

// unlisted is the weight of a coding that Accept-Encoding does not name.
const unlisted = -1

// PreferredCoding returns which of the offered content codings a request with these
// Accept-Encoding lines should get (RFC 9110 §12.5.3): the one with the highest weight,
// of several the one that is offered first. ok is false where the content is best left
// as it is: the field is absent, no offered coding is acceptable, or the client names
// identity with a higher weight than any of them. That holds also where the client
// refuses identity and takes nothing that is offered, since an answer it may not like
// is better than none.
//
// A coding whose weight is malformed is not acceptable, and of two weights for one
// coding the lower counts. offered has tokens in lower case. It allocates nothing.
func PreferredCoding(lines, offered []string) (coding string, ok bool) {
	if len(lines) == 0 {
		return "", false
	}
	best := 0
	for _, each := range offered {
		if weight := codingWeight(lines, each); weight > best {
			best, coding = weight, each
		}
	}
	if best == 0 || weightOf(lines, identityCoding) > best {
		return "", false
	}
	return coding, true
}

// codingWeight is the weight of a coding in thousandths, that of "*" where the coding
// is not named, 0 where neither is.
func codingWeight(lines []string, coding string) int {
	weight := weightOf(lines, coding)
	if weight == unlisted {
		weight = weightOf(lines, "*")
	}
	return max(0, weight)
}

// weightOf is the lowest weight that the lines give to a name, or unlisted.
func weightOf(lines []string, name string) int {
	lowest := unlisted
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = cutMember(line)
			coding, parameters, _ := strings.Cut(member, ";")
			if !sameCoding(trimOWS(coding), name) {
				continue
			}
			if weight := weightIn(parameters); lowest == unlisted || weight < lowest {
				lowest = weight
			}
		}
	}
	return lowest
}

// sameCoding compares without regard to case; "x-gzip" means gzip (RFC 9110 §8.4.1.3).
func sameCoding(coding, name string) bool {
	if name == "gzip" && len(coding) == len("x-gzip") {
		return strings.EqualFold(coding, "x-gzip")
	}
	// Letters outside of ASCII fold to some within, and are longer.
	return len(coding) == len(name) && strings.EqualFold(coding, name)
}

// weightIn is the first weight among parameters, in thousandths: 1000 without one, 0 for
// one that is malformed.
func weightIn(parameters string) int {
	for parameters != "" {
		var parameter string
		parameter, parameters, _ = strings.Cut(parameters, ";")
		name, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(trimOWS(name), "q") {
			return qvalue(trimOWS(value))
		}
	}
	return 1000
}

// qvalue reads a weight (RFC 9110 §12.4.2): from 0 to 1 with at most three decimals.
func qvalue(s string) int {
	if s == "" || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' || len(s) > len("0.000") {
		return 0
	}
	weight, unit := 1000*int(s[0]-'0'), 100
	for i := 2; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0
		}
		weight += unit * int(s[i]-'0')
		unit /= 10
	}
	if weight > 1000 {
		return 0
	}
	return weight
}

// Transformable reports whether a message with these fields lets its content be
// changed on the way: it does not say no-transform (RFC 9111 §5.2.1.6, §5.2.2.6).
func Transformable(h http.Header) bool {
	for _, line := range h[CacheControlField] {
		for line != "" {
			var member string
			member, line = cutMember(line)
			name, _, _ := strings.Cut(member, "=")
			if strings.EqualFold(trimOWS(name), "no-transform") {
				return false
			}
		}
	}
	return true
}
