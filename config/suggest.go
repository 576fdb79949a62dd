package config

import "strings"

func didYouMean(s string) string { return "did you mean " + s + "?" }

// nearest is the candidate that a slip of the fingers turned into s, "" where none is near: at most one edit for three
// letters, and never more than three. Of equally near ones the first wins.
func nearest(s string, candidates []string) string {
	best, bestDistance := "", 4
	for _, c := range candidates {
		d := distance(fold(s), fold(c))
		if d < bestDistance && d <= max(1, len(c)/3) {
			best, bestDistance = c, d
		}
	}
	return best
}

// fold makes words equal that people do not tell apart.
func fold(s string) string {
	return strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(s))
}

// maxGuess bounds the words that a distance is taken of; no key is nearly as long.
const maxGuess = 64

// distance counts the letters to insert, remove, replace or swap with their neighbour to get from a to b.
func distance(a, b string) int {
	if len(a) > maxGuess || len(b) > maxGuess {
		return maxGuess
	}
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
