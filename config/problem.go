package config

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Problem is one fault of a configuration. Line and Col are counted from 1, Col in characters; both are 0 for a fault of a
// whole file or of a command line flag.
type Problem struct {
	File       string `json:"file,omitempty"`
	Line       int    `json:"line,omitempty"`
	Col        int    `json:"col,omitempty"`
	Path       string `json:"path,omitempty"`       // the key, as in "origin.upstreams[0].url", or the flag
	Message    string `json:"message"`              // what is wrong
	Suggestion string `json:"suggestion,omitempty"` // what to write instead
	Snippet    string `json:"snippet,omitempty"`    // the offending line with a caret below the place
}

// String is the problem as it is printed: place, message, offending line, suggestion.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.place())
	b.WriteString(p.Message)
	for line := range strings.SplitSeq(p.Snippet, "\n") {
		if line != "" {
			b.WriteString("\n" + line)
		}
	}
	if p.Suggestion != "" {
		b.WriteString("\n    " + p.Suggestion)
	}
	return b.String()
}

func (p Problem) place() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String()
}

// maxProblems bounds a report: beyond it they are counted only.
const maxProblems = 500

// Errors is everything that is wrong with a configuration, in the order of the files: the node file, then the site files, in
// each by line and column. It is what Load and Proxy return as their error.
type Errors struct {
	Problems []Problem
	More     int // how many were found beyond the ones listed
}

// Error prints all problems, one after another.
func (e *Errors) Error() string {
	parts := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		parts = append(parts, p.String())
	}
	if e.More > 0 {
		parts = append(parts, fmt.Sprintf("and %d more problems", e.More))
	}
	return strings.Join(parts, "\n")
}

// MarshalJSON is the same report for machines: {"problems": […], "more": 0}.
func (e *Errors) MarshalJSON() ([]byte, error) {
	problems := e.Problems
	if problems == nil {
		problems = []Problem{}
	}
	return json.Marshal(struct {
		Problems []Problem `json:"problems"`
		More     int       `json:"more,omitempty"`
	}{problems, e.More})
}
