package httpcache

import "strings"

// The codings that we know, as bits in the order in which they are written.
const (
	codingBr = 1 << iota
	codingZstd
	codingGzip
	allCodings = 1<<iota - 1
)

// NormalAcceptEncoding reduces Accept-Encoding to the codings that we know and
// that the client accepts, in a fixed order: "br, zstd, gzip" and its parts.
// Preferences are dropped. It is empty where nothing but identity is left,
// also without the field: then the origin must be asked for identity. It
// allocates nothing.
func NormalAcceptEncoding(values []string) string {
	var accepted, refused int
	any := false
	for _, line := range values {
		for line != "" {
			var member string
			member, line = cutMember(line)
			coding, weight, _ := strings.Cut(member, ";")
			coding = trimOWS(coding)
			bit := codingBit(coding)
			switch zero := zeroWeight(weight); {
			case coding == "*":
				any = !zero
			case zero:
				refused |= bit
			default:
				accepted |= bit
			}
		}
	}
	if any {
		accepted |= allCodings
	}
	return codingNames[accepted&^refused]
}

var codingNames = [allCodings + 1]string{
	"", "br", "zstd", "br, zstd", "gzip", "br, gzip", "zstd, gzip", "br, zstd, gzip",
}

func codingBit(coding string) int {
	switch {
	case strings.EqualFold(coding, "gzip"), strings.EqualFold(coding, "x-gzip"):
		return codingGzip
	case strings.EqualFold(coding, "br"):
		return codingBr
	case len(coding) == len("zstd") && strings.EqualFold(coding, "zstd"): // a long s is none
		return codingZstd
	}
	return 0
}

// zeroWeight reports whether the parameters say q=0, or a weight that is
// malformed: then the coding is better not used (RFC 9110 §12.4.2).
func zeroWeight(parameters string) bool {
	for parameters != "" {
		var parameter string
		parameter, parameters, _ = strings.Cut(parameters, ";")
		name, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(trimOWS(name), "q") {
			continue
		}
		value = trimOWS(value)
		if value == "" || value[0] != '0' && value[0] != '1' || len(value) > 1 && value[1] != '.' {
			return true
		}
		positive := value[0] == '1'
		for i := 2; i < len(value); i++ {
			if !isDigit(value[i]) {
				return true
			}
			positive = positive || value[i] != '0'
		}
		return !positive
	}
	return false
}
