package h1

// Bounds of a chunked body (RFC 9112 §7.1) beside its data. net/http takes a trailer
// section, and a line before a chunk, of at most its buffer, 4 KiB.
const (
	maxSizeDigits     = 16
	maxExtensionBytes = 2 << 10 // of a whole body; a reader that skips them without end can be fed without end
	maxTrailerBytes   = 2 << 10
	maxChunkBytes     = 1<<62 - 1
)

// chunks follows a chunked body octet by octet. The zero value is at its beginning.
type chunks struct {
	at         chunkState
	left       uint64 // of the chunk
	digits     int
	extensions int
	trailers   int      // octets
	name       [20]byte // of a trailer field, as far as there is room
	named      int      // octets of it, in all
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtName
	chunkExtNameMore
	chunkExtValue
	chunkExtValueMore
	chunkExtQuoted
	chunkExtEscape
	chunkExtAfter
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkTrailerName
	chunkTrailerValue
	chunkTrailerLF
	chunkEndLF
	chunkEnd
)

// feed takes octets until the body ends: n says how many of p are of it.
func (c *chunks) feed(p []byte) (n int, done bool, r Reason) {
	for n < len(p) {
		if c.at == chunkData {
			step := min(c.left, uint64(len(p)-n))
			n += int(step)
			if c.left -= step; c.left == 0 {
				c.at = chunkDataCR
			}
			continue
		}
		if r := c.octet(p[n]); r != ReasonNone {
			return n, false, r
		}
		n++
		if c.at == chunkEnd {
			return n, true, ReasonNone
		}
	}
	return n, false, ReasonNone
}

func (c *chunks) octet(b byte) Reason {
	switch {
	case c.at == chunkSize:
		return c.size(b)
	case c.at < chunkSizeLF:
		return c.extension(b)
	case c.at >= chunkTrailer:
		return c.trailer(b)
	case c.at == chunkSizeLF && b == '\n':
		c.digits = 0
		c.at = chunkData
		if c.left == 0 {
			c.at = chunkTrailer
		}
	case c.at == chunkDataCR && b == '\r':
		c.at = chunkDataLF
	case c.at == chunkDataLF && b == '\n':
		c.at = chunkSize
	default:
		return ReasonChunk
	}
	return ReasonNone
}

func (c *chunks) size(b byte) Reason {
	var digit byte
	switch {
	case b >= '0' && b <= '9':
		digit = b - '0'
	case fold(b) >= 'a' && fold(b) <= 'f':
		digit = fold(b) - 'a' + 10
	case c.digits == 0:
		return ReasonChunk
	default:
		return c.afterExtension(b)
	}
	if c.digits++; c.digits > maxSizeDigits || c.left > maxChunkBytes>>4 {
		return ReasonChunk
	}
	c.left = c.left<<4 | uint64(digit)
	return ReasonNone
}

// afterExtension is what may follow a size or an extension.
func (c *chunks) afterExtension(b byte) Reason {
	switch b {
	case ';':
		c.at = chunkExtName
	case '\r':
		c.at = chunkSizeLF
	default:
		return ReasonChunk
	}
	return ReasonNone
}

// extension follows RFC 9112 §7.1.1, without the whitespace that it puts up with.
func (c *chunks) extension(b byte) Reason {
	if c.extensions++; c.extensions > maxExtensionBytes {
		return ReasonChunk
	}
	token := classes[b]&classToken != 0
	switch {
	case c.at == chunkExtName && token:
		c.at = chunkExtNameMore
	case c.at == chunkExtNameMore && token, c.at == chunkExtValueMore && token:
	case c.at == chunkExtNameMore && b == '=':
		c.at = chunkExtValue
	case c.at == chunkExtValue && token:
		c.at = chunkExtValueMore
	case c.at == chunkExtValue && b == '"':
		c.at = chunkExtQuoted
	case c.at == chunkExtQuoted && b == '"':
		c.at = chunkExtAfter
	case c.at == chunkExtQuoted && b == '\\':
		c.at = chunkExtEscape
	case c.at == chunkExtQuoted && classes[b]&classValue != 0:
	case c.at == chunkExtEscape && classes[b]&classValue != 0:
		c.at = chunkExtQuoted
	case c.at == chunkExtNameMore, c.at == chunkExtValueMore, c.at == chunkExtAfter:
		return c.afterExtension(b)
	default:
		return ReasonChunk
	}
	return ReasonNone
}

// trailer follows RFC 9112 §7.1.2: field lines, none of which may frame a message.
func (c *chunks) trailer(b byte) Reason {
	if c.trailers++; c.trailers > maxTrailerBytes {
		return ReasonTrailer
	}
	switch {
	case c.at == chunkTrailer && b == '\r':
		c.at = chunkEndLF
	case c.at == chunkEndLF && b == '\n':
		c.at = chunkEnd
	case c.at == chunkTrailer && classes[b]&classToken != 0:
		c.at, c.named = chunkTrailerName, 1
		c.name[0] = b
	case c.at == chunkTrailerName && classes[b]&classToken != 0:
		if c.named < len(c.name) {
			c.name[c.named] = b
		}
		c.named++
	case c.at == chunkTrailerName && b == ':' && (c.named > len(c.name) || !framingName(c.name[:c.named])):
		c.at = chunkTrailerValue
	case c.at == chunkTrailerValue && b == '\r':
		c.at = chunkTrailerLF
	case c.at == chunkTrailerValue && classes[b]&classValue != 0:
	case c.at == chunkTrailerLF && b == '\n':
		c.at = chunkTrailer
	default:
		return ReasonTrailer
	}
	return ReasonNone
}
