package httpcache

import (
	"slices"
	"strings"
)

const (
	acceptLanguageField  = "Accept-Language"
	contentLanguageField = "Content-Language"
)

// maxLanguages bounds the members of one Accept-Language that are weighed; a
// longer list keeps its order.
const maxLanguages = 32

// language is a member of Accept-Language.
type language struct {
	name   string // lower case
	weight int    // in thousandths
}

// normalLanguages brings Accept-Language into one form for one meaning (RFC 9110
// §12.5.4): each range once, the first counts, ordered by weight and then, since
// ranges of equal weight have no order, by name; a weight of 1 is not written,
// and a refused range only where another covers it. A value that is malformed
// keeps its order and is spelled uniformly, no more. list is in lower case.
func normalLanguages(list string) string {
	languages, ok := parseLanguages(list)
	if !ok {
		return normalList(list)
	}
	kept := make([]language, 0, len(languages))
	for _, l := range languages {
		if l.weight > 0 || covered(l.name, languages) {
			kept = append(kept, l)
		}
	}
	if len(kept) == 0 {
		kept = languages // nothing but refusals: that is no empty list
	}
	slices.SortFunc(kept, func(a, b language) int {
		if a.weight != b.weight {
			return b.weight - a.weight
		}
		return strings.Compare(a.name, b.name)
	})
	out := make([]byte, 0, len(list)+8)
	for i, l := range kept {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = appendWeight(append(out, l.name...), l.weight)
	}
	return string(out)
}

// covered reports whether a range that is accepted includes the refused one, so
// that to leave out the refusal would accept it.
func covered(name string, languages []language) bool {
	for _, l := range languages {
		if l.weight > 0 && (l.name == "*" || strings.HasPrefix(name, l.name) && len(name) > len(l.name) && name[len(l.name)] == '-') {
			return true
		}
	}
	return false
}

func appendWeight(dst []byte, weight int) []byte {
	switch weight {
	case 1000:
		return dst
	case 0:
		return append(dst, ";q=0"...)
	}
	dst = append(dst, ";q=0."...)
	for digit := 100; weight > 0; digit /= 10 {
		dst = append(dst, '0'+byte(weight/digit))
		weight %= digit
	}
	return dst
}

// parseLanguages reads Accept-Language in lower case, each range once. ok is
// false where a member is none or there are too many.
func parseLanguages(list string) (languages []language, ok bool) {
	languages = make([]language, 0, min(strings.Count(list, ",")+1, maxLanguages))
	for members := 0; list != ""; {
		var member string
		member, list, _ = strings.Cut(list, ",")
		if member = trimOWS(member); member == "" {
			continue
		}
		l, valid := parseLanguage(member)
		if members++; !valid || members > maxLanguages {
			return nil, false
		}
		if !slices.ContainsFunc(languages, func(other language) bool { return other.name == l.name }) {
			languages = append(languages, l)
		}
	}
	return languages, true
}

func parseLanguage(member string) (l language, ok bool) {
	name, parameter, weighted := strings.Cut(member, ";")
	l = language{name: trimOWS(name), weight: 1000}
	if !isLanguageRange(l.name) {
		return l, false
	}
	if !weighted {
		return l, true
	}
	key, value, _ := strings.Cut(parameter, "=")
	if trimOWS(key) != "q" {
		return l, false
	}
	l.weight, ok = parseWeight(trimOWS(value))
	return l, ok
}

// parseWeight reads a qvalue in thousandths (RFC 9110 §12.4.2), and one that
// begins with the point, which some clients send.
func parseWeight(s string) (weight int, ok bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > 3 || whole != "0" && whole != "1" && (whole != "" || fraction == "") {
		return 0, false
	}
	for i := range 3 {
		weight *= 10
		if i < len(fraction) {
			if !isDigit(fraction[i]) {
				return 0, false
			}
			weight += int(fraction[i] - '0')
		}
	}
	if whole == "1" {
		return 1000, weight == 0
	}
	return weight, true
}

// isLanguageRange is language-range of RFC 4647 §2.1 in lower case.
func isLanguageRange(s string) bool {
	if s == "*" {
		return true
	}
	for first := true; ; first = false {
		tag, rest, more := strings.Cut(s, "-")
		if tag == "" || len(tag) > 8 {
			return false
		}
		for i := range len(tag) {
			if !isAlpha(tag[i]) && (first || !isDigit(tag[i])) {
				return false
			}
		}
		if !more {
			return true
		}
		s = rest
	}
}

// firstChoice returns the one language that a value of Accept-Language in normal
// form names before all others; empty where there is none, or the value is
// malformed.
func firstChoice(normal string) string {
	languages, ok := parseLanguages(normal)
	if !ok || len(languages) == 0 {
		return ""
	}
	first := languages[0] // a normal form is ordered by weight
	if first.name == "*" || first.weight == 0 || len(languages) > 1 && languages[1].weight == first.weight {
		return ""
	}
	return first.name
}

// ownLanguage returns the language of the response if its own request named it and
// none before it; empty where it did not, or was malformed. A server that fell back,
// or that read the field in its own way, has not chosen by it.
func (s *Stored) ownLanguage() string {
	i := slices.Index(s.varyKeys, acceptLanguageField)
	own := s.header[contentLanguageField]
	if i < 0 || len(own) != 1 {
		return ""
	}
	tag := lowerASCII(trimOWS(own[0]))
	languages, ok := parseLanguages(s.selecting[i])
	if !ok {
		return ""
	}
	for _, l := range languages { // a normal form is ordered by weight
		if l.name == tag && l.weight > 0 && l.weight == languages[0].weight {
			return tag
		}
	}
	return ""
}

// prefers reports whether first, which a request wants before all others, is the
// language that s is in and was asked for. Such a request is answered by s where
// nothing was stored for its very list: the client gets its first choice. That
// goes beyond the identical semantics of RFC 9111 §4.1; but a server that chose by
// this field once, and has a client's first choice, would not give it another.
func (s *Stored) prefers(first string) bool { return first != "" && first == s.language }
