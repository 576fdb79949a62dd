package httpcache

import (
	"net/http"
	"strings"
)

const (
	// unlisted is the weight of a coding that Accept-Encoding does not name.
	unlisted = -1
	// maxOffered bounds the codings that may be offered; those beyond are never chosen.
	maxOffered = 8
)

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
	offered = offered[:min(len(offered), maxOffered)]
	weights := [maxOffered]int{unlisted, unlisted, unlisted, unlisted, unlisted, unlisted, unlisted, unlisted}
	any, identity := unlisted, unlisted
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = cutMember(line)
			name, parameters, _ := strings.Cut(member, ";")
			name = trimOWS(name)
			switch {
			case name == "*":
				lower(&any, parameters)
			case sameCoding(name, "identity"):
				lower(&identity, parameters)
			default:
				for i, each := range offered {
					if sameCoding(name, each) {
						lower(&weights[i], parameters)
					}
				}
			}
		}
	}
	best := 0
	for i, each := range offered {
		weight := weights[i]
		if weight == unlisted {
			weight = any
		}
		if weight > best {
			best, coding = weight, each
		}
	}
	if best == 0 || identity > best {
		return "", false
	}
	return coding, true
}

// lower keeps the lower of a weight that is known and the one among parameters.
func lower(weight *int, parameters string) {
	if given := weightIn(parameters); *weight == unlisted || given < *weight {
		*weight = given
	}
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
// changed on the way: neither Cache-Control nor a field that takes its place says
// no-transform (RFC 9111 §5.2.1.6, §5.2.2.6). What is stored knows it by itself.
func Transformable(h http.Header) bool {
	if targeted, ok := targetedDirectives(h); ok && targeted.noTransform {
		return false
	}
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
