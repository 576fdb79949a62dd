package h1

import (
	"bytes"
)

// Limits bound a head. All must be positive.
type Limits struct {
	TargetBytes int // of a request target
	FieldBytes  int // of the request line and the header section together
	Fields      int // field lines
}

const (
	maxMethodBytes = 32 // no registered method is longer than 17
	maxEmptyLines  = 2  // before a request line (RFC 9112 §2.2)
	versionBytes   = len("HTTP/1.1")
)

// Head is a request head as bytes: what it says and where. The slices that its
// methods return are the connection's and hold until it is read from again.
type Head struct {
	raw    []byte
	fields []field

	line  int // where the line begins that is being read
	seen  int // no LF between line and here
	empty int // lines before the request line

	begun          bool // the request line has been read
	method, target span
	named          span // the authority of an absolute target
	minor          int

	host                    span
	encoding                span
	hosts, lengths, codings int
	length                  int64
	chunked, absolute       bool
}

type span struct{ from, to int }

func (s span) of(b []byte) []byte { return b[s.from:s.to] }

type field struct{ name, value span }

// Method of the request.
func (h *Head) Method() []byte { return h.method.of(h.raw) }

// Target of the request, in the form in which it was sent.
func (h *Head) Target() []byte { return h.target.of(h.raw) }

// Host is the value of the Host field, empty if there is none.
func (h *Head) Host() []byte { return h.host.of(h.raw) }

// Minor is the minor version: 0 or 1.
func (h *Head) Minor() int { return h.minor }

// Fields is how many field lines there are.
func (h *Head) Fields() int { return len(h.fields) }

// Field is the name as sent and the value, without whitespace around it, of the
// field line i.
func (h *Head) Field(i int) (name, value []byte) {
	return h.fields[i].name.of(h.raw), h.fields[i].value.of(h.raw)
}

// Length is that of the body, and -1 if it is chunked.
func (h *Head) Length() int64 {
	if h.chunked {
		return -1
	}
	return h.length
}

// reset makes h ready for another head and keeps its room for fields.
func (h *Head) reset() { *h = Head{fields: h.fields[:0]} }

// parse goes on where it stopped, raw having grown. It returns where the head ends,
// 0 as long as it does not, or why it is refused. What it says does not depend on
// how raw grew.
func (h *Head) parse(raw []byte, l *Limits) (end int, r Reason) {
	h.raw = raw
	for {
		if !h.begun {
			if more, r := h.lead(); r != ReasonNone || !more {
				return 0, r
			}
		}
		lf := bytes.IndexByte(raw[h.seen:], '\n')
		if lf < 0 {
			h.seen = len(raw)
			return 0, h.tooLong(len(raw), l)
		}
		lf += h.seen
		if r := h.tooLong(lf, l); r != ReasonNone {
			return 0, r
		}
		if lf == h.line || raw[lf-1] != '\r' {
			return 0, ReasonLineEnding
		}
		line := span{h.line, lf - 1}
		h.line, h.seen = lf+1, lf+1
		switch {
		case !h.begun:
			r = h.requestLine(line, l)
			h.begun = true
		case line.from == line.to:
			return lf + 1, h.finish()
		default:
			r = h.fieldLine(line, l)
		}
		if r != ReasonNone {
			return 0, r
		}
	}
}

// lead skips empty lines before the request line and looks at its first octet, so
// that a client that speaks something else is told at once. more is false if there
// is nothing to go on with.
func (h *Head) lead() (more bool, r Reason) {
	for h.line < len(h.raw) {
		switch c := h.raw[h.line]; {
		case c == '\n':
			return false, ReasonLineEnding
		case c != '\r':
			if classes[c]&classToken == 0 {
				return false, ReasonRequestLine
			}
			return true, ReasonNone
		case h.line+1 == len(h.raw):
			return false, ReasonNone
		case h.raw[h.line+1] != '\n':
			return false, ReasonLineEnding
		}
		if h.empty++; h.empty > maxEmptyLines {
			return false, ReasonRequestLine
		}
		h.line += 2
		h.seen = h.line
	}
	return false, ReasonNone
}

// tooLong judges a line whose LF is at to, or that has none before to.
func (h *Head) tooLong(to int, l *Limits) Reason {
	large := to+1 > l.FieldBytes
	if h.begun {
		if large {
			return ReasonFieldBytes
		}
		return ReasonNone
	}
	if large || to-h.line-1 > maxMethodBytes+1+l.TargetBytes+1+versionBytes {
		return ReasonTargetLength
	}
	return ReasonNone
}

