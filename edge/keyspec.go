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

	faceted bool // anything but the query is in the key
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

// facets lists what the request brings into its key, beside the target.
func (k *KeySpec) facets(h http.Header, country string) []facet {
	if !k.faceted {
		return nil
	}
	all := make([]facet, 0, len(k.Headers)+len(k.Cookies)+2)
	for _, name := range k.Headers {
		all = append(all, facet{"header " + name, strings.Join(h[name], ", ")})
	}
	for _, name := range k.Cookies {
		value, _ := cookie(h["Cookie"], name)
		all = append(all, facet{"cookie " + name, value})
	}
	if k.Country {
		all = append(all, facet{"country", country})
	}
	if k.Device {
		all = append(all, facet{"device", deviceClass(h)})
	}
	return all
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
