package edge

import (
	"net/http"
	"strings"

	"perigee/cachestore"
	"perigee/httpcache"
)

// Coding is a content coding (RFC 9110 §8.4.1).
type Coding uint8

// The codings that we make. The zero value is no coding at all.
const (
	Identity Coding = iota
	Brotli
	Zstd
	Gzip
	codings
)

var codingTokens = [codings]string{"identity", "br", "zstd", "gzip"}

// String is the token of the coding in Accept-Encoding and Content-Encoding.
func (c Coding) String() string {
	if c >= codings {
		return "unknown"
	}
	return codingTokens[c]
}

// Compression says which of a site's responses are compressed on their way to the
// client. It never changes once the site is served.
//
// A response is compressed where it is a 200 that is whole and of no coding yet, its
// media type and its length fit, and neither side says no-transform. A live stream of
// events is never compressed, whatever Types say: text/event-stream is made of small
// pieces that must not wait for each other, and lasts longer than an encoder should be
// held.
//
// The length of what is compressed tells something about the content. Where a page has
// a secret beside text that the request chose, whoever can make a browser ask again and
// again, and see how long the answers are, can guess the secret byte by byte; the attack
// is known as BREACH. The configuration's default compresses the text of every site,
// pages for one client alone included, as servers commonly do: it leaves it to the
// origin to mask such secrets anew in each response, or to say no-transform for these
// pages. A site whose Compression is nil compresses nothing.
type Compression struct {
	// Types are media types without parameters, in lower case.
	Types []httpcache.Glob
	// MinBytes is the least length of a body that is compressed; one of unknown length
	// is long enough.
	MinBytes int64
	// Encodings is what clients may get, the most preferred first, each once.
	Encodings []Coding
}

// maxCodedBytes is the longest body that is compressed. What is longer is an archive
// or a dump more often than a page, and would hold an encoder for long.
const maxCodedBytes = 64 << 20

// suits tells whether a response may be compressed, unless it says no-transform. size
// is the length of its body, -1 while it is unknown.
func (c *Compression) suits(status int, h http.Header, size int64) bool {
	if c == nil || status != http.StatusOK || len(c.Encodings) == 0 {
		return false
	}
	if size >= 0 && (size == 0 || size < c.MinBytes || size > maxCodedBytes) {
		return false
	}
	return len(h[httpcache.ContentEncodingField]) == 0 && len(h[httpcache.ContentRangeField]) == 0 &&
		c.takesType(h[httpcache.ContentTypeField])
}

// takesType tells whether a media type is one that is compressed.
func (c *Compression) takesType(lines []string) bool {
	if len(lines) != 1 {
		return false
	}
	essence := mediaType(lines[0])
	if essence == "text/event-stream" || strings.HasPrefix(essence, "application/grpc") {
		return false
	}
	for _, each := range c.Types {
		if each.Match(essence) {
			return true
		}
	}
	return false
}

// preferred is the coding that a request should get, Identity for none.
func (c *Compression) preferred(r *http.Request) Coding {
	accepted := r.Header[httpcache.AcceptEncodingField]
	if len(accepted) == 0 || len(r.Header[httpcache.RangeField]) > 0 || !r.ProtoAtLeast(1, 1) || !httpcache.Transformable(r.Header) {
		// A range is one of the bytes that are stored, and HTTP/1.0 cannot tell a body of
		// unknown length that was cut from a whole one.
		return Identity
	}
	var room [codings]string
	offered := room[:0]
	for _, each := range c.Encodings[:min(len(c.Encodings), len(room))] {
		offered = append(offered, each.String())
	}
	token, ok := httpcache.PreferredCoding(accepted, offered)
	if !ok {
		return Identity
	}
	for _, each := range c.Encodings {
		if each.String() == token {
			return each
		}
	}
	return Identity
}

// negotiated is what was agreed on with a client about the coding of a response.
type negotiated struct {
	varies bool          // other clients get other codings of it
	coding Coding        // that this one should get
	key    httpcache.Key // of the stored response in that coding, unless it is Identity
}

// token is what Content-Encoding would say, empty for no coding.
func (n *negotiated) token() string {
	if n.coding == Identity {
		return ""
	}
	return n.coding.String()
}

// negotiate finds out in which coding x's client should get o. The answer is the same
// for every request with the same fields, whether an encoder is free or not.
func (x *exchange) negotiate(o *cachestore.Object) {
	x.agreed = negotiated{}
	c := x.site.Compress
	if c == nil || o.Partial() || o.Representation() == 0 {
		return
	}
	size, known := o.Size()
	if !known {
		size = -1
	}
	stored := o.Stored()
	if !stored.Transformable() || !c.suits(stored.Status(), stored.Header(), size) {
		return
	}
	x.agreed = negotiated{varies: true, coding: c.preferred(x.r)}
	if x.agreed.coding == Identity {
		return
	}
	x.agreed.key = x.h.coders.key(o, x.agreed.coding)
	if x.h.coders.isVain(x.agreed.key, x.now) {
		x.agreed.coding = Identity
	}
}

// markVaries tells caches behind us that the response has other codings (RFC 9110
// §12.5.5). All answers of such a resource say so, also those in no coding: else what
// one client got would be given to all.
func (x *exchange) markVaries(h http.Header) {
	if !x.agreed.varies {
		return
	}
	addVary(h, httpcache.AcceptEncodingField)
}

// contentEncodings holds the field values, so that a hit makes none.
var contentEncodings = func() (values [codings][]string) {
	for c := range codings {
		values[c] = []string{c.String()}
	}
	return values
}()

// markCoded makes the fields of a response those of its coded form: another
// representation, of which we know no length and no digest.
func (x *exchange) markCoded(h http.Header, c Coding) {
	h[httpcache.ContentEncodingField] = contentEncodings[c]
	x.weakenETag(h)
	for _, name := range [...]string{
		httpcache.ContentLengthField, httpcache.AcceptRangesField, "Content-Md5", "Digest", "Content-Digest", "Repr-Digest",
	} {
		delete(h, name)
	}
	x.record.Encoding = c.String()
}

// weakenETag makes the entity tag a weak one: the coded form means the same and has
// other bytes (RFC 9110 §8.8.1). A condition with it still finds the stored response,
// by weak comparison; a range that is bound to it gets the whole.
func (x *exchange) weakenETag(h http.Header) {
	lines := h[httpcache.ETagField]
	switch {
	case len(lines) == 0:
	case len(lines) > 1 || len(lines[0]) < 2:
		delete(h, httpcache.ETagField)
	case lines[0][0] == '"':
		h[httpcache.ETagField] = x.value(valueETag, "W/"+lines[0])
	case !strings.HasPrefix(lines[0], `W/"`):
		delete(h, httpcache.ETagField) // no entity tag, and nobody can tell of which form
	}
}

// markNotModified makes the fields of a 304 those that the 200 would have had.
func (x *exchange) markNotModified(h http.Header) {
	if x.agreed.coding != Identity {
		x.weakenETag(h)
	}
}
