package httpcache

import "time"

// Selecting is one selecting field of a stored response (RFC 9111 §4.1), for whoever
// asks why a request matches it or does not.
type Selecting struct {
	Name string // in lower case
	// Value is the field's value in normal form; empty where Present is false.
	Value   string
	Present bool // the request has the field
}

// Selecting returns the selecting fields that s was stored for, in the order of
// [Stored.Vary]; nil where there are none.
func (s *Stored) Selecting() []Selecting { return selectingOf(s.vary, s.selecting) }

// SelectingOf returns what a request says for the named fields, sorted and in lower
// case as [Stored.Vary] returns them.
func SelectingOf(vary []string, req *Request) []Selecting {
	if len(vary) == 0 {
		return nil
	}
	return selectingOf(vary, selectingValues(canonicalNames(vary), req))
}

func selectingOf(names, values []string) []Selecting {
	var all []Selecting
	for i, name := range names {
		if values[i] == noValue {
			all = append(all, Selecting{Name: name})
			continue
		}
		all = append(all, Selecting{Name: name, Value: values[i], Present: true})
	}
	return all
}

// StaleWindows returns how long past its lifetime the response may be used while it
// is refreshed, and when the origin fails: what its own directives say, else the rules,
// and 0 where a directive forbids it (RFC 9111 §4.2.4, RFC 5861).
func (s *Stored) StaleWindows(rules *Rules) (whileRevalidate, ifError time.Duration) {
	return s.staleFor(rules.StaleWhileRevalidate, s.staleWhileRevalidate), s.staleFor(rules.StaleIfError, s.staleIfError)
}

// Strict reports whether a directive forbids any use of the response once it is stale
// (RFC 9111 §4.2.4).
func (s *Stored) Strict() bool { return s.strict }

// FreshnessFields returns the lines of s that speak of storing and freshness, as the
// origin sent them and clients get them. Fields that are for us alone are not among
// them: of those [Reckoning] has what counts.
func (s *Stored) FreshnessFields() []string {
	var all []string
	for _, name := range [...]string{
		cdnCacheControlField, CacheControlField, pragmaField, ExpiresField,
	} {
		for _, line := range s.header[name] {
			all = append(all, name+": "+line)
		}
	}
	return all
}
