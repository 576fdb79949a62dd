package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// maxDelta is the cap of a delta-seconds value (RFC 9111 §1.2.2).
const maxDelta = 1 << 31

// maxDuration is that cap as a duration: no age or lifetime is longer.
const maxDuration = maxDelta * time.Second

// delta is the argument of a directive in seconds, or absent.
type delta int64

const absent delta = -1

// present reports whether the directive was there at all.
func (d delta) present() bool { return d >= 0 }

// duration is zero for an absent directive.
func (d delta) duration() time.Duration { return time.Duration(max(d, 0)) * time.Second }

// parseDelta reads delta-seconds. Anything but digits is invalid; what does not
// fit is capped.
func parseDelta(s string) (d delta, ok bool) {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		d = min(d*10+delta(s[i]-'0'), maxDelta)
	}
	return d, s != ""
}

// lower keeps the smaller of what is known and the argument; an invalid
// argument counts as 0, and valid is false. That is the reading of conflicting or
// invalid freshness that can only make a response staler (RFC 9111 §4.2.1).
func (d *delta) lower(argument string) (valid bool) {
	seconds, valid := parseDelta(argument)
	if !d.present() || seconds < *d {
		*d = seconds
	}
	return valid
}

// directive is one member of Cache-Control: its name as written, and its
// argument, unquoted.
type directive struct {
	name, argument string
	hasArgument    bool
	quoted         bool   // the argument was a quoted string
	broken         bool   // the quoted argument has no end
	member         string // all of it as written
}

// eachDirective calls f for each directive of the field's lines in order.
// Whitespace around "=" is not removed: it belongs to neither side in the
// grammar (RFC 9111 §5.2), so "max-age= 1" has an invalid argument, and the
// name of "max-age =1" still counts as its name, lest a typing error make a
// response fresher than its author said.
func eachDirective(lines []string, f func(directive)) {
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = cutMember(line)
			if member == "" {
				continue
			}
			name, argument, hasArgument := strings.Cut(member, "=")
			d := directive{name: trimOWS(name), hasArgument: hasArgument, member: member}
			if len(d.name) != len(name) {
				argument = " " + argument
			}
			var closed bool
			d.argument, d.quoted, closed = unquote(argument)
			if d.broken = !closed; d.broken {
				d.argument = "" // no number, and no list of names
			}
			f(d)
		}
	}
}

// responseDirectives are the response directives of one field: Cache-Control,
// or one that is targeted at us (RFC 9213).
type responseDirectives struct {
	// target is the targeted field that they are of; SourceNone for Cache-Control.
	target                             Source
	noStore, noCache, private, public  bool
	mustRevalidate, proxyRevalidate    bool
	mustUnderstand, noTransform        bool
	maxAge, sMaxAge                    delta
	staleWhileRevalidate, staleIfError delta
	noCacheFields, privateFields       []string // lower case, of the qualified forms
	// sMaxAgeInvalid: s-maxage was there and not a number. It makes the response stale
	// and permits nothing.
	sMaxAgeInvalid bool
	// ageInvalid: a targeted field has max-age or s-maxage, and not as a number. It
	// is ignored (RFC 9213 §2.1), and nothing stands in for it.
	ageInvalid bool
	// fields are those of the response, for what a token argument may name.
	fields http.Header
}

func newResponseDirectives(fields http.Header) responseDirectives {
	return responseDirectives{
		fields: fields,
		maxAge: absent, sMaxAge: absent,
		staleWhileRevalidate: absent, staleIfError: absent,
	}
}

// parseResponseDirectives reads the lines of Cache-Control of a response with the
// given fields.
func parseResponseDirectives(lines []string, fields http.Header) responseDirectives {
	cc := newResponseDirectives(fields)
	eachDirective(lines, func(d directive) {
		cc.add(d)
		if d.malformed() {
			cc.restrict(d.member)
		}
	})
	return cc
}

