package httpcache

import (
	"bytes"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"
)

// Bounds of a No-Vary-Search field: of names in it and of its length, all lines
// together. A field beyond them is as good as absent.
const (
	maxSearchNames = 64
	maxSearchBytes = 4 << 10
)

// NoVarySearch is what a response says of the parts of the query that do not
// tell it from another (draft-ietf-httpbis-no-vary-search §4). It is immutable.
// Nil is the default: the query counts as it is.
type NoVarySearch struct {
	// names, canonically encoded and sorted, are the parameters that do not
	// count, or where wildcard is set the only ones that do.
	names    []string
	wildcard bool
	unsorted bool // the order of names does not count
}

// ParseNoVarySearch reads the field (draft-ietf-httpbis-no-vary-search §5). It is
// nil and false where the query counts as it is: the field is absent, is no
// structured dictionary, is longer than the bounds, has a value of a wrong type,
// or says what goes without saying.
func ParseNoVarySearch(lines []string) (*NoVarySearch, bool) {
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if size == 0 || size > maxSearchBytes {
		return nil, false
	}
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return nil, false
	}
	n := new(NoVarySearch)
	if !n.setOrder(dictionary) || !n.setParams(dictionary) {
		return nil, false
	}
	if !n.unsorted && !n.wildcard && len(n.names) == 0 {
		return nil, false
	}
	return n, true
}

// SameSearch reports whether both responses say the same of the query: their
// No-Vary-Search fields are equal rules, however they are written. A field that is
// absent or not understood is the default rule.
func SameSearch(a, b *Stored) bool {
	mine, theirs := a.header[NoVarySearchField], b.header[NoVarySearchField]
	if slices.Equal(mine, theirs) {
		return true
	}
	one, _ := ParseNoVarySearch(mine)
	other, _ := ParseNoVarySearch(theirs)
	return one.String() == other.String()
}

func (n *NoVarySearch) setOrder(dictionary *httpsfv.Dictionary) bool {
	member, given := dictionary.Get("key-order")
	if !given {
		return true
	}
	var ok bool
	n.unsorted, ok = sfBoolean(member)
	return ok
}

// setParams reads params and except. The second is understood only beside a
// params that is true.
func (n *NoVarySearch) setParams(dictionary *httpsfv.Dictionary) bool {
	if member, given := dictionary.Get("params"); given {
		var ok bool
		if n.wildcard, ok = sfBoolean(member); !ok {
			if n.names, ok = searchNames(member); !ok {
				return false
			}
		}
	}
	member, given := dictionary.Get("except")
	if !given {
		return true
	}
	var ok bool
	n.names, ok = searchNames(member)
	return ok && n.wildcard
}

func sfBoolean(member httpsfv.Member) (value, ok bool) {
	item, ok := member.(httpsfv.Item)
	if !ok {
		return false, false
	}
	value, ok = item.Value.(bool)
	return value, ok
}

// searchNames reads an inner list of strings, each the encoded name of a
// parameter (§5.3), as sorted canonical names.
func searchNames(member httpsfv.Member) ([]string, bool) {
	list, ok := member.(httpsfv.InnerList)
	if !ok || len(list.Items) > maxSearchNames {
		return nil, false
	}
	var names []string
	for _, item := range list.Items {
		text, ok := item.Value.(string)
		if !ok {
			return nil, false
		}
		names = append(names, string(appendCanonical(nil, text)))
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// String returns the field value of the rule in its one canonical form: equal
// rules have equal texts, and ParseNoVarySearch reads it back.
func (n *NoVarySearch) String() string {
	if n == nil {
		return ""
	}
	var parts []string
	if n.unsorted {
		parts = append(parts, "key-order")
	}
	list := `("` + strings.Join(n.names, `" "`) + `")`
	switch {
	case n.wildcard && len(n.names) > 0:
		parts = append(parts, "params", "except="+list)
	case n.wildcard:
		parts = append(parts, "params")
	case len(n.names) > 0:
		parts = append(parts, "params="+list)
	}
	return strings.Join(parts, ", ")
}

// Reduce returns the canonical form of a query (without "?") under the rule: two
// queries are equivalent (draft-ietf-httpbis-no-vary-search §6) exactly if their
// canonical forms are equal. It is for keys and comparison, not for the origin.
// Reducing twice is reducing once. A nil rule returns the query as it is.
func (n *NoVarySearch) Reduce(query string) string {
	if n == nil || query == "" {
		return query
	}
	out := make([]byte, 0, len(query)+16)
	var members []searchMember
	if n.unsorted {
		members = make([]searchMember, 0, strings.Count(query, "&")+1)
	}
	for rest, more := query, true; more; {
		var member string
		if member, rest, more = strings.Cut(rest, "&"); member == "" {
			continue
		}
		start := len(out)
		name, value, _ := strings.Cut(member, "=")
		if start > 0 {
			out = append(out, '&')
			start++
		}
		out = appendCanonical(out, name)
		if !n.counts(out[start:]) {
			out = out[:max(0, start-1)]
			continue
		}
		end := len(out)
		out = appendCanonical(append(out, '='), value)
		if n.unsorted {
			members = append(members, searchMember{start, end, len(out)})
		}
	}
	return sortedMembers(out, members)
}

// searchMember is where a parameter stands in a canonical query.
type searchMember struct{ start, nameEnd, end int }

// sortedMembers orders the parameters of a canonical query by name, those of one
// name as they are. Canonical names are as good for that as decoded ones: any
// order will do that is the same for all queries.
func sortedMembers(query []byte, members []searchMember) string {
	byName := func(a, b searchMember) int {
		if order := bytes.Compare(query[a.start:a.nameEnd], query[b.start:b.nameEnd]); order != 0 {
			return order
		}
		return a.start - b.start
	}
	if slices.IsSortedFunc(members, byName) {
		return string(query)
	}
	slices.SortFunc(members, byName)
	sorted := make([]byte, 0, len(query))
	for i, m := range members {
		if i > 0 {
			sorted = append(sorted, '&')
		}
		sorted = append(sorted, query[m.start:m.end]...)
	}
	return string(sorted)
}

// counts reports whether a parameter of that canonical name counts.
func (n *NoVarySearch) counts(name []byte) bool {
	_, listed := slices.BinarySearchFunc(n.names, name, func(a string, b []byte) int {
		switch {
		case a < string(b):
			return -1
		case a > string(b):
			return 1
		}
		return 0
	})
	return listed == n.wildcard
}