// requestLine reads RFC 9112 §3.
func (h *Head) requestLine(at span, l *Limits) Reason {
	line := at.of(h.raw)
	if bytes.IndexByte(line, '\r') >= 0 {
		return ReasonLineEnding
	}
	one := bytes.IndexByte(line, ' ')
	if one < 0 || !ValidToken(line[:one]) {
		return ReasonRequestLine
	}
	two := bytes.IndexByte(line[one+1:], ' ')
	if two < 1 {
		return ReasonRequestLine
	}
	two += one + 1
	h.method = span{at.from, at.from + one}
	h.target = span{at.from + one + 1, at.from + two}
	if r := h.version(line[two+1:]); r != ReasonNone {
		return r
	}
	if one > maxMethodBytes || string(line[:one]) == "CONNECT" {
		return ReasonMethod
	}
	if two-one-1 > l.TargetBytes {
		return ReasonTargetLength
	}
	return h.targetForm()
}

func (h *Head) version(v []byte) Reason {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	if len(v) != versionBytes || string(v[:5]) != "HTTP/" || !digit(v[5]) || v[6] != '.' || !digit(v[7]) {
		return ReasonRequestLine
	}
	if v[5] != '1' || v[7] > '1' {
		return ReasonVersion
	}
	h.minor = int(v[7] - '0')
	return ReasonNone
}

// targetForm lets origin-form, absolute-form of http and https, and "OPTIONS *" in
// (RFC 9112 §3.2).
func (h *Head) targetForm() Reason {
	target := h.Target()
	switch {
	case target[0] == '/':
		if !ValidPath(target) {
			return ReasonTarget
		}
	case string(target) == "*":
		if string(h.Method()) != "OPTIONS" {
			return ReasonTarget
		}
	default:
		from, to, ok := authority(target)
		if !ok {
			return ReasonTarget
		}
		h.absolute = true
		h.named = span{h.target.from + from, h.target.from + to}
	}
	return ReasonNone
}

// fieldLine reads RFC 9112 §5.
func (h *Head) fieldLine(at span, l *Limits) Reason {
	line := at.of(h.raw)
	if line[0] == ' ' || line[0] == '\t' {
		return ReasonFold
	}
	if len(h.fields) >= l.Fields {
		return ReasonFields
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !ValidToken(line[:colon]) {
		if bytes.IndexByte(line, '\r') >= 0 {
			return ReasonLineEnding
		}
		return ReasonField
	}
	value := line[colon+1:]
	if !ValidValue(value) {
		if bytes.IndexByte(value, '\r') >= 0 {
			return ReasonLineEnding
		}
		return ReasonField
	}
	from, to := at.from+colon+1, at.to
	for from < to && blank(h.raw[from]) {
		from++
	}
	for from < to && blank(h.raw[to-1]) {
		to--
	}
	f := field{span{at.from, at.from + colon}, span{from, to}}
	h.fields = append(h.fields, f)
	return h.note(f)
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// note keeps what framing and routing need of a field.
func (h *Head) note(f field) Reason {
	name, value := f.name.of(h.raw), f.value.of(h.raw)
	switch {
	case equalFold(name, "host"):
		h.hosts++
		h.host = f.value
	case equalFold(name, "content-length"):
		var ok bool
		h.lengths++
		if h.length, ok = ParseLength(value); !ok || h.lengths > 1 {
			return ReasonContentLength
		}
	case equalFold(name, "transfer-encoding"):
		h.codings++
		h.encoding = f.value
	case equalFold(name, "trailer"):
		if announcesFraming(value) {
			return ReasonTrailer
		}
	}
	return ReasonNone
}

// announcesFraming reports whether a Trailer field names what no trailer section may
// have (RFC 9110 §6.5.1).
func announcesFraming(value []byte) bool {
	for len(value) > 0 {
		var name []byte
		if i := bytes.IndexByte(value, ','); i >= 0 {
			name, value = value[:i], value[i+1:]
		} else {
			name, value = value, nil
		}
		if name = bytes.Trim(name, " \t"); framingName(name) {
			return true
		}
	}
	return false
}

// framingName names the fields by which a message is delimited or routed.
func framingName(name []byte) bool {
	return equalFold(name, "content-length") || equalFold(name, "transfer-encoding") ||
		equalFold(name, "trailer") || equalFold(name, "host")
}

// finish judges what only the whole head can show.
func (h *Head) finish() Reason {
	switch {
	case h.hosts > 1, h.hosts == 0 && h.minor > 0, h.hosts == 1 && !ValidHost(h.Host()),
		h.hosts == 1 && h.absolute && !equalFold(h.named.of(h.raw), h.Host()):
		return ReasonHost
	case h.codings == 0:
		return ReasonNone
	case h.lengths > 0:
		return ReasonFraming
	case h.minor == 0, h.encoding.from == h.encoding.to:
		return ReasonTransferEncoding
	case h.codings > 1, !equalFold(h.encoding.of(h.raw), "chunked"):
		return ReasonCoding
	}
	h.chunked = true
	return ReasonNone
}