func (cc *responseDirectives) add(d directive) {
	switch {
	case strings.EqualFold(d.name, "max-age"):
		cc.maxAge.lower(d.argument)
	case strings.EqualFold(d.name, "s-maxage"):
		cc.sMaxAgeInvalid = !cc.sMaxAge.lower(d.argument) || cc.sMaxAgeInvalid
	case strings.EqualFold(d.name, "no-store"):
		cc.noStore = true
	case strings.EqualFold(d.name, "no-cache"):
		cc.noCache = !d.qualify(&cc.noCacheFields, cc.fields) || cc.noCache
	case strings.EqualFold(d.name, "private"):
		cc.private = !d.qualify(&cc.privateFields, cc.fields) || cc.private
	case strings.EqualFold(d.name, "public"):
		cc.public = true
	case strings.EqualFold(d.name, "must-revalidate"):
		cc.mustRevalidate = true
	case strings.EqualFold(d.name, "proxy-revalidate"):
		cc.proxyRevalidate = true
	case strings.EqualFold(d.name, "must-understand"):
		cc.mustUnderstand = true
	case strings.EqualFold(d.name, "no-transform"):
		cc.noTransform = true
	case strings.EqualFold(d.name, "stale-while-revalidate"):
		cc.staleWhileRevalidate.lower(d.argument)
	case strings.EqualFold(d.name, "stale-if-error"):
		cc.staleIfError.lower(d.argument)
	}
}

// qualify reads the argument of a qualified no-cache or private (RFC 9111
// §5.2.2.4, §5.2.2.7). It is false where the directive must be taken as
// unqualified, which is the stricter reading: without argument, with an
// argument that is no list of field names, or when it names a field without
// which the stored content would mean something else. An argument without quotes is
// not of the grammar: it is a name where the response has that field, and else
// "private=1" or "no-cache=true".
func (d directive) qualify(fields *[]string, response http.Header) bool {
	if !d.hasArgument || d.broken {
		return false
	}
	found := (*fields)[:len(*fields):len(*fields)]
	for list := d.argument; list != ""; {
		var name string
		if name, list = cutMember(list); name == "" {
			continue
		}
		if !isToken(name) || len(found) == maxQualified || !d.quoted && len(response[http.CanonicalHeaderKey(name)]) == 0 {
			return false
		}
		name = strings.ToLower(name)
		switch name {
		case "content-encoding", "content-type", "content-range", "content-length",
			"cache-control", "vary", "date", "expires", "age", "etag", "last-modified":
			return false
		}
		found = append(found, name)
	}
	if len(found) == len(*fields) {
		return false
	}
	*fields = found
	return true
}

// maxQualified bounds the field names of qualified directives in one response.
const maxQualified = 64

// requestDirectives are the directives of a request (RFC 9111 §5.2.1).
type requestDirectives struct {
	noStore, noCache, onlyIfCached bool
	maxAge, minFresh, maxStale     delta
}

// anyStale is max-stale without argument: however stale.
const anyStale delta = maxDelta

func parseRequestDirectives(lines []string) requestDirectives {
	cc := requestDirectives{maxAge: absent, minFresh: absent, maxStale: absent}
	eachDirective(lines, cc.add)
	return cc
}

func (cc *requestDirectives) add(d directive) {
	switch {
	case strings.EqualFold(d.name, "max-age"):
		cc.maxAge.lower(d.argument)
	case strings.EqualFold(d.name, "min-fresh"):
		// The larger is the stricter here.
		seconds, _ := parseDelta(d.argument)
		cc.minFresh = max(cc.minFresh, seconds)
	case strings.EqualFold(d.name, "max-stale"):
		if d.hasArgument {
			cc.maxStale.lower(d.argument)
		} else if !cc.maxStale.present() {
			cc.maxStale = anyStale
		}
	case strings.EqualFold(d.name, "no-cache"):
		cc.noCache = true
	case strings.EqualFold(d.name, "no-store"):
		cc.noStore = true
	case strings.EqualFold(d.name, "only-if-cached"):
		cc.onlyIfCached = true
	}
}
