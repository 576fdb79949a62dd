package testgeo

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Database writes a database of the type GeoLite2-Country and returns its path; the
// file ends with the test. The keys of countries are prefixes ("192.0.2.0/24",
// "2001:db8::/32"), private ones and loopback included, so that a test's client can
// come from somewhere; the values are ISO 3166-1 codes, where "" stands for a network
// that is in the database and in no country. The most specific prefix holds.
func Database(t testing.TB, countries map[string]string) (path string) {
	t.Helper()
	return DatabaseOf(t, "GeoLite2-Country", countries)
}

// DatabaseOf is [Database] with a type of its own, such as GeoLite2-City.
func DatabaseOf(t testing.TB, kind string, countries map[string]string) (path string) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch:              1, // the same bytes at any time
		DatabaseType:            kind,
		Description:             map[string]string{"en": "networks of a test"},
		Languages:               []string{"en"},
		IncludeReservedNetworks: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range widestFirst(t, countries) {
		network := &net.IPNet{
			IP:   prefix.Addr().AsSlice(),
			Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
		}
		if err := tree.Insert(network, record(countries[prefix.String()])); err != nil {
			t.Fatalf("%s: %v", prefix, err)
		}
	}
	return write(t, tree)
}

// widestFirst parses the prefixes and puts them in the order in which the narrow ones
// overwrite the wide ones.
func widestFirst(t testing.TB, countries map[string]string) []netip.Prefix {
	t.Helper()
	var prefixes []netip.Prefix
	for _, text := range slices.Sorted(maps.Keys(countries)) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix.Masked().String() != text {
			t.Fatalf("%q is not a prefix in its canonical form: %v", text, err)
		}
		prefixes = append(prefixes, prefix)
	}
	slices.SortStableFunc(prefixes, func(a, b netip.Prefix) int { return cmp.Compare(a.Bits(), b.Bits()) })
	return prefixes
}

// record has the fields that lie around the code in published databases.
func record(code string) mmdbtype.Map {
	continent := mmdbtype.Map{
		"code":       mmdbtype.String("EU"),
		"geoname_id": mmdbtype.Uint32(6255148),
		"names":      mmdbtype.Map{"en": mmdbtype.String("Europe")},
	}
	if code == "" {
		return mmdbtype.Map{"continent": continent}
	}
	return mmdbtype.Map{
		"continent": continent,
		"country": mmdbtype.Map{
			"geoname_id": mmdbtype.Uint32(1),
			"iso_code":   mmdbtype.String(code),
			"names":      mmdbtype.Map{"en": mmdbtype.String("Country " + code)},
		},
	}
}

func write(t testing.TB, tree *mmdbwriter.Tree) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "test.mmdb")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := tree.WriteTo(file); err != nil {
		t.Fatal(err)
	}
	return path
}
