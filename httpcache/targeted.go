package httpcache

import (
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// The fields that may stand in for Cache-Control, in canonical form.
const (
	perigeeCacheControlField = "Perigee-Cdn-Cache-Control"
	cdnCacheControlField     = "Cdn-Cache-Control"
	surrogateControlField    = "Surrogate-Control"
)

// governing returns the directives of the field that decides about the response,
// as the rules let them count: the first on our target list that is there and
// valid (RFC 9213 §2.2), then Surrogate-Control, then Cache-Control. Where it is
// not Cache-Control, that field and Expires count for nothing but no-transform,
// which is about every intermediary.
func governing(rules *Rules, h http.Header) responseDirectives {
	cc, ok := targetedDirectives(h)
	if !ok {
		cc = parseResponseDirectives(h[CacheControlField], h)
	} else if !cc.noTransform {
		cc.noTransform = parseResponseDirectives(h[CacheControlField], h).noTransform
	}
	if rules.OverrideNoStore {
		cc.noStore = false
	}
	if rules.OverridePrivate {
		cc.private, cc.privateFields = false, nil
	}
	return cc
}

func targetedDirectives(h http.Header) (cc responseDirectives, ok bool) {
	if lines := h[perigeeCacheControlField]; len(lines) > 0 {
		if cc, ok = parseTargeted(lines, h); ok {
			cc.target = SourcePerigeeTargeted
			return cc, true
		}
	}
	if lines := h[cdnCacheControlField]; len(lines) > 0 {
		if cc, ok = parseTargeted(lines, h); ok {
			cc.target = SourceTargeted
			return cc, true
		}
	}
	if lines := h[surrogateControlField]; len(lines) > 0 {
		if cc, ok = parseSurrogateControl(lines, h); ok {
			cc.target = SourceSurrogateControl
			return cc, true
		}
	}
	return responseDirectives{}, false
}

// sourceOr returns the targeted field of the directives, or source for those of
// Cache-Control.
func (cc *responseDirectives) sourceOr(source Source) Source {
	if cc.target != SourceNone {
		return cc.target
	}
	return source
}

// maxTargetedBytes bounds a targeted field, all lines together.
const maxTargetedBytes = 4 << 10

// parseTargeted reads a targeted field, which is a structured dictionary and not
// a Cache-Control in other clothes: names are lower case, the last of two
// members counts, and one error anywhere voids all of it (RFC 9213 §2.1). ok is
// false where it is void or empty. A member that is no directive, or has a value
// that is not of the directive's type, is ignored, but for private, no-store and
// no-cache: they count whatever is said of them, short of false. A field that is
// too long to be read counts as no-store and private.
func parseTargeted(lines []string, fields http.Header) (cc responseDirectives, ok bool) {
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if size > maxTargetedBytes {
		cc = newResponseDirectives(fields)
		cc.noStore, cc.private = true, true
		return cc, true
	}
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dictionary.Names()) == 0 {
		return cc, false
	}
	cc = newResponseDirectives(fields)
	for _, name := range dictionary.Names() {
		var value any // nil for an inner list
		member, _ := dictionary.Get(name)
		if item, isItem := member.(httpsfv.Item); isItem {
			value = item.Value
		}
		cc.addTargeted(name, value)
	}
	return cc, true
}

func (cc *responseDirectives) addTargeted(name string, value any) {
	switch name {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		cc.addSeconds(name, value)
	case "no-store":
		if value != false {
			cc.noStore = true
		}
	case "no-cache", "private":
		cc.addQualified(name, value)
	case "public", "must-revalidate", "proxy-revalidate", "must-understand", "no-transform":
		if value == true {
			cc.add(directive{name: name})
		}
	}
}

func (cc *responseDirectives) addSeconds(name string, value any) {
	number, ok := value.(int64)
	if !ok || number < 0 {
		cc.ageInvalid = cc.ageInvalid || name == "max-age" || name == "s-maxage"
		return
	}
	seconds := delta(min(number, maxDelta))
	switch name {
	case "max-age":
		cc.maxAge = seconds
	case "s-maxage":
		cc.sMaxAge = seconds
	case "stale-while-revalidate":
		cc.staleWhileRevalidate = seconds
	case "stale-if-error":
		cc.staleIfError = seconds
	}
}

func (cc *responseDirectives) addQualified(name string, value any) {
	switch value := value.(type) {
	case bool:
		if value {
			cc.add(directive{name: name})
		}
	case string:
		cc.add(directive{name: name, argument: value, hasArgument: true, quoted: true})
	case httpsfv.Token:
		// private=x is what careless senders make of private="x".
		cc.add(directive{name: name, argument: string(value), hasArgument: true})
	default:
		cc.add(directive{name: name})
	}
}

// surrogateName is what we are called in Surrogate-Capability.
const surrogateName = "perigee"

// SurrogateCapability is what a request to the origin says of our kind: that
// Surrogate-Control is understood, and no markup language.
const SurrogateCapability = surrogateName + `="Surrogate/1.0"`

// forSurrogate tells whether a directive is for us, and takes its target off.
func (d *directive) forSurrogate() bool {
	part := &d.argument
	if !d.hasArgument {
		part = &d.name
	}
	value, target, targeted := strings.Cut(*part, ";")
	*part = value
	return !strings.Contains(d.name, ";") && (!targeted || strings.EqualFold(trimOWS(target), surrogateName))
}

// parseSurrogateControl reads Surrogate-Control as the Edge Architecture
// Specification has it, with the directives of Cache-Control that surrogates
// have come to take beside. ok is false where nothing in it says how long or
// whether to store: content="ESI/1.0" alone leaves Cache-Control in force. A
// directive with a target, "max-age=60;name", is for the surrogate that announced
// that name in Surrogate-Capability. Invalid directives are ignored, but for words
// in them that restrict.
func parseSurrogateControl(lines []string, fields http.Header) (cc responseDirectives, ok bool) {
	cc = newResponseDirectives(fields)
	eachDirective(lines, func(d directive) {
		if !d.broken && !d.forSurrogate() {
			return
		}
		if d.broken || !isPlainToken(d.name) {
			cc.restrict(d.member)
			ok = ok || cc.noStore || cc.private || cc.noCache
			return
		}
		switch strings.ToLower(d.name) {
		case "no-store", "no-store-remote":
			// We are remote: not on the origin's own premises.
			cc.noStore, ok = true, true
		case "no-cache", "private":
			cc.add(d)
			ok = true
		case "max-age":
			ok = cc.addSurrogateAge(d.argument) || ok
		case "stale-while-revalidate":
			if seconds, valid := parseDelta(d.argument); valid {
				cc.staleWhileRevalidate.least(seconds)
			}
		case "stale-if-error":
			if seconds, valid := parseDelta(d.argument); valid {
				cc.staleIfError.least(seconds)
			}
		}
	})
	return cc, ok
}

// addSurrogateAge reads "lifetime" or "lifetime+grace". The grace is how long
// past its lifetime the response may be used, for whatever reason.
func (cc *responseDirectives) addSurrogateAge(argument string) bool {
	text, graceText, hasGrace := strings.Cut(argument, "+")
	seconds, ok := parseDelta(text)
	if !ok {
		return false
	}
	if hasGrace {
		grace, ok := parseDelta(graceText)
		if !ok {
			return false
		}
		cc.staleWhileRevalidate.least(grace)
		cc.staleIfError.least(grace)
	}
	cc.maxAge.least(seconds)
	return true
}

// least keeps the smaller of what is known and seconds.
func (d *delta) least(seconds delta) {
	if !d.present() || seconds < *d {
		*d = seconds
	}
}
