package edge

import (
	"encoding/binary"
	"net/http"
	"strings"

	"perigee/httpcache"
)

// KeySpec says what a key holds beside scheme, host and path. The zero value is the
// whole query and nothing else.
type KeySpec struct {
	Query   httpcache.QueryRule
	Headers []string // request fields, in canonical form
	Cookies []string // names
	Country bool     // of the client
	Device  bool     // the client's class of device

	faceted bool                   // anything but the query is in the key
	vary    []string               // what varies returns
	hides   func(name string) bool // dropped, made once
}

// KeyChange is what a rule changes of a KeySpec: nil leaves as it is.
type KeyChange struct {
	Query            *httpcache.QueryRule
	Headers, Cookies *[]string
	Country, Device  *bool
}

func (c *KeyChange) apply(k *KeySpec) {
	assign(&k.Query, c.Query)
	assign(&k.Headers, c.Headers)
	assign(&k.Cookies, c.Cookies)
	assign(&k.Country, c.Country)
	assign(&k.Device, c.Device)
}

// settle works out what is asked on each request.
func (k *KeySpec) settle() {
	k.vary, k.hides = k.varies(), k.dropped
	k.faceted = len(k.Headers) > 0 || len(k.Cookies) > 0 || k.Country || k.Device
}

// The fields by which an upstream learns what a key was made with.
const (
	countryField = "X-Perigee-Country"
	deviceField  = "X-Perigee-Device"
)

// facetFields says which facets the upstream is told of.
var facetFields = map[string]string{"country": countryField, "device": deviceField}

// facet is one thing that a key was made with: what it is and the request's value.
type facet struct{ name, value string }

// facets lists what the request brings into its key, beside the target. What is
// absent differs from what is empty, and two lines from one: origins tell them apart.
func (k *KeySpec) facets(h http.Header, country string) []facet {
	if !k.faceted {
		return nil
	}
	all := make([]facet, 0, len(k.Headers)+len(k.Cookies)+3)
	for _, name := range k.Headers {
		if lines, found := h[name]; found {
			all = append(all, facet{"header " + name, strings.Join(lines, "\n")})
		}
	}
	for _, name := range k.Cookies {
		if values := cookies(h, name); len(values) > 0 {
			all = append(all, facet{"cookie " + name, strings.Join(values, "\n")})
		}
	}
	if k.Country {
		all = append(all, facet{"country", country})
	}
	if k.Device {
		all = append(all, facet{"device", deviceClass(h)})
	}
	return all
}

// varies names the request fields that a response depends on by its key, for caches
// behind us. None stands for the country.
func (k *KeySpec) varies() (fields []string) {
	fields = append(fields, k.Headers...)
	if len(k.Cookies) > 0 {
		fields = append(fields, "Cookie")
	}
	if k.Device {
		fields = append(fields, "User-Agent", "Sec-CH-UA-Mobile")
	}
	return fields
}

// facetText is what the key is made with. Each part stands behind its length, so
// that no value can pretend to be two.
func facetText(all []facet, generation string) string {
	if len(all) == 0 && generation == "" {
		return ""
	}
	var text []byte
	for _, each := range all {
		for _, part := range [...]string{each.name, each.value} {
			text = binary.AppendUvarint(text, uint64(len(part)))
			text = append(text, part...)
		}
	}
	return string(append(text, generation...))
}
