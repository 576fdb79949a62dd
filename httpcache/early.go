package httpcache

// Bounds of the early hints of one response; what is beyond them is not kept.
const (
	maxEarlyLines = 16
	maxEarlyBytes = 8 << 10
)

// earlyLines returns the lines that are kept: those that fit, and that a field
// may hold (RFC 9110 §5.5); nil for none.
func earlyLines(lines []string) []string {
	var kept []string
	size := 0
	for _, line := range lines {
		if line == "" || size+len(line) > maxEarlyBytes || !isFieldValue(line) {
			continue
		}
		if len(kept) == maxEarlyLines {
			break
		}
		size += len(line)
		kept = append(kept, line)
	}
	return kept
}

// isFieldValue reports whether s has no control character other than a tab.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
