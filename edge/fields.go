package edge

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"perigee/httpcache"
)

// FieldEdits are changes to the fields of a message: Remove first, then Set. Names
// are in canonical form.
type FieldEdits struct {
	Remove []string
	Set    map[string]string
}

func (e FieldEdits) apply(h http.Header) {
	for _, name := range e.Remove {
		delete(h, name)
	}
	for name, value := range e.Set {
		h[name] = []string{value}
	}
}

// viaName is what we are called in Via (RFC 9110 §7.6.3).
const viaName = "perigee"

// viaAlone is the field of almost every response; nobody writes to it.
var viaAlone = []string{"1.1 " + viaName}

// addVia appends us to the Via field of a message that came with the given
// protocol, HTTP/1.1 or HTTP/2.0.
func addVia(h http.Header, proto string) {
	member := "1.1 " + viaName
	if len(proto) > 5 && proto[5] != '1' {
		member = proto[5:6] + " " + viaName
	}
	old := h["Via"]
	switch {
	case len(old) == 0 && member == viaAlone[0]:
		h["Via"] = viaAlone
		return
	case len(old) == 0:
		h["Via"] = []string{member}
		return
	}
	// A new slice: the old one may belong to a stored response.
	h["Via"] = append(append(make([]string, 0, len(old)+1), old...), member)
}

// addVary adds a name to the Vary field, if it is not there.
func addVary(h http.Header, name string) {
	lines := h[httpcache.VaryField]
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if member = strings.Trim(member, " \t"); member == "*" || strings.EqualFold(member, name) {
				return
			}
		}
	}
	if len(lines) == 0 && name == httpcache.AcceptEncodingField {
		h[httpcache.VaryField] = variesByEncoding // nobody writes to it
		return
	}
	// A new slice: the old one may belong to a stored response.
	h[httpcache.VaryField] = append(append(make([]string, 0, len(lines)+1), lines...), name)
}

var variesByEncoding = []string{httpcache.AcceptEncodingField}

// addCacheStatus appends our member to Cache-Status (RFC 9211 §2): the cache
// nearest to the origin stands first.
func (x *exchange) addCacheStatus(h http.Header, status httpcache.CacheStatus) {
	var room [128]byte
	member := string(status.Append(room[:0], x.h.name))
	old := h[httpcache.CacheStatusField]
	if len(old) == 0 {
		h[httpcache.CacheStatusField] = x.value(valueCacheStatus, member)
		return
	}
	h[httpcache.CacheStatusField] = append(append(make([]string, 0, len(old)+1), old...), member)
}

// ageValue is an Age field's value: whole seconds, rounded down.
func ageValue(age time.Duration) string {
	return strconv.FormatInt(int64(max(0, age)/time.Second), 10)
}

// copyFields puts src's fields into dst. Values are shared, not copied: neither
// net/http nor we write to them.
func copyFields(dst, src http.Header) {
	for name, values := range src {
		dst[name] = values
	}
}

// The places of our fields' values in an exchange.
const (
	valueCacheStatus = iota
	valueAge
	valueLength
	valueETag
	valuePlaces
)

// value is a field's one value, in room that the exchange has for it.
func (x *exchange) value(place int, v string) []string {
	x.values[place] = v
	return x.values[place : place+1 : place+1]
}
