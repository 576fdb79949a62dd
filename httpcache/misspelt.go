package httpcache

import "strings"

// Directives that restrict count also where they are misspelt: a response that is
// not stored costs a request to the origin, one that was meant for one client and
// is stored costs more. Those that permit have to be well-formed.

// malformed reports whether a member of Cache-Control is not what its grammar asks
// for (RFC 9111 §5.2): a token, or a token, "=" and a token or a whole quoted
// string. Single quotes are letters of tokens, and nobody means them so.
func (d directive) malformed() bool {
	switch {
	case !isPlainToken(d.name) || d.broken:
		return true
	case d.hasArgument && !d.quoted:
		return !isPlainToken(d.argument)
	}
	return false
}

func isPlainToken(s string) bool { return isToken(s) && strings.IndexByte(s, '\'') < 0 }

// restrict obeys the words that restrict in a malformed member, wherever in it they
// stand between characters that no name has: "private; max-age=60", "no-cache
// no-store", `ext="a, private`.
func (cc *responseDirectives) restrict(member string) {
	for member != "" {
		length := 0
		for length < len(member) && member[length] != '\'' && isTokenChar(member[length]) {
			length++
		}
		cc.restrictBy(member[:length])
		member = member[min(length+1, len(member)):]
	}
}

func (cc *responseDirectives) restrictBy(word string) {
	switch {
	case strings.EqualFold(word, "no-store"):
		cc.noStore = true
	case strings.EqualFold(word, "no-cache"):
		cc.noCache = true
	case strings.EqualFold(word, "private"):
		cc.private = true
	case strings.EqualFold(word, "must-revalidate"), strings.EqualFold(word, "proxy-revalidate"):
		// Not as must-revalidate, which permits to store a response to Authorization.
		cc.proxyRevalidate = true
	case strings.EqualFold(word, "no-transform"):
		cc.noTransform = true
	}
}
