package geo

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// Countries says in which country an address is, by databases in MaxMind's format
// that are held in memory. Create it with [OpenCountries]; nil is a Countries that
// knows no address. Its methods may be called by many goroutines at once, Close
// included, and take no lock.
type Countries struct {
	readers atomic.Pointer[[]*maxminddb.Reader] // nil = closed
}

// OpenCountries reads databases of the types Country, City and Enterprise, published
// by MaxMind or DB-IP. The first that knows the country of an address answers for it,
// so a file of one's own networks goes before one of the world; with no file no
// address is known. Files are read whole, at most 1 GiB each, and may be replaced or
// truncated afterwards without harm. Errors name the file and what to do about it.
//
// The search tree and the records are not verified, which takes seconds for a large
// database: where bytes in them are wrong, the answers are wrong or "".
func OpenCountries(files []string) (*Countries, error) {
	readers := make([]*maxminddb.Reader, 0, len(files))
	for _, name := range files {
		reader, err := open(name)
		if err != nil {
			return nil, fmt.Errorf("geo database %s: %w", name, err)
		}
		readers = append(readers, reader)
	}
	c := new(Countries)
	c.readers.Store(&readers)
	return c, nil
}

// codePath leads to the country in a record: where the address is, not where its
// network is registered.
var codePath = []any{"country", "iso_code"}

// Country is the ISO 3166-1 alpha-2 code of the country of addr, in upper case: "DE".
// It is "" where no database knows one, as those published do not for private
// addresses, and for an invalid address. An IPv4 address that is mapped into IPv6 is
// looked up as IPv4; a zone does not matter.
func (c *Countries) Country(addr netip.Addr) string {
	if c == nil || !addr.IsValid() {
		return ""
	}
	readers := c.readers.Load()
	if readers == nil {
		return ""
	}
	addr = addr.Unmap()
	for _, reader := range *readers {
		if addr.Is6() && reader.Metadata.IPVersion == 4 {
			continue // else the library makes an error text for each look-up
		}
		// Of the record only the path to the code is decoded: a third of the time that
		// the whole takes, and no copy of the names of the country.
		code := ""
		if reader.Lookup(addr).DecodePath(&code, codePath...) != nil {
			continue
		}
		if code = canonical(code); code != "" {
			return code
		}
	}
	return ""
}

// Close lets go of the databases: from now on no address is known. Look-ups under way
// end as they would have.
func (c *Countries) Close() {
	if c != nil {
		c.readers.Store(nil)
	}
}

// canonical is the code in upper case, "" for what is not two letters: codes go into
// cache keys and fields, and a database is a file like any other.
func canonical(code string) string {
	if len(code) != 2 || !letter(code[0]) || !letter(code[1]) {
		return ""
	}
	if code[0] < 'a' && code[1] < 'a' {
		return code
	}
	return string([]byte{code[0] &^ 0x20, code[1] &^ 0x20})
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// reader makes a reader of a database that knows countries.
func reader(data []byte) (*maxminddb.Reader, error) {
	// geoip2 knows which types hold which records; look-ups do without it, for it
	// decodes the whole record.
	typed, err := geoip2.OpenBytes(data)
	if err != nil {
		return nil, unusable(err)
	}
	if _, err := typed.Country(netip.IPv4Unspecified()); err != nil {
		return nil, unusable(err)
	}
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, unusable(err)
	}
	return r, nil
}
