package geo_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"perigee/geo"
	"perigee/internal/testgeo"
)

func openCountries(t testing.TB, files ...string) *geo.Countries {
	t.Helper()
	c, err := geo.OpenCountries(files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCountry(t *testing.T) {
	t.Parallel()
	own := testgeo.DatabaseOf(t, "GeoIP2-Enterprise", map[string]string{
		"198.51.100.0/28": "CH",
		"198.51.100.8/32": "",
		"10.1.0.0/16":     "AT",
	})
	world := testgeo.DatabaseOf(t, "GeoLite2-City", map[string]string{
		"192.0.2.0/24":    "DE",
		"192.0.2.128/25":  "FR",
		"198.51.100.0/24": "US",
		"203.0.113.1/32":  "se", // databases may be home-made
		"203.0.113.2/32":  "A1",
		"203.0.113.3/32":  "USA",
		"203.0.113.4/32":  "\x00\xff",
		"2001:db8::/32":   "NO",
	})
	c := openCountries(t, own, world)
	for _, tc := range []struct{ addr, want string }{
		{"192.0.2.1", "DE"},
		{"192.0.2.127", "DE"},
		{"192.0.2.128", "FR"},
		{"192.0.1.255", ""},
		{"192.0.3.0", ""},
		{"198.51.100.1", "CH"}, // the first file that knows
		{"198.51.100.8", "US"}, // the first file has the network, but no country
		{"198.51.100.16", "US"},
		{"203.0.113.1", "SE"},
		{"203.0.113.2", ""},
		{"203.0.113.3", ""},
		{"203.0.113.4", ""},
		{"2001:db8::1", "NO"},
		{"2001:db8::1%eth0", "NO"},
		{"2001:db9::1", ""},
		{"::ffff:192.0.2.1", "DE"},
		{"::ffff:192.0.2.200", "FR"},
		{"10.1.2.3", "AT"}, // a file of one's own may know one's own networks
		{"10.2.0.1", ""},
		{"127.0.0.1", ""},
		{"::1", ""},
		{"fe80::1%lo", ""},
		{"0.0.0.0", ""},
		{"::", ""},
		{"255.255.255.255", ""},
	} {
		if got := c.Country(netip.MustParseAddr(tc.addr)); got != tc.want {
			t.Errorf("Country(%s) = %q, want %q", tc.addr, got, tc.want)
		}
	}
	if got := c.Country(netip.Addr{}); got != "" {
		t.Errorf("Country of no address = %q, want none", got)
	}
}

// TestCountryOfNothing: no databases, closed ones, and none at all.
func TestCountryOfNothing(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr("192.0.2.1")
	var none *geo.Countries
	closed := openCountries(t, testgeo.Database(t, map[string]string{"192.0.2.0/24": "DE"}))
	if got := closed.Country(addr); got != "DE" {
		t.Errorf("before Close: %q, want DE", got)
	}
	closed.Close()
	closed.Close()
	none.Close()
	for name, c := range map[string]*geo.Countries{"nil": none, "no files": openCountries(t), "closed": closed, "zero": new(geo.Countries)} {
		if got := c.Country(addr); got != "" {
			t.Errorf("%s: %q, want none", name, got)
		}
	}
}

// TestCloseUnderUse: look-ups under way are not harmed.
func TestCloseUnderUse(t *testing.T) {
	t.Parallel()
	c := openCountries(t, testgeo.Database(t, map[string]string{"192.0.2.0/24": "DE"}))
	addr := netip.MustParseAddr("192.0.2.1")
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for c.Country(addr) == "DE" {
			}
		})
	}
	c.Close()
	users.Wait()
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	good, err := os.ReadFile(testgeo.Database(t, map[string]string{"192.0.2.0/24": "DE"}))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := write("huge", nil)
	if err := os.Truncate(huge, 1<<30+1); err != nil {
		t.Fatal(err)
	}
	whole := write("good", good)
	for _, tc := range []struct{ path, want string }{
		{filepath.Join(folder, "missing"), "no such file or directory: download it, or correct the path"},
		{folder, "not a regular file"},
		{pipe, "not a regular file"},
		{write("empty", nil), "the file is empty: download it again"},
		{huge, "the file has 1073741825 bytes, at most 1073741824 are allowed"},
		{write("text", []byte("<html>log in to download</html>")), "not a whole MaxMind database"},
		{write("half", good[:len(good)/2]), "not a whole MaxMind database"},
		{write("end", good[len(good)/2:]), "not a whole MaxMind database"},
		{testgeo.DatabaseOf(t, "GeoLite2-ASN", map[string]string{"192.0.2.0/24": "DE"}), `a database of the type "GeoLite2-ASN" has no countries: use GeoLite2-Country`},
		{testgeo.DatabaseOf(t, "Mine", map[string]string{"192.0.2.0/24": "DE"}), `a database of the type "Mine" has no countries: use GeoLite2-Country`},
	} {
		c, err := geo.OpenCountries([]string{whole, tc.path})
		if err == nil || !strings.HasPrefix(err.Error(), "geo database "+tc.path+": ") || !strings.Contains(err.Error(), tc.want) ||
			strings.Count(err.Error(), tc.path) != 1 {
			t.Errorf("%s: got %v, want its name once and %q", tc.path, err, tc.want)
		}
		if c != nil {
			t.Errorf("%s: got databases with the error", tc.path)
		}
	}
}

// TestDamage: whatever a byte of a database is changed to, opening it is an error or
// look-ups give a country or none; nothing panics and nothing hangs.
func TestDamage(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(testgeo.Database(t, map[string]string{"192.0.2.0/24": "DE", "2001:db8::/32": "NO"}))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "damaged")
	opened := 0
	for at := 0; at < len(data); at += 1 + at%3 {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			damaged := append([]byte(nil), data...)
			damaged[at] ^= flip
			if tryDamaged(t, path, damaged) {
				opened++
			}
		}
	}
	if opened == 0 {
		t.Error("no damaged database could be opened: look-ups were not tried")
	}
}

// tryDamaged reports whether data could be opened; it fails the test where a look-up
// gives what is not a code.
func tryDamaged(t *testing.T, path string, data []byte) bool {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := geo.OpenCountries([]string{path})
	if err != nil {
		return false
	}
	defer c.Close()
	for _, text := range []string{"192.0.2.1", "192.0.3.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::1", "ffff::"} {
		code := c.Country(netip.MustParseAddr(text))
		if code != "" && (len(code) != 2 || strings.ToUpper(code) != code) {
			t.Errorf("%s of a damaged database: %q is no code", text, code)
		}
	}
	return true
}

func FuzzCountries(f *testing.F) {
	data, err := os.ReadFile(testgeo.Database(f, map[string]string{"192.0.2.0/24": "DE", "2001:db8::/32": "NO"}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[len(data)/2:])
	f.Add([]byte("\xab\xcd\xefMaxMind.com"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		tryDamaged(t, filepath.Join(t.TempDir(), "fuzz"), data)
	})
}

func BenchmarkCountry(b *testing.B) {
	c := openCountries(b, testgeo.DatabaseOf(b, "GeoLite2-City", map[string]string{"192.0.2.0/24": "DE", "2001:db8::/32": "NO"}))
	for name, text := range map[string]string{"v4": "192.0.2.1", "v6": "2001:db8::1", "unknown": "203.0.113.1"} {
		b.Run(name, func(b *testing.B) {
			addr := netip.MustParseAddr(text)
			b.ReportAllocs()
			for b.Loop() {
				c.Country(addr)
			}
		})
	}
}
